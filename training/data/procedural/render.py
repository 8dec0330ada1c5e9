"""Drawing an identity in motion: layers from the room to the glasses, one frame at a time."""

from __future__ import annotations

import numpy as np

from bcdcodec.training.data.procedural import hair, scene
from bcdcodec.training.data.procedural.face import JAW_DROP, Paint, brow, eye, linear, mouth
from bcdcodec.training.data.procedural.geometry import (
    Array,
    Point,
    Pose,
    Skull,
    along,
    cover,
    ellipsoid,
    sample,
    smooth,
    unit,
)
from bcdcodec.training.data.procedural.identity import Identity
from bcdcodec.training.data.procedural.motion import MOTION_PARAMETERS
from bcdcodec.training.data.procedural.texture import MAP_X, MAP_Y, map_place, noise, skin_map

_STEPS = 10  # search steps along the ray through the nose


def render(identity: Identity, motion: Array, size: int = 128) -> Array:
    """Pictures of one person following a motion: uint8 [t, size, size, 3], sRGB.

    `motion` is float [t, p] in the order of MOTION_PARAMETERS. Deterministic; every size shows the same picture.
    Raises ValueError for another number of parameters.
    """
    motion = np.asarray(motion, np.float32)
    if motion.ndim != 2 or motion.shape[1] != len(MOTION_PARAMETERS):
        raise ValueError(f"motion has shape {motion.shape}, expected (frames, {len(MOTION_PARAMETERS)})")
    studio = _Studio(identity, size)
    frames = [studio.frame({n: float(v) for n, v in zip(MOTION_PARAMETERS, row)}) for row in motion]
    return np.stack(frames) if frames else np.zeros((0, size, size, 3), np.uint8)


