"""The inside of the mouth: teeth, gums and tongue of the head's mesh, lit as the face is, darker with depth."""

from __future__ import annotations

import cv2
import numpy as np

from bcdcodec.training.data.portraits.contour import Opening
from bcdcodec.training.data.portraits.fit import Pose
from bcdcodec.training.data.portraits.head import Head
from bcdcodec.training.data.portraits.person import Person
from bcdcodec.training.data.portraits.pictures import PAD
from bcdcodec.training.data.portraits.raster import rasterise

FINE = 2  # drawn so much larger
FADE = 4.5  # units of the head, depth behind the lips at which light has fallen to 1/e
TEETH_FADE = 2.0  # the same for teeth: molars lie in the cheeks' shadow
FRONT_TEETH = 0.7  # units of the head, by which the front teeth lie behind the lips
GUMS = np.array([0.72, 0.36, 0.36], np.float32)  # of the colour of skin
FRONT = 9.6  # z of the teeth that the plane of the photographed ones goes through
CAVITY = np.array([0.16, 0.07, 0.06], np.float32)


def inner_mouth(head: Head, person: Person, seen: np.ndarray, pose: Pose, hole: Opening) -> np.ndarray:
    """The picture [h, w, 3] float32 in the box of the opening. `seen` [v, 3]: vertices in the picture, pixels."""
    rows, columns = hole.box
    h, w = rows.stop - rows.start, columns.stop - columns.start
    light = person.light
    picture = np.empty((h * FINE * w * FINE, 3), np.float32)
    picture[:] = light * CAVITY
    local = seen.copy()
    for vertices, drop in ((head.upper_teeth, person.teeth_drop[0]), (head.lower_teeth, person.teeth_drop[1])):
        local[vertices, 1] += drop * pose.scale
    tongue = np.unique(head.gums)
    local[tongue, 1] += person.teeth_drop[2] * pose.scale
    local[:, 0] = (local[:, 0] - hole.x + 0.5) * FINE - 0.5
    local[:, 1] = (local[:, 1] - hole.y + 0.5) * FINE - 0.5
    local[:, 2] *= FINE
    lips = float(np.median(seen[np.r_[head.upper_lip, head.lower_lip], 2]))
    # Teeth that the photograph shows are taken from it; where it shows some, the mesh adds no upper ones.
    photographed = _photographed(head, person, seen, hole)
    triangles = np.concatenate([head.teeth if photographed is None else head.lower_jaw, head.gums])
    surface = rasterise(local, triangles, w * FINE, h * FINE)
    if len(surface.pixel):
        corner = surface.corners.min(1)
        tooth = (corner >= head.teeth.min()) & (corner <= head.teeth.max())
        a, b, c = (local[surface.corners[:, k]] for k in range(3))
        normal = np.cross(b - a, c - a)
        facing = np.abs(normal[:, 2]) / np.maximum(np.linalg.norm(normal, axis=1), 1e-9)
        deep = np.maximum(lips - surface.depth / FINE, 0) / pose.scale
        lit_teeth = np.exp(-np.maximum(deep - FRONT_TEETH, 0) / TEETH_FADE) * (0.65 + 0.35 * facing)
        shade = np.where(tooth, lit_teeth, np.exp(-deep / FADE) * (0.55 + 0.45 * facing))
        # light enters from the front and from above: it falls on the tongue, not on the palate
        below = np.clip(hole.above / np.maximum(hole.above + hole.below, 1), 0, 1)
        lit = 0.35 + 0.65 * cv2.resize(below, (w * FINE, h * FINE)).reshape(-1)[surface.pixel]
        shade = shade * np.where(tooth, 1, lit)
        colour = np.where(tooth[:, None], person.teeth * 1.1, light * GUMS) * shade[:, None].astype(np.float32)
        picture[surface.pixel] = np.maximum(colour, light * CAVITY)
    picture = picture.reshape(h * FINE, w * FINE, 3)
    picture = cv2.resize(picture, (w, h), interpolation=cv2.INTER_AREA)
    # the lips' shadow
    shadow = 1 - 0.45 * np.exp(-np.maximum(hole.above, 0) / 1.5) - 0.15 * np.exp(-np.maximum(hole.below, 0) / 1.5)
    picture = picture * shadow[..., None]
    if photographed is not None:
        colour, share = photographed
        picture += (colour - picture) * share[..., None]
    return picture


def _photographed(head: Head, person: Person, seen: np.ndarray, hole: Opening) -> tuple[np.ndarray, np.ndarray] | None:
    """Colour [h, w, 3] and coverage [h, w] of the teeth that the photograph shows; None where it shows none."""
    teeth = person.photographed_teeth
    if teeth is None:
        return None
    rows, columns = hole.box
    grid = np.stack(np.meshgrid(np.arange(columns.start, columns.stop), np.arange(rows.start, rows.stop)), -1)
    colour = np.zeros((*grid.shape[:2], 3), np.float32)
    share = np.zeros(grid.shape[:2], np.float32)
    for cover, vertices in ((teeth.lower, head.lower_teeth), (teeth.upper, head.upper_teeth)):
        if cover is None:
            continue
        front = vertices[head.vertices[vertices, 2] > FRONT]
        move = _similar(seen[front], person.seen[front])
        place = grid @ move[:, :2].T + move[:, 2] + np.float32([PAD - teeth.x, PAD - teeth.y])
        place = place.astype(np.float32)
        own = cv2.remap(cover, place, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
        part = cv2.remap(teeth.picture, place, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        colour += (part - colour) * own[..., None]
        share = np.maximum(share, own)
    return colour, share


def _similar(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The affine map [2, 3] that takes points [k, >=2] nearest to others."""
    known = np.c_[a[:, :2], np.ones(len(a))]
    return np.linalg.lstsq(known, b[:, :2], rcond=None)[0].T.astype(np.float32)
