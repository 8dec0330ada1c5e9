"""Frame times of a MOTN at a variable rate: the usual distance once, then what differs from it."""

from collections import Counter
from itertools import accumulate, pairwise

import numpy as np

from bcdcodec.container.varint import pack_varint, read_varint
from bcdcodec.errors import FormatError, LimitError

MAX_PTS = 1 << 61  # so that twice the zigzag of the difference of two distances still fits a varint


def pack_pts(pts: np.ndarray) -> bytes:
    """Return the bytes of `pts` int64 [t] ticks, t >= 1; FormatError unless they strictly increase within +-2**61."""
    ticks = pts.tolist()  # of Python, whose differences cannot overflow
    steps = [after - before for before, after in pairwise(ticks)]
    if max(abs(ticks[0]), abs(ticks[-1])) > MAX_PTS or min(steps, default=1) < 1:
        raise FormatError(f"pts {ticks[0]} to {ticks[-1]} ticks do not strictly increase within +-2**61")
    out = pack_varint(_zigzag(ticks[0]))
    if not steps:
        return out
    nominal = _most_frequent(steps)
    out += pack_varint(nominal)
    run = 0  # frames at the nominal distance that are not written yet
    for step in steps:
        if step == nominal:
            run += 1
            continue
        out += _run_token(run) + pack_varint(2 * _zigzag(step - nominal) - 1)
        run = 0
    return out + _run_token(run)


def read_pts(payload: bytes, at: int, frames: int) -> tuple[np.ndarray, int]:
    """Return the pts int64 [frames] that stand at byte `at` and the position after them.

    Raises TruncatedError where the payload ends before them, LimitError beyond +-2**61 and FormatError
    for pts that do not increase and for any bytes but those that `pack_pts` writes.
    """
    zigzag, at = read_varint(payload, at)
    first = _unzigzag(zigzag)
    steps: list[int] = []
    if frames > 1:
        nominal, at = read_varint(payload, at)
        after_run = False
        while len(steps) < frames - 1:
            token, at = read_varint(payload, at)
            is_run = token % 2 == 0
            if is_run:
                run, left = token // 2 + 1, frames - 1 - len(steps)
                if run > left:
                    raise FormatError(f"pts repeat their usual distance {run} times, expected at most {left}")
                if after_run:
                    raise FormatError(
                        f"pts repeat their usual distance in two runs after frame {len(steps)}, expected one"
                    )
                steps += [nominal] * run
            else:
                steps.append(nominal + _unzigzag(token // 2 + 1))
            if steps[-1] < 1:
                raise FormatError(
                    f"pts grow by {steps[-1]} ticks after frame {len(steps)} of the chunk, expected at least 1"
                )
            after_run = is_run
        expected = _most_frequent(steps)
        if nominal != expected:
            raise FormatError(
                f"pts state {nominal} ticks as their usual distance, expected the most frequent, {expected}"
            )
    ticks = list(accumulate(steps, initial=first))
    if max(abs(first), abs(ticks[-1])) > MAX_PTS:
        raise LimitError(f"pts are {first} to {ticks[-1]}, the limit is +-2**61")
    return np.array(ticks, np.int64), at


def _run_token(run: int) -> bytes:
    return pack_varint(2 * (run - 1)) if run else b""


def _most_frequent(steps: list[int]) -> int:
    """Return the most frequent of `steps`, the smallest of several."""
    counts = Counter(steps)
    return min(counts, key=lambda step: (-counts[step], step))


def _zigzag(value: int) -> int:
    return 2 * value if value >= 0 else -2 * value - 1


def _unzigzag(value: int) -> int:
    return -(value + 1 >> 1) if value & 1 else value >> 1
