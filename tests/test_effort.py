"""Whether a thread leaves a part of its work out, by the time that packets take."""

from bcdcodec.stream.effort import STEADY_PACKETS, Effort


def test_work_that_was_left_out_is_tried_again_later_each_time():
    effort, waits = Effort(whole_below=0.5, part_above=0.9, at_once=5.0), []
    for _ in range(5):
        count = 0
        while effort.took(1.0):
            count += 1
        assert count == STEADY_PACKETS - 1
        waits.append(1)
        while not effort.took(0.2):
            waits[-1] += 1
    assert waits == [STEADY_PACKETS * 2**i for i in range(5)]
    assert not effort.took(5.1)
    assert not any(effort.took(0.6) for _ in range(2000))


def test_a_machine_that_is_fast_enough_for_long_is_trusted_again():
    effort = Effort(whole_below=0.5, part_above=0.9)
    for _ in range(20):
        while effort.took(1.0):
            pass
        while not effort.took(0.2):
            pass
    for _ in range(2000):
        assert effort.took(0.8)
    while effort.took(1.0):
        pass
    assert any(effort.took(0.2) for _ in range(STEADY_PACKETS))
