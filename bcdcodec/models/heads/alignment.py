"""Alignment of one picture with another: the motion whose flow and residual make them most alike.

Gauss-Newton steps on the robust error of the grey values, coarse to fine, with the deviations of the flow basis as the
prior: Lucas and Kanade's alignment (1981) over a linear model, as in active appearance models.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from bcdcodec.models.alignment import CELL, FLAT, HESSIAN_SHARE, LEVELS, PRIOR, ROBUST, TYPICAL, Level, grey, slopes
from bcdcodec.models.flow_basis import RESIDUAL_SCALE, FlowBasis
from bcdcodec.models.heads.residual_basis import ResidualBasis
from bcdcodec.models.warp import warp

ON_CPU = 8  # pictures aligned at once on a CPU: they fit its caches
EMPHASIS = 4.0  # extra weight of errors at mouth and eyes


@torch.no_grad()
def align(
    basis: FlowBasis,
    picture: Tensor,
    target: Tensor,
    start: Tensor,
    residual: ResidualBasis | None = None,
    levels: tuple[Level, ...] = LEVELS,
) -> tuple[Tensor, Tensor]:
    """Change [n, m] whose flow makes the picture [n, c, h, w] most like the target [n, c, h, w], from `start` on.

    With a residual basis `residual` [1 or n, ...] of the picture the last channels are its coefficients. And the
    Hessian H [n, m, m] of the picture's error: an error e of the change costs e' H e, in the unit of TYPICAL. For a
    change whose errors cost as much as usual H is about the identity.
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
    levels: list[tuple[Level, Tensor]],
) -> tuple[Tensor, Tensor]:
    change = start.float()
    size, n = picture.shape[-1], len(change)
    with torch.autocast(picture.device.type, enabled=False):
        for (share, smoothings, iterations), fields in levels:  # fields [m, 2, p]
            side = size // share
            source, goal = (grey(x.float(), share, smoothings) for x in (picture, target))
            prior = PRIOR * (side / CELL) ** 2 / basis.deviation.square()
            moving = torch.cat([source, slopes(source)], 1)  # [n, 3, side, side]
            more = None
            if residual is not None:
                b, k = residual.components.shape[:2]
                more = grey(residual.components.flatten(0, 1).float(), share, smoothings).view(b, k, side, side)
                more = torch.cat([F.avg_pool2d(residual.salience, share), more], 1).expand(
                    n, -1, -1, -1
                )  # [n, 1 + k, side, side]
            for _ in range(iterations):
                if more is not None:
                    coefficients = residual.coefficients(change)  # [n, k]
                    image = source + (coefficients[..., None, None] * more[:, 1:]).sum(1, keepdim=True)
                    moving = torch.cat([image, slopes(image), more], 1)
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
