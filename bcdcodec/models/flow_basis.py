"""The flow basis: flow fields as linear maps of motion."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bcdcodec.models.warp import centres

FLOW_NOISE = 1 / 64  # half pictures: what a true flow is known to
RESIDUAL_SCALE = 0.3  # change of its channel of motion that a deviation of a residual's component is
LOOSE = 3.0  # deviations of the residual's coefficients that the prior takes for one: with less, mouths open less
SMOOTH_FREQUENCIES = 10  # of the cosines of smooth fields, each way
SMOOTH_DEVIATION = 1 / 32  # half pictures, of the constant flow


class FlowBasis(nn.Module):
    """Orthonormal flow fields [m, 2, g, g], of which motion m holds the coefficients.

    The last `residual_channels` of them are zero.

    Flow is a displacement from a picture to the reference image in halves of a picture, as in `warp`. Fitted as the
    principal components of flows between frames of training clips, the fields are what heads do most.
    """

    def __init__(self, components: int, grid: int, residual_channels: int = 0):
        super().__init__()
        self.residual_channels = residual_channels  # the last ones, which are coefficients of the residual basis
        self.register_buffer("fields", torch.zeros(components, 2, grid, grid))
        self.register_buffer("deviation", torch.ones(components))  # of each coefficient between two frames of a clip

    def forward(self, change: Tensor) -> Tensor:
        """Flow [..., 2, g, g] to the reference image of a picture whose motion is off its by `change` [..., m]."""
        with torch.autocast(change.device.type, enabled=False):
            return torch.tensordot(change.float(), self.fields.float(), dims=1)

    def embedded(self, m: Tensor) -> Tensor:
        """Motion [..., m] on a scale for networks: channels of lesser deviation are nearer to the others."""
        return self.flow_channels(m / self.deviation.sqrt())

    def flow_channels(self, m: Tensor) -> Tensor:
        """Motion [..., m] with zeros for the residual's coefficients."""
        if not self.residual_channels:
            return m
        return torch.cat([m[..., : -self.residual_channels], torch.zeros_like(m[..., -self.residual_channels :])], -1)

    def project(self, flow: Tensor, weight: Tensor) -> Tensor:
        """Coefficients [n, m] of flows [n, 2, h, w] where these are known, `weight` [n, h, w] in 0..1."""
        fields = self.fields_at(flow.shape[-1])  # [m, 2, p]
        weighted = fields[None] * weight.flatten(1)[:, None, None]  # [n, m, 2, p]
        gram = torch.einsum("nmdp,kdp->nmk", weighted, fields) + torch.diag((FLOW_NOISE / self.deviation) ** 2)
        return torch.linalg.solve(gram, torch.einsum("nmdp,ndp->nm", weighted, flow.flatten(2)))

    @torch.no_grad()
    def fit(self, flows: Tensor) -> None:
        """Take the principal components of flows [n, 2, g, g], which may point anywhere: about zero, not their mean."""
        rows = flows.flatten(1).double()
        values, vectors = torch.linalg.eigh(rows.T @ rows / len(rows))  # ascending
        count = len(self.fields) - self.residual_channels
        vectors = vectors.flip(1)[:, :count].T
        vectors = vectors * torch.sign(vectors.sum(1, keepdim=True) + 1e-12)  # a function of the flows alone
        self.fields[:count] = vectors.view_as(self.fields[:count])
        self.deviation[:count] = values.flip(0)[:count].clamp_min(1e-8).sqrt()
        self.deviation[count:] = LOOSE * RESIDUAL_SCALE

    def fields_at(self, side: int) -> Tensor:
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
