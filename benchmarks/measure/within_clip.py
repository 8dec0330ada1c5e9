"""How far facial motion is reproduced within a clip: slope, correlation and the error at the extremes of each signal.

A signal is one number a frame: how far a mouth is open, an eye, where a head points. The slope is that of the least
squares line of the decoded signal on the source's: 1 where motion has its full extent, 0 where nothing moves. Frames of
other clips are never pooled: open mouths against shut ones of other people would pass for motion that was coded.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bcdcodec.benchmarks.measure.landmarks import BLENDSHAPES, Landmarks

TO_VIEWER = (1, 1, -1)  # the landmarks' z points away
EXTREME_SHARE = 0.1  # of the frames: those with the widest mouth, the most closed eyes
LEAST_FRAMES = 12  # with a face in source and decoded frame
EYE_CORNERS = 33, 263  # outer ones; their distance is the unit of mouth and brows
IRISES = 468, 473
# Outer and inner corner, then two pairs of upper and lower lid.
EYES = {"right eye": (33, 133, (160, 144), (158, 153)), "left eye": (263, 362, (387, 373), (385, 380))}
BROWS = ((70, 63, 105, 66, 107), (33, 133)), ((300, 293, 334, 296, 336), (263, 362))
# Points that speech and blinks hardly move: bridge and sides of the nose, forehead, temples, corners of the eyes.
RIGID = np.array([33, 133, 263, 362, 168, 6, 197, 195, 5, 10, 151, 9, 67, 297, 109, 338, 127, 356, 234, 454])


@dataclass(frozen=True)
class Signal:
    """One thing that moves in a face."""

    name: str
    unit: str
    moves: float  # deviation of the source's signal within a clip from which on the clip counts
    extreme: int  # 1: the error is taken where the signal is highest, -1: where it is lowest, 0: nowhere


SIGNALS = {
    s.name: s
    for s in (
        Signal("mouth", "eye distances", 0.02, 1),
        Signal("right eye", "of the eye's width", 0.03, -1),
        Signal("left eye", "of the eye's width", 0.03, -1),
        Signal("brows", "eye distances", 0.012, 0),
        Signal("gaze", "of the eye's width", 0.025, 0),
        Signal("yaw", "degrees", 1.5, 0),
        Signal("pitch", "degrees", 1.5, 0),
        Signal("roll", "degrees", 1.0, 0),
        Signal("jawOpen", "blendshape", 0.05, 1),
        Signal("eyeBlinkLeft", "blendshape", 0.08, 1),
        Signal("eyeBlinkRight", "blendshape", 0.08, 1),
        Signal("mouth, dlib", "eye distances", 0.02, 1),
        Signal("eyes, dlib", "of the eye's width", 0.03, -1),
    )
}


@dataclass(frozen=True)
class WithinClip:
    """One signal of a decoded clip against its source's."""

    slope: float  # 0 where the decoded signal does not change
    correlation: float  # likewise
    deviation: float  # of the source's signal
    extreme_error: float | None  # mean absolute difference in the tenth of frames at the extreme, the signal's unit


