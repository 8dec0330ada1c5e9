"""Whether another reference would show the latest frames of a stream better."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from bcdcodec.stream.recent_frames import LEAST_SAVING, MOST_LEFT, PACKETS, SERVES, RecentFrames
from bcdcodec.stream.reference_choice import Candidate

PICTURES, MOTION = np.zeros((3, 16, 16, 3), np.uint8), torch.zeros(3, 4)


def recent(left, session=None):
    """Frames whose error with any other reference is `left`, or what the reference says."""
    model = SimpleNamespace(reference=lambda picture, motion: None)
    asked = []

    def error_with(picture, motion, reference):
        asked.append(motion)
        return left if reference is None else reference

    found = RecentFrames(SimpleNamespace(model=model, device="cpu"), SimpleNamespace(error_with=error_with))
    return found, asked


CANDIDATE = Candidate(0, PICTURES[0], np.zeros(58), MOTION[0], 1.0)


@pytest.mark.parametrize(("left", "packets", "saves"), [
    (0.001, 2, False),  # 6 frames that would have saved .009 each
    (0.001, 4, False),
    (0.001, 5, True),  # 15 frames
    (0.0079, 32, True),
    (0.0081, 32, False),  # however many: too much of the error is left
])  # fmt: skip
def test_a_new_reference_is_worth_it_once_as_much_is_lost_as_one_costs(left, packets, saves):
    found, asked = recent(left)
    for _ in range(PACKETS + 8):
        found.add(PICTURES, MOTION, 0.01)
    assert found.saves(CANDIDATE, packets) == saves
    assert saves == (3 * packets * (0.01 - left) >= LEAST_SAVING and left <= MOST_LEFT * 0.01)
    assert len(asked) == min(packets, 4) * (3 * packets * 0.01 >= LEAST_SAVING)


def test_only_the_packets_that_were_shown_badly_count():
    found, asked = recent(0.002)
    for i in range(20):
        found.add(PICTURES, MOTION + i, 0.05 if i < 15 else 0.01)
    assert found.saves(CANDIDATE, 5)  # 15 frames of .008
    assert not found.saves(CANDIDATE, 4)
    assert [motion[0].item() for motion in asked] == [15, 16, 18, 19, 16, 17, 18, 19]
    asked.clear()
    assert found.saves(CANDIDATE, 9)
    assert [motion[0].item() for motion in asked] == [11, 14, 16, 19]


def test_nothing_is_compared_before_as_much_can_have_been_lost():
    found, asked = recent(0.0)
    for _ in range(3):
        found.add(PICTURES, MOTION, 0.01)
    assert not found.saves(CANDIDATE, 3) and not asked


def test_a_reference_held_is_used_if_it_shows_the_newest_frame_far_better():
    found, _ = recent(None)
    assert found.serving([0.0]) is None  # nothing was shown yet
    found.add(PICTURES, MOTION, 0.01)
    assert found.serving([]) is None
    assert found.serving([0.0071, 0.02]) is None
    assert found.serving([0.009, SERVES * 0.01, 0.02]) == 1
