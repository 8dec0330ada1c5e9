"""Draws eyes and lids: eyeballs that turn in their openings, lids that come down over them."""

from __future__ import annotations

import cv2
import numpy as np

from bcdcodec.training.data.portraits.contour import Opening
from bcdcodec.training.data.portraits.eyes import EYEBALL
from bcdcodec.training.data.portraits.fit import Pose
from bcdcodec.training.data.portraits.person import Person
from bcdcodec.training.data.portraits.pictures import PAD, SIDE, sample

EYE_PLANE = 9.2  # z of the front of the eyeballs

_Y, _X = np.mgrid[:SIDE, :SIDE].astype(np.float32)


def draw_lid(person: Person, k: int, hole: Opening, place: np.ndarray, skin: np.ndarray, visible: np.ndarray) -> None:
    """Skin on a lid that has come down further than the photograph shows it, and the line of lashes on its edge."""
    eye, photographed = person.eyes[k], person.openings[k]
    closed = 1 - hole.gap / max(photographed.gap, 1)
    if closed < 0.08:
        return
    box = hole.box
    at = place[box]
    down = np.abs(np.gradient(at[..., 1], axis=0))
    reach = 1.2 * max(photographed.gap, 4)
    near = np.clip((hole.above + reach) / 2, 0, 1) * np.clip(1 - hole.above, 0, 1)
    near *= np.clip(hole.along * 8 + 0.5, 0, 1) * np.clip((1 - hole.along) * 8 + 0.5, 0, 1)
    share = cv2.GaussianBlur(np.clip((0.55 - down) / 0.3, 0, 1).astype(np.float32), (0, 0), 0.8) * near
    lid = sample(person.skin.lid, at)
    skin[box] += (lid - skin[box]) * share[..., None]
    line = np.exp(-(((hole.above + 0.4) / 0.9) ** 2)) * np.clip(closed * 1.5, 0, 1) * 0.65
    line *= np.clip(hole.along * 6, 0, 1) * np.clip((1 - hole.along) * 6, 0, 1)
    skin[box] += (eye.lash - skin[box]) * line[..., None]
    visible[box] &= (share < 0.1) & (line < 0.15)


def _plane(pose: Pose, other: Pose) -> np.ndarray:
    """The affine map [2, 3] of the plane of the eyeballs' fronts from one pose's picture to another's."""
    points = np.array([[0, 3.5, EYE_PLANE], [4, 3.5, EYE_PLANE], [0, 7, EYE_PLANE]], np.float32)
    return cv2.getAffineTransform(
        pose.project(points)[:, :2].astype(np.float32), other.project(points)[:, :2].astype(np.float32)
    )


def draw_eyeballs(
    person: Person,
    pose: Pose,
    gaze: np.ndarray,
    holes: list[Opening],
    place: np.ndarray,
    skin: np.ndarray,
    visible: np.ndarray,
) -> np.ndarray:
    """Draws the eyeballs in their openings; returns the map [2, 3] of the eyes from the photograph to the picture."""
    back, forward = _plane(pose, person.fit.pose).astype(np.float32), _plane(person.fit.pose, pose)
    radius = EYEBALL * person.fit.pose.scale
    move = np.float32([np.sin(gaze[0]) * radius, np.sin(gaze[1]) * radius])
    for k, hole in enumerate(holes):
        if hole.gap < 0.3:
            continue
        eye, box = person.eyes[k], hole.box
        grid = np.stack([_X[box], _Y[box]], -1)
        source = grid @ back[:, :2].T + back[:, 2]
        moved = source - move
        away = np.linalg.norm(moved + PAD - eye.iris, axis=-1)
        still = float(np.abs(move).max()) < 0.3
        if still:
            colour = sample(eye.ball, source)
            disc = np.zeros(away.shape, bool)
        else:
            share = np.clip(eye.radius + 0.7 - away, 0, 1)[..., None]
            colour = sample(eye.white, source) * (1 - share) + sample(eye.ball, moved) * share
            disc = (away < eye.radius + 1.5) | (np.linalg.norm(source + PAD - eye.iris, axis=-1) < eye.radius + 1.5)
        # the upper lid's shadow where it is lower than it was
        photographed = person.openings[k]
        lower = np.clip(1 - hole.gap / max(photographed.gap, 1), 0, 1)
        colour = colour * (1 - 0.4 * lower * np.exp(-np.maximum(hole.above, 0) / 1.5))[..., None]
        cover = hole.cover[..., None]
        skin[box] = skin[box] * (1 - cover) + colour * cover
        inside = hole.cover > 0.5
        place[box][inside] = source[inside]
        shown = np.zeros((SIDE, SIDE), np.float32)
        shown[photographed.box] = np.minimum(photographed.above, photographed.below) * (photographed.cover > 0)
        fine = (cv2.remap(shown, source, None, cv2.INTER_LINEAR) > 0.3) & ~disc & (hole.cover > 0.98)
        fine &= lower * np.exp(-np.maximum(hole.above, 0) / 1.5) < 0.2
        part = visible[box]
        part[hole.cover > 0.02] = False
        part |= fine
    return forward
