"""Sizes of the pictures and fields, and what is done with pictures everywhere."""

from __future__ import annotations

import cv2
import numpy as np

SIDE = 256  # pixels, the pictures
FIELD = 128  # pixels, flow and masks
PAD = 64  # pixels of the photograph kept around the crop


def to_bytes(picture: np.ndarray) -> np.ndarray:
    """A picture of 0 to 255 as uint8."""
    return np.clip(picture + 0.5, 0, 255).astype(np.uint8)


def sample(picture: np.ndarray, place: np.ndarray) -> np.ndarray:
    """A padded picture at places [h, w, 2] of the crop."""
    return cv2.remap(picture, place + np.float32(PAD), None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)


def nearest_outside(mask: np.ndarray) -> np.ndarray:
    """For every pixel of a mask [h, w] the index of the nearest pixel where it is False: int [h, w]."""
    _, labels = cv2.distanceTransformWithLabels(mask.astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    where = np.zeros(labels.max() + 1, np.int64)
    free = ~mask
    where[labels[free]] = np.flatnonzero(free)
    return where[labels]
