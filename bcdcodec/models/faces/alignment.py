"""Alignment of one picture with another by a flow basis: the motion whose flow makes them most alike.

Gauss-Newton steps on the robust error of the grey values, coarse to fine (Lucas and Kanade, 1981), with the deviations
of the flow basis as the prior. Flow fields are smooth, so the normal equations are summed over cells of some pixels, in
each of which a field counts by its mean: the structure tensor of a cell is all that is needed of its pixels.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from bcdcodec.models.flow_basis import FlowBasis
from bcdcodec.models.warp import warp


class Level(NamedTuple):
    """One size of the pictures that are aligned."""

    share: int  # side of the pictures over the side here
    smoothings: int  # times the pictures are smoothed over 3x3 pixels
    iterations: int


LEVELS = (Level(8, 1, 4), Level(4, 1, 2), Level(4, 0, 2), Level(2, 0, 2), Level(1, 0, 1))
QUICK = LEVELS[:-1]  # to compare references
AT_ONCE = 16  # pictures aligned at once: they fit a processor's caches
HESSIAN_SHARE = 2  # finest share whose Hessian is used: a finer one holds for smaller errors only
FINE = 2  # cells on a side of one of the flow basis, from that share on; before, those of the flow basis
ROBUST = 0.1  # error of a pixel (in [-1, 1]) from which it counts by its size rather than its square
CELL = 32.0  # side in pixels at which the prior on motion weighs as much as the errors of one pixel each
PRIOR = 0.25  # weight of the prior: more, and fine motion is not found; less, and bits go into noise
TYPICAL = 0.009  # mean squared error of pixels (in [-1, 1]) that a unit of change makes in footage
FLAT = 0.1  # of TYPICAL, that a change costs even where the picture is flat


@torch.no_grad()
def align(
    basis: FlowBasis, picture: Tensor, target: Tensor, start: Tensor, levels: tuple[Level, ...] = LEVELS
) -> tuple[Tensor, Tensor]:
    """Change [n, m] whose flow makes the picture [n, c, h, w] most like the target [n, c, h, w], from `start` on.

    And the Hessian H [n, m, m] of the picture's error: an error e of the change costs e' H e, in the unit of TYPICAL.
    For a change whose errors cost as much as usual H is about the identity.
    """
    parts = zip(*(x.float().split(AT_ONCE) for x in (picture.mean(1, True), target.mean(1, True), start)), strict=True)
    changes, hessians = zip(*(_aligned(basis, *part, levels) for part in parts), strict=True)
    return torch.cat(changes), torch.cat(hessians)


def _aligned(
    basis: FlowBasis, picture: Tensor, target: Tensor, start: Tensor, levels: tuple[Level, ...]
) -> tuple[Tensor, Tensor]:
    """`align` of grey pictures [n, 1, h, w]."""
    change, hessian = start, None
    for share, smoothings, iterations in levels:
        source, goal = (_smoothed(F.avg_pool2d(x, share), smoothings) for x in (picture, target))
        side = source.shape[-1]
        cells = min(side, (FINE if share <= HESSIAN_SHARE else 1) * basis.fields.shape[-1])
        fields = basis.fields_at(cells).flatten(1)  # [m, 2 * p] of p cells
        moving = torch.cat([source, _slopes(source)], 1)  # [n, 3, side, side]
        prior = PRIOR * (side / CELL) ** 2 / basis.deviation.square()
        for _ in range(iterations):
            seen = warp(moving, basis(change))
            error, slopes = seen[:, :1] - goal, seen[:, 1:]
            weighted = slopes * (error.square() + ROBUST**2).rsqrt()
            products = torch.cat([weighted[:, :1] * slopes, weighted[:, 1:] * slopes[:, 1:], weighted * error], 1)
            sums = (side // cells) ** 2 * F.avg_pool2d(products, side // cells).flatten(2)  # [n, 5, p]
            xx, xy, yy = sums[:, None, :3].unbind(2)  # [n, 1, p], the structure tensor
            x, y = fields.view(1, len(fields), 2, -1).unbind(2)  # [1, m, p]
            left = torch.cat([xx * x + xy * y, xy * x + yy * y], 2)  # [n, m, 2 * p]
            squared = left @ fields.T  # [n, m, m]
            gradient = sums[:, 3:].flatten(1) @ fields.T + prior * (change - start)
            change = change - torch.linalg.solve(squared + torch.diag(prior), gradient)
        if share >= HESSIAN_SHARE:
            hessian = squared * (ROBUST / side**2 / TYPICAL)
    return change, hessian + FLAT * torch.eye(len(prior), device=change.device)


def _smoothed(x: Tensor, times: int) -> Tensor:
    """Pictures [n, 1, h, w] smoothed so many times over 3x3 pixels."""
    for _ in range(times):
        x = F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), 3, 1)
    return x


def _slopes(x: Tensor) -> Tensor:
    """Slopes of x [n, 1, h, w] along x and y, a half picture: [n, 2, h, w]."""
    padded = F.pad(x, (1, 1, 1, 1), mode="replicate")
    along_x = padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2]
    along_y = padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]
    return x.shape[-1] / 4 * torch.cat([along_x, along_y], 1)
