"""Openings of mouth and eyes: the area between an upper and a lower contour, antialiased."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

STEEPEST = 4.0  # slope of a contour, to which its distance is corrected


@dataclass(frozen=True)
class Opening:
    """What lies between two contours, in a box of the picture."""

    x: int  # left of the box, pixels
    y: int  # top
    cover: np.ndarray  # float32 [h, w], 0 to 1: inside
    above: np.ndarray  # float32 [h, w] distance below the upper contour, pixels (negative above it)
    below: np.ndarray  # float32 [h, w] the same above the lower contour
    along: np.ndarray  # float32 [h, w] place between the corners, 0 to 1
    gap: float  # pixels, widest

    @property
    def box(self) -> tuple[slice, slice]:
        """Rows and columns of the picture."""
        return slice(self.y, self.y + self.cover.shape[0]), slice(self.x, self.x + self.cover.shape[1])


def opening(upper: np.ndarray, lower: np.ndarray, size: int, margin: int = 6) -> Opening:
    """The opening between contours [k, 2] and [m, 2], both from the right corner to the left, in a square picture."""
    corners = (upper[0] + lower[0]) / 2, (upper[-1] + lower[-1]) / 2
    axis = corners[1] - corners[0]
    length = max(float(np.linalg.norm(axis)), 1e-6)
    axis = axis / length
    down = np.array([-axis[1], axis[0]])
    points = np.concatenate([upper, lower])
    low = np.clip(np.floor(points.min(0)).astype(int) - margin, 0, size - 1)
    high = np.clip(np.ceil(points.max(0)).astype(int) + margin + 1, low + 1, size)
    grid = np.stack(np.meshgrid(np.arange(low[0], high[0]), np.arange(low[1], high[1])), -1).astype(np.float32)
    local = grid - corners[0].astype(np.float32)
    u, v = local @ axis.astype(np.float32), local @ down.astype(np.float32)
    heights, distances = [], []
    for line, sign in ((upper, 1.0), (lower, -1.0)):
        place = (line - corners[0]) @ np.stack([axis, down], 1)
        order = np.maximum.accumulate(place[:, 0]) + np.arange(len(place)) * 1e-6
        slope = np.gradient(place[:, 1], order + np.arange(len(place)) * 1e-3)
        height = np.interp(u.ravel(), order, place[:, 1]).reshape(u.shape)
        steep = np.interp(u.ravel(), order, slope.clip(-STEEPEST, STEEPEST)).reshape(u.shape)
        heights.append(height.astype(np.float32))
        distances.append((sign * (v - height) / np.sqrt(1 + steep**2)).astype(np.float32))
    above, below = distances
    gaps = heights[1] - heights[0]
    ends = np.clip(u + 0.5, 0, 1) * np.clip(length - u + 0.5, 0, 1)
    # of a gap narrower than a pixel only so much is covered
    cover = np.clip(np.minimum(above, below) + 0.5, 0, 1) * np.clip(gaps, 0, 1) * ends
    inside = (u > 0) & (u < length)
    gap = float(gaps[inside].max()) if inside.any() else 0.0
    return Opening(
        int(low[0]), int(low[1]), cover.astype(np.float32), above, below, (u / length).astype(np.float32), gap
    )