class _Studio:
    """Everything of an identity that no frame changes, and the drawing of one frame."""

    def __init__(self, identity: Identity, size: int):
        self.identity, self.size, self.pixel = identity, size, 2.0 / size
        line = ((np.arange(size, dtype=np.float32) + 0.5) * self.pixel - 1.0).astype(np.float32)
        self.y, self.x = np.meshgrid(line, line, indexing="ij")  # [h, w]
        rng = np.random.default_rng(identity.texture_seed + 2)
        self.grain = (0.6 * noise(rng, 256, 64) + 0.4 * noise(rng, 256, 128))[..., None].astype(np.float32)
        self.skin = skin_map(identity)
        self.room = scene.background(identity, self.x, self.y, self.pixel)
        self.light = tuple(float(v) for v in unit((identity.light_x, identity.light_y, 1.0)))

    def frame(self, move: dict[str, float]) -> Array:
        i, pose = self.identity, Pose.of(self.identity, move)
        skull = Skull(i, JAW_DROP * min(max(move["mouth_open"], 0.0), 1.0))
        picture = self.room.copy()  # [3, h, w]

        box = self._box(pose, 1.45)
        back = self._flat(box)
        origin, direction = pose.rays(*back)
        centre, radii = hair.shell(i)
        near, far, inside = ellipsoid(origin, direction, centre, radii, hair.BOXY)
        if i.hair > 0:
            at = np.nonzero(inside > -0.05)[0]
            p = along(tuple(o[at] for o in origin), direction, far[at])
            alpha, strands = hair.growth(i, p, self.grain, 0.05)
            alpha = alpha * self._hair_edge(pose, inside[at], strands)
            self._lay(picture, box, at, hair.shade(i, pose, p, strands, self.light, True), alpha)

        low = (slice(int(self.size * 0.55), self.size), slice(0, self.size))
        x, y = self._flat(low)
        everywhere = np.arange(x.size)
        self._lay(picture, low, everywhere, *scene.neck(i, pose, skull.drop, x, y, self.pixel))
        self._lay(picture, low, everywhere, *scene.clothes(i, pose, x, y, self.pixel, self.grain))

        t_head, inside_head = skull.hit(origin, direction)
        hit = inside_head > 0
        depth = np.where(hit, t_head, -9.0)
        self._ears(picture, box, pose, origin, direction, depth)
        self._head(picture, box, pose, skull, origin, direction, t_head, inside_head, move)
        if i.hair > 0:
            at = np.nonzero((inside > -0.05) & (near > depth - 0.02))[0]
            p = along(tuple(o[at] for o in origin), direction, near[at])
            alpha, strands = hair.growth(i, p, self.grain, 0.035)
            alpha = alpha * self._hair_edge(pose, inside[at], strands) * smooth(near[at] - depth[at], -0.02, 0.01)
            alpha = alpha * (
                1.0 - smooth(p[1], 0.6, 0.95) * smooth(p[2], 0.0, -0.35)
            )  # back hair falls behind the shoulders
            self._lay(picture, box, at, hair.shade(i, pose, p, strands, self.light, False), alpha)
        if i.glasses > 0:
            self._glasses(picture, box, pose, origin, direction, depth)

        picture = picture * linear(i.light_colour)[:, None, None] ** 0.5
        picture = np.where(picture > 0.7, 1.0 - 0.3 * np.exp((0.7 - picture) * (1 / 0.3)), picture)  # soft shoulder
        coded = np.sqrt(np.clip(picture, 0.0, 1.0)) * 255.0 + 0.5
        return np.ascontiguousarray(coded.astype(np.uint8).transpose(1, 2, 0))

    def _box(self, pose: Pose, reach: float):
        """Slices of the picture that hold the head, its hair and locks down to two head units."""
        cx, cy = pose.project(0.0, 0.0, 0.0)
        edges = [cy - reach * pose.size, cy + 2.3 * pose.size, cx - reach * pose.size, cx + reach * pose.size]
        r0, r1, c0, c1 = (int(np.clip(round((e + 1.0) * 0.5 * self.size), 0, self.size)) for e in edges)
        return slice(r0, r1), slice(c0, c1)

    def _flat(self, box) -> tuple[Array, Array]:
        return self.x[box].ravel(), self.y[box].ravel()

    def _lay(self, picture: Array, box, at: Array, colour: Array, alpha: Array) -> None:
        """Composite colour [3, n] with opacity alpha [n] on the pixels `at` of a box, in place."""
        part = picture[(slice(None), *box)]
        flat = part.reshape(3, -1)
        under = flat[:, at]
        flat[:, at] = under + (colour - under) * alpha
        part[...] = flat.reshape(part.shape)

    def _hair_edge(self, pose: Pose, inside: Array, strands: Array) -> Array:
        return cover((inside + 0.03 * strands) * 0.4, self.pixel / pose.size)

    def _light_on(self, n: Point, gloss: Array) -> tuple[Array, Array]:
        """Diffuse light [3, n] (red reaches further round, as in skin) and highlights [n]."""
        i, (lx, ly, lz) = self.identity, self.light
        lambert = n[0] * lx + n[1] * ly + n[2] * lz
        ambient = i.ambient * (0.80 - 0.22 * n[1]) * (0.72 + 0.28 * np.clip(n[2], 0, 1))
        wraps = [np.clip((lambert + w) * (1.0 / (1.0 + w)), 0, None) for w in (0.42, 0.26, 0.20)]
        diffuse = np.stack([ambient + i.light * w for w in wraps])
        hx, hy, hz = unit((lx, ly, lz + 1.0))
        facing = np.clip(n[0] * hx + n[1] * hy + n[2] * hz, 0, 1)
        f4 = (facing * facing) ** 2
        f16 = (f4 * f4) ** 2
        return diffuse, i.light * i.gloss * gloss * (0.10 * f4 * f4 + 0.16 * f16 * f16)

    def _ears(self, picture, box, pose, origin, direction, depth) -> None:
        i = self.identity
        for side in (-1.0, 1.0):
            centre = (side * (i.width * 0.99), i.eye_y + 0.14, -0.08)
            radii = (0.075 * i.ear, 0.20 * i.ear, 0.12 * i.ear)
            t, _, inside = ellipsoid(origin, direction, centre, radii)
            at = np.nonzero(inside > -0.4)[0]
            p = along(tuple(o[at] for o in origin), direction, t[at])
            local = tuple((v - c) * (1 / r) for v, c, r in zip(p, centre, radii))
            n = unit(pose.to_picture(tuple(v * (1 / r) for v, r in zip(local, radii))))
            diffuse, shine = self._light_on(n, 0.4)
            bowl = smooth(local[1] ** 2 * 1.3 + (local[2] - 0.1) ** 2 * 1.8, 0.75, 0.2)
            albedo = linear(i.skin)[:, None] * np.array([0.95, 0.80, 0.78], np.float32)[:, None] * (1 - 0.5 * bowl)
            alpha = cover(inside[at] * (0.08 * i.ear), self.pixel / pose.size) * smooth(t[at] - depth[at], -0.03, 0.02)
            self._lay(picture, box, at, albedo * diffuse + shine, alpha)

    def _nose(self, p: Point, n: Point, direction) -> Point:
        """Points moved along their rays onto the relief of the nose, which hides what is behind it."""
        i = self.identity
        facing = n[0] * direction[0] + n[1] * direction[1] + n[2] * direction[2]
        reach = n[2] / np.maximum(facing, 0.25)  # ray length for one unit of relief
        near = np.nonzero(
            (np.abs(p[0]) < 0.5) & (p[1] > i.eye_y - 0.25) & (p[1] < i.eye_y + i.nose_length + 0.4) & (p[2] > 0)
        )[0]
        if not len(near):
            return p
        q = tuple(v[near] for v in p)
        levels = np.linspace(i.nose_height + 0.05, -0.10, _STEPS, dtype=np.float32)
        found = np.full(len(near), levels[-1])
        open_ray, last, previous = np.ones(len(near), bool), None, levels[0]
        for level in levels:
            s = along(q, direction, level * reach[near])
            over = sample(self.skin[..., 2:3], *map_place(s[0], s[1]))[0] - level  # positive: below the skin
            if last is not None:
                cross = open_ray & (over >= 0)
                k = last / np.minimum(last - over, -1e-6)
                found = np.where(cross, previous + (level - previous) * np.clip(k, 0, 1), found)
                open_ray &= ~cross
            last, previous = over, level
        moved = [v.copy() for v in p]
        for axis in range(3):
            moved[axis][near] = q[axis] + direction[axis] * (found * reach[near])
        return tuple(moved)

    def _head(self, picture, box, pose, skull, origin, direction, t, inside, move) -> None:
        i, px = self.identity, self.pixel / pose.size
        at = np.nonzero(inside > -0.06)[0]
        alpha = cover(inside[at] * 0.36, px)
        base = along(tuple(o[at] for o in origin), direction, t[at])
        n = skull.normal(base)
        p = self._nose((base[0], skull.rest_y(base[1]), base[2]), n, direction)
        x, rest = p[0], p[1]
        y = rest + (base[1] - skull.rest_y(base[1]))
        front = smooth(base[2], 0.0, 0.25) * smooth(np.abs(x), MAP_X, 0.9 * MAP_X) * (np.abs(rest) < MAP_Y)
        slope_x, slope_y, _, red, green, blue, gloss, density = sample(self.skin, *map_place(x, rest))
        factors = 1.0 + (np.stack([red, green, blue]) - 1.0) * front
        albedo = linear(i.skin)[:, None] * factors
        paint = Paint(x, y, albedo, gloss * front, slope_x * front, slope_y * front, px)

        whiskers = np.clip(density * front, 0, 1)
        albedo += (linear(i.hair_colour)[:, None] * 0.6 * (1 + 0.3 * (gloss - 0.5)) - albedo) * (whiskers * 0.92)
        paint.gloss *= 1 - 0.8 * whiskers
        place = self.grain.shape[0]
        hairs = sample(self.grain, np.mod(x * 80 + 128, place - 2), np.mod(rest * 60 + 128, place - 2))[0]
        lid = {-1: (move["blink_left"], move["brow_left"]), 1: (move["blink_right"], move["brow_right"])}
        for side, (blink, lift) in lid.items():
            eye(paint, i, side, min(max(blink, 0.0), 1.0), (move["gaze_x"], move["gaze_y"]), lift)
            brow(paint, i, side, lift, hairs)
        mouth(paint, i, min(max(move["mouth_open"], 0.0), 1.0), move["mouth_width"], move["smile"])

        n = (n[0] - n[2] * paint.slope_x, n[1] - n[2] * paint.slope_y, n[2])
        n = unit(pose.to_picture(unit(n)))
        diffuse, shine = self._light_on(n, paint.gloss)
        angle = np.arctan2(base[0], base[2] + 0.1)
        shadow = 1.0
        if i.hair > 0:
            around = [
                smooth(base[1] - hair.hairline(i, angle + turn), 0.16, -0.05) for turn in (-0.16, -0.05, 0.05, 0.16)
            ]
            shadow = 1.0 - 0.09 * sum(around)
        side = -1.0 if i.light_x > 0 else 1.0
        tip = i.eye_y + i.nose_length
        cast = np.exp(-(((x - side * 1.35 * i.nose_width) / 0.09) ** 2) - ((y - tip + 0.04) / 0.13) ** 2)
        shadow = shadow * (1.0 - 0.35 * min(abs(i.light_x), 1.0) * cast * front)
        self._lay(picture, box, at, paint.albedo * (diffuse * shadow) + shine * shadow, alpha)

    def _glasses(self, picture, box, pose, origin, direction, depth) -> None:
        """Rims on a plane in front of the eyes, temples along the sides of the head."""
        i, px = self.identity, self.pixel / pose.size
        plane, bend, t = 0.84, 0.30, 0.0
        for _ in range(3):  # the frame bows around the face
            across = np.clip(origin[0] + t * direction[0], -0.9, 0.9)
            t = (plane - bend * across * across - origin[2]) * (1.0 / direction[2])
        x, y = origin[0] + t * direction[0], origin[1] + t * direction[1] - i.eye_y - 0.02
        at = np.nonzero((np.abs(x) < 0.8) & (np.abs(y) < 0.35))[0]
        x, y = x[at], y[at]
        ax = np.abs(x)
        half, tall = i.glasses_size, i.glasses_size * (0.66 + 0.3 * i.glasses_round)
        corner = tall * (0.35 + 0.65 * i.glasses_round)
        qx, qy = np.abs(ax - i.eye_spacing - 0.01) - (half - corner), np.abs(y) - (tall - corner)
        outside = np.hypot(np.maximum(qx, 0), np.maximum(qy, 0)) + np.minimum(np.maximum(qx, qy), 0) - corner
        rim = i.glasses_thick - np.abs(outside)
        bridge = np.minimum(i.glasses_thick * 0.9 - np.abs(y + 0.05 - 0.9 * x * x), i.eye_spacing - half + 0.02 - ax)
        hinge = np.minimum(
            i.glasses_thick - np.abs(y + 0.4 * tall), np.minimum(ax - i.eye_spacing - half, i.width * 0.97 - ax)
        )
        glass = cover(-outside, px) * 0.06
        self._lay(picture, box, at, np.full((3, len(at)), 0.9, np.float32), glass * smooth(y + 0.5 * x, 0.1, -0.25))
        frame = cover(np.maximum(np.maximum(rim, bridge), hinge), 1.2 * px)
        colour = linear(i.glasses_colour)[:, None] * (0.75 + 0.5 * smooth(y, tall, -tall))
        self._lay(picture, box, at, colour, frame)
        for side in (-1.0, 1.0):
            wall = side * i.width * 0.97
            if abs(direction[0]) < 0.05 or side * direction[0] < 0:
                continue
            t = (wall - origin[0]) * (1.0 / direction[0])
            y, z = origin[1] + t * direction[1] - i.eye_y - 0.02 + 0.4 * tall, origin[2] + t * direction[2]
            bar = np.minimum(i.glasses_thick * 0.9 - np.abs(y), np.minimum(z + 0.05, plane - bend * wall * wall - z))
            at = np.nonzero((bar > -px) & (t > depth - 0.1))[0]
            self._lay(picture, box, at, linear(i.glasses_colour)[:, None], cover(bar[at], 1.2 * px))
