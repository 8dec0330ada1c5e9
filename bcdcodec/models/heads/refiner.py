"""What a warp of one still cannot show, drawn by convolutions: mouths that open, closed lids, what the head uncovers."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bcdcodec.models.layers import unpatchify

SHUFFLE = 2  # pixels a side that become channels: convolutions at full resolution would cost more than all the rest


class FilmBlock(nn.Module):
    """Two convolutions around the identity, scaled and shifted by the condition (FiLM), without normalisation."""

    def __init__(self, channels: int, width: int):
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        self.film = nn.Linear(width, 2 * channels)
        for layer in (self.second, self.film):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """X [n, c, h, w], condition [n, width]."""
        scale, shift = self.film(condition)[..., None, None].chunk(2, dim=1)
        return x + self.second(F.silu(self.first(F.silu(x)) * (1 + scale) + shift))


class Painter(nn.Module):
    """A U-Net of three levels that corrects the estimate of a frame.

    It sees the estimate, the still and its warp, the flow, and the transformer's tokens; motion scales its channels.
    Its output takes the estimate towards the still, where what moved uncovers what did not, and adds what neither has.
    """

    def __init__(self, channels: int, widths: tuple[int, int, int], side: int, width: int):
        """`side`: tokens a side of the transformer, `width`: their channels."""
        super().__init__()
        fine, middle, coarse = widths
        self.side = side
        self.condition = nn.Sequential(nn.Linear(width, width), nn.SiLU())
        self.embed = nn.Conv2d((3 * channels + 2) * SHUFFLE**2, fine, 3, padding=1)
        self.down_middle = nn.Conv2d(fine, middle, 4, stride=2, padding=1)
        self.down_coarse = nn.Conv2d(middle, coarse, 4, stride=2, padding=1)
        self.tokens = nn.Linear(width, coarse)
        self.fine_in, self.fine_out = FilmBlock(fine, width), FilmBlock(fine, width)
        self.middle_in, self.middle_out = FilmBlock(middle, width), FilmBlock(middle, width)
        self.coarse = nn.ModuleList(FilmBlock(coarse, width) for _ in range(3))
        self.up_middle = nn.Conv2d(coarse, 4 * middle, 1)
        self.up_fine = nn.Conv2d(middle, 4 * fine, 1)
        self.draw = nn.Conv2d(fine, (channels + 1) * SHUFFLE**2, 3, padding=1)
        nn.init.zeros_(self.draw.weight)
        nn.init.zeros_(self.draw.bias)

    def forward(
        self, estimate: Tensor, still: Tensor, warped: Tensor, flow: Tensor, tokens: Tensor, condition: Tensor
    ) -> Tensor:
        """Pictures [n, c, h, w], flow [n, 2, gh, gw], tokens [n, s * s, d], condition [n, d] -> picture [n, c, h, w]."""
        kind = self.draw.weight.dtype
        flow = F.interpolate(flow, size=estimate.shape[-2:], mode="bilinear", align_corners=False)
        seen = torch.cat([estimate, still, warped, flow], 1).to(kind)
        c = self.condition(condition)
        x = self.embed(F.pixel_unshuffle(seen, SHUFFLE).contiguous(memory_format=torch.channels_last))
        fine = self.fine_in(x, c)
        middle = self.middle_in(self.down_middle(F.silu(fine)), c)
        x = self.down_coarse(F.silu(middle))
        told = unpatchify(self.tokens(tokens), 1, self.side, self.side)
        x = x + F.interpolate(told, size=x.shape[-2:], mode="bilinear", align_corners=False)
        for block in self.coarse:
            x = block(x, c)
        x = self.middle_out(middle + F.pixel_shuffle(self.up_middle(F.silu(x)), 2), c)
        x = self.fine_out(fine + F.pixel_shuffle(self.up_fine(F.silu(x)), 2), c)
        drawn = F.pixel_shuffle(self.draw(F.silu(x)), SHUFFLE).float()
        return estimate + drawn[:, :1] * (still - estimate) + drawn[:, 1:]
