"""Overlapping windows of tokens, blended into one map."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Overlap(nn.Module):
    """Each token of a grid gives a window twice as wide as the tokens' spacing; half over one another they add to 1."""

    def __init__(self, grid: int, step: int):
        """`grid`: tokens on a side; `step`: cells of the map between two tokens."""
        super().__init__()
        self.grid, self.step = grid, step
        window = 2 * step
        hann = torch.sin(torch.pi * (torch.arange(window) + 0.5) / window) ** 2
        self.register_buffer("blend", (hann[:, None] * hann[None]).flatten(), persistent=False)

    def forward(self, windows: Tensor, channels: int) -> Tensor:
        """Windows [b, grid ** 2, channels * (2 * step) ** 2] -> a map [b, channels, grid * step, grid * step]."""
        b, g, step = len(windows), self.grid, self.step
        half, cells = step // 2, g * step
        # A window is two steps wide and starts half a step before its patch: shifted sums of four quarters.
        w = (windows.view(b, g, g, channels, -1) * self.blend).view(b, g, g, channels, 2, step, 2, step)
        out = windows.new_zeros(b, channels, g + 1, step, g + 1, step)
        for i in (0, 1):
            for j in (0, 1):
                part = w[:, :, :, :, i, :, j, :].permute(0, 3, 1, 4, 2, 5)  # [b, channels, g, step, g, step]
                out[:, :, i : i + g, :, j : j + g, :] = out[:, :, i : i + g, :, j : j + g, :] + part
        out = out.reshape(b, channels, cells + step, cells + step)
        # At the border of the frame only half of the windows are there.
        weight = torch.ones(cells + step, device=windows.device)
        edge = torch.sin(torch.pi * (torch.arange(step, device=windows.device) + 0.5) / (2 * step)) ** 2
        weight[:step], weight[-step:] = edge, edge.flip(0)
        out = out / (weight[:, None] * weight[None])
        return out[:, :, half : half + cells, half : half + cells]
