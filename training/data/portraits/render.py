"""A person in another expression, gaze and pose: the picture, its exact flow, what is visible, the mouth."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from bcdcodec.training.data.portraits.contour import Opening, opening
from bcdcodec.training.data.portraits.fit import Pose
from bcdcodec.training.data.portraits.head import Head
from bcdcodec.training.data.portraits.mouth import inner_mouth
from bcdcodec.training.data.portraits.person import EYEBALL, FIELD, PAD, SIDE, Person, nearest_outside, to_bytes
from bcdcodec.training.data.portraits.raster import rasterise

PIVOT = np.array([0.0, -9.0, -1.0], np.float32)  # units of the head, where it turns
POSE_UP, POSE_DOWN = 0.95, 0.6  # widths of the face over which the turn of the head fades: hair, neck
EXPRESSION_FADE = 0.35  # the same for its expression
EYE_PLANE = 9.2  # z of the front of the eyeballs
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
    mouth = opening(seen[head.upper_lip, :2], seen[head.lower_lip, :2], SIDE)
    eyes = [opening(seen[head.upper_lids[k], :2], seen[head.lower_lids[k], :2], SIDE) for k in range(2)]
    place, known = _skin_source(head, person, seen, still, surface)

    skin = _sample(person.skin, place)
    visible = _visible(person, surface, place, known)
    for k in range(2):
        _lids(person, k, eyes[k], place, skin, visible)
    forward = _eyes(head, person, pose, motion, eyes, place, skin, visible)
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
    inverse = _inverse(person, seen, small, forward)
    every = cv2.erode(visible.astype(np.uint8), np.ones((2, 2), np.uint8), anchor=(0, 0))[::2, ::2]
    return Frame(
        to_bytes(skin), small.astype(np.float16), inverse.astype(np.float16), every * np.uint8(255),
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


def _sample(picture: np.ndarray, place: np.ndarray) -> np.ndarray:
    """A padded picture at places [h, w, 2] of the crop."""
    return cv2.remap(picture, place + np.float32(PAD), None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)


def _skin_source(head: Head, person: Person, seen, still, surface) -> tuple[np.ndarray, np.ndarray]:
    """Where in the photograph every pixel comes from [SIDE, SIDE, 2], and where the face's mesh says so."""
    known = np.zeros(SIDE * SIDE, bool)
    known[surface.pixel] = True
    # two parts: by the turn of the head (seen to still), by its expression (still to the photograph)
    parts = np.zeros((SIDE * SIDE, 4), np.float32)
    middle = surface.at(still)[:, :2]
    parts[surface.pixel, 2:] = surface.at(person.seen)[:, :2] - middle
    parts[surface.pixel, 0] = middle[:, 0] - surface.pixel % SIDE
    parts[surface.pixel, 1] = middle[:, 1] - surface.pixel // SIDE
    known = known.reshape(SIDE, SIDE)
    parts = parts.reshape(SIDE, SIDE, 4)
    face = known.astype(np.uint8)
    for lines in ((head.upper_lip, head.lower_lip), *zip(head.upper_lids, head.lower_lids, strict=True)):
        way = np.concatenate([seen[lines[0], :2], seen[lines[1][::-1], :2]])
        cv2.fillPoly(face, [way.round().astype(np.int32)], 1)
    spread = parts.reshape(-1, 4)[nearest_outside(~known)]
    away = cv2.distanceTransform(1 - face, cv2.DIST_L2, 5)
    soft, softer = _blurred(spread, 2, 7), _blurred(spread, 4, 24)
    spread += (soft - spread) * np.clip(away / 10, 0, 1)[..., None]
    spread += (softer - spread) * np.clip((away - 8) / 30, 0, 1)[..., None]
    width = person.face_width
    eye_line, chin = seen[head.landmarks[27], 1], seen[head.landmarks[8], 1]
    down = _smooth((_Y - eye_line) / max(chin - eye_line, 1))
    length = width * (POSE_UP + (POSE_DOWN - POSE_UP) * down)
    pose_share = 1 - _smooth(away / length)
    own_share = 1 - _smooth(away / (EXPRESSION_FADE * width * (1 + 0.4 * down)))
    flow = spread[..., :2] * pose_share[..., None] + spread[..., 2:] * own_share[..., None]
    flow[known] = (parts[..., :2] + parts[..., 2:])[known]
    flow[..., 0] += _X
    flow[..., 1] += _Y
    return flow, known


