"""Alignment of one picture with another by a flow basis: the motion whose flow makes them most alike.

Gauss-Newton steps on the robust error of the grey values, coarse to fine (Lucas and Kanade, 1981), with the deviations
of the flow basis as the prior. Flow fields are smooth, so the normal equations are summed over cells of some pixels, in
each of which a field counts by its mean: the structure tensor of a cell is all that is needed of its pixels.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from bcdcodec.models.alignment import CELL, FLAT, HESSIAN_SHARE, LEVELS, PRIOR, ROBUST, TYPICAL, Level, grey, slopes
from bcdcodec.models.flow_basis import FlowBasis
from bcdcodec.models.warp import warp

AT_ONCE = 16  # pictures aligned at once: they fit a processor's caches
FINE = 2  # cells on a side of one of the flow basis, from that share on; before, those of the flow basis


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
        source, goal = (grey(x, share, smoothings) for x in (picture, target))
        side = source.shape[-1]
        cells = min(side, (FINE if share <= HESSIAN_SHARE else 1) * basis.fields.shape[-1])
        fields = basis.fields_at(cells).flatten(1)  # [m, 2 * p] of p cells
        moving = torch.cat([source, slopes(source)], 1)  # [n, 3, side, side]
        prior = PRIOR * (side / CELL) ** 2 / basis.deviation.square()
        for _ in range(iterations):
            seen = warp(moving, basis(change))
            error, slope = seen[:, :1] - goal, seen[:, 1:]
            weighted = slope * (error.square() + ROBUST**2).rsqrt()
            products = torch.cat([weighted[:, :1] * slope, weighted[:, 1:] * slope[:, 1:], weighted * error], 1)
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
