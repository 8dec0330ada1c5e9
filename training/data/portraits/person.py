"""A photograph made ready to be moved: cropped, the head fitted, eyeballs and the inside of the mouth taken out."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from bcdcodec.training.data.portraits.contour import Opening, opening
from bcdcodec.training.data.portraits.fit import Fit, Pose, fit
from bcdcodec.training.data.portraits.glasses import stiffness, wears_glasses
from bcdcodec.training.data.portraits.head import Head
from bcdcodec.training.data.portraits.raster import Surface, rasterise
from bcdcodec.training.data.portraits.teeth import Teeth, photographed_teeth

SIDE = 256  # pixels, the pictures
FIELD = 128  # pixels, flow and masks
PAD = 64  # pixels of the photograph kept around the crop
FACE_WIDTH = (0.40, 0.60)  # of the crop
ERROR_MOST = 0.05  # of the fit, in distances between the eyes' outer corners
BLINK_GAIN = (0.7, 2.0)
LID_LEVEL = 0.7  # of the median brightness around an eye, below which a pixel is no skin of a lid
EYEBALL = 1.25  # units of the head, radius
FACING_LEAST = (
    0.45  # cosine to the viewer below which the sides of the face are not drawn by the mesh: they'd be stretched
)
SIDE_FROM, TOP_FROM, BELOW = 4.5, 7.0, -5.0  # units of the head: |x|, y from which on that holds


@dataclass(frozen=True)
class Eye:
    """One eye of the photograph, in pixels of the padded picture."""

    iris: np.ndarray  # [2] centre
    radius: float  # pixels
    white: np.ndarray  # float32 [h, w, 3] of the padded picture: the eye without iris and lids, smooth
    ball: np.ndarray  # float32 [h, w, 3]: the eye with its iris, continued under the lids
    lash: np.ndarray  # float32 [3] colour of the line of lashes
    blink_gain: float  # weight of the blink that shuts the eye exactly


@dataclass(frozen=True)
class Person:
    """What is drawn from."""

    face: np.ndarray  # int32 [f, 3] triangles of the head that are drawn
    wide: np.ndarray  # float32 [SIDE + 2 PAD, SIDE + 2 PAD, 3] the photograph
    skin: np.ndarray  # the same, mouth and eyes filled with the skin around them
    lid: np.ndarray  # the same, smooth skin without lashes
    filled: np.ndarray  # float32 [SIDE, SIDE] 1 where `skin` is not the photograph
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


def to_bytes(picture: np.ndarray) -> np.ndarray:
    """A picture of 0 to 255 as uint8."""
    return np.clip(picture + 0.5, 0, 255).astype(np.uint8)


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
    skin, lid, filled = _clean(wide, mouth, eyes)
    gains = blink_gains(head, found.neutral)
    irises = sorted((points[468:473], points[473:478]), key=lambda p: p[0, 0])
    balls = tuple(_eye(wide, eyes[k], irises[k][:, :2], gains[k]) for k in range(2))
    light = _light(wide, points)
    return Person(
        face=drawn,
        wide=wide,
        skin=skin,
        lid=lid,
        filled=filled,
        fit=found,
        shape=shape.astype(np.float32),
        seen=seen,
        depth=depth.reshape(SIDE, SIDE),
        grid=grid,
        mouth=mouth,
        eyes=balls,
        openings=eyes,
        teeth=_teeth_colour(wide, mouth, light),
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


def nearest_outside(mask: np.ndarray) -> np.ndarray:
    """For every pixel of a mask [h, w] the index of the nearest pixel where it is False: int [h, w]."""
    _, labels = cv2.distanceTransformWithLabels(mask.astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    where = np.zeros(labels.max() + 1, np.int64)
    free = ~mask
    where[labels[free]] = np.flatnonzero(free)
    return where[labels]


def _clean(
    wide: np.ndarray, mouth: Opening, eyes: tuple[Opening, Opening]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`Person.skin`, `Person.lid`, `Person.filled`."""
    whole = wide.shape[0]
    hole, lashes = np.zeros((whole, whole), bool), np.zeros((whole, whole), bool)
    inside = slice(PAD, PAD + SIDE)
    small, around = hole[inside, inside], lashes[inside, inside]
    if mouth.gap > 1.2:
        small[mouth.box] |= (mouth.above > -1.0) & (mouth.below > -1.0) & (mouth.along > 0) & (mouth.along < 1) & (
            mouth.above + mouth.below > 0.3
        )  # fmt: skip
    for eye in eyes:
        level = (eye.along > -0.05) & (eye.along < 1.05)
        small[eye.box] |= (eye.above > -0.3) & (eye.below > -0.3) & (eye.along > 0) & (eye.along < 1)
        around[eye.box] |= (eye.above > -2.5) & (eye.below > -2.5) & level
    skin = wide.copy()
    flat = wide.reshape(-1, 3)
    if hole.any():
        skin[hole] = flat[nearest_outside(hole)[hole]]
        soft = cv2.GaussianBlur(skin, (0, 0), 1.0)
        skin[hole] = soft[hole]
    lid = wide.copy()
    weight = (~lashes).astype(np.float32)
    for box in (e.box for e in eyes):
        rows, columns = (slice(max(s.start + PAD - 16, 0), s.stop + PAD + 16) for s in box)
        level = wide[rows, columns].mean(-1)
        bright = (
            np.clip(level / max(float(np.median(level)), 1) / LID_LEVEL - 1, 0, 0.25) * 4
        )  # neither brows nor frames
        w = weight[rows, columns] * (bright + 0.02).astype(np.float32)
        total = cv2.GaussianBlur(w, (0, 0), 4)[..., None]
        lid[rows, columns] = cv2.GaussianBlur(wide[rows, columns] * w[..., None], (0, 0), 4) / np.maximum(total, 1e-4)
    return skin, lid, hole[inside, inside].astype(np.float32)


