"""Where a ray through a pixel meets the head: poses, head surface, ellipsoids; all vectorised over pixels.

Rays are orthographic. A ray is `origin + t * direction` in head units (see identity.py); larger t is nearer
to the viewer, so depths of different surfaces compare directly.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, sin

import numpy as np

from bcdcodec.training.data.procedural.identity import Identity

Array = np.ndarray
Point = tuple[Array, Array, Array]  # x, y, z of every pixel

PIVOT = (0.0, 0.5, -0.25)  # where the skull turns on the neck, head units
FLAT = 0.35  # how much flatter than an ellipse a horizontal cut of the face is


def smooth(x: Array, low: float, high: float) -> Array:
    """Smoothstep: 0 at low, 1 at high (low may be the larger one)."""
    k = np.clip((x - low) * (1.0 / (high - low)), 0.0, 1.0)
    return k * k * (3.0 - 2.0 * k)


def cover(distance: Array, pixel: float) -> Array:
    """Share of a pixel inside an edge at a signed distance (positive inside), in the same unit as `pixel`."""
    return np.clip(0.5 + distance * (1.0 / pixel), 0.0, 1.0)


def sample(texture: Array, u: Array, v: Array) -> Array:
    """Bilinear reading of a texture [h, w, c] at u, v in texels, clamped at the border: [c, n]."""
    h, w, c = texture.shape
    u = np.clip(u, 0.0, w - 1.001)
    v = np.clip(v, 0.0, h - 1.001)
    iu, iv = u.astype(np.int32), v.astype(np.int32)
    fu, fv = (u - iu)[:, None], (v - iv)[:, None]
    flat, at = texture.reshape(-1, c), iv * w + iu
    top = flat[at] * (1 - fu) + flat[at + 1] * fu
    low = flat[at + w] * (1 - fu) + flat[at + w + 1] * fu
    return np.ascontiguousarray((top + (low - top) * fv).T)


@dataclass(frozen=True)
class Pose:
    """Placement of the head: picture = place + size * (R (p - PIVOT) + PIVOT)."""

    r: tuple[tuple[float, float, float], ...]  # R, picture axes from head axes
    place: tuple[float, float]  # picture units
    size: float  # picture units in a head unit

    @staticmethod
    def of(identity: Identity, move: dict[str, float]) -> Pose:
        cy, sy, cp, sp = cos(move["yaw"]), sin(move["yaw"]), cos(move["pitch"]), sin(move["pitch"])
        cr, sr = cos(move["roll"]), sin(move["roll"])
        ry = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
        rx = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
        rz = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
        r = tuple(tuple(float(v) for v in row) for row in rz @ ry @ rx)
        place = (identity.head_x + 2.0 * move["tx"], identity.head_y + 2.0 * move["ty"])
        return Pose(r, place, identity.head_size * move["scale"])

    def rays(self, x: Array, y: Array) -> tuple[Point, tuple[float, float, float]]:
        """Origins [n] and the common direction of the rays through picture points x, y [n]."""
        qx = (x - self.place[0]) * (1.0 / self.size) - PIVOT[0]
        qy = (y - self.place[1]) * (1.0 / self.size) - PIVOT[1]
        origin = tuple(self.r[0][i] * qx + self.r[1][i] * qy + PIVOT[i] for i in range(3))
        return origin, self.r[2]

    def project(self, x: float, y: float, z: float) -> tuple[float, float]:
        """Picture place of a point of the head."""
        p = (x - PIVOT[0], y - PIVOT[1], z - PIVOT[2])
        return tuple(
            self.place[i] + self.size * (sum(self.r[i][k] * p[k] for k in range(3)) + PIVOT[i]) for i in range(2)
        )

    def to_picture(self, normal: Point) -> Point:
        return tuple(r[0] * normal[0] + r[1] * normal[1] + r[2] * normal[2] for r in self.r)


def along(origin: Point, direction: tuple[float, float, float], t: Array | float) -> Point:
    return tuple(o + t * d for o, d in zip(origin, direction))


def unit(n: Point) -> Point:
    k = 1.0 / np.sqrt(n[0] * n[0] + n[1] * n[1] + n[2] * n[2] + 1e-9)
    return n[0] * k, n[1] * k, n[2] * k


def ellipsoid(origin: Point, direction, centre, radii, boxy: float = 0.0) -> tuple[Array, Array, Array]:
    """Near hit t, far hit t, and 1 - r^2 (r: distance from the axis in radii, so positive means hit), each [n].

    `boxy` in 0..1 rounds the ellipsoid towards a box in the vertical direction.
    """
    d = [v / r for v, r in zip(direction, radii)]
    o = [(p - c) * (1.0 / r) for p, c, r in zip(origin, centre, radii)]
    a = sum(v * v for v in d)
    b = (o[0] * d[0] + o[1] * d[1] + o[2] * d[2]) * (1.0 / a)
    c = (o[0] * o[0] + o[1] * o[1] + o[2] * o[2] - 1.0) * (1.0 / a)
    inside = b * b - c
    root = np.sqrt(np.maximum(inside, 0.0))
    near, far = -b + root, -b - root
    if boxy == 0.0:
        return near, far, inside * a
    ends = []
    for t, sign in ((near, 1.0), (far, -1.0)):
        for _ in range(3):  # the surface's y changes slowly along a ray, so treating it as known converges
            y2 = np.clip(o[1] + t * d[1], -1.1, 1.1) ** 2
            inside = b * b - c - (boxy / a) * (y2 * y2 - y2)
            t = -b + sign * np.sqrt(np.maximum(inside, 0.0))
        ends.append((t, inside * a))
    return ends[0][0], ends[1][0], np.maximum(ends[0][1], ends[1][1])


@dataclass(frozen=True)
class Skull:
    """The head surface of one identity at one jaw drop: (x/w(y))^2 + g(y) + (z/d(y))^2 = 1, cut a little flat."""

    identity: Identity
    drop: float  # how far the jaw lowers the chin, head units

    def rest_y(self, y: Array) -> Array:
        """Y that a point of the skin has when the jaw is closed."""
        return y - self.drop * smooth(y, self.identity.mouth_y - 0.22, 1.0)

    def _profile(self, y: Array) -> tuple[Array, Array, Array]:
        """1/w, 1/d and g at height y."""
        i = self.identity
        rest = self.rest_y(y) if self.drop > 0 else y
        low = smooth(rest, 0.1, 1.15)
        bone = (rest - 0.2) * 3.0
        w = i.width * (1.0 - i.taper * low - i.forehead * smooth(rest, -0.1, -1.0)) + (i.width * i.cheek) / (
            1.0 + bone**4
        )
        d = 0.80 + 0.80 * i.chin * low
        r2 = rest * rest
        k = 0.5 * i.square
        below = np.where(rest > 0, r2 * (1.0 - k) + k * r2 * r2 * r2, 1.14 * r2 * (0.6 + 0.45 * r2))
        return 1.0 / w, 1.0 / d, below

    def hit(self, origin: Point, direction) -> tuple[Array, Array]:
        """Near hit t and signed inside measure 1 - r^2, each [n]."""
        (ox, oy, oz), (dx, dy, dz) = origin, direction
        i = self.identity
        a = (dx / i.width) ** 2 + dy**2 + (dz / 0.8) ** 2
        t = -(ox * (dx / i.width**2) + oy * dy + oz * (dz / 0.64)) * (1.0 / a)
        inside0 = 1.0 - (ox + t * dx) ** 2 * (1 / i.width**2) - (oy + t * dy) ** 2 - (oz + t * dz) ** 2 * (1 / 0.64)
        t = t + np.sqrt(np.maximum(inside0, 0.0) * (1.0 / a))
        for _ in range(4):
            y = np.clip(oy + t * dy, -1.4, 1.4)
            iw, idp, g = self._profile(y)
            xs = np.clip((ox + t * dx) * iw, -1.2, 1.2) ** 2
            residual = FLAT * (xs * xs - xs) + g - y * y
            iw2, id2 = iw * iw, idp * idp
            a = dx * dx * iw2 + dy * dy + dz * dz * id2
            b = ox * dx * iw2 + oy * dy + oz * dz * id2
            c = ox * ox * iw2 + oy * oy + oz * oz * id2 - 1.0 + residual
            inside = b * b - a * c
            t = (np.sqrt(np.maximum(inside, 0.0)) - b) / a
        return t, inside / a

    def normal(self, p: Point) -> Point:
        """Outward direction of the surface at its points, scaled so that z is the slope's unit."""
        x, y, z = p
        iw, idp, _ = self._profile(y)
        e = 0.02
        up, low = self._profile(y - e), self._profile(y + e)
        value = [(x * q[0]) ** 2 + (z * q[1]) ** 2 + q[2] for q in (low, up)]
        xs = np.clip(x * iw, -1.2, 1.2)
        nx = 2.0 * xs * iw * (1.0 - FLAT + 2.0 * FLAT * xs * xs)
        return unit((nx, (value[0] - value[1]) * (0.5 / e), 2.0 * z * idp * idp))
