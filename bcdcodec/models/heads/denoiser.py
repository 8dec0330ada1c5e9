"""What the quantiser took from a still, what a larger one would show and what lies behind a head, as far as can be guessed: U-Nets, once a scene."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SHUFFLE = 2  # convolutions at full resolution would cost more than all the rest


class StillNet(nn.Module):
    """A plain U-Net of three levels over stills: [b, seen, h, w] -> [b, drawn, factor * h, factor * w].

    Blocks and output begin as nothing: untrained it gives zeros.
    """

    def __init__(self, seen: int, drawn: int, widths: tuple[int, int, int], factor: int = 1, shuffle: int = SHUFFLE):
        """`shuffle`: pixels a side that become channels."""
        super().__init__()
        self.factor, self.shuffle = factor, shuffle
        fine, middle, coarse = widths
        self.embed = nn.Conv2d(seen * shuffle**2, fine, 3, padding=1)
        self.fine_in, self.fine_out = _block(fine), _block(fine)
        self.down_middle = nn.Conv2d(fine, middle, 4, stride=2, padding=1)
        self.middle_in, self.middle_out = _block(middle), _block(middle)
        self.down_coarse = nn.Conv2d(middle, coarse, 4, stride=2, padding=1)
        self.coarse = nn.ModuleList(_block(coarse) for _ in range(3))
        self.up_middle = nn.Conv2d(coarse, 4 * middle, 1)
        self.up_fine = nn.Conv2d(middle, 4 * fine, 1)
        self.draw = nn.Conv2d(fine, drawn * (shuffle * factor) ** 2, 3, padding=1)
        nn.init.zeros_(self.draw.weight)
        nn.init.zeros_(self.draw.bias)

    def forward(self, picture: Tensor) -> Tensor:
        fine = self.embed(F.pixel_unshuffle(picture, self.shuffle).contiguous(memory_format=torch.channels_last))
        fine = fine + self.fine_in(fine)
        middle = self.down_middle(F.silu(fine))
        middle = middle + self.middle_in(middle)
        x = self.down_coarse(F.silu(middle))
        for block in self.coarse:
            x = x + block(x)
        middle = middle + F.pixel_shuffle(self.up_middle(F.silu(x)), 2)
        middle = middle + self.middle_out(middle)
        fine = fine + F.pixel_shuffle(self.up_fine(F.silu(middle)), 2)
        fine = fine + self.fine_out(fine)
        return F.pixel_shuffle(self.draw(F.silu(fine)), self.shuffle * self.factor).float()


class StillFilter(StillNet):
    """Takes quantisation noise off the picture that the content tokens hold: [b, c, h, w] -> the same."""

    def __init__(self, channels: int, widths: tuple[int, int, int]):
        super().__init__(channels, channels, widths)

    def forward(self, picture: Tensor) -> Tensor:
        return picture + super().forward(picture)


def _block(width: int) -> nn.Sequential:
    """What is added to features [b, width, h, w]: nothing at first."""
    block = nn.Sequential(
        nn.SiLU(), nn.Conv2d(width, width, 3, padding=1), nn.SiLU(), nn.Conv2d(width, width, 3, padding=1)
    )
    nn.init.zeros_(block[-1].weight)
    nn.init.zeros_(block[-1].bias)
    return block