def blink_gains(head: Head, neutral: np.ndarray) -> tuple[float, float]:
    """By how much the blink's weight is multiplied, so that 1 shuts each eye: [right, left]."""
    gains = []
    for k, name in enumerate(("eyeBlink_R", "eyeBlink_L")):
        middle = slice(len(head.upper_lids[k]) // 3, -len(head.upper_lids[k]) // 3)
        upper, lower = head.upper_lids[k][middle], head.lower_lids[k][middle]
        gap = neutral[upper, 1].mean() - neutral[lower, 1].mean()
        blink = head.expression[head.names.index(name)]
        closes = -(blink[upper, 1].mean() - blink[lower, 1].mean())
        gains.append(float(np.clip(gap / max(closes, 1e-3) * 1.05, *BLINK_GAIN)))
    return tuple(gains)


def _eye(wide: np.ndarray, hole: Opening, ring: np.ndarray, gain: float) -> Eye:
    """An eye from its opening and the landmarker's iris [5, 2]: centre and four points around it."""
    whole = wide.shape[0]
    centre = ring[0] + PAD
    radius = float(np.linalg.norm(ring[1:] - ring[0], axis=1).mean())
    y, x = np.mgrid[:whole, :whole].astype(np.float32)
    away = np.hypot(x - centre[0], y - centre[1])
    open_ = np.zeros((whole, whole), bool)
    box = tuple(slice(s.start + PAD, s.stop + PAD) for s in hole.box)
    open_[box] = (hole.above > 0.8) & (hole.below > 0.6) & (hole.along > 0.08) & (hole.along < 0.92)
    sclera = open_ & (away > radius + 1.0)
    rows, columns = (slice(max(s.start - 14, 0), s.stop + 14) for s in box)
    part = wide[rows, columns]
    if sclera.sum() >= 4:
        w = sclera[rows, columns].astype(np.float32)[..., None]
        mean = (part * w).sum((0, 1)) / w.sum()
        local = cv2.GaussianBlur(part * w, (0, 0), 2.5) + 0.02 * mean
        local = local / (cv2.GaussianBlur(w[..., 0], (0, 0), 2.5)[..., None] + 0.02)
    else:
        local = np.broadcast_to(np.array([190, 180, 175], np.float32), part.shape)
    white = np.zeros_like(wide)
    white[rows, columns] = local
    # the iris: what is seen of it, and its mean by radius where a lid hides it
    disc = away < radius + 0.5
    ball = white.copy()
    shown = open_ & disc
    steps = np.arange(0, radius + 1.5)
    profile = np.empty((len(steps), 3), np.float32)
    for k in range(3):
        colour = wide[..., k][shown]
        at = away[shown]
        mean = float(np.median(colour)) if len(colour) else 60.0
        near = np.exp(-(((at[None] - steps[:, None]) / 0.8) ** 2)) if len(colour) else np.zeros((len(steps), 0))
        profile[:, k] = (near @ colour + 0.3 * mean) / (near.sum(1) + 0.3)
    drawn = np.stack([np.interp(away, steps, profile[:, k]) for k in range(3)], -1)
    edge = np.clip(radius + 0.5 - away, 0, 1)[..., None]
    ball = ball * (1 - edge) + drawn * edge
    keep = np.zeros((whole, whole), np.float32)
    keep[box] = np.clip(np.minimum(hole.above, hole.below) - 0.3, 0, 1) * (hole.along > 0) * (hole.along < 1)
    ball = ball * (1 - keep[..., None]) + wide * keep[..., None]
    lashes = wide[box][(np.abs(hole.above + 0.5) < 1) & (hole.along > 0.15) & (hole.along < 0.85)]
    lash = np.percentile(lashes, 15, axis=0) if len(lashes) else np.array([50, 40, 35])
    return Eye(centre, radius, white, ball.astype(np.float32), lash.astype(np.float32), gain)


def _light(wide: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Colour of the skin in the light: cheeks and forehead, upper quartile."""
    marks = points[[50, 280, 101, 330, 151, 108, 337, 205, 425], :2].round().astype(int) + PAD
    patches = [wide[y - 2 : y + 3, x - 2 : x + 3].reshape(-1, 3) for x, y in marks]
    return np.percentile(np.concatenate(patches), 70, axis=0).astype(np.float32)


def _teeth_colour(wide: np.ndarray, mouth: Opening, light: np.ndarray) -> np.ndarray:
    """Colour of the teeth: as photographed where they show, else by the skin's brightness."""
    level = float(light.mean())
    chroma = light / max(level, 1)
    guess = min(level * 1.05, 225) * (0.75 + 0.25 * chroma) * np.array([1.0, 0.95, 0.87])
    if mouth.gap > 3:
        box = tuple(slice(s.start + PAD, s.stop + PAD) for s in mouth.box)
        inside = wide[box][mouth.cover > 0.9]
        if len(inside) > 12:
            bright = np.percentile(inside, 80, axis=0)
            grey = bright.max() - bright.min() < 0.5 * bright.max()
            if grey and bright.mean() > 0.55 * level:
                return bright.astype(np.float32)
    return guess.astype(np.float32)
