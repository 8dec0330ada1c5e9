"""The skin of a photograph: what is drawn where mouth and eyes are closed further than it shows them."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from bcdcodec.training.data.portraits.contour import Opening
from bcdcodec.training.data.portraits.pictures import PAD, SIDE, nearest_outside

LID_LEVEL = 0.7  # of the median brightness around an eye, below which a pixel is no skin of a lid
LID_DARKEST = 0.72  # of the skin's brightness in the light


@dataclass(frozen=True)
class Skin:
    """The photograph without what lies between lips and lids."""

    picture: np.ndarray  # float32, padded: mouth and eyes filled with the skin around them
    lid: np.ndarray  # float32, padded: smooth around the eyes, without lashes and brows
    filled: np.ndarray  # float32 [SIDE, SIDE] 1 where `picture` is not the photograph


def take_skin(wide: np.ndarray, mouth: Opening, eyes: tuple[Opening, Opening], light: np.ndarray) -> Skin:
    """The skin of a padded photograph float32 [h, w, 3]; `light` [3]: colour of skin in the light."""
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
        # neither brows nor frames
        bright = np.clip(level / max(float(np.median(level)), 1) / LID_LEVEL - 1, 0, 0.25) * 4
        w = weight[rows, columns] * (bright + 0.02).astype(np.float32)
        total = cv2.GaussianBlur(w, (0, 0), 4)[..., None]
        smooth = cv2.GaussianBlur(wide[rows, columns] * w[..., None], (0, 0), 4) / np.maximum(total, 1e-4)
        # as skin is coloured and no darker than a lid in shade: make-up and deep shadow are not spread over the lid
        shade = np.maximum(smooth.mean(-1, keepdims=True) / max(float(light.mean()), 1), LID_DARKEST)
        lid[rows, columns] = 0.4 * smooth + 0.6 * np.minimum(light * shade, 255)
    return Skin(skin, lid, hole[inside, inside].astype(np.float32))
