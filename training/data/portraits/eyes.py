"""An eye of the photograph taken apart: the white, the iris, the lashes."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from bcdcodec.training.data.portraits.contour import Opening
from bcdcodec.training.data.portraits.head import Head
from bcdcodec.training.data.portraits.pictures import PAD

BLINK_GAIN = (0.7, 2.2)  # least and most
OVERLAP = 1.1  # of the gap, by which the upper lid comes down: a little over the lower one
EYEBALL = 1.25  # units of the head, radius


@dataclass(frozen=True)
class Eye:
    """One eye of the photograph, in pixels of the padded picture."""

    iris: np.ndarray  # [2] centre
    radius: float  # pixels
    white: np.ndarray  # float32 [h, w, 3] of the padded picture: the eye without iris and lids, smooth
    ball: np.ndarray  # float32 [h, w, 3]: the eye with its iris, continued under the lids
    lash: np.ndarray  # float32 [3] colour of the line of lashes
    blink_gain: float  # weight of the blink that shuts the eye exactly


def blink_gains(head: Head, neutral: np.ndarray) -> tuple[float, float]:
    """By how much the blink's weight is multiplied, so that 1 shuts each eye: [right, left]."""
    gains = []
    for k, name in enumerate(("eyeBlink_R", "eyeBlink_L")):
        middle = slice(len(head.upper_lids[k]) // 3, -len(head.upper_lids[k]) // 3)
        upper, lower = head.upper_lids[k][middle], head.lower_lids[k][middle]
        gap = neutral[upper, 1].mean() - neutral[lower, 1].mean()
        blink = head.expression[head.names.index(name)]
        closes = -(blink[upper, 1].mean() - blink[lower, 1].mean())
        gains.append(float(np.clip(gap / max(closes, 1e-3) * OVERLAP, *BLINK_GAIN)))
    return tuple(gains)


def take_eye(wide: np.ndarray, hole: Opening, ring: np.ndarray, gain: float) -> Eye:
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
