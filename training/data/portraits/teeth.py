"""Teeth that the photograph shows: taken out of it, continued under the upper lip, to be moved with the jaws."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from bcdcodec.training.data.portraits.contour import Opening

GAP_LEAST = 3.5  # pixels; a narrower opening shows none
OPEN = 0.32  # gap over width of the mouth, from which on it shows more than the upper teeth
SPLIT = 0.55  # of an open mouth's height: what belongs to the upper jaw
TOOTH, GUM = 0.35, 2.5  # units of the head above the photographed part: so far teeth go on, then gums
UPPER_GUMS = np.array([0.72, 0.42, 0.42], np.float32)  # of the colour of skin


@dataclass(frozen=True)
class Teeth:
    """Layers in a box of the padded picture."""

    x: int  # left of the box, pixels
    y: int
    picture: np.ndarray  # float32 [h, w, 3]
    upper: np.ndarray  # float32 [h, w] coverage of what moves with the skull
    lower: np.ndarray | None  # float32 [h, w] coverage of what moves with the lower jaw


def photographed_teeth(wide: np.ndarray, pad: int, mouth: Opening, scale: float, light: np.ndarray) -> Teeth | None:
    """The teeth between the photographed lips; None where it shows none. `scale`: pixels a unit of the head."""
    if mouth.gap < GAP_LEAST:
        return None
    up = int(GUM * scale)
    rows, columns = (slice(s.start + pad, s.stop + pad) for s in mouth.box)
    above, below, along = (np.pad(v, ((up, 0), (0, 0)), mode="edge") for v in (mouth.above, mouth.below, mouth.along))
    above[:up] = mouth.above[0] - np.arange(up, 0, -1)[:, None]
    below[:up] = mouth.below[0] + np.arange(up, 0, -1)[:, None]
    y, x = rows.start - up, columns.start
    picture = wide[y : rows.stop, columns].copy()
    core = (above > 1.0) & (below > 0.8) & (along > 0.05) & (along < 0.95)
    if not core.any():
        return None
    _, labels = cv2.distanceTransformWithLabels(
        (~core).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    where = np.zeros(labels.max() + 1, np.int64)
    where[labels[core]] = np.flatnonzero(core)
    nearest = cv2.GaussianBlur(picture.reshape(-1, 3)[where[labels]], (0, 0), 0.7)
    over = np.clip(1.0 - above, 0, 1)[..., None]  # under the lip
    picture += (nearest - picture) * over
    gum = np.clip((-above - TOOTH * scale) / 1.5, 0, 1)[..., None]
    fall = (1 - 0.12 * np.clip(-above / scale, 0, 2.5))[..., None]
    picture = np.where(above[..., None] < 1, (picture + (light * UPPER_GUMS - picture) * gum) * fall, picture)
    ends = np.clip((along - 0.02) * 20, 0, 1) * np.clip((0.98 - along) * 20, 0, 1)
    cover = np.clip(below + 0.2, 0, 1) * ends
    if mouth.gap <= OPEN * _width(mouth):
        return Teeth(x, y, picture.astype(np.float32), cover.astype(np.float32), None)
    height = np.maximum(above + below, 1e-3)
    upper = cover * np.clip((SPLIT - above / height) * height + 0.5, 0, 1)
    return Teeth(x, y, picture.astype(np.float32), upper.astype(np.float32), (cover - upper).astype(np.float32))


def _width(mouth: Opening) -> float:
    """Distance between the corners, pixels."""
    return 1 / max(float(np.hypot(*(np.gradient(mouth.along, axis=k).mean() for k in range(2)))), 1e-6)


def teeth_colour(wide: np.ndarray, pad: int, mouth: Opening, light: np.ndarray) -> np.ndarray:
    """Colour of the teeth: as photographed where they show, else by the skin's brightness."""
    level = float(light.mean())
    chroma = light / max(level, 1)
    guess = min(level * 1.05, 225) * (0.75 + 0.25 * chroma) * np.array([1.0, 0.95, 0.87])
    if mouth.gap > 3:
        box = tuple(slice(s.start + pad, s.stop + pad) for s in mouth.box)
        inside = wide[box][mouth.cover > 0.9]
        if len(inside) > 12:
            bright = np.percentile(inside, 80, axis=0)
            grey = bright.max() - bright.min() < 0.5 * bright.max()
            if grey and bright.mean() > 0.55 * level:
                return bright.astype(np.float32)
    return guess.astype(np.float32)
