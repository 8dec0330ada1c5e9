"""Flow fields as linear maps of motion, and the motion that aligns one picture with another."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bcdcodec.models.warp import centres, warp

if TYPE_CHECKING:
    from bcdcodec.models.heads.residual_basis import Appearance

Levels = tuple[tuple[int, int, int], ...]
# Of the alignment: side as a share of the picture's, times it is smoothed, iterations.
LEVELS = ((8, 1, 4), (4, 1, 2), (4, 0, 2), (2, 0, 2), (1, 0, 1))
QUICK = LEVELS[:-1]  # to compare stills: the finest takes longer than all others
ON_CPU = 8  # pictures aligned at once there: what they need stays in its caches
COSTED = 2  # the finest share at which errors are priced: what they cost beyond is too local to say much of larger ones
ROBUST = 0.1  # error of a pixel (in [-1, 1]) from which it counts by its size rather than its square
CELL = 32.0  # side in pixels at which the prior on motion weighs as much as the errors of one pixel each
FLOW_NOISE = 1 / 64  # half pictures: what a true flow is known to
PRIOR = 0.25  # weight of the prior: more, and fine motion is not found; less, and bits go into noise
AMOUNT = 0.3  # change of its channel of motion that a deviation of an appearance's component is
LOOSE = 3.0  # deviations of amounts that the prior takes for one: with less, mouths stay half closed
EMPHASIS = 4.0  # extra weight of errors at mouth and eyes
TYPICAL = 0.009  # mean squared error of pixels (in [-1, 1]) that a unit of change makes, squared, in footage
FLAT = 0.1  # of TYPICAL, that a change costs even where nothing is seen to move
SMOOTH_FREQUENCIES = 10  # of the cosines of smooth fields, each way
SMOOTH_DEVIATION = 1 / 32  # half pictures, of the constant flow


class FlowBasis(nn.Module):
    """Orthonormal flow fields [m, 2, g, g], of which motion m holds the coefficients; the last `amounts` of them are nothing.

    Flow is a displacement from a picture to the content picture in halves of a picture, as in `warp`. Fitted as the
    principal components of flows between frames of training clips, the fields are what heads do most.
    """

    def __init__(self, components: int, grid: int, amounts: int = 0):
        super().__init__()
        self.amounts = amounts  # channels that say how much of what an appearance adds, and no flow
        self.register_buffer("fields", torch.zeros(components, 2, grid, grid))
        self.register_buffer("deviation", torch.ones(components))  # of each coefficient between two frames of a clip

    def forward(self, change: Tensor) -> Tensor:
        """Flow [..., 2, g, g] to the content picture of a picture whose motion is off its by `change` [..., m]."""
        with torch.autocast(change.device.type, enabled=False):
            return torch.tensordot(change.float(), self.fields.float(), dims=1)

    def embedded(self, m: Tensor) -> Tensor:
        """Motion [..., m] on a scale for networks: channels of lesser deviation are nearer to the others, amounts are none."""
        return self.without_amounts(m / self.deviation.sqrt())

    def without_amounts(self, m: Tensor) -> Tensor:
        """Motion [..., m] of which the flow alone is kept."""
        if not self.amounts:
            return m
        return torch.cat([m[..., : -self.amounts], torch.zeros_like(m[..., -self.amounts :])], -1)

    def project(self, flow: Tensor, weight: Tensor) -> Tensor:
        """Coefficients [n, m] of flows [n, 2, h, w] where these are known, `weight` [n, h, w] in 0..1."""
        fields = self._fields_at(flow.shape[-1])  # [m, 2, p]
        weighted = fields[None] * weight.flatten(1)[:, None, None]  # [n, m, 2, p]
        gram = torch.einsum("nmdp,kdp->nmk", weighted, fields) + torch.diag((FLOW_NOISE / self.deviation) ** 2)
        return torch.linalg.solve(gram, torch.einsum("nmdp,ndp->nm", weighted, flow.flatten(2)))

    @torch.no_grad()
    def align(
        self,
        picture: Tensor,
        target: Tensor,
        start: Tensor,
        appearance: Appearance | None = None,
        levels: Levels = LEVELS,
    ) -> Tensor:
        """Change [n, m] whose flow makes the picture [n, c, h, w] most like the target [n, c, h, w], from `start` on.

        Gauss-Newton steps on the robust error of the two pictures' grey, coarse to fine, with the basis's deviations as
        the prior: Lucas and Kanade's alignment (1981) over a linear model, as active appearance models do it. With an
        `appearance` [1 or n, ...] of the picture the last channels are the amounts of its components.
        """
        return self.align_with_curvature(picture, target, start, appearance, levels)[0]

    @torch.no_grad()
    def align_with_curvature(
        self,
        picture: Tensor,
        target: Tensor,
        start: Tensor,
        appearance: Appearance | None = None,
        levels: Levels = LEVELS,
    ) -> tuple[Tensor, Tensor]:
        """`align`, and what each error of the change [n, m] costs in the picture: e' C e of curvature C [n, m, m].

        In the unit of TYPICAL: of a change whose error costs as much as usual C is about the identity.
        """
        fields = [self._fields_at(picture.shape[-1] // share) for share, _, _ in levels]
        n = max(1, len(start))
        few = ON_CPU if start.device.type == "cpu" else n
        parts = []
        for at in (slice(i, i + few) for i in range(0, n, few)):
            looks = appearance
            if appearance is not None and len(appearance.components) > 1:
                looks = replace(appearance, components=appearance.components[at], salience=appearance.salience[at])
            parts.append(self._aligned(picture[at], target[at], start[at], looks, list(zip(levels, fields))))
        return torch.cat([change for change, _ in parts]), torch.cat([curvature for _, curvature in parts])

    def _aligned(
        self,
        picture: Tensor,
        target: Tensor,
        start: Tensor,
        appearance: Appearance | None,
        levels: list[tuple[tuple[int, int, int], Tensor]],
    ) -> tuple[Tensor, Tensor]:
        change = start.float()
        size, n = picture.shape[-1], len(change)
        with torch.autocast(picture.device.type, enabled=False):
            for (share, smoothings, iterations), fields in levels:  # fields [m, 2, p]
                side = size // share
                source, goal = (_grey(x.float(), share, smoothings) for x in (picture, target))
                prior = PRIOR * (side / CELL) ** 2 / self.deviation.square()
                moving = torch.cat([source, *_slopes(source)], 1)  # [n, 3, side, side]
                more = None
                if appearance is not None:
                    b, k = appearance.components.shape[:2]
                    more = _grey(appearance.components.flatten(0, 1).float(), share, smoothings).view(b, k, side, side)
                    more = torch.cat([F.avg_pool2d(appearance.salience, share), more], 1).expand(
                        n, -1, -1, -1
                    )  # [n, 1 + k, side, side]
                for _ in range(iterations):
                    if more is not None:
                        amounts = appearance.amounts(change)  # [n, k]
                        looks = source + (amounts[..., None, None] * more[:, 1:]).sum(1, keepdim=True)
                        moving = torch.cat([looks, *_slopes(looks), more], 1)
                    flow = torch.tensordot(change, fields, dims=1).unflatten(-1, (side, side))
                    seen = warp(moving, flow).flatten(2)  # [n, 3 or 4 + k, p]
                    error = seen[:, 0] - goal.flatten(1)
                    weight = (error.square() + ROBUST**2).rsqrt()
                    if more is not None:
                        weight = weight * (1 + EMPHASIS * seen[:, 3])
                    jacobian = (
                        seen[:, 1, None] * fields[None, :, 0] + seen[:, 2, None] * fields[None, :, 1]
                    )  # [n, m, p]
                    if more is not None:  # channels without a field of flow
                        jacobian[:, -self.amounts :] = seen[:, 4:] / AMOUNT
                    weighted = jacobian * weight[:, None]
                    squared = weighted @ jacobian.transpose(1, 2)
                    if share >= COSTED:
                        curvature = squared * (ROBUST / side**2 / TYPICAL)
                    gradient = (weighted @ error[..., None])[..., 0] + prior * (change - start)
                    change = change - torch.linalg.solve(squared + torch.diag(prior), gradient)
        return change, curvature + FLAT * torch.eye(len(prior), device=change.device)

    @torch.no_grad()
    def fit(self, flows: Tensor) -> None:
        """Take the principal components of flows [n, 2, g, g], which may point anywhere: about zero, not their mean."""
        rows = flows.flatten(1).double()
        values, vectors = torch.linalg.eigh(rows.T @ rows / len(rows))  # ascending
        count = len(self.fields) - self.amounts
        vectors = vectors.flip(1)[:, :count].T
        vectors = vectors * torch.sign(vectors.sum(1, keepdim=True) + 1e-12)  # a function of the flows alone
        self.fields[:count] = vectors.view_as(self.fields[:count])
        self.deviation[:count] = values.flip(0)[:count].clamp_min(1e-8).sqrt()
        self.deviation[count:] = LOOSE * AMOUNT

    def _fields_at(self, side: int) -> Tensor:
        """The fields at `side` cells a side, [m, 2, p]."""
        grid = self.fields.shape[-1]
        if side > grid:
            return F.interpolate(self.fields, size=(side, side), mode="bilinear", align_corners=False).flatten(2)
        return F.adaptive_avg_pool2d(self.fields, side).flatten(2)


def smooth_basis(grid: int) -> FlowBasis:
    """Fields of low cosines, of which slow ones are the larger: what is known of flows before any are seen."""
    x = (centres(grid) + 1) / 2
    cosines = [torch.cos(math.pi * k * x) * math.sqrt((2 if k else 1) / grid) for k in range(SMOOTH_FREQUENCIES)]
    fields, deviations = [], []
    for i, row in enumerate(cosines):
        for j, column in enumerate(cosines[: SMOOTH_FREQUENCIES + 1 - i]):
            for axis in (0, 1):
                field = torch.zeros(2, grid, grid)
                field[axis] = torch.outer(row, column)
                fields.append(field)
                deviations.append(grid * SMOOTH_DEVIATION / math.sqrt(1 + i * i + j * j))
    basis = FlowBasis(len(fields), grid)
    basis.fields.copy_(torch.stack(fields))
    basis.deviation.copy_(torch.tensor(deviations))
    return basis


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
