"""References on the sender's side: when their pieces leave, and when the receiver counts as having them."""

import numpy as np
import pytest
import torch
from head_clips import head_frames

import bcdcodec
from bcdcodec.coding.picture_content import LATER_SHARE
from bcdcodec.stream.causal_motion import CausalMotion
from bcdcodec.stream.packets import Report
from bcdcodec.stream.reference_choice import Candidate
from bcdcodec.stream.sent_references import START_CONTENTS, URGENT_PIECES, SentReferences


@pytest.fixture(scope="module")
def codec():
    return bcdcodec.load("faces")


@pytest.fixture(scope="module")
def contents(codec):
    """Two contents, of frames of one clip."""
    return [codec.encode(head_frames(3, 1, 256)).contents[0], codec.encode(head_frames(4, 1, 256)).contents[0]]


@pytest.fixture
def references(codec, contents):
    """Of a sender whose receiver reports, has the first content, and waits for a second one."""
    found = SentReferences(codec.session, CausalMotion(codec.session), 0, reports=True, background=False)
    candidate = Candidate(0, np.zeros((256, 256, 3), np.uint8), np.zeros(58), None, 1.0)
    found._add(contents[0], candidate)
    while found.piece(0, np.inf) is not None:
        pass
    found.report(Report(0, 1, 0, have=0))
    found._add(contents[1], candidate, urgent=True)
    return found


def drained(references, calm):
    """Hand out all pieces; how many."""
    count = 0
    while references.piece(1, np.inf, calm) is not None:
        count += 1
    references.switch()
    return count


def test_without_calm_a_reference_is_used_once_the_receiver_reports_it(references):
    assert drained(references, calm=False) > 1
    assert references.current.number == 0
    references.report(Report(1, 1, 0, have=1))
    references.switch()
    assert references.current.number == 1


def test_where_nothing_was_lost_of_late_it_is_used_once_it_was_sent(references):
    drained(references, calm=True)
    assert references.current.number == 1


def test_a_reference_that_did_not_come_all_the_same_is_sent_again_at_once(references):
    count = drained(references, calm=True)
    references.report(Report(1, 1, 0, have=0, wanted=1, missing=0b101))
    assert not references.current.whole  # the encoder sends what is missing with the next packet
    pieces = [references.piece(2, 0.0) for _ in range(count)]  # without room on the wire, too
    assert [piece.index for piece in pieces if piece is not None] == [0, 2]


def test_references_from_the_third_on_take_fewer_bytes(codec):
    picture = head_frames(3, 1, 256)
    motion = codec.model.motion(torch.from_numpy(picture).permute(0, 3, 1, 2)[None] / 127.5 - 1)[0, 0]
    found = SentReferences(codec.session, CausalMotion(codec.session), 0, reports=True, background=False)
    candidate, sizes = Candidate(0, picture[0], np.zeros(58), motion, 1.0), []
    for found.count in (START_CONTENTS - 1, START_CONTENTS):
        sizes.append(len(found.made(candidate, quick=True).picture.unit))
    assert sizes[1] <= LATER_SHARE * codec.config.content.byte_budget < sizes[0]


def test_several_pieces_go_with_a_packet_only_where_the_reference_before_fails(references, contents):
    assert references.pieces_at_once == URGENT_PIECES > 1
    drained(references, calm=True)
    assert references.pieces_at_once == 1
    references._add(contents[0], references.current.candidate)
    assert references.waiting
    assert references.pieces_at_once == 1
