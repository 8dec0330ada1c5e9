"""Backward warping of pictures by a coarse flow field."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from bcdcodec.models.latents import enlarged


def warp(picture: Tensor, flow: Tensor, cubic: bool = False) -> Tensor:
    """Picture [b, c, h, w] seen through flow [b, 2, gh, gw] (x, y; 1 is half a picture) -> [b, c, h, w].

    The flow is interpolated to the picture's size; positions outside repeat the border. `cubic`: sharper, three times
    slower.
    """
    return F.grid_sample(
        picture,
        _places(flow, *picture.shape[-2:]),
        mode="bicubic" if cubic else "bilinear",
        padding_mode="border",
        align_corners=False,
    )


def warp_large(picture: Tensor, detail: Tensor, flow: Tensor) -> Tensor:
    """A picture [b, c, h, w], enlarged and with the detail [b, c, H, W] that it lacks, through the flow: [b, c, H, W].

    Enlarged first, it keeps fine contrast that interpolation on the small grid takes.
    """
    return warp(enlarged(picture, detail.shape[-1] // picture.shape[-1]) + detail, flow, cubic=True)


def splat(picture: Tensor, flow: Tensor) -> Tensor:
    """The adjoint of `warp`: each pixel of [b, c, h, w] is added to those of the source that it was taken from."""
    b, c, h, w = picture.shape
    size = torch.tensor([w, h], device=flow.device)
    at = (((_places(flow, h, w) + 1) * size - 1) / 2).clamp(
        min=torch.zeros_like(size), max=size - 1
    )  # [b, h, w, 2] in pixels
    low = at.floor()
    share = at - low
    out = torch.zeros(b, c, h * w, device=picture.device)
    for right in (0, 1):
        for down in (0, 1):
            x, y = ((low[..., i] + step).long().clamp(max=int(size[i]) - 1) for i, step in ((0, right), (1, down)))
            weight = (share[..., 0] if right else 1 - share[..., 0]) * (share[..., 1] if down else 1 - share[..., 1])
            where = (y * w + x).flatten(1)[:, None].expand(-1, c, -1)
            out.scatter_add_(2, where, (picture * weight[:, None]).flatten(2))
    return out.unflatten(2, (h, w))


def _places(flow: Tensor, h: int, w: int) -> Tensor:
    """Where in the source each pixel of the warp is taken from, x and y between -1 and 1: [b, h, w, 2]."""
    if flow.shape[-2:] != (h, w):
        flow = F.interpolate(flow, size=(h, w), mode="bilinear", align_corners=False)
    ys, xs = centres(h).to(flow), centres(w).to(flow)
    grid = torch.stack([xs[None].expand(h, w), ys[:, None].expand(h, w)], dim=-1)  # [h, w, 2]
    return grid + flow.permute(0, 2, 3, 1)


def centres(cells: int) -> Tensor:
    """Places of the middles of so many cells between -1 and 1, [cells]."""
    return (torch.arange(cells) + 0.5) * (2 / cells) - 1
