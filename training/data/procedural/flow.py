"""Exact correspondence between two pictures of one procedural head: the flow that the decoder's warp should find."""

from __future__ import annotations

import numpy as np

from bcdcodec.training.data.procedural import hair, scene
from bcdcodec.training.data.procedural.face import JAW_DROP
from bcdcodec.training.data.procedural.geometry import Array, Point, Pose, Skull, along, ellipsoid
from bcdcodec.training.data.procedural.identity import Identity
from bcdcodec.training.data.procedural.motion import MOTION_PARAMETERS

_SAME = 0.2  # head units: how far apart two hits of the same point of the head may lie
_MOUTH, _EYES = 3.0, 2.0  # extra weight of the features, which are small but carry the expression


def flow_between(identity: Identity, motion: Array, content_motion: Array, grid: int) -> Array:
    """Where a point of the picture in one motion lies in the picture in another: float32 [t, tc, 4, grid, grid].

    `motion` [t, p], `content_motion` [tc, p]. Channels: displacement x, y from the picture in `motion` to the one
    in `content_motion` (1 is half a picture); weight of that displacement, 0 where the other picture does not show
    the same point or nothing corresponds (the neck, the inside of the mouth); importance of the place for the
    expression, at least 1.
    """
    grid_line = ((np.arange(grid, dtype=np.float32) + 0.5) * (2.0 / grid) - 1.0).astype(np.float32)
    y, x = (v.ravel() for v in np.meshgrid(grid_line, grid_line, indexing="ij"))  # [n]
    contents = [_moves(row) for row in np.asarray(content_motion, np.float32)]
    out = np.zeros((len(motion), len(contents), 4, grid * grid), np.float32)
    for t, row in enumerate(np.asarray(motion, np.float32)):
        move = _moves(row)
        surface = _Surface(identity, move, x, y)
        for c, content in enumerate(contents):
            dx, dy = surface.displacement(content)
            out[t, c] = (
                dx,
                dy,
                surface.known * surface.shown(_Surface(identity, content, x + dx, y + dy)),
                surface.importance,
            )
    return out.reshape(len(motion), len(contents), 4, grid, grid)


def _moves(row: Array) -> dict[str, float]:
    return {name: float(value) for name, value in zip(MOTION_PARAMETERS, row)}


def _drop(move: dict[str, float]) -> float:
    return JAW_DROP * min(max(move["mouth_open"], 0.0), 1.0)


class _Surface:
    """What each point of one picture shows: a point of the skin, of the hair, of the clothes or of the room."""

    def __init__(self, identity: Identity, move: dict[str, float], x: Array, y: Array):
        i = self.identity = identity
        self.x, self.y = x, y
        self.pose = pose = Pose.of(i, move)
        skull = Skull(i, _drop(move))
        origin, direction = pose.rays(x, y)
        depth, inside = skull.hit(origin, direction)
        skin = along(origin, direction, depth)
        self.head = inside > 0
        rest = skull.rest_y(skin[1])
        self.point = [np.array(skin[0]), rest, np.array(skin[2])]  # with the jaw closed
        self.jaw = self.head.copy()  # points that follow the jaw
        if i.hair > 0.3:
            self._grow(origin, direction, depth)
        pixel = 2.0 / 128
        grain = np.zeros((8, 8, 1), np.float32)
        _, cloth = scene.clothes(i, pose, x, y, pixel, grain)
        _, neck = scene.neck(i, pose, skull.drop, x, y, pixel)
        self.cloth = (cloth > 0.5) & ~self.head
        self.known = np.where((neck > 0.5) & ~self.cloth & ~self.head, 0.0, 1.0).astype(np.float32)
        self.importance = np.ones_like(x)
        front = self.jaw & (self.point[2] > 0)
        opening = 0.175 * min(max(move["mouth_open"], 0.0), 1.0)
        lips = skin[1] - i.mouth_y  # of the moving lips, which part around the line of contact
        self.known[front & (np.abs(skin[0]) < 0.9 * i.mouth_half_width) & (lips > -0.04) & (lips < opening + 0.01)] = (
            0.0
        )
        mouth = front & (np.abs(skin[0]) < 1.25 * i.mouth_half_width) & (lips > -0.12) & (lips < opening + 0.14)
        self.importance[mouth] += _MOUTH
        eyes = (
            front
            & (np.abs(np.abs(skin[0]) - i.eye_spacing) < 1.3 * i.eye_width)
            & (np.abs(rest - i.eye_y + 0.04) < 0.17)
        )
        self.importance[eyes] += _EYES

    def _grow(self, origin: Point, direction, depth: Array) -> None:
        """Hair over and behind the skull; it moves with the skull and not with the jaw."""
        i = self.identity
        centre, radii = hair.shell(i)
        near, far, inside = ellipsoid(origin, direction, centre, radii, hair.BOXY)
        grain = np.zeros((8, 8, 1), np.float32)
        for t, where in ((far, (inside > 0) & ~self.head), (near, (inside > 0) & (~self.head | (near > depth - 0.02)))):
            p = along(origin, direction, t)
            alpha, _ = hair.growth(i, p, grain, 0.035)
            at = where & (alpha > 0.5)
            for axis in range(3):
                self.point[axis][at] = p[axis][at]
            self.head |= at
            self.jaw &= ~at

    def shown(self, other: _Surface) -> Array:
        """1 where another picture, sampled at this one's displaced points, shows the same thing, else 0: [n]."""
        apart = sum((a - b) ** 2 for a, b in zip(self.point, other.point))
        same_head = self.head & other.head & (apart < _SAME**2)
        elsewhere = ~self.head & ~other.head & (self.cloth == other.cloth)
        return (same_head | elsewhere).astype(np.float32)

    def displacement(self, content: dict[str, float]) -> tuple[Array, Array]:
        """Displacement x, y [n] to the picture in another motion; 0 for the room."""
        i, pose = self.identity, Pose.of(self.identity, content)
        skull = Skull(i, _drop(content))
        p = self.point
        y = p[1]
        for _ in range(4 if skull.drop > 0 else 0):  # the inverse of rest_y
            y = p[1] + (y - skull.rest_y(y))
        y = np.where(self.jaw, y, p[1])
        to_x, to_y = pose.project(p[0], y, p[2])
        base, content_base = scene.neck_base(i, self.pose), scene.neck_base(i, pose)
        return tuple(
            np.where(self.head, to - here, np.where(self.cloth, there - was, 0.0))
            for to, here, there, was in zip((to_x, to_y), (self.x, self.y), content_base, base)
        )
