"""References on the sender's side: when their pieces leave, and when the receiver counts as having them."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from head_clips import head_frames

import bcdcodec
from bcdcodec.coding.picture_content import LATER_SHARE
from bcdcodec.container.payloads import pack_content
from bcdcodec.stream.causal_motion import CausalMotion
from bcdcodec.stream.fragments import split_content
from bcdcodec.stream.packets import MotionPart, Report
from bcdcodec.stream.received_references import MOST_WAITING, ReceivedReferences
from bcdcodec.stream.recorder import StreamRecorder
from bcdcodec.stream.reference_choice import Candidate
from bcdcodec.stream.sent_references import INTER_SHARE, SHOWN_AGAIN, START_CONTENTS, URGENT_PIECES, SentReferences


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
    found._add(found.entry(contents[0], candidate))
    while found.piece(0, np.inf) is not None:
        pass
    found.report(Report(0, 1, 0, have=0))
    found._add(found.entry(contents[1], candidate, urgent=True))
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
        sizes.append(len(found.made(candidate, False, None).content.picture.unit))
    assert sizes[1] <= LATER_SHARE * codec.config.content.byte_budget < sizes[0]


def test_several_pieces_go_with_a_packet_only_where_the_reference_before_fails(references, contents):
    assert references.pieces_at_once == URGENT_PIECES > 1
    drained(references, calm=True)
    assert references.pieces_at_once == 1
    references._add(references.entry(contents[0], references.current.candidate))
    assert references.waiting
    assert references.pieces_at_once == 1


# ---- inter frames


@pytest.fixture(scope="module")
def turning(codec):
    """Two frames of one head, and the motion of each."""
    pictures = head_frames(3, 11, 256)[[0, 10]]
    return pictures, codec.model.motion(torch.from_numpy(pictures).permute(0, 3, 1, 2)[None] / 127.5 - 1)[0]


@pytest.fixture
def referring(codec, turning):
    """Of a sender that sent a key frame, and an inter frame that refers to it."""
    found = SentReferences(codec.session, CausalMotion(codec.session), 0, reports=True, background=False)
    for i, (picture, motion) in enumerate(zip(*turning, strict=True)):
        candidate = Candidate(i, picture, codec.model.numbers(motion).numpy(), motion, 1.0)
        found._add(found.made(candidate, False, found.current))
    return found


def taken(received, fragments, head):
    for fragment in fragments:
        received.take(fragment, head)
    return received.have, received.wanted


@pytest.fixture(scope="module")
def head(codec):
    return codec.encode(head_frames(3, 1, 256)).head


def test_a_later_reference_refers_to_a_key_frame_in_half_of_its_bytes(codec, referring):
    key, inter = referring._entries
    assert inter.content.picture.base == 0 and inter.base is key and inter.key is None
    assert inter.size <= 1.1 * INTER_SHARE * codec.config.content.byte_budget < 0.5 * key.size


def test_an_inter_frame_waits_for_its_key_frame_and_asks_for_it(codec, referring, head):
    key, inter = referring._entries
    received = ReceivedReferences(codec.session)
    assert taken(received, inter.pieces, head) == (None, 0)
    assert taken(received, key.pieces[1:], head) == (None, 0)
    assert received.missing == 1
    assert taken(received, key.pieces[:1], head) == (1, None)
    for entry in (key, inter):
        reference, own = received.find(entry.number)
        assert own and torch.equal(reference.tokens, entry.reference.tokens)


def test_a_key_frame_is_asked_for_again_when_another_content_was_wanted_meanwhile(codec, referring, contents, head):
    received = ReceivedReferences(codec.session)
    taken(received, referring._entries[1].pieces, head)
    payload, _ = pack_content(replace(contents[0], number=2), codec.session.tables, 0)
    assert taken(received, split_content(2, payload), head) == (2, None)
    assert received.find(1)[1] is False
    assert received.wanted == 0


def test_inter_frames_whose_key_frame_never_comes_take_no_more_memory(codec, referring, head):
    received = ReceivedReferences(codec.session)
    for number in range(1, 3 * MOST_WAITING):
        content = replace(referring._entries[1].content, number=number)
        payload, _ = pack_content(content, codec.session.tables, 0)
        taken(received, split_content(number, payload), head)
    assert len(received._waiting) == MOST_WAITING and received.have is None


def test_a_receiver_that_joins_gets_the_key_frame_of_the_current_reference_too(referring):
    drained(referring, calm=True)
    key, inter = referring._entries
    assert referring.current is inter
    referring.send_again()
    assert not inter.ready
    pieces = [referring.piece(9, 0.0, calm=True) for _ in key.pieces + inter.pieces]
    assert {(piece.content, piece.index) for piece in pieces} == {
        (entry.number, i) for entry in (key, inter) for i in range(len(entry.pieces))
    }
    assert inter.ready


def test_a_recording_holds_the_key_frame_that_its_reference_refers_to(codec, referring, turning, tmp_path, head):
    recorder, (key, inter) = StreamRecorder(head), referring._entries
    codes = codec.model.vq.encode_clip(turning[1][1:2]).numpy().astype(np.uint8)
    recorder.add_motion(inter.content, key.content, 30, codes, MotionPart(1, inter.number, b"", True, 1))
    recorder.write(tmp_path / "a.bcd", codec.session.tables)
    found = bcdcodec.read(tmp_path / "a.bcd")
    assert [content.first_frame for content in found.contents] == [0, 0] and len(found.motions[0].codes) == 1
    assert codec.decode(found).shape == (1, 256, 256, 3)


def test_only_references_whose_number_a_packet_can_state_are_shown_again(codec, contents, monkeypatch):
    found = SentReferences(codec.session, CausalMotion(codec.session), 0, reports=False, background=False)
    for i in range(SHOWN_AGAIN + 3):
        candidate = Candidate(i, np.zeros((256, 256, 3), np.uint8), np.zeros(58), None, 1.0)
        found._add(found.entry(contents[i % 2], candidate))
        drained(found, calm=True)
    offered = []
    monkeypatch.setattr(found._choice, "best", lambda frame, current, held: offered.extend(held))
    found._begin(100)
    newest = SHOWN_AGAIN + 2
    assert [candidate.frame for candidate in offered] == [newest - 3, newest - 2, newest - 1]
