"""A person in another expression, gaze and pose: the picture, its exact flow, what is visible, the mouth."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from bcdcodec.training.data.portraits.contour import opening
from bcdcodec.training.data.portraits.eye_drawing import draw_eyeballs, draw_lid
from bcdcodec.training.data.portraits.fit import Pose
from bcdcodec.training.data.portraits.flow import inverse, source
from bcdcodec.training.data.portraits.head import Head
from bcdcodec.training.data.portraits.mouth import inner_mouth
from bcdcodec.training.data.portraits.person import Person
from bcdcodec.training.data.portraits.pictures import FIELD, SIDE, sample, to_bytes
from bcdcodec.training.data.portraits.raster import Surface, rasterise

PIVOT = np.array([0.0, -9.0, -1.0], np.float32)  # units of the head, where it turns
JUMP = 2.5  # pixels of the photograph between neighbours, from which on they are two surfaces
SAME_SURFACE = 0.25  # units of the head, by which a source may lie behind what the photograph shows

_Y, _X = np.mgrid[:SIDE, :SIDE].astype(np.float32)


@dataclass(frozen=True)
class Motion:
    """What is asked for, relative to the photograph where it says so."""

    expression: np.ndarray  # float32 [57] weights, 0 to 1
    gaze: np.ndarray  # float32 [2] radians to the picture's right and down, added to the photograph's
    turn: np.ndarray  # float32 [3] rotation vector, radians, added to the photograph's (axes of the head)
    shift: np.ndarray  # float32 [2] of the neck, widths of the picture
    log_scale: float


@dataclass(frozen=True)
class Frame:
    """What is stored of one picture."""

    picture: np.ndarray  # uint8 [SIDE, SIDE, 3]
    flow: np.ndarray  # float16 [FIELD, FIELD, 2] to the photograph, widths of the picture
    inverse: np.ndarray  # float16 [FIELD, FIELD, 2] from the photograph
    visible: np.ndarray  # uint8 [FIELD, FIELD] 0 or 255
    mouth: np.ndarray  # uint8 [FIELD, FIELD] coverage


def rotation(turn: np.ndarray) -> np.ndarray:
    """The matrix [3, 3] of a rotation vector, radians."""
    return cv2.Rodrigues(np.asarray(turn, np.float64))[0]


def turned(pose: Pose, motion: Motion) -> Pose:
    """The photograph's pose moved: the head turns about the neck."""
    matrix = rotation(motion.turn) @ pose.rotation
    scale = pose.scale * float(np.exp(motion.log_scale))
    neck = pose.project(PIVOT[None])[0, :2] + motion.shift * SIDE
    middle = scale * (matrix @ PIVOT)[:2]
    return Pose(matrix, scale, np.array([neck[0] - middle[0], neck[1] + middle[1]]))


def render(head: Head, person: Person, motion: Motion) -> Frame:
    """One picture of a person."""
    weights = motion.expression - person.fit.expression
    for k, name in enumerate(("eyeBlink_R", "eyeBlink_L")):
        weights[head.names.index(name)] *= person.eyes[k].blink_gain
    moved = np.tensordot(weights.astype(np.float32), head.expression, 1)
    shape = person.shape + (moved if person.stiff is None else moved * person.stiff)
    pose = turned(person.fit.pose, motion)
    seen = pose.project(shape)
    still = person.fit.pose.project(shape)  # the same face in the photograph's pose
    surface = rasterise(seen, person.face, SIDE, SIDE)
    mouth, *eyes = (opening(seen[upper, :2], seen[lower, :2], SIDE) for upper, lower in head.contour_pairs)
    place, known = source(head, person, seen, still, surface)

    skin = sample(person.skin.picture, place)
    visible = _visible(person, surface, place, known)
    for k in range(2):
        draw_lid(person, k, eyes[k], place, skin, visible)
    forward = draw_eyeballs(person, pose, motion.gaze, eyes, place, skin, visible)
    cover = np.zeros((SIDE, SIDE), np.float32)
    if mouth.gap > 0.3:
        cover[mouth.box] = mouth.cover
        inside = inner_mouth(head, person, seen, pose, mouth)
        share = mouth.cover[..., None]
        skin[mouth.box] = skin[mouth.box] * (1 - share) + inside * share
        visible &= cover < 0.02
    visible &= ~_soften_edges(skin, place)
    flow = (place - np.stack([_X, _Y], -1)) / SIDE
    small = cv2.resize(flow, (FIELD, FIELD), interpolation=cv2.INTER_AREA)
    back = inverse(person, seen, small, forward)
    every = cv2.erode(visible.astype(np.uint8), np.ones((2, 2), np.uint8), anchor=(0, 0))[::2, ::2]
    return Frame(
        to_bytes(skin), small.astype(np.float16), back.astype(np.float16), every * np.uint8(255),
        to_bytes(cv2.resize(cover, (FIELD, FIELD), interpolation=cv2.INTER_AREA) * 255),
    )  # fmt: skip


def _soften_edges(picture: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Antialiases where one surface ends before another: one sample a pixel leaves steps. Returns where [h, w]."""
    jump = np.zeros((SIDE, SIDE), np.float32)
    jump[:, 1:] = np.abs(np.diff(place[..., 0], axis=1)) + np.abs(np.diff(place[..., 1], axis=1))
    jump[1:] = np.maximum(jump[1:], np.abs(np.diff(place[..., 0], axis=0)) + np.abs(np.diff(place[..., 1], axis=0)))
    edge = cv2.GaussianBlur(np.clip((jump - JUMP) / JUMP, 0, 1), (3, 3), 0.8) * 1.5
    rows, columns = np.nonzero(edge > 0.01)
    if len(rows):
        soft = cv2.GaussianBlur(picture, (3, 3), 0.8)
        share = np.clip(edge[rows, columns], 0, 1)[:, None]
        picture[rows, columns] += (soft[rows, columns] - picture[rows, columns]) * share
    return edge > 0.01


def _visible(person: Person, surface: Surface, place: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Whether the photograph shows the surface that the picture shows [SIDE, SIDE]."""
    x, y = place[..., 0], place[..., 1]
    visible = (x >= 0) & (x <= SIDE - 1) & (y >= 0) & (y <= SIDE - 1)
    depth = surface.at(person.seen[:, 2])
    column, row = (np.clip(np.rint(v[known]), 0, SIDE - 1).astype(int) for v in (x, y))
    shown = person.depth[row, column]
    visible[known] &= depth > shown - SAME_SURFACE * person.fit.pose.scale
    filled = cv2.remap(person.skin.filled, place, None, cv2.INTER_LINEAR)
    return visible & (filled < 0.1)
