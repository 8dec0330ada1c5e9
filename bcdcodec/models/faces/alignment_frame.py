"""The face-aligned frame: a square that moves with the head, so that what is left in it is expression and turn.

A similarity is a tensor [b, 4]: centre x and y and log of the side, both in sides of the picture, and roll in radians.
Positions are x and y from -1 to 1 over the picture, or over the frame, as `torch.nn.functional.grid_sample` takes them.
Pictures are square.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor
from torch.nn import functional as F

HEAD_RADII = (0.8, 1.0)  # ellipse of the head in the frame


def to_picture(similarity: Tensor, positions: Tensor) -> Tensor:
    """Positions in the frame as positions in the picture: [b, 4], [b, ..., 2] -> [b, ..., 2]."""
    return positions @ _axes(similarity, positions).transpose(-1, -2) + _centre(similarity, positions)


def to_frame(similarity: Tensor, positions: Tensor) -> Tensor:
    """The inverse of `to_picture`."""
    axes = _axes(similarity, positions)
    side = similarity[:, 2].exp().view(-1, *[1] * (positions.ndim - 1))
    return (positions - _centre(similarity, positions)) @ axes / side**2


def crop(picture: Tensor, similarity: Tensor, size: int) -> Tensor:
    """What the frame shows of a picture: [b, c, h, h] -> [b, c, size, size]; outside the picture its border repeats."""
    grid = to_picture(similarity, positions(size, picture).expand(len(picture), -1, -1, -1))
    return F.grid_sample(picture, grid, padding_mode="border", align_corners=False)


def paste(face: Tensor, mask: Tensor, similarity: Tensor, picture: Tensor) -> Tensor:
    """A frame [b, c, s, s] blended over a picture [b, c, h, h] by its mask [b or 1, 1, s, s] -> [b, c, h, h]."""
    grid = to_frame(similarity, positions(picture.shape[-1], picture).expand(len(picture), -1, -1, -1))
    both = torch.cat([face, mask.expand(len(face), -1, -1, -1)], 1)
    # Outside the frame the mask is 0, so what is sampled there does not matter. Cubic: bilinear takes fine contrast.
    both = F.grid_sample(both, grid, mode="bicubic", padding_mode="zeros", align_corners=False)
    face, mask = both[:, :-1], both[:, -1:].clamp(0, 1)
    return picture + mask * (face - picture)


def soft_mask(size: int, margin: float = 0.15) -> Tensor:
    """1 in the middle of the frame, falling to 0 over `margin` (of half the side) at its border: [1, 1, size, size]."""
    inside = (1 - positions(size).abs().amax(-1)) / margin  # [1, size, size]
    return smooth_step(inside)[:, None]


def head_radii(at: Tensor) -> Tensor:
    """How many radii of the head's ellipse positions in the frame [..., 2] are from its middle: [...]."""
    return (at / torch.tensor(HEAD_RADII).to(at)).norm(dim=-1)


def smooth_step(x: Tensor) -> Tensor:
    """0 below 0, 1 above 1, a smooth rise between."""
    x = x.clamp(0, 1)
    return x * x * (3 - 2 * x)


def positions(size: int, like: Tensor | None = None) -> Tensor:
    """Positions of the centres of size x size pixels, x and y: [1, size, size, 2]."""
    return _positions(size, "cpu" if like is None else like.device, torch.float32 if like is None else like.dtype)


@cache
def _positions(size: int, device: torch.device | str, dtype: torch.dtype) -> Tensor:
    with torch.inference_mode(False):  # kept for training, too
        at = ((torch.arange(size, device="cpu") + 0.5) * (2 / size) - 1).to(device=device, dtype=dtype)
        y, x = torch.meshgrid(at, at, indexing="ij")
        return torch.stack([x, y], -1)[None]


def _axes(similarity: Tensor, like: Tensor) -> Tensor:
    """The frame's axes times half its side: [b, 1, ..., 2, 2] for positions [b, ..., 2] of the picture."""
    side, roll = similarity[:, 2].exp(), similarity[:, 3]
    cos, sin = side * roll.cos(), side * roll.sin()
    axes = torch.stack([torch.stack([cos, -sin], -1), torch.stack([sin, cos], -1)], -2)
    return axes.view(len(similarity), *[1] * max(like.ndim - 3, 0), 2, 2)


def _centre(similarity: Tensor, like: Tensor) -> Tensor:
    return (2 * similarity[:, :2] - 1).view(len(similarity), *[1] * (like.ndim - 2), 2)
