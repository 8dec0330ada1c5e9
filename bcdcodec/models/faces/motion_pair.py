"""How the networks of the base layer are told the motion of the reference and of the target."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def motion_pair(network: nn.Module, motion_reference: Tensor, motion: Tensor) -> Tensor:
    """Motion, the reference's and their difference: [b, m], [b, m] -> [b, 3 m], in the network's `motion_scale`.

    `motion_mean` and `motion_scale` [m] are buffers of the network, set from training data.
    """
    before = (motion_reference - network.motion_mean) / network.motion_scale
    after = (motion - network.motion_mean) / network.motion_scale
    return torch.cat([after, before, after - before], -1)


def condition_layers(inputs: int, width: int) -> nn.Sequential:
    """Numbers [b, inputs] -> condition [b, width] of the blocks."""
    return nn.Sequential(nn.Linear(inputs, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU())
