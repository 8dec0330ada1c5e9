"""A photograph made ready to be moved: cropped, the head fitted, eyeballs and the inside of the mouth taken out."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from bcdcodec.training.data.portraits.contour import Opening, opening
from bcdcodec.training.data.portraits.eyes import Eye, blink_gains, take_eye
from bcdcodec.training.data.portraits.fit import Fit, Pose, fit
from bcdcodec.training.data.portraits.glasses import stiffness, wears_glasses
from bcdcodec.training.data.portraits.head import Head
from bcdcodec.training.data.portraits.pictures import FIELD, PAD, SIDE, to_bytes
from bcdcodec.training.data.portraits.raster import Surface, rasterise
from bcdcodec.training.data.portraits.skin import Skin, take_skin
from bcdcodec.training.data.portraits.teeth import Teeth, photographed_teeth, teeth_colour

FACE_WIDTH = (0.40, 0.60)  # of the crop
ERROR_MOST = 0.05  # of the fit, in distances between the eyes' outer corners
# On the sides of the face (|x| or y, units of the head, beyond these) the mesh is drawn only where the photograph shows
# it at this cosine at least: the rest would be a few pixels stretched over many.
SIDE_FROM, TOP_FROM, BELOW, FACING_LEAST = 4.5, 7.0, -5.0, 0.45


@dataclass(frozen=True)
class Person:
    """What is drawn from."""

    face: np.ndarray  # int32 [f, 3] triangles of the head that are drawn
    wide: np.ndarray  # float32 [SIDE + 2 PAD, SIDE + 2 PAD, 3] the photograph
    skin: Skin
    fit: Fit  # in pixels of the crop
    shape: np.ndarray  # float32 [v, 3] as photographed
    seen: np.ndarray  # float32 [v, 3] projected
    depth: np.ndarray  # float32 [SIDE, SIDE] of the photographed face, -inf elsewhere
    grid: Surface  # the photographed face at the centres of FIELD x FIELD pixels
    mouth: Opening
    eyes: tuple[Eye, Eye]
    openings: tuple[Opening, Opening]
    teeth: np.ndarray  # float32 [3] colour
    photographed_teeth: Teeth | None
    teeth_drop: np.ndarray  # [3] by how much upper teeth, lower teeth, tongue lie lower than the mean head's, units
    light: np.ndarray  # float32 [3] colour of skin in the light
    face_width: float  # pixels
    stiff: np.ndarray | None  # float32 [v, 1] share of its expression that a vertex follows, under spectacles

    @property
    def photograph(self) -> np.ndarray:
        """The crop, uint8 [SIDE, SIDE, 3]."""
        return to_bytes(self.wide[PAD : PAD + SIDE, PAD : PAD + SIDE])


def prepare(head: Head, photograph: np.ndarray, points: np.ndarray, rng: np.random.Generator) -> Person | None:
    """A person from a photograph uint8 [h, w, 3] and its landmarks [478, 3]; None where the head does not fit."""
    found = fit(head, points)
    if found.error > ERROR_MOST:
        return None
    glasses = wears_glasses(photograph, points)
    wide, scale, corner = _crop(photograph, points, rng)
    points = points.copy()
    points[:, :2] = (points[:, :2] + 0.5 - corner) * scale - 0.5
    points[:, 2] *= scale
    shift = (found.pose.shift + 0.5 - corner) * scale - 0.5
    found = replace(found, pose=Pose(found.pose.rotation, found.pose.scale * scale, shift))
    shape = found.neutral + np.tensordot(found.expression, head.expression, 1)
    seen = found.pose.project(shape)
    drawn = head.face[_facing(head, seen)]
    surface = rasterise(seen, drawn, SIDE, SIDE)
    depth = np.full(SIDE * SIDE, -np.inf, np.float32)
    depth[surface.pixel] = surface.depth
    ratio = SIDE / FIELD
    small = seen.copy()
    small[:, :2] = (small[:, :2] + 0.5) / ratio - 0.5
    grid = rasterise(small, drawn, FIELD, FIELD)
    mouth = opening(seen[head.upper_lip, :2], seen[head.lower_lip, :2], SIDE, 10)
    eyes = tuple(opening(seen[head.upper_lids[k], :2], seen[head.lower_lids[k], :2], SIDE, 14) for k in range(2))
    gains = blink_gains(head, found.neutral)
    irises = sorted((points[468:473], points[473:478]), key=lambda p: p[0, 0])
    balls = tuple(take_eye(wide, eyes[k], irises[k][:, :2], gains[k]) for k in range(2))
    light = _light(wide, points)
    return Person(
        face=drawn,
        wide=wide,
        skin=take_skin(wide, mouth, eyes, light),
        fit=found,
        shape=shape.astype(np.float32),
        seen=seen,
        depth=depth.reshape(SIDE, SIDE),
        grid=grid,
        mouth=mouth,
        eyes=balls,
        openings=eyes,
        teeth=teeth_colour(wide, PAD, mouth, light),
        photographed_teeth=photographed_teeth(wide, PAD, mouth, found.pose.scale, light),
        teeth_drop=rng.uniform((0.0, -0.5, -0.9), (0.45, 0.1, 0.0)),
        light=light,
        face_width=float(np.linalg.norm(points[234, :2] - points[454, :2])),
        stiff=stiffness(head) if glasses else None,
    )


def _facing(head: Head, seen: np.ndarray) -> np.ndarray:
    """Which triangles [f] the mesh draws: those on the sides only where the photograph shows them from the front."""
    a, b, c = (seen[head.face[:, k]].astype(np.float64) for k in range(3))
    normal = np.cross(c - a, b - a)
    facing = normal[:, 2] / np.maximum(np.linalg.norm(normal, axis=1), 1e-12)
    middle = head.vertices[head.face].mean(1)
    side = (np.abs(middle[:, 0]) > SIDE_FROM) | (middle[:, 1] > TOP_FROM) | (middle[:, 1] < BELOW)
    return ~side | (facing > FACING_LEAST)


def _crop(photograph: np.ndarray, points: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, float, np.ndarray]:
    """The padded crop [SIDE + 2 PAD, ..., 3] float32, its scale and its corner in the photograph (pixels)."""
    h, w = photograph.shape[:2]
    width = np.linalg.norm(points[234, :2] - points[454, :2])
    side = min(width / rng.uniform(*FACE_WIDTH), h, w)
    centre = (
        (points[10, :2] + points[152, :2]) / 2 + rng.uniform(-0.04, 0.04, 2) * side + (0, rng.uniform(0, 0.06) * side)
    )
    corner = np.clip(centre - side / 2, 0, (w - side, h - side))
    scale = SIDE / side
    if scale < 1:
        photograph = cv2.GaussianBlur(photograph, (0, 0), 0.45 * (1 / scale - 0.6))
    whole = SIDE + 2 * PAD
    matrix = np.array([[1 / scale, 0, 0], [0, 1 / scale, 0]])
    matrix[:, 2] = (0.5 - PAD) / scale + corner - 0.5
    wide = cv2.warpAffine(
        photograph,
        matrix,
        (whole, whole),
        flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return wide.astype(np.float32), scale, corner


def _light(wide: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Colour of the skin in the light: cheeks and forehead, upper quartile."""
    marks = points[[50, 280, 101, 330, 151, 108, 337, 205, 425], :2].round().astype(int) + PAD
    patches = [wide[y - 2 : y + 3, x - 2 : x + 3].reshape(-1, 3) for x, y in marks]
    return np.percentile(np.concatenate(patches), 70, axis=0).astype(np.float32)
