"""Which frame of a stream becomes its reference."""

import numpy as np

from bcdcodec.stream.reference_choice import FIRST_SECONDS, NEXT_SECONDS, ReferenceChoice


def test_the_quick_reference_is_replaced_after_a_second_and_that_one_only_by_a_much_better_one():
    choice, pictures = ReferenceChoice(25), np.random.default_rng(2).integers(0, 255, (2, 16, 16, 3), np.uint8)
    shut, open_ = np.zeros(58), np.zeros(58)
    shut[[9, 10]] = 1.0  # eyeBlink of both eyes
    taken = []
    for frame in range(round((2 * FIRST_SECONDS + NEXT_SECONDS) * 25)):
        late = frame >= 2 * FIRST_SECONDS * 25
        choice.look(frame, pictures[int(late)], open_ if late else shut, None)
        found = choice.best(frame, taken[-1][1] if taken else None, [])
        taken += [] if found is None else [(frame, found)]
    assert [frame for frame, _ in taken] == [0, 25, round((FIRST_SECONDS + NEXT_SECONDS) * 25)]
    assert [found.numbers[9] for _, found in taken] == [1, 1, 0]


def test_a_reference_that_fails_is_followed_by_a_newest_frame_and_ever_later_where_that_does_not_help():
    choice, picture = ReferenceChoice(25), np.random.default_rng(2).integers(0, 255, (16, 16, 3), np.uint8)
    first, taken = None, []
    for frame in range(400):
        numbers = np.zeros(58)
        numbers[53] = 0.8 * (frame >= 50)  # yaw
        choice.look(frame, picture, numbers, None)
        choice.judge(0.01 if frame >= 50 else 0.001)
        found = choice.best(frame, first, [])
        first = first or found
        taken += [] if found is None else [(frame, found)]
    assert not any(found.numbers[53] for frame, found in taken if frame < 50)
    urgent = [(frame, found) for frame, found in taken if frame >= 50]
    assert all(frame - found.frame < 4 and found.numbers[53] == 0.8 for frame, found in urgent)
    steps = np.diff([frame for frame, _ in urgent])
    assert len(steps) >= 3 and steps[0] < 45
    assert all(later >= 1.9 * before for before, later in zip(steps[1:], steps[2:]))
    choice.changed()
    assert not choice.failing
