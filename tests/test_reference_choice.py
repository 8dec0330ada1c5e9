"""Which frame of a stream becomes its reference."""

import numpy as np

from bcdcodec.stream.reference_choice import FIRST_SECONDS, NEXT_SECONDS, URGENT_SECONDS, ReferenceChoice


def frames(choice, numbers, pictures, errors):
    """What becomes the reference, frame by frame: pairs of a frame's number and the candidate."""
    current, taken = None, []
    for frame, (each, error) in enumerate(zip(numbers, errors, strict=True)):
        choice.look(frame, pictures[frame % len(pictures)], each, None)
        if error is not None:
            choice.judge(error)
        found = choice.best(frame, current, [])
        if found is not None:
            choice.taken(frame)
            choice.changed()
            current = found
            taken.append((frame, found))
    return taken


def test_a_much_better_frame_follows_the_first_after_a_second_and_a_later_one_after_four():
    pictures = np.random.default_rng(2).integers(0, 255, (1, 16, 16, 3), np.uint8)
    numbers = np.zeros((round((FIRST_SECONDS + 2 * NEXT_SECONDS) * 25), 58))
    numbers[:5, [9, 10]] = 1.0  # eyeBlink of both eyes: the first frame has them shut
    numbers[:30, 25] = 0.8  # jawOpen, which is bad as well
    taken = frames(ReferenceChoice(25), numbers, pictures, [None] * len(numbers))
    assert [frame for frame, _ in taken] == [0, 25, round((FIRST_SECONDS + NEXT_SECONDS) * 25)]
    assert [(found.numbers[9], found.numbers[25]) for _, found in taken] == [(1, 0.8), (0, 0.8), (0, 0)]


def test_a_first_frame_that_is_as_good_as_any_is_not_replaced():
    pictures = np.random.default_rng(2).integers(0, 255, (1, 16, 16, 3), np.uint8)
    taken = frames(ReferenceChoice(25), np.zeros((200, 58)), pictures, [None] * 200)
    assert [frame for frame, _ in taken] == [0]


def test_a_newest_frame_is_proposed_where_the_reference_fails_but_not_twice_within_half_a_second():
    pictures = np.random.default_rng(2).integers(0, 255, (1, 16, 16, 3), np.uint8)
    numbers = np.zeros((150, 58))
    numbers[50:, 53] = 0.8  # yaw
    errors = [(0.01 if frame >= 50 else 0.001) if frame % 3 == 2 else None for frame in range(150)]
    taken = frames(ReferenceChoice(25), numbers, pictures, errors)
    urgent = [(frame, found) for frame, found in taken if frame >= 50]
    assert all(frame - found.frame < 4 for frame, found in urgent)
    assert all(found.numbers[53] == 0.8 for _, found in urgent[1:])
    assert urgent[0][0] < 60
    assert min(np.diff([frame for frame, _ in urgent])) >= URGENT_SECONDS * 25


def test_failures_are_counted_until_another_reference_is_used():
    choice = ReferenceChoice(25)
    for error in (0.001, 0.001, 0.01, 0.01, 0.01):
        choice.judge(error)
    assert choice.failing and choice.failed == 3
    choice.changed()
    assert not choice.failing and choice.failed == 0