def _blurred(values: np.ndarray, ratio: int, sigma: float) -> np.ndarray:
    """Values [SIDE, SIDE, k] under a Gaussian of `sigma` pixels, at a `ratio`-th of the size."""
    small = cv2.resize(values, (SIDE // ratio, SIDE // ratio), interpolation=cv2.INTER_AREA)
    return cv2.resize(cv2.GaussianBlur(small, (0, 0), sigma / ratio), (SIDE, SIDE))


def _smooth(x: np.ndarray) -> np.ndarray:
    x = np.clip(x, 0, 1)
    return x * x * (3 - 2 * x)


def _visible(person: Person, surface, place: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Whether the photograph shows the surface that the picture shows [SIDE, SIDE]."""
    x, y = place[..., 0], place[..., 1]
    visible = (x >= 0) & (x <= SIDE - 1) & (y >= 0) & (y <= SIDE - 1)
    depth = surface.at(person.seen[:, 2])
    column, row = (np.clip(np.rint(v[known]), 0, SIDE - 1).astype(int) for v in (x, y))
    shown = person.depth[row, column]
    visible[known] &= depth > shown - SAME_SURFACE * person.fit.pose.scale
    filled = cv2.remap(person.filled, place, None, cv2.INTER_LINEAR)
    return visible & (filled < 0.1)


def _lids(person: Person, k: int, hole: Opening, place: np.ndarray, skin: np.ndarray, visible: np.ndarray) -> None:
    """Skin on a lid that has come down further than the photograph shows it, and the line of lashes on its edge."""
    eye, photographed = person.eyes[k], person.openings[k]
    closed = 1 - hole.gap / max(photographed.gap, 1)
    if closed < 0.08:
        return
    box = hole.box
    at = place[box]
    down = np.abs(np.gradient(at[..., 1], axis=0))
    reach = 1.2 * max(photographed.gap, 4)
    near = np.clip((hole.above + reach) / 2, 0, 1) * np.clip(1 - hole.above, 0, 1)
    near *= np.clip(hole.along * 8 + 0.5, 0, 1) * np.clip((1 - hole.along) * 8 + 0.5, 0, 1)
    share = cv2.GaussianBlur(np.clip((0.55 - down) / 0.3, 0, 1).astype(np.float32), (0, 0), 0.8) * near
    lid = _sample(person.lid, at)
    skin[box] += (lid - skin[box]) * share[..., None]
    line = np.exp(-(((hole.above + 0.4) / 0.9) ** 2)) * np.clip(closed * 1.5, 0, 1) * 0.65
    line *= np.clip(hole.along * 6, 0, 1) * np.clip((1 - hole.along) * 6, 0, 1)
    skin[box] += (eye.lash - skin[box]) * line[..., None]
    visible[box] &= (share < 0.1) & (line < 0.15)


def _plane(pose: Pose, other: Pose) -> np.ndarray:
    """The affine map [2, 3] of the plane of the eyeballs' fronts from one pose's picture to another's."""
    points = np.array([[0, 3.5, EYE_PLANE], [4, 3.5, EYE_PLANE], [0, 7, EYE_PLANE]], np.float32)
    return cv2.getAffineTransform(
        pose.project(points)[:, :2].astype(np.float32), other.project(points)[:, :2].astype(np.float32)
    )


def _eyes(head: Head, person: Person, pose: Pose, motion: Motion, holes, place, skin, visible) -> np.ndarray:
    """Draws the eyeballs in their openings; returns the map [2, 3] of the eyes from the photograph to the picture."""
    back, forward = _plane(pose, person.fit.pose).astype(np.float32), _plane(person.fit.pose, pose)
    radius = EYEBALL * person.fit.pose.scale
    move = np.float32([np.sin(motion.gaze[0]) * radius, np.sin(motion.gaze[1]) * radius])
    for k, hole in enumerate(holes):
        if hole.gap < 0.3:
            continue
        eye, box = person.eyes[k], hole.box
        grid = np.stack([_X[box], _Y[box]], -1)
        source = grid @ back[:, :2].T + back[:, 2]
        moved = source - move
        away = np.linalg.norm(moved + PAD - eye.iris, axis=-1)
        still = float(np.abs(move).max()) < 0.3
        if still:
            colour = _sample(eye.ball, source)
            disc = np.zeros(away.shape, bool)
        else:
            share = np.clip(eye.radius + 0.7 - away, 0, 1)[..., None]
            colour = _sample(eye.white, source) * (1 - share) + _sample(eye.ball, moved) * share
            disc = (away < eye.radius + 1.5) | (np.linalg.norm(source + PAD - eye.iris, axis=-1) < eye.radius + 1.5)
        # the upper lid's shadow where it is lower than it was
        photographed = person.openings[k]
        lower = np.clip(1 - hole.gap / max(photographed.gap, 1), 0, 1)
        colour = colour * (1 - 0.4 * lower * np.exp(-np.maximum(hole.above, 0) / 1.5))[..., None]
        cover = hole.cover[..., None]
        skin[box] = skin[box] * (1 - cover) + colour * cover
        inside = hole.cover > 0.5
        place[box][inside] = source[inside]
        shown = np.zeros((SIDE, SIDE), np.float32)
        shown[photographed.box] = np.minimum(photographed.above, photographed.below) * (photographed.cover > 0)
        fine = (cv2.remap(shown, source, None, cv2.INTER_LINEAR) > 0.3) & ~disc & (hole.cover > 0.98)
        fine &= lower * np.exp(-np.maximum(hole.above, 0) / 1.5) < 0.2
        part = visible[box]
        part[hole.cover > 0.02] = False
        part |= fine
    return forward


def _inverse(person: Person, seen: np.ndarray, flow: np.ndarray, eyes: np.ndarray) -> np.ndarray:
    """Where every pixel of the photograph goes [FIELD, FIELD, 2], widths of the picture."""
    y, x = np.mgrid[:FIELD, :FIELD].astype(np.float32)
    inverse = -flow
    pixels = flow * FIELD
    for _ in range(6):  # what lies outside the mesh: the fixed point
        at = np.stack([x, y], -1) + inverse * FIELD
        inverse = -cv2.remap(pixels, at, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE) / FIELD
    grid = person.grid
    target = (grid.at(seen)[:, :2] + 0.5) / SIDE
    flat = inverse.reshape(-1, 2)
    flat[grid.pixel, 0] = target[:, 0] - (grid.pixel % FIELD + 0.5) / FIELD
    flat[grid.pixel, 1] = target[:, 1] - (grid.pixel // FIELD + 0.5) / FIELD
    ratio = SIDE // FIELD
    for hole in person.openings:
        open_ = np.zeros((SIDE, SIDE), np.float32)
        open_[hole.box] = hole.cover
        r, c = np.nonzero(cv2.resize(open_, (FIELD, FIELD), interpolation=cv2.INTER_AREA) > 0.5)
        middle = np.stack([c, r], 1).astype(np.float32) * ratio + (ratio - 1) / 2
        inverse[r, c] = (middle @ eyes[:, :2].T + eyes[:, 2] - middle) / SIDE
    return inverse
