"""A convolutional U-Net of three levels over pictures, with or without a condition (FiLM)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bcdcodec.models.load_older import rename_on_load

# The order in which layers draw their first weights, which is what a seed means to a training run.
_PLAIN = "embed fine_in fine_out down_middle middle_in middle_out down_coarse coarse up_middle up_fine draw".split()
_CONDITIONED = (
    "embed down_middle down_coarse coarse_input fine_in fine_out middle_in middle_out coarse up_middle up_fine draw"
).split()


class ResidualBlock(nn.Module):
    """Two convolutions and a skip connection, the identity at first; a condition scales and shifts between (FiLM)."""

    def __init__(self, channels: int, condition: int = 0):
        """`condition`: channels of the condition; 0: none."""
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        self.film = nn.Linear(condition, 2 * channels) if condition else None
        for layer in (self.second, self.film):
            if layer is not None:
                nn.init.zeros_(layer.weight)
                nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        """X [n, c, h, w], condition [n, width]."""
        h = self.first(F.silu(x))
        if self.film is not None:
            scale, shift = self.film(condition)[..., None, None].chunk(2, dim=1)
            h = h * (1 + scale) + shift
        return x + self.second(F.silu(h))


class UNet(nn.Module):
    """Pictures [b, seen, h, w] -> [b, drawn, factor * h, factor * w]; zeros while untrained."""

    def __init__(
        self,
        seen: int,
        drawn: int,
        widths: tuple[int, int, int],
        factor: int = 1,
        shuffle: int = 2,
        condition: int = 0,
        coarse_input: Callable[[int], nn.Module] | None = None,
    ):
        """`widths`: channels at 1/shuffle of the picture's side and at a half and a quarter of that.

        `shuffle`: pixels a side that become channels, as convolutions at full resolution would cost most of all.
        `condition`: channels of the condition. `coarse_input`: makes a layer for the caller, whose output is
        added at the coarse level, from the channels there.
        """
        super().__init__()
        self.factor, self.shuffle = factor, shuffle
        fine, middle, coarse = widths
        layers: dict[str, Callable[[], nn.Module]] = {
            "embed": lambda: nn.Conv2d(seen * shuffle**2, fine, 3, padding=1),
            "fine_in": lambda: ResidualBlock(fine, condition),
            "fine_out": lambda: ResidualBlock(fine, condition),
            "down_middle": lambda: nn.Conv2d(fine, middle, 4, stride=2, padding=1),
            "middle_in": lambda: ResidualBlock(middle, condition),
            "middle_out": lambda: ResidualBlock(middle, condition),
            "down_coarse": lambda: nn.Conv2d(middle, coarse, 4, stride=2, padding=1),
            "coarse_input": lambda: coarse_input(coarse),
            "coarse": lambda: nn.ModuleList(ResidualBlock(coarse, condition) for _ in range(3)),
            "up_middle": lambda: nn.Conv2d(coarse, 4 * middle, 1),
            "up_fine": lambda: nn.Conv2d(middle, 4 * fine, 1),
            "draw": lambda: nn.Conv2d(fine, drawn * (shuffle * factor) ** 2, 3, padding=1),
        }
        for name in _CONDITIONED if condition else _PLAIN:
            self.add_module(name, layers[name]())
        nn.init.zeros_(self.draw.weight)
        nn.init.zeros_(self.draw.bias)
        rename_on_load(
            self,
            {r"(\w+_in|\w+_out|coarse\.\d)\.1\.": r"\1.first.", r"(\w+_in|\w+_out|coarse\.\d)\.3\.": r"\1.second."},
        )

    def forward(self, picture: Tensor, condition: Tensor | None = None, coarse: Tensor | None = None) -> Tensor:
        """`condition` [b, width]; `coarse` [b, c, h', w'] is added at the coarse level."""
        x = self.embed(F.pixel_unshuffle(picture, self.shuffle).contiguous(memory_format=torch.channels_last))
        fine = self.fine_in(x, condition)
        middle = self.middle_in(self.down_middle(F.silu(fine)), condition)
        x = self.down_coarse(F.silu(middle))
        if coarse is not None:
            x = x + coarse
        for block in self.coarse:
            x = block(x, condition)
        x = self.middle_out(middle + F.pixel_shuffle(self.up_middle(F.silu(x)), 2), condition)
        x = self.fine_out(fine + F.pixel_shuffle(self.up_fine(F.silu(x)), 2), condition)
        return F.pixel_shuffle(self.draw(F.silu(x)), self.shuffle * self.factor).float()
