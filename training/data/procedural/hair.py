"""Hair as a second shell around the skull: where it grows, its strands and its light."""

from __future__ import annotations

import numpy as np

from bcdcodec.training.data.procedural.face import linear
from bcdcodec.training.data.procedural.geometry import Array, Point, Pose, sample, smooth, unit
from bcdcodec.training.data.procedural.identity import Identity

BOXY = 0.5  # how much fuller than an ellipsoid the shell is at the crown


def shell(i: Identity) -> tuple[Point, Point]:
    """Centre and radii of the hair's ellipsoid; long side hair stretches it downwards."""
    long = 0.45 * float(np.clip((i.hair_side - 0.3) / 1.0, 0.0, 1.0))
    v = i.hair_volume
    centre = (0.0, -0.05 + long, -0.10)
    return centre, (i.width * (1 - 0.4 * i.forehead) + 0.05 + 0.8 * v, 0.97 + v + long, 0.92 + 0.6 * v + 0.25 * long)


def hairline(i: Identity, angle: Array) -> Array:
    """Y above which hair grows, at an angle around the vertical axis (0 front, positive right), head units."""
    around = np.abs(angle)
    fringe = max(i.hair_fringe, i.hair_front)
    front = (
        fringe
        - 0.16 * i.hair_part * np.sin(1.6 * np.clip(angle, -1, 1))
        - i.hair_recess * np.exp(-(((around - 0.55) / 0.28) ** 2))
    )
    side = i.hair_side
    notch = (side + 0.16) * (1.0 - i.hair_covers_ears) * np.exp(-(((around - 1.62) / 0.30) ** 4))
    edge = front + (side - front) * smooth(around, 0.72, 1.18)
    return edge - notch + (i.hair_back - side) * smooth(around, 1.75, 2.2)


def growth(i: Identity, p: Point, grain: Array, sharp: float) -> tuple[Array, Array]:
    """Opacity of hair at points of the shell [n] and its strand noise -1..1 [n]; `sharp` is the edge width."""
    angle = np.arctan2(p[0], p[2] + 0.1)
    bend = i.hair_wave * 0.12 * np.sin(7.0 * p[1] + 3.0 * np.sin(3 * angle))
    h = grain.shape[0]
    u = np.mod((angle + bend) * (h * 0.32) + 2 * h, h - 2)
    strands = sample(grain, u, np.mod((p[1] + 2.0) * (h * (0.05 + 0.10 * i.hair_wave)), h - 2))[0]
    limit = hairline(i, angle) + 0.07 * strands
    return i.hair * smooth(p[1] - limit, sharp, -sharp), strands


def shade(i: Identity, pose: Pose, p: Point, strands: Array, light: Point, inner: bool) -> Array:
    """Linear-light hair colour [3, n] at points of the shell; the inner far side is dark."""
    centre, radii = shell(i)
    nx, ny, nz = unit(tuple((v - c) * (1.0 / (r * r)) for v, c, r in zip(p, centre, radii)))
    nx = nx + 0.30 * strands
    n = unit(pose.to_picture((nx, ny, nz)))
    lambert = np.clip((n[0] * light[0] + n[1] * light[1] + n[2] * light[2] + 0.3) * (1 / 1.3), 0, 1)
    colour = linear(i.hair_colour)[:, None]
    tone = 1.0 + 0.38 * strands
    if inner:
        return colour * (tone * 0.30 * (i.ambient + 0.3 * i.light))
    half = unit((light[0], light[1], light[2] + 1.0))
    facing = n[0] * half[0] + n[1] * half[1] + n[2] * half[2]
    shine = np.clip(1 - np.abs(facing - 0.88) * 6.0, 0, 1) ** 2 * (0.6 + 0.6 * strands) * i.hair_shine
    body = colour * (tone * (i.ambient * (0.85 - 0.25 * n[1]) + i.light * lambert))
    return body + (0.5 * colour + 0.05) * np.clip(shine, 0, None) * i.light
