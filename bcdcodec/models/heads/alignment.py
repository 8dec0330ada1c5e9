"""Alignment of one picture with another: the motion whose flow and residual make them most alike.

Gauss-Newton steps on the robust error of the grey values, coarse to fine, with the deviations of the flow basis as the
prior: Lucas and Kanade's alignment (1981) over a linear model, as in active appearance models.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from bcdcodec.models.flow_basis import RESIDUAL_SCALE, FlowBasis
from bcdcodec.models.heads.residual_basis import ResidualBasis
from bcdcodec.models.warp import warp

Levels = tuple[tuple[int, int, int], ...]
# Of the alignment: side as a share of the picture's, times it is smoothed, iterations.
LEVELS = ((8, 1, 4), (4, 1, 2), (4, 0, 2), (2, 0, 2), (1, 0, 1))
QUICK = LEVELS[:-1]  # to compare references: the finest takes longer than all others
ON_CPU = 8  # pictures aligned at once on a CPU: they fit its caches
HESSIAN_SHARE = 2  # finest share whose Hessian is used: a finer one holds for smaller errors only
ROBUST = 0.1  # error of a pixel (in [-1, 1]) from which it counts by its size rather than its square
CELL = 32.0  # side in pixels at which the prior on motion weighs as much as the errors of one pixel each
PRIOR = 0.25  # weight of the prior: more, and fine motion is not found; less, and bits go into noise
EMPHASIS = 4.0  # extra weight of errors at mouth and eyes
TYPICAL = 0.009  # mean squared error of pixels (in [-1, 1]) that a unit of change makes in footage
FLAT = 0.1  # of TYPICAL, that a change costs even where the picture is flat


@torch.no_grad()
def align(
    basis: FlowBasis,
    picture: Tensor,
    target: Tensor,
    start: Tensor,
    residual: ResidualBasis | None = None,
    levels: Levels = LEVELS,
) -> Tensor:
    """Change [n, m] whose flow makes the picture [n, c, h, w] most like the target [n, c, h, w], from `start` on.

    With a residual basis `residual` [1 or n, ...] of the picture the last channels are its coefficients.
    """
    return align_with_hessian(basis, picture, target, start, residual, levels)[0]


@torch.no_grad()
def align_with_hessian(
    basis: FlowBasis,
    picture: Tensor,
    target: Tensor,
    start: Tensor,
    residual: ResidualBasis | None = None,
    levels: Levels = LEVELS,
) -> tuple[Tensor, Tensor]:
    """`align`, and the Hessian H [n, m, m] of the picture's error: an error e of the change costs e' H e.

    In the unit of TYPICAL: for a change whose errors cost as much as usual H is about the identity.
    """
    fields = [basis.fields_at(picture.shape[-1] // share) for share, _, _ in levels]
    n = max(1, len(start))
    few = ON_CPU if start.device.type == "cpu" else n
    parts = []
    for at in (slice(i, i + few) for i in range(0, n, few)):
        some = residual
        if residual is not None and len(residual.components) > 1:
            some = replace(residual, components=residual.components[at], salience=residual.salience[at])
        parts.append(_aligned(basis, picture[at], target[at], start[at], some, list(zip(levels, fields))))
    return torch.cat([change for change, _ in parts]), torch.cat([hessian for _, hessian in parts])


def _aligned(
    basis: FlowBasis,
    picture: Tensor,
    target: Tensor,
    start: Tensor,
    residual: ResidualBasis | None,
    levels: list[tuple[tuple[int, int, int], Tensor]],
) -> tuple[Tensor, Tensor]:
    change = start.float()
    size, n = picture.shape[-1], len(change)
    with torch.autocast(picture.device.type, enabled=False):
        for (share, smoothings, iterations), fields in levels:  # fields [m, 2, p]
            side = size // share
            source, goal = (_grey(x.float(), share, smoothings) for x in (picture, target))
            prior = PRIOR * (side / CELL) ** 2 / basis.deviation.square()
            moving = torch.cat([source, *_slopes(source)], 1)  # [n, 3, side, side]
            more = None
            if residual is not None:
                b, k = residual.components.shape[:2]
                more = _grey(residual.components.flatten(0, 1).float(), share, smoothings).view(b, k, side, side)
                more = torch.cat([F.avg_pool2d(residual.salience, share), more], 1).expand(
                    n, -1, -1, -1
                )  # [n, 1 + k, side, side]
            for _ in range(iterations):
                if more is not None:
                    coefficients = residual.coefficients(change)  # [n, k]
                    image = source + (coefficients[..., None, None] * more[:, 1:]).sum(1, keepdim=True)
                    moving = torch.cat([image, *_slopes(image), more], 1)
                flow = torch.tensordot(change, fields, dims=1).unflatten(-1, (side, side))
                seen = warp(moving, flow).flatten(2)  # [n, 3 or 4 + k, p]
                error = seen[:, 0] - goal.flatten(1)
                weight = (error.square() + ROBUST**2).rsqrt()
                if more is not None:
                    weight = weight * (1 + EMPHASIS * seen[:, 3])
                jacobian = seen[:, 1, None] * fields[None, :, 0] + seen[:, 2, None] * fields[None, :, 1]  # [n, m, p]
                if more is not None:  # channels without a field of flow
                    jacobian[:, -basis.residual_channels :] = seen[:, 4:] / RESIDUAL_SCALE
                weighted = jacobian * weight[:, None]
                squared = weighted @ jacobian.transpose(1, 2)
                if share >= HESSIAN_SHARE:
                    hessian = squared * (ROBUST / side**2 / TYPICAL)
                gradient = (weighted @ error[..., None])[..., 0] + prior * (change - start)
                change = change - torch.linalg.solve(squared + torch.diag(prior), gradient)
    return change, hessian + FLAT * torch.eye(len(prior), device=change.device)


def _grey(x: Tensor, share: int, smoothings: int) -> Tensor:
    """Grey [n, 1, h / share, w / share] of pictures [n, c, h, w], smoothed so many times over 3x3 pixels."""
    x = F.avg_pool2d(x.mean(1, keepdim=True), share)
    for _ in range(smoothings):
        x = F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), 3, 1)
    return x


def _slopes(x: Tensor) -> tuple[Tensor, Tensor]:
    """Slope of x [n, 1, h, w] along x and y, each [n, 1, h, w], a half picture."""
    padded = F.pad(x, (1, 1, 1, 1), mode="replicate")
    scale = x.shape[-1] / 4
    return scale * (padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2]), scale * (
        padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]
    )