def signals_of(landmarks: Landmarks, head: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """Signals [t] of a clip by name, NaN in frames without a face.

    `head` [20, 3]: the RIGID points that rotations are counted from, `mean_head` of the source; None: the clip's own.
    Right and left are the person's own. Without irises there is no gaze, without the third network no blendshapes.
    """
    points = landmarks.points.astype(np.float64)  # [t, n, 3]
    flat = points[..., :2]
    unit = _distance(flat, *EYE_CORNERS)
    found = {"mouth": _distance(flat, 13, 14) / unit}
    for name, (outer, inner, *lids) in EYES.items():
        found[name] = sum(_distance(flat, *pair) for pair in lids) / 2 / _distance(flat, outer, inner)
    heights = [np.linalg.norm(flat[:, brow].mean(1) - flat[:, eye].mean(1), axis=1) for brow, eye in BROWS]
    found["brows"] = sum(heights) / 2 / unit
    if points.shape[1] > max(IRISES):
        found["gaze"] = _gaze(flat)
    found |= dict(zip(("yaw", "pitch", "roll"), _angles(points, mean_head(landmarks) if head is None else head).T))
    if landmarks.blendshapes is not None:
        found |= dict(zip(BLENDSHAPES, landmarks.blendshapes.astype(np.float64).T))
    return found


def mean_head(landmarks: Landmarks) -> np.ndarray | None:
    """RIGID points [20, 3] about their mean in the frame nearest to the clip's mean face; None without any face."""
    heads = landmarks.points[landmarks.found][:, RIGID].astype(np.float64)
    if not len(heads):
        return None
    heads = heads - heads.mean(1, keepdims=True)
    return heads[np.square(heads - heads.mean(0)).sum((1, 2)).argmin()]


def compare_signal(decoded: np.ndarray, source: np.ndarray, extreme: int = 0) -> WithinClip | None:
    """A decoded signal [t] against the source's [t]; None with fewer than LEAST_FRAMES frames that have both."""
    known = np.isfinite(decoded) & np.isfinite(source)
    if known.sum() < LEAST_FRAMES:
        return None
    x, y = source[known], decoded[known]
    dx, dy = x - x.mean(), y - y.mean()
    shared, rest, own = float(dx @ dy), float(dx @ dx), float(dy @ dy)
    moves = rest > 0 and own > 1e-12 * rest  # a constant has rounding noise alone
    error = None
    if extreme:
        chosen = np.argsort(-extreme * x, kind="stable")[: max(1, round(EXTREME_SHARE * len(x)))]
        error = float(np.abs(x - y)[chosen].mean())
    return WithinClip(
        shared / rest if moves else 0.0, shared / np.sqrt(rest * own) if moves else 0.0, float(x.std()), error
    )


def compare_signals(decoded: dict[str, np.ndarray], source: dict[str, np.ndarray]) -> dict[str, WithinClip]:
    """Signals that both have, and that have enough frames, by name."""
    found = {n: compare_signal(decoded[n], source[n], s.extreme) for n, s in SIGNALS.items() if n in decoded}
    return {name: result for name, result in found.items() if result is not None}


def yaw_pitch_roll(rotation: np.ndarray) -> np.ndarray:
    """Angles [3] in degrees of a rotation [3, 3]; axes as in `head_pose`: x right, y down, z to the viewer."""
    r = rotation
    return np.degrees([np.arctan2(r[0, 2], r[2, 2]), np.arcsin(np.clip(-r[1, 2], -1, 1)), np.arctan2(r[1, 0], r[0, 0])])


def _distance(points: np.ndarray, a: int, b: int) -> np.ndarray:
    return np.linalg.norm(points[:, a] - points[:, b], axis=1)


def _gaze(points: np.ndarray) -> np.ndarray:
    """Where the irises are across the eyes, mean of both, 0 in their middle, positive to the right of the picture."""
    parts = []
    for iris, a, b in ((IRISES[0], 33, 133), (IRISES[1], 362, 263)):  # a is left of b in the picture
        across = points[:, b] - points[:, a]
        offset = points[:, iris] - (points[:, a] + points[:, b]) / 2
        parts.append((offset * across).sum(1) / np.square(across).sum(1))
    return sum(parts) / 2


def _angles(points: np.ndarray, head: np.ndarray | None) -> np.ndarray:
    """Yaw, pitch and roll [t, 3] in degrees of points [t, n, 3] from `head`, by least squares (Kabsch 1976)."""
    angles = np.full((len(points), 3), np.nan)
    if head is None:
        return angles
    for i in np.flatnonzero(np.isfinite(points[:, 0, 0])):
        seen = points[i, RIGID] - points[i, RIGID].mean(0)
        u, _, vt = np.linalg.svd((seen * TO_VIEWER).T @ (head * TO_VIEWER))
        r = u @ np.diag([1, 1, np.linalg.det(u @ vt)]) @ vt
        angles[i] = yaw_pitch_roll(r)
    return angles
