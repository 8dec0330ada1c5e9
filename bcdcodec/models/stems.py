"""Convolutional stems: one frame becomes one token of the encoder's transformer."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bcdcodec.models.layers import patchify


class ConvStem(nn.Module):
    """Patches of 4x4, strided convolutions that halve the grid each, one projection: [b, c, h, w] -> [b, width]."""

    PATCH = 4

    def __init__(self, channels: int, size: int, widths: tuple[int, ...], width: int):
        super().__init__()
        side = size // self.PATCH
        # A linear map of patches: convolutions at full resolution would cost more than all the rest.
        self.embed = nn.Linear(channels * self.PATCH**2, widths[0])
        layers: list[nn.Module] = []
        for before, after in zip(widths[:-1], widths[1:]):
            layers += [
                nn.GroupNorm(8, before),
                nn.GELU(approximate="tanh"),
                nn.Conv2d(before, after, 4, stride=2, padding=1),
            ]
            side //= 2
        self.layers = nn.Sequential(*layers, nn.GroupNorm(8, widths[-1]), nn.GELU(approximate="tanh"))
        self.project = nn.Linear(widths[-1] * side * side, width)

    def forward(self, x: Tensor) -> Tensor:
        b, _, h, w = x.shape
        x = self.embed(patchify(x, self.PATCH)).view(b, h // self.PATCH, w // self.PATCH, -1).permute(0, 3, 1, 2)
        return self.project(self.layers(x).flatten(1))


class OverlapStem(nn.Module):
    """Overlapping strided convolutions, the first by 4, each other halving the grid: [b, c, h, w] -> [b, width].

    Under batch statistics it reads the motion of unseen faces after a tenth of the steps that `ConvStem` needs.
    """

    STRIDE = 4

    def __init__(self, channels: int, size: int, widths: tuple[int, ...], width: int):
        super().__init__()
        side = size // self.STRIDE
        layers: list[nn.Module] = [nn.Conv2d(channels, widths[0], 8, stride=4, padding=2)]
        for before, after in zip(widths[:-1], widths[1:]):
            layers += [nn.BatchNorm2d(before), nn.ReLU(), nn.Conv2d(before, after, 4, stride=2, padding=1)]
            side //= 2
        self.layers = nn.Sequential(*layers, nn.BatchNorm2d(widths[-1]), nn.ReLU())
        self.project = nn.Sequential(
            nn.Linear(widths[-1] * side * side, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Linear(width, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.layers(x.contiguous(memory_format=torch.channels_last))
        return self.project(x.contiguous().flatten(1))
