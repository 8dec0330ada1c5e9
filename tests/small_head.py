"""A head of 700 triangles with the parts that portraits need, and a photograph of it."""

from __future__ import annotations

from itertools import chain

import cv2
import numpy as np

from bcdcodec.training.data.portraits.correspondence import EYES, LIPS
from bcdcodec.training.data.portraits.fit import Pose
from bcdcodec.training.data.portraits.head import Head

COLUMNS, ROWS = np.arange(-7.2, 7.3, 0.8), np.arange(-8.0, 11.5, 1.0)
MOUTH_ROW, EYE_ROW = -3.0, 3.0
MOUTH, EYES_AT = (-2.4, 2.4), ((-4.0, -1.6), (1.6, 4.0))
NAMES = ("eyeBlink_L", "eyeBlink_R", "jawOpen", "mouthSmile_L")
SIDE = 320  # pixels, the photograph
POSE = Pose(np.eye(3), 11.0, np.array([160.0, 165.0]))


def _depth(x, y):
    return 11 - 0.09 * x**2 - 0.04 * (y - 1) ** 2


def small_head() -> Head:
    """Slits in a grid are its mouth and its eyes; the lower row of a slit is added to the grid's vertices."""
    x, y = np.meshgrid(COLUMNS, ROWS)
    vertices = [np.stack([x.ravel(), y.ravel(), _depth(x, y).ravel()], 1)]
    index = np.arange(x.size).reshape(x.shape)
    below, slits, count = {}, [], x.size
    for row, (left, right), high, low in [
        (MOUTH_ROW, MOUTH, 0.0, 0.0),
        *[(EYE_ROW, span, 0.45, 0.35) for span in EYES_AT],
    ]:
        r = int(np.argmin(np.abs(ROWS - row)))
        inner = np.flatnonzero((COLUMNS > left - 0.1) & (COLUMNS < right + 0.1))
        upper, lower = index[r, inner], index[r, inner].copy()
        bow = 1 - ((COLUMNS[inner] - (left + right) / 2) / ((right - left) / 2)) ** 2
        vertices[0][upper, 1] += high * bow
        for k in range(1, len(inner) - 1):
            below[(r, inner[k])] = lower[k] = count
            vertices.append([[COLUMNS[inner[k]], row - low * bow[k], _depth(COLUMNS[inner[k]], row)]])
            count += 1
        slits.append((upper, lower))
    triangles = []
    for r in range(len(ROWS) - 1):
        for c in range(len(COLUMNS) - 1):
            # a cell above a slit takes the grid's own vertices, a cell below it the added ones
            p, q = index[r, c], index[r, c + 1]
            s, t = (below.get((r + 1, k), index[r + 1, k]) for k in (c, c + 1))
            triangles += [(p, q, t), (p, t, s)]
    vertices = np.concatenate([np.asarray(v, float) for v in vertices])
    teeth = []
    for height, z in ((-2.7, 9.9), (-3.3, 9.9)):
        plate = np.array([[-2, height + 0.3, z], [2, height + 0.3, z], [-2, height - 0.3, z], [2, height - 0.3, z]])
        first = len(vertices)
        teeth.append(np.array([(first, first + 2, first + 1), (first + 1, first + 2, first + 3)]))
        vertices = np.concatenate([vertices, plate])
    first = len(vertices)
    tongue = np.array([[-1.5, -4.2, 9.0], [1.5, -4.2, 9.0], [0, -6, 9.5]])
    vertices = np.concatenate([vertices, tongue])
    expression = np.zeros((len(NAMES), len(vertices), 3))
    x, y = vertices[:, 0], vertices[:, 1]
    mouth, *eyes = slits
    lower = (y < MOUTH_ROW - 0.5) | np.isin(np.arange(len(x)), mouth[1][1:-1])
    lower[len(x) - 3 :] = True
    lower[teeth[1].min() : teeth[1].max() + 1] = True
    expression[2, lower, 1] = -3.0 * np.exp(-((x[lower] / 4) ** 2))
    expression[2, teeth[0].min() : teeth[0].max() + 1] = 0
    for k, (upper, low) in zip((1, 0), eyes, strict=True):
        expression[k, upper, 1] = vertices[low, 1] - vertices[upper, 1]
    expression[3, mouth[0][-1]] = (0.5, 0.4, 0)
    surface = np.array([np.linalg.norm(vertices[: COLUMNS.size * ROWS.size] - p, axis=1).argmin() for p in _spots()])
    marks = np.zeros(68, int)
    marks[8], marks[27] = index[0, len(COLUMNS) // 2], index[12, len(COLUMNS) // 2]
    return Head(
        vertices=vertices.astype(np.float32),
        identity=np.zeros((1, *vertices.shape), np.float32),
        expression=expression.astype(np.float32),
        names=NAMES,
        face=np.array(triangles, np.int32),
        teeth=np.concatenate(teeth).astype(np.int32),
        gums=np.array([(first, first + 2, first + 1)], np.int32),
        upper_teeth=np.unique(teeth[0]),
        lower_teeth=np.unique(teeth[1]),
        lower_jaw=teeth[1].astype(np.int32),
        upper_lip=mouth[0],
        lower_lip=mouth[1],
        upper_lids=(eyes[0][0], eyes[1][0]),
        lower_lids=(eyes[0][1], eyes[1][1]),
        eyes=np.array([[-2.8, EYE_ROW, 8.0], [2.8, EYE_ROW, 8.0]], np.float32),
        landmarks=marks,
        surface=surface,
        source=np.arange(len(vertices)),
    )


def _spots() -> np.ndarray:
    """Places [468, 3] on the face for the landmarker's points, anywhere but near mouth and eyes."""
    rng = np.random.default_rng(0)
    x, y = rng.uniform(-7, 7, 4000), rng.uniform(-8, 11, 4000)
    free = (np.abs(y - MOUTH_ROW) > 1.1) & (np.abs(y - EYE_ROW) > 1.1)
    return np.stack([x, y, _depth(x, y)], 1)[free][:468]


def landmarks(head: Head, shape: np.ndarray, pose: Pose) -> np.ndarray:
    """The landmarker's points [478, 3] of a shape of this head in a pose."""
    seen = pose.project(shape.astype(np.float32))
    points = np.zeros((478, 3), np.float32)
    points[:468] = seen[head.surface]
    for marks, line in zip((*LIPS, *EYES), chain(*head.contour_pairs), strict=True):
        at = np.r_[0, np.cumsum(np.linalg.norm(np.diff(seen[line, :2], axis=0), axis=1))]
        for k, where in zip(marks, np.linspace(0, at[-1], len(marks)), strict=True):
            points[k] = [np.interp(where, at, seen[line, c]) for c in range(3)]
    for first, eye in ((468, head.eyes[0]), (473, head.eyes[1])):
        centre = pose.project(np.array([eye + (0, 0, 1.2)], np.float32))[0]
        ring = np.array([(0, 0), (1, 0), (0, 1), (-1, 0), (0, -1)]) * 0.6 * pose.scale
        points[first : first + 5] = centre + np.c_[ring, np.zeros(5)]
    for k, x in ((234, -7.0), (454, 7.0)):  # the width of the face
        points[k] = pose.project(np.array([[x, 0, _depth(x, 0)]], np.float32))[0]
    for k, y in ((10, 10.0), (152, -8.0)):
        points[k] = pose.project(np.array([[0, y, _depth(0, y)]], np.float32))[0]
    return points


def photograph() -> np.ndarray:
    """A smooth picture uint8 [SIDE, SIDE, 3], whose every place looks different, with the eyes of the head in POSE."""
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE
    waves = [np.sin(7 * x + 3 * y), np.cos(5 * x - 8 * y), np.sin(9 * x * y + 2)]
    picture = (150 + 50 * np.stack(waves, -1)).astype(np.uint8)
    head = small_head()
    seen = POSE.project(head.vertices)[:, :2]
    for k, eye in enumerate(head.eyes):
        hole = np.zeros((SIDE, SIDE), np.uint8)
        way = np.concatenate([seen[head.upper_lids[k]], seen[head.lower_lids[k][::-1]]])
        cv2.fillPoly(hole, [way.round().astype(np.int32)], 1)
        picture[hole > 0] = 240
        iris = cv2.circle(
            np.zeros((SIDE, SIDE), np.uint8), POSE.project(eye[None])[0, :2].round().astype(int).tolist(), 6, 1, -1
        )
        picture[(iris > 0) & (hole > 0)] = (20, 60, 110)
    return picture
