"""Geometry of a face in the face-aligned frame: how the reference image moves and where it must be drawn anew.

A transformer over patches of the reference; the base motion enters by adaptive layer norm (AdaLN, as in DiT) and by a
low-rank bias of each patch. Each token gives a window of the flow field; windows overlap by half and are blended.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bcdcodec.models.faces.alignment_frame import positions
from bcdcodec.models.faces.config import GeometryConfig
from bcdcodec.models.faces.motion_pair import condition_layers, motion_pair
from bcdcodec.models.faces.overlap import Overlap
from bcdcodec.models.faces.transformer import Block, patches


class Geometry(NamedTuple):
    """What the network says of a target, on the grid of cells, in the target's frame."""

    flow: Tensor  # [b, 2, n, n] x and y, 1 is half the frame: where in the reference a cell looks, minus its own place
    occlusion: Tensor  # [b, 1, n, n] logit: the reference does not show what is here
    mouth: Tensor  # [b, 1, n, n] logit: here is the inside of the mouth
    fill: Tensor  # [b, 3, n, n] -1 to 1: the colour where the reference does not show it


class GeometryNetwork(nn.Module):
    """Reference image, its motion and the target's motion -> `Geometry`. Equal motions give a flow of 0."""

    CHANNELS = 7  # flow x and y, occlusion, mouth, fill

    def __init__(self, config: GeometryConfig):
        super().__init__()
        self.config = c = config
        n, window = c.grid**2, 2 * c.patch // c.cell
        # Mean and deviation of each number of the motion, set from training data.
        self.register_buffer("motion_mean", torch.zeros(c.motion))
        self.register_buffer("motion_scale", torch.ones(c.motion))
        self.embed = nn.Linear(3 * (c.patch + 2 * c.margin) ** 2, c.width)
        self.position = nn.Parameter(0.02 * torch.randn(n, c.width))
        self.condition = condition_layers(3 * c.motion, c.width)
        self.amounts = nn.Linear(c.width, c.rank)
        self.by_position = nn.Parameter(0.02 * torch.randn(c.rank, n * c.width))
        self.blocks = nn.ModuleList(Block(c.width, c.heads) for _ in range(c.blocks))
        self.norm = nn.LayerNorm(c.width, elementwise_affine=False)
        # The flow is a learned basis of tokens times the difference of motion: linear in it but for what tokens say.
        self.difference = nn.Linear(c.motion, c.width, bias=False)
        self.to_flow = nn.Linear(c.width, 2 * window**2, bias=False)
        self.to_rest = nn.Linear(c.width, (self.CHANNELS - 2) * window**2)
        nn.init.zeros_(self.to_rest.weight)
        nn.init.zeros_(self.to_rest.bias)
        nn.init.normal_(self.to_flow.weight, std=0.002)
        self.overlap = Overlap(c.grid, c.patch // c.cell)

    def forward(self, reference: Tensor, motion_reference: Tensor, motion: Tensor) -> Geometry:
        """References [r, 3, s, s] (-1 to 1) and motions [b, m], b / r of each reference -> `Geometry`."""
        c, b = self.config, len(motion)
        kind = self.embed.weight.dtype  # bfloat16 where the layers were converted to it
        both = motion_pair(self, motion_reference, motion).to(kind)
        difference = both[:, -c.motion :]
        tokens = self.embed(patches(reference.to(kind), c.patch, c.margin)).repeat_interleave(b // len(reference), 0)
        condition = self.condition(both)  # [b, d]
        bias = (self.amounts(condition) @ self.by_position.to(condition.dtype)).view(b, c.grid**2, c.width)
        x = tokens + self.position.to(kind) + bias
        for block in self.blocks:
            x = block(x, condition)
        x = self.norm(x)
        flow = self.to_flow(x * self.difference(difference)[:, None])
        windows = torch.cat([flow, self.to_rest(x)], -1)  # [b, n, 7 * window ** 2]
        out = self.overlap(windows.float(), self.CHANNELS)
        return Geometry(out[:, :2], out[:, 2:3], out[:, 3:4], out[:, 4:])

    def layers(self) -> list[nn.Module]:
        """What may be converted to bfloat16: all but the statistics of the motion."""
        return [self.embed, self.condition, self.amounts, self.blocks, self.difference, self.to_flow, self.to_rest]


def warp(reference: Tensor, flow: Tensor, cubic: bool = False) -> Tensor:
    """The reference [b, c, s, s] seen through flow [b, 2, n, n], enlarged to its size -> [b, c, s, s]."""
    size = reference.shape[-1]
    flow = F.interpolate(flow, size=(size, size), mode="bilinear", align_corners=False)
    grid = positions(size, flow) + flow.permute(0, 2, 3, 1)
    mode = "bicubic" if cubic else "bilinear"
    return F.grid_sample(reference, grid, mode=mode, padding_mode="border", align_corners=False)


def compose(warped: Tensor, geometry: Geometry) -> Tensor:
    """The warped reference [b, 3, s, s] with the fill where the reference does not show what is there."""
    size = warped.shape[-1]
    rest = torch.cat([geometry.occlusion.sigmoid(), geometry.fill], 1)
    rest = F.interpolate(rest, size=(size, size), mode="bilinear", align_corners=False)
    return warped + rest[:, :1] * (rest[:, 1:] - warped)
