"""Throughput of bulk encoding: what counts while all workers are busy."""

import pytest

from bcdcodec.benchmarks.workers import full_rate
from bcdcodec.distributed import Result
from bcdcodec.errors import BcdError


def done(worker, began, seconds, duration=10.0):
    return Result("a", "b", "encoded", worker, duration_s=duration, began=began, seconds=seconds)


def test_one_workers_rate_is_video_by_time():
    assert full_rate([done("a", 0, 20), done("a", 20, 20)]) == pytest.approx(0.5)


def test_time_in_which_a_worker_has_nothing_to_do_does_not_count():
    results = [done("a", 0, 10), done("a", 10, 10), done("a", 20, 10), done("b", 5, 10), done("b", 15, 10)]
    # Both work from 5 to 25: half of a's first and last video, all else whole.
    assert full_rate(results) == pytest.approx(40 / 20)


def test_workers_that_were_never_busy_together_are_refused():
    with pytest.raises(BcdError, match="2 clips are too few"):
        full_rate([done("a", 0, 10), done("b", 12, 10)])
