"""Which frames show enough to be a reference: not black ones, and not those of a fade or a dissolve."""

from __future__ import annotations

import numpy as np

from bcdcodec.coding.scene_cuts import numbered_scenes

SIDE = 64  # pixels, at which pictures are compared: noise and coding artefacts are averaged out
USUAL = 0.8  # quantile of the detail of a shot's frames that is taken for its usual one
LEAST_DETAIL = 0.75  # of its shot's usual detail, below which a frame is no reference
BLANK = 0.3  # of the usual detail of all shots, below which a frame shows nothing


def fit_frames(pictures: np.ndarray, damaged: np.ndarray | None = None) -> np.ndarray:
    """Returns which of the frames uint8 [t, h, w, 3] can be a reference, bool [t], at least one.

    A frame in a fade is mixed with one colour, in a dissolve with another scene: both have less detail than the others
    of their shot. `damaged`: bool [t], frames that may show damage of the source.
    """
    detail = np.array([detail_of(picture) for picture in pictures])
    usable = np.ones(len(pictures), bool) if damaged is None or damaged.all() else ~damaged
    fit = usable & (detail >= BLANK * np.quantile(detail[usable], USUAL))
    shots = np.array([shot for shot, _ in numbered_scenes(enumerate(pictures), len(pictures))])
    for shot in np.unique(shots[usable]):
        inside = shots == shot
        fit &= ~inside | (detail >= LEAST_DETAIL * np.quantile(detail[inside & usable], USUAL))
    return fit if fit.any() else usable


def detail_of(picture: np.ndarray) -> float:
    """Returns the mean step between neighbouring pixels of a picture uint8 [h, w, 3] made small, 0 to 255."""
    height, width = (min(side, SIDE) for side in picture.shape[:2])
    rows, columns = np.arange(height) * picture.shape[0] // height, np.arange(width) * picture.shape[1] // width
    luma = picture @ np.array([0.299, 0.587, 0.114], np.float32)
    small = np.add.reduceat(np.add.reduceat(luma, rows, 0), columns, 1)
    areas = np.diff([*rows, picture.shape[0]])[:, None] * np.diff([*columns, picture.shape[1]])[None]
    small /= areas
    return float(np.abs(np.diff(small, axis=0)).mean() + np.abs(np.diff(small, axis=1)).mean())
