"""The inside of the mouth: teeth, gums and tongue of the head's mesh, lit as the face is, darker the deeper they lie."""

from __future__ import annotations

import cv2
import numpy as np

from bcdcodec.training.data.portraits.contour import Opening
from bcdcodec.training.data.portraits.head import Head
from bcdcodec.training.data.portraits.person import PAD, Person
from bcdcodec.training.data.portraits.raster import rasterise

FINE = 2  # drawn so much larger
FADE = 2.2  # units of the head, depth behind the lips at which light has fallen to 1/e
GUMS = np.array([0.72, 0.36, 0.36], np.float32)  # of the colour of skin
CAVITY = np.array([0.16, 0.07, 0.06], np.float32)


def inner_mouth(head: Head, person: Person, seen: np.ndarray, scale: float, hole: Opening) -> np.ndarray:
    """The picture [h, w, 3] float32 of what is seen in the box of the opening. `seen` [v, 3]: vertices in the picture."""
    rows, columns = hole.box
    h, w = rows.stop - rows.start, columns.stop - columns.start
    light = person.light
    picture = np.empty((h * FINE * w * FINE, 3), np.float32)
    picture[:] = light * CAVITY
    local = seen.copy()
    local[:, 0] = (local[:, 0] - hole.x + 0.5) * FINE - 0.5
    local[:, 1] = (local[:, 1] - hole.y + 0.5) * FINE - 0.5
    lips = np.median(seen[np.r_[head.upper_lip, head.lower_lip], 2])
    triangles = np.concatenate([head.teeth, head.gums])
    surface = rasterise(local, triangles, w * FINE, h * FINE)
    if len(surface.pixel):
        tooth = surface.corners.min(1) <= head.teeth.max()
        tooth &= surface.corners.min(1) >= head.teeth.min()
        a, b, c = (local[surface.corners[:, k]] * (1, 1, FINE) for k in range(3))
        normal = np.cross(b - a, c - a)
        facing = np.abs(normal[:, 2]) / np.maximum(np.linalg.norm(normal, axis=1), 1e-9)
        deep = np.maximum(lips - surface.depth, 0) / scale
        shade = np.exp(-deep / FADE) * (0.35 + 0.65 * facing)
        colour = np.where(tooth[:, None], person.teeth * 1.12, light * GUMS) * shade[:, None].astype(np.float32)
        picture[surface.pixel] = np.maximum(colour, light * CAVITY)
        _photographed(person, surface, tooth, picture)
    picture = picture.reshape(h * FINE, w * FINE, 3)
    picture = cv2.resize(picture, (w, h), interpolation=cv2.INTER_AREA)
    # the lips' shadow
    shadow = 1 - 0.45 * np.exp(-np.maximum(hole.above, 0) / 1.5) - 0.15 * np.exp(-np.maximum(hole.below, 0) / 1.5)
    return picture * shadow[..., None]


def _photographed(person: Person, surface, tooth: np.ndarray, picture: np.ndarray) -> None:
    """Teeth that the photograph shows keep their looks."""
    if person.mouth.gap < 3 or not tooth.any():
        return
    place = surface.at(person.seen)[tooth, :2].astype(np.float32)
    inside = np.clip(np.minimum(person.mouth.above, person.mouth.below) - 0.7, 0, 1).astype(np.float32)
    inside *= (person.mouth.along > 0.03) & (person.mouth.along < 0.97)
    local = place - (person.mouth.x, person.mouth.y)
    share = cv2.remap(inside, local[None].astype(np.float32), None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)[0]
    colour = cv2.remap(person.wide, place[None] + np.float32(PAD), None, cv2.INTER_LINEAR)[0]
    index = surface.pixel[tooth]
    picture[index] = picture[index] * (1 - share[:, None]) + colour * share[:, None]
