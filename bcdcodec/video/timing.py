"""Timestamps of frames, in ticks of a stream's time base."""

from __future__ import annotations

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
