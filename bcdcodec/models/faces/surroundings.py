"""The picture around the face: hair, neck, shoulders and background, each of which moves in its own way.

A transformer over patches of the whole picture. A token sees the reference as it rests and as it would be if all of it
moved with the head; the base motion of both pictures enters by adaptive layer norm (AdaLN, as in DiT). For each cell
the network says what share of the head's movement is followed there, a flow beside that, and a colour where the
reference does not show what is there.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bcdcodec.models.faces.alignment_frame import positions, to_frame, to_picture
from bcdcodec.models.faces.config import SurroundingsConfig
from bcdcodec.models.faces.motion_pair import condition_layers, motion_pair
from bcdcodec.models.faces.overlap import Overlap
from bcdcodec.models.faces.transformer import Block, patches
from bcdcodec.models.smoothing import smoothed

CHANNELS = 7  # share of the head's movement, flow x and y, occlusion, fill
SMOOTHINGS = 2  # of the maps over 3x3 cells
PLACES = 4  # numbers that tell a token where it is in the frames of both heads


class Surroundings(NamedTuple):
    """What the network says of a target, on the grid of cells, in the target's picture."""

    flow: Tensor  # [b, 2, n, n] x and y, 1 is half the picture: where in the reference a cell looks, from its own place
    occlusion: Tensor  # [b, 1, n, n] logit: the reference does not show what is here
    fill: Tensor  # [b, 3, n, n] -1 to 1: the colour where the reference does not show it
    beside: Tensor  # [b, 2, n, n] the part of the flow that is not the head's movement

    def at(self, index: Tensor | slice) -> Surroundings:
        """Those of some targets."""
        return Surroundings(*(each[index] for each in self))

    def towards(self, other: Surroundings, share: Tensor) -> Surroundings:
        """Those a `share` [b] of the way to others."""
        return Surroundings(*(torch.lerp(a, b, share.view(-1, 1, 1, 1)) for a, b in zip(self, other, strict=True)))


class SurroundingsNetwork(nn.Module):
    """Reference image, its motion and the target's motion -> `Surroundings`."""

    def __init__(self, config: SurroundingsConfig):
        super().__init__()
        self.config = c = config
        # Mean and deviation of each number of the motion, set from training data.
        self.register_buffer("motion_mean", torch.zeros(c.motion))
        self.register_buffer("motion_scale", torch.ones(c.motion))
        self.embed = nn.Linear(2 * 3 * (c.patch + 2 * c.margin) ** 2 + PLACES, c.width)
        self.position = nn.Parameter(0.02 * torch.randn(c.grid**2, c.width))
        self.condition = condition_layers(3 * c.motion, c.width)
        self.blocks = nn.ModuleList(Block(c.width, c.heads) for _ in range(c.blocks))
        self.norm = nn.LayerNorm(c.width, elementwise_affine=False)
        self.to_windows = nn.Linear(c.width, CHANNELS * (2 * c.patch // c.cell) ** 2)
        nn.init.normal_(self.to_windows.weight, std=0.002)
        nn.init.zeros_(self.to_windows.bias)
        with torch.no_grad():
            self.to_windows.bias.view(CHANNELS, -1)[3] = -2.0  # at first the reference shows nearly everything
        self.overlap = Overlap(c.grid, c.patch // c.cell)

    def forward(self, reference: Tensor, motion_reference: Tensor, motion: Tensor) -> Surroundings:
        """Reference [b, 3, s, s] of the config's side, -1 to 1, and all 58 numbers of motion [b, 58]."""
        c, kind = self.config, self.embed.weight.dtype  # bfloat16 where the layers were converted to it
        there = head_movement(c.picture, motion_reference[:, -4:], motion[:, -4:])
        moved = F.grid_sample(reference, there, padding_mode="border", align_corners=False)
        tokens = patches(torch.cat([reference, moved], 1).to(kind), c.patch, c.margin)  # [b, n, 6 * side ** 2]
        at = positions(c.grid, reference).flatten(1, 2).expand(len(motion), -1, -1)
        places = [to_frame(similarity, at).clamp(-4, 4) for similarity in (motion_reference[:, -4:], motion[:, -4:])]
        x = self.embed(torch.cat([tokens, *(p.to(kind) for p in places)], -1)) + self.position.to(kind)
        condition = self.condition(motion_pair(self, motion_reference, motion).to(kind))
        for block in self.blocks:
            x = block(x, condition)
        # Steps of flow between two cells would show as blocks.
        out = smoothed(self.overlap(self.to_windows(self.norm(x)).float(), CHANNELS), SMOOTHINGS)
        share, beside = out[:, :1].sigmoid(), out[:, 1:3]
        cells = positions(c.cells, reference).expand(len(motion), -1, -1, -1)
        movement = head_movement(c.cells, motion_reference[:, -4:], motion[:, -4:]) - cells
        return Surroundings(share * movement.permute(0, 3, 1, 2) + beside, out[:, 3:4], out[:, 4:], beside)

    def layers(self) -> list[nn.Module]:
        """What may be converted to bfloat16: all but the statistics of the motion."""
        return [self.embed, self.condition, self.blocks, self.to_windows]


def head_movement(size: int, similarity_reference: Tensor, similarity: Tensor) -> Tensor:
    """Where in the reference each of size x size pixels was, if all moved with the head: [b, size, size, 2]."""
    here = positions(size, similarity).expand(len(similarity), -1, -1, -1)
    return to_picture(similarity_reference, to_frame(similarity, here))


def interpolated(known: Surroundings, at: Tensor) -> Surroundings:
    """Maps of all frames up to the last of those that are `known`, which are of frames `at` [k], rising from 0."""
    frames = torch.arange(int(at[-1]) + 1, device=at.device)
    before = torch.searchsorted(at, frames, right=True) - 1
    after = (before + 1).clamp(max=len(at) - 1)
    share = (frames - at[before]) / (at[after] - at[before]).clamp(min=1)
    return known.at(before).towards(known.at(after), share)
