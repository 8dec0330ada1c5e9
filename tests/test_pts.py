"""Frame times come back whatever they are, cost little where they are nearly even, and have one form each."""

import tracemalloc

import numpy as np
import pytest

from bcdcodec.container.pts import FrameTimes, pack_pts, read_pts
from bcdcodec.container.varint import pack_varint
from bcdcodec.errors import FormatError, TruncatedError


def pts_bytes(steps) -> int:
    """Return what pts with these ticks between frames cost, and check that they come back."""
    pts = np.cumsum([0, *steps], dtype=np.int64)
    packed = pack_pts(FrameTimes.of(pts))
    times, end = read_pts(b"before" + packed + b"after", 6, len(pts))
    found = times.pts()
    assert times == FrameTimes.of(pts) and times.last == pts[-1]
    assert np.array_equal(found, pts) and found.dtype == np.int64 and end == 6 + len(packed)
    return len(packed)


def test_equal_distances_with_two_exceptions_cost_under_20_bytes_for_256_frames():
    assert pts_bytes([1001] * 255) == 5
    assert pts_bytes([1001] * 99 + [2002] + [1001] * 80 + [1000] + [1001] * 74) == 12


@pytest.mark.parametrize("fps", [24000 / 1001, 30000 / 1001, 30, 60, 1000 / 33.5, 1000 / 33.1])
def test_pts_rounded_to_milliseconds_cost_at_most_one_byte_a_frame(fps):
    assert pts_bytes(np.diff(np.round(np.arange(256) * 1000 / fps).astype(int))) <= 256 + 2


def test_jitter_of_a_millisecond_costs_at_most_one_byte_a_frame():
    for seed in range(20):
        assert pts_bytes(np.random.default_rng(seed).choice([33, 34], 255)) <= 256 + 2


@pytest.mark.parametrize("seed", range(40))
def test_random_pts_come_back(seed):
    rng = np.random.default_rng(seed)
    kinds = [1, 40, 1001, 2**40]
    usual = rng.choice(kinds, p=[0.1, 0.5, 0.3, 0.1])
    steps = np.where(rng.random(rng.integers(0, 300)) < rng.random(), usual, 0)
    odd = rng.integers(1, 1 << rng.integers(1, 50), len(steps))
    pts_bytes(np.where(steps, steps, odd))


def test_pts_have_one_form_each():
    """Whatever bytes are read as pts are those that are written for them."""
    rng = np.random.default_rng(5)
    read = 0
    for _ in range(4000):
        data = bytes(rng.integers(0, 6, 8).tolist())
        try:
            times, end = read_pts(data, 0, int(rng.integers(1, 7)))
        except FormatError:
            continue
        assert pack_pts(times) == data[:end] and times == FrameTimes.of(times.pts())
        read += 1
    assert read > 500


def test_times_of_many_frames_take_no_memory_until_they_are_asked_for():
    tracemalloc.start()
    times, _ = read_pts(pack_varint(0) + pack_varint(40) + pack_varint(2 * 4094), 0, 4096)
    assert tracemalloc.get_traced_memory()[1] < 1 << 13
    tracemalloc.stop()
    assert times.pts().tolist() == list(range(0, 4096 * 40, 40))


def test_a_run_of_pts_is_refused_before_anything_is_allocated():
    tracemalloc.start()
    with pytest.raises(FormatError, match="expected at most 4095"):
        read_pts(pack_varint(0) + pack_varint(40) + pack_varint(2**40), 0, 4096)
    assert tracemalloc.get_traced_memory()[1] < 1 << 16
    tracemalloc.stop()


def test_pts_cut_anywhere_are_truncated():
    packed = pack_pts(FrameTimes.of(np.cumsum([-500, *[1001] * 40, 3000, 7, 8, *[1001] * 200, 2**50])))
    for cut in range(len(packed)):
        with pytest.raises(TruncatedError):
            read_pts(packed[:cut], 0, 245)
