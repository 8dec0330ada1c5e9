"""Spectacles: whether a photograph shows some, and which part of the face must then stay rigid."""

from __future__ import annotations

import cv2
import numpy as np

from bcdcodec.training.data.portraits.head import Head

RIGHT, LEFT = 33, 263  # the eyes' outer corners among the landmarker's points
WIDTH, HEIGHT = 160, 120  # pixels, the band of the eyes as it is judged
CORNERS = (40, 60), (120, 60)  # where it has the outer corners
SCORE_LEAST = -8.7  # chosen by eye on 373 portraits: nearly all who wear glasses, and every fourth found wears none
LENS = np.array([2.6, 2.0])  # units of the head, half the width and height of a lens' frame
FREE_INSIDE, STIFF_FROM, STIFF_TO, FREE_FROM = 0.45, 0.65, 1.35, 1.8  # of that: lids move, the frame does not
STIFF = 0.1  # share of the expression that the frame still follows


def wears_glasses(photograph: np.ndarray, points: np.ndarray) -> bool:
    """Whether edges cross the bridge of the nose and run below both eyes, in a picture uint8 [h, w, 3]."""
    right, left = points[RIGHT, :2].astype(float), points[LEFT, :2].astype(float)
    axis = left - right
    length = np.linalg.norm(axis)
    scale = (CORNERS[1][0] - CORNERS[0][0]) / length
    cos, sin = axis / length * scale
    matrix = np.array([[cos, sin, 0], [-sin, cos, 0]])
    matrix[:, 2] = CORNERS[0] - matrix[:, :2] @ right
    band = cv2.warpAffine(photograph, matrix, (WIDTH, HEIGHT), flags=cv2.INTER_AREA)
    grey = cv2.GaussianBlur(cv2.cvtColor(band, cv2.COLOR_RGB2GRAY).astype(np.float32), (0, 0), 1.0)
    edges = np.abs(np.gradient(grey / (grey[30:95, 30:130].mean() + 10), axis=0))
    bridge = np.percentile(edges[46:72, 73:88].max(0), 25)
    below = min(np.percentile(edges[68:92, 44:68].max(0), 30), np.percentile(edges[68:92, 92:116].max(0), 30))
    temples = min(np.percentile(edges[48:68, 22:36].max(0), 40), np.percentile(edges[48:68, 124:138].max(0), 40))
    score = 1.5 * np.log(bridge + 0.005) + np.log(below + 0.005) + 0.5 * np.log(temples + 0.005)
    return bool(score > SCORE_LEAST)


def stiffness(head: Head) -> np.ndarray:
    """Share [v, 1] of the expression that a vertex follows under spectacles: lids all of it, the frame hardly any."""
    share = np.ones(len(head.vertices), np.float32)
    for eye in head.eyes:
        away = np.linalg.norm((head.vertices[:, :2] - eye[:2] + (0, 0.3)) / LENS, axis=1)
        share = np.minimum(share, np.interp(away, (FREE_INSIDE, STIFF_FROM, STIFF_TO, FREE_FROM), (1, STIFF, STIFF, 1)))
    return share[:, None].astype(np.float32)
