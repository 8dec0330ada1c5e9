"""A z-buffer rasteriser in numpy, for meshes whose triangles are about a pixel large."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

BOXES = (
    1,
    2,
    3,
    4,
    6,
    8,
    12,
    16,
    24,
    32,
    64,
    128,
    256,
)  # pixels, side of a triangle's bounding box, by which they are grouped
EDGE = 1e-5  # pixels on an edge belong to both triangles


@dataclass(frozen=True)
class Surface:
    """What is seen at the pixels that a mesh covers."""

    pixel: np.ndarray  # int [n] y * width + x
    corners: np.ndarray  # int [n, 3] vertices of the triangle seen there
    weights: np.ndarray  # float32 [n, 3] barycentric
    depth: np.ndarray  # float32 [n]

    def at(self, values: np.ndarray) -> np.ndarray:
        """Values [v] or [v, k] of the vertices, interpolated: [n] or [n, k]."""
        a, b, c = (values[self.corners[:, k]] for k in range(3))
        w = self.weights.reshape(-1, 3, *[1] * (values.ndim - 1))
        return a * w[:, 0] + b * w[:, 1] + c * w[:, 2]


def rasterise(vertices: np.ndarray, triangles: np.ndarray, width: int, height: int, front: bool = True) -> Surface:
    """The nearest surface at every pixel's centre (whole numbers).

    vertices float32 [v, 3]: x right, y down, depth (larger is nearer). `front`: only triangles that face the viewer,
    those whose corners run counterclockwise in the picture, as ICT-FaceKit's do.
    """
    x, y = (np.ascontiguousarray(vertices[:, k])[triangles.T] for k in range(2))  # [3, f]
    double = (x[1] - x[0]) * (y[2] - y[0]) - (x[2] - x[0]) * (y[1] - y[0])
    left, top = (np.ceil(np.minimum(np.minimum(v[0], v[1]), v[2])).astype(np.int32) for v in (x, y))
    right, low = (np.floor(np.maximum(np.maximum(v[0], v[1]), v[2])).astype(np.int32) for v in (x, y))
    keep = (right >= left) & (low >= top) & (right >= 0) & (left < width) & (low >= 0) & (top < height)
    keep &= (double < -1e-9) if front else (np.abs(double) > 1e-9)
    chosen = np.flatnonzero(keep)
    side = np.maximum(right - left, low - top)[chosen] + 1
    pixels, tris, weights = [], [], []
    smallest = 0
    for box in BOXES:
        group = chosen[(side > smallest) & (side <= box)]
        smallest = box
        if not len(group):
            continue
        (gx0, gx1, gx2), (gy0, gy1, gy2) = x[:, group, None], y[:, group, None]  # [g, 1] each
        px = (left[group][:, None] + np.arange(box)).astype(np.float32)  # [g, box]
        py = (top[group][:, None] + np.arange(box)).astype(np.float32)
        inverse = (1 / double[group])[:, None, None]
        # weights are affine in x and y: one product a row and a column
        a = ((gy1 - gy2) * (px - gx2))[:, None, :]
        a = (a + ((gx2 - gx1) * (py - gy2))[:, :, None]) * inverse
        b = ((gy2 - gy0) * (px - gx2))[:, None, :]
        b = (b + ((gx0 - gx2) * (py - gy2))[:, :, None]) * inverse
        c = 1 - a - b
        inside = np.minimum(np.minimum(a, b), c) >= -EDGE
        inside &= ((px >= 0) & (px < width))[:, None, :] & ((py >= 0) & (py < height))[:, :, None]
        g, r, k = np.nonzero(inside)
        pixels.append((top[group][g] + r) * width + left[group][g] + k)
        tris.append(group[g])
        weights.append(np.stack([a[g, r, k], b[g, r, k], c[g, r, k]], 1))
    if not pixels:
        return Surface(
            np.zeros(0, np.int64), np.zeros((0, 3), np.int64), np.zeros((0, 3), np.float32), np.zeros(0, np.float32)
        )
    pixel, tri, weight = np.concatenate(pixels), np.concatenate(tris), np.concatenate(weights)
    depth = (vertices[:, 2][triangles[tri]] * weight).sum(1)
    nearest = np.full(width * height, -np.inf, np.float32)
    np.maximum.at(nearest, pixel, depth)
    winner = np.full(width * height, -1)
    best = np.flatnonzero(depth >= nearest[pixel])
    winner[pixel[best]] = best  # where two triangles share an edge, the later one
    best = winner[winner >= 0]
    return Surface(pixel[best], triangles[tri[best]], weight[best], depth[best])
