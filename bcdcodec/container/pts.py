"""Frame times of a MOTN at a variable rate: the usual distance once, then what differs from it."""

from dataclasses import dataclass
from itertools import groupby, pairwise

import numpy as np

from bcdcodec.container.varint import pack_varint, read_varint
from bcdcodec.errors import FormatError, LimitError

MAX_PTS = 1 << 61  # so that twice the zigzag of the difference of two distances still fits a varint


@dataclass(frozen=True)
class FrameTimes:
    """Strictly increasing times of consecutive frames, in ticks within +-2**61.

    Kept as runs of equal distances: few bytes can state the times of many frames, which take memory and time only where
    every single one is needed.
    """

    first: int  # of the first frame
    runs: tuple[tuple[int, int], ...]  # ticks from a frame to the next, and how often in a row; empty for one frame

    @classmethod
    def of(cls, pts: np.ndarray) -> "FrameTimes":
        """Return the times `pts` int64 [t], t >= 1; FormatError unless they strictly increase within +-2**61."""
        ticks = pts.tolist()  # of Python, whose differences cannot overflow
        steps = [after - before for before, after in pairwise(ticks)]
        if max(abs(ticks[0]), abs(ticks[-1])) > MAX_PTS or min(steps, default=1) < 1:
            raise FormatError(f"pts {ticks[0]} to {ticks[-1]} ticks do not strictly increase within +-2**61")
        return cls(ticks[0], tuple((step, len(list(run))) for step, run in groupby(steps)))

    @property
    def last(self) -> int:
        return self.first + sum(step * count for step, count in self.runs)

    @property
    def last_step(self) -> int | None:
        """Ticks between the last two frames, None for one frame."""
        return self.runs[-1][0] if self.runs else None

    def pts(self) -> np.ndarray:
        """Return the times of all frames, int64 [t]."""
        steps, counts = np.array(self.runs, np.int64).reshape(-1, 2).T
        return np.cumsum(np.concatenate([[self.first], np.repeat(steps, counts)]), dtype=np.int64)


def pack_pts(times: FrameTimes) -> bytes:
    """Return the bytes of frame times."""
    out = pack_varint(_zigzag(times.first))
    if not times.runs:
        return out
    nominal = _most_frequent(times.runs)
    out += pack_varint(nominal)
    for step, count in times.runs:
        out += pack_varint(2 * (count - 1)) if step == nominal else pack_varint(2 * _zigzag(step - nominal) - 1) * count
    return out


def read_pts(payload: bytes, at: int, frames: int) -> tuple[FrameTimes, int]:
    """Return the times of `frames` frames that stand at byte `at` and the position after them.

    Raises TruncatedError where the payload ends before them, LimitError beyond +-2**61 and FormatError
    for times that do not increase and for any bytes but those that `pack_pts` writes.
    """
    zigzag, at = read_varint(payload, at)
    first = _unzigzag(zigzag)
    if frames == 1:
        return _limited(FrameTimes(first, ())), at
    nominal, at = read_varint(payload, at)
    runs: list[tuple[int, int]] = []
    known, after_run = 0, False  # distances so far; whether the last ones are a run of the usual one
    before, size = None, len(payload)
    while known < frames - 1:
        if at < size and payload[at] < 0x80:  # one byte, as most are: a file can have a million of them
            token, at = payload[at], at + 1
        else:
            token, at = read_varint(payload, at)
        is_run = token % 2 == 0
        if is_run:
            step, count, left = nominal, token // 2 + 1, frames - 1 - known
            if count > left:
                raise FormatError(f"pts repeat their usual distance {count} times, expected at most {left}")
            if after_run:
                raise FormatError(f"pts repeat their usual distance in two runs after frame {known}, expected one")
        else:
            step, count = nominal + _unzigzag(token // 2 + 1), 1
        known += count
        if step < 1:
            raise FormatError(f"pts grow by {step} ticks after frame {known} of the chunk, expected at least 1")
        if step == before:
            count += runs.pop()[1]
        runs.append((step, count))
        before, after_run = step, is_run
    expected = _most_frequent(runs)
    if nominal != expected:
        raise FormatError(f"pts state {nominal} ticks as their usual distance, expected the most frequent, {expected}")
    return _limited(FrameTimes(first, tuple(runs))), at


def _limited(times: FrameTimes) -> FrameTimes:
    if max(abs(times.first), abs(times.last)) > MAX_PTS:
        raise LimitError(f"pts are {times.first} to {times.last}, the limit is +-2**61")
    return times


def _most_frequent(runs: tuple[tuple[int, int], ...] | list[tuple[int, int]]) -> int:
    """Return the most frequent distance, the smallest of several."""
    counts: dict[int, int] = {}
    for step, count in runs:
        counts[step] = counts.get(step, 0) + count
    return min(counts, key=lambda step: (-counts[step], step))


def _zigzag(value: int) -> int:
    return 2 * value if value >= 0 else -2 * value - 1


def _unzigzag(value: int) -> int:
    return -(value + 1 >> 1) if value & 1 else value >> 1
