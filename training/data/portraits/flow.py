"""Flow between the photograph and a picture: exact on the face, spread over hair and background, and its inverse."""

from __future__ import annotations

import cv2
import numpy as np

from bcdcodec.training.data.portraits.head import Head
from bcdcodec.training.data.portraits.person import Person
from bcdcodec.training.data.portraits.pictures import FIELD, SIDE, nearest_outside
from bcdcodec.training.data.portraits.raster import Surface

POSE_UP, POSE_DOWN = 0.95, 0.6  # widths of the face over which the turn of the head fades: hair, neck
EXPRESSION_FADE = 0.35  # the same for its expression

_Y, _X = np.mgrid[:SIDE, :SIDE].astype(np.float32)


def source(
    head: Head, person: Person, seen: np.ndarray, still: np.ndarray, surface: Surface
) -> tuple[np.ndarray, np.ndarray]:
    """Where in the photograph every pixel comes from [SIDE, SIDE, 2], and where the face's mesh says so.

    `seen` [v, 3]: vertices in the picture; `still`: the same shape in the photograph's pose; `surface`: what is seen.
    """
    known = np.zeros(SIDE * SIDE, np.float32)
    known[surface.pixel] = 1
    # two parts: by the turn of the head (seen to still), by its expression (still to the photograph)
    parts = np.zeros((SIDE * SIDE, 4), np.float32)
    middle = surface.at(still)[:, :2]
    parts[surface.pixel, 2:] = surface.at(person.seen)[:, :2] - middle
    parts[surface.pixel, 0] = middle[:, 0] - surface.pixel % SIDE
    parts[surface.pixel, 1] = middle[:, 1] - surface.pixel // SIDE
    known, parts = known.reshape(SIDE, SIDE), parts.reshape(SIDE, SIDE, 4)
    flow = _around(head, person, seen, known, parts)
    mesh = known > 0
    flow[mesh] = parts[mesh, :2] + parts[mesh, 2:]
    flow[..., 0] += _X
    flow[..., 1] += _Y
    return flow, mesh


def _around(head: Head, person: Person, seen: np.ndarray, known: np.ndarray, parts: np.ndarray) -> np.ndarray:
    """The flow [SIDE, SIDE, 2] outside the mesh: what it is at its edge, smoother with distance, and fading.

    `parts` [SIDE, SIDE, 4]: flow by pose and by expression, where `known` is 1. At half the size: it is smooth.
    """
    half = (FIELD, FIELD)
    share = cv2.resize(known, half, interpolation=cv2.INTER_AREA)
    small = cv2.resize(parts, half, interpolation=cv2.INTER_AREA) / np.maximum(share, 0.25)[..., None]
    ratio = SIDE / FIELD
    face = (share > 0).astype(np.uint8)
    spread = small.reshape(-1, 4)[nearest_outside(share == 0)]
    for upper, lower in head.contour_pairs:
        way = np.concatenate([seen[upper, :2], seen[lower[::-1], :2]])
        cv2.fillPoly(face, [(way / ratio).round().astype(np.int32)], 1)
    away = cv2.distanceTransform(1 - face, cv2.DIST_L2, 5)[..., None] * ratio  # pixels of the picture
    soft, softer = _blurred(spread, 1, 7 / ratio), _blurred(spread, 2, 24 / ratio)
    spread += (soft - spread) * np.clip(away / 10, 0, 1)
    spread += (softer - spread) * np.clip((away - 8) / 30, 0, 1)
    eye_line, chin = seen[head.landmarks[27], 1], seen[head.landmarks[8], 1]
    rows = np.arange(FIELD, dtype=np.float32)[:, None, None] * ratio + (ratio - 1) / 2
    down = _smooth((rows - eye_line) / max(float(chin - eye_line), 1.0))
    by_pose = 1 - _smooth(away / (person.face_width * (POSE_UP + (POSE_DOWN - POSE_UP) * down)))
    by_expression = 1 - _smooth(away / (EXPRESSION_FADE * person.face_width * (1 + 0.4 * down)))
    return cv2.resize(spread[..., :2] * by_pose + spread[..., 2:] * by_expression, (SIDE, SIDE))


def _blurred(values: np.ndarray, ratio: int, sigma: float) -> np.ndarray:
    """Values [h, w, k] under a Gaussian of `sigma` pixels, worked out at a `ratio`-th of the size."""
    h, w = values.shape[:2]
    small = cv2.resize(values, (w // ratio, h // ratio), interpolation=cv2.INTER_AREA)
    return cv2.resize(cv2.GaussianBlur(small, (0, 0), sigma / ratio), (w, h))


def _smooth(x: np.ndarray) -> np.ndarray:
    x = np.clip(x, 0, 1)
    return x * x * (3 - 2 * x)


def inverse(person: Person, seen: np.ndarray, flow: np.ndarray, eyes: np.ndarray) -> np.ndarray:
    """Where every pixel of the photograph goes [FIELD, FIELD, 2], widths of the picture."""
    y, x = np.mgrid[:FIELD, :FIELD].astype(np.float32)
    back = -flow
    pixels = flow * FIELD
    for _ in range(6):  # what lies outside the mesh: the fixed point
        at = np.stack([x, y], -1) + back * FIELD
        back = -cv2.remap(pixels, at, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE) / FIELD
    grid = person.grid
    target = (grid.at(seen)[:, :2] + 0.5) / SIDE
    flat = back.reshape(-1, 2)
    flat[grid.pixel, 0] = target[:, 0] - (grid.pixel % FIELD + 0.5) / FIELD
    flat[grid.pixel, 1] = target[:, 1] - (grid.pixel // FIELD + 0.5) / FIELD
    ratio = SIDE // FIELD
    for hole in person.openings:
        open_ = np.zeros((SIDE, SIDE), np.float32)
        open_[hole.box] = hole.cover
        r, c = np.nonzero(cv2.resize(open_, (FIELD, FIELD), interpolation=cv2.INTER_AREA) > 0.5)
        middle = np.stack([c, r], 1).astype(np.float32) * ratio + (ratio - 1) / 2
        back[r, c] = (middle @ eyes[:, :2].T + eyes[:, 2] - middle) / SIDE
    return back
