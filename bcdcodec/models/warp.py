"""Backward warping of the content picture by a coarse flow field."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def warp(picture: Tensor, flow: Tensor) -> Tensor:
    """Picture [b, c, h, w] seen through flow [b, 2, gh, gw] (x, y; 1 is half a picture) -> [b, c, h, w].

    The flow is interpolated to the picture's size; positions outside repeat the border.
    """
    b, _, h, w = picture.shape
    if flow.shape[-2:] != (h, w):
        flow = F.interpolate(flow, size=(h, w), mode="bilinear", align_corners=False)
    ys, xs = centres(h).to(flow), centres(w).to(flow)
    grid = torch.stack([xs[None].expand(h, w), ys[:, None].expand(h, w)], dim=-1)  # [h, w, 2]
    return F.grid_sample(picture, grid + flow.permute(0, 2, 3, 1), mode="bilinear",
                         padding_mode="border", align_corners=False)


def centres(cells: int) -> Tensor:
    """Places of the middles of so many cells between -1 and 1, [cells]."""
    return (torch.arange(cells) + 0.5) * (2 / cells) - 1
