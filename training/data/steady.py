"""Clips of one length and frame rate, without cuts, from any video."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from fractions import Fraction

import numpy as np

from bcdcodec.coding.scene_cuts import numbered_scenes

LONGEST_HOLD = 0.25  # seconds that a frame is shown at most; a longer one ends the clip, as a cut does

Frame = tuple[int, np.ndarray]  # tick, uint8 [h, w, 3]


def at_rate(frames: Iterable[Frame], time_base: Fraction, rate: int) -> Iterator[Frame]:
    """Frames `(pts, picture)` at `rate` a second: each tick of 1 / rate has the picture that is shown then.

    Ticks are passed over where a picture is shown for longer than LONGEST_HOLD.
    """
    start, before, step = None, None, Fraction(1)  # seconds; the last frame with its time, and its distance, in ticks
    for pts, picture in frames:
        start = pts * time_base if start is None else start
        at = (pts * time_base - start) * rate
        if before is not None:
            yield from _shown(*before, at, rate)
            step = at - before[0]
        before = at, picture
    if before is not None:
        yield from _shown(*before, before[0] + step, rate)


def _shown(at: Fraction, picture: np.ndarray, until: Fraction, rate: int) -> Iterator[Frame]:
    """The ticks of [at, until) with their picture."""
    for tick in range(math.ceil(at), math.ceil(min(until, at + Fraction(LONGEST_HOLD) * rate))):
        yield tick, picture


def steady_clips(frames: Iterable[Frame], length: int) -> Iterator[tuple[int, np.ndarray]]:
    """Clips uint8 [length, h, w, 3] with their first tick: one after the other, without a cut or a missing tick."""
    clip: list[np.ndarray] = []
    first, place = 0, None
    for scene, (tick, picture) in numbered_scenes(frames, most=2**31):
        if place != (scene, tick - 1):
            clip = []
        first = first if clip else tick
        clip.append(picture)
        place = scene, tick
        if len(clip) == length:
            yield first, np.stack(clip)
            clip = []
