"""Timestamps of frames, in ticks of a stream's time base."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence


def constant_frame_duration(pts: Sequence[int]) -> int | None:
    """Returns the one distance in ticks between all neighbouring pts.

    None when the distances differ or there are fewer than two frames.
    """
    steps = {after - before for before, after in zip(pts, pts[1:], strict=False)}
    return steps.pop() if len(steps) == 1 else None


class PtsRepair:
    """Gives every frame a timestamp that is not negative and after its predecessor's.

    Good timestamps pass unchanged. A missing one becomes its predecessor's plus the nominal
    frame duration (0 for the first frame). One that is not after its predecessor's becomes
    the predecessor's plus one tick, so that the frames after it keep their own times. If
    the first is below zero, all are moved by the same amount, so that the first is zero.
    """

    def __init__(self, nominal_duration: int):
        """`nominal_duration`: ticks of a frame at the stream's stated rate, at least 1."""
        self._nominal = nominal_duration
        self._shift = 0
        self._previous: int | None = None

    def place(self, pts: int | None) -> int:
        """Returns the next frame's timestamp in ticks, from the one its stream states."""
        if self._previous is None:
            self._shift = max(0, -(pts or 0))
            self._previous = (pts or 0) + self._shift
        elif pts is None:
            self._previous += self._nominal
        else:
            self._previous = max(pts + self._shift, self._previous + 1)
        return self._previous


class Gaps:
    """Finds where frames are missing in a video of otherwise constant rate, as after damage that a container skips."""

    LEAST = 5  # usual distances that a gap is long at least
    REGULAR = 0.9  # share of distances that must be the usual one, within a tenth or a tick

    def __init__(self) -> None:
        self._distances: Counter[int] = Counter()  # ticks
        self._long: list[tuple[int, int]] = []  # pts before a distance that was LEAST times the usual one then

    def add(self, pts: int, distance: int) -> None:
        """Takes a frame's pts and the distance to the next one, in ticks."""
        if distance >= self.LEAST * self._usual():
            self._long.append((pts, distance))
        self._distances[distance] += 1

    def _usual(self) -> int:
        return self._distances.most_common(1)[0][0] if self._distances else sys.maxsize

    @property
    def found(self) -> list[tuple[int, int]]:
        """The pts before each gap so far and its length, in ticks; none for a variable frame rate."""
        usual = self._usual()
        near = sum(n for ticks, n in self._distances.items() if abs(ticks - usual) <= max(1, usual / 10))
        if near < self.REGULAR * self._distances.total():
            return []
        return [(pts, distance) for pts, distance in self._long if distance >= self.LEAST * usual]

    @property
    def longest(self) -> tuple[int, int]:
        """The pts before the longest gap and its length, in ticks; for a video that has one."""
        return max(self.found, key=lambda gap: gap[1])
