"""What the alignments of `faces` and `heads` share: the sizes they go through, weights, grey values and slopes."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from bcdcodec.models.smoothing import smoothed


class Level(NamedTuple):
    """One size of the pictures that are aligned."""

    share: int  # side of the pictures over the side here
    smoothings: int  # times the pictures are smoothed over 3x3 pixels
    iterations: int


LEVELS = (Level(8, 1, 4), Level(4, 1, 2), Level(4, 0, 2), Level(2, 0, 2), Level(1, 0, 1))
QUICK = LEVELS[:-1]  # to compare references: the finest takes longer than all others
HESSIAN_SHARE = 2  # finest share whose Hessian is used: a finer one holds for smaller errors only
ROBUST = 0.1  # error of a pixel (in [-1, 1]) from which it counts by its size rather than its square
CELL = 32.0  # side in pixels at which the prior on motion weighs as much as the errors of one pixel each
PRIOR = 0.25  # weight of the prior: more, and fine motion is not found; less, and bits go into noise
TYPICAL = 0.009  # mean squared error of pixels (in [-1, 1]) that a unit of change makes in footage
FLAT = 0.1  # of TYPICAL, that a change costs even where the picture is flat


def grey(x: Tensor, share: int, smoothings: int) -> Tensor:
    """Grey [n, 1, h / share, w / share] of pictures [n, c, h, w], smoothed so many times over 3x3 pixels."""
    return smoothed(F.avg_pool2d(x.mean(1, keepdim=True), share), smoothings)


def slopes(x: Tensor) -> Tensor:
    """Slopes of x [n, 1, h, w] along x and y, a half picture: [n, 2, h, w]."""
    padded = F.pad(x, (1, 1, 1, 1), mode="replicate")
    along_x = padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2]
    along_y = padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]
    return x.shape[-1] / 4 * torch.cat([along_x, along_y], 1)
