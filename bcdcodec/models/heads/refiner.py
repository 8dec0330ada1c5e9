"""The refiner: corrects what a warp of one reference image cannot show, such as mouths that open."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bcdcodec.models.layers import unpatchify
from bcdcodec.models.unet import UNet


class Refiner(nn.Module):
    """A U-Net over the estimate of a frame, the reference image, its warp, the flow and the transformer's tokens.

    The transformer's condition scales its channels (FiLM). It blends the estimate with the unwarped reference image,
    for disoccluded areas, and adds a correction.
    """

    def __init__(self, channels: int, widths: tuple[int, int, int], side: int, width: int):
        """`side`: tokens a side of the transformer, `width`: their channels."""
        super().__init__()
        self.side = side
        self.condition = nn.Sequential(nn.Linear(width, width), nn.SiLU())
        self.unet = UNet(
            3 * channels + 2,
            channels + 1,
            widths,
            condition=width,
            coarse_input=lambda coarse: nn.Linear(width, coarse),  # of the tokens
        )

    def forward(
        self, estimate: Tensor, image: Tensor, warped: Tensor, flow: Tensor, tokens: Tensor, condition: Tensor
    ) -> Tensor:
        """Pictures [n, c, h, w], flow [n, 2, gh, gw], tokens [n, s * s, d], condition [n, d] -> [n, c, h, w]."""
        size = estimate.shape[-2:]
        flow = F.interpolate(flow, size=size, mode="bilinear", align_corners=False)
        seen = torch.cat([estimate, image, warped, flow], 1).to(self.unet.draw.weight.dtype)
        added = unpatchify(self.unet.coarse_input(tokens), 1, self.side, self.side)
        coarse = F.interpolate(
            added, size=[x // (4 * self.unet.shuffle) for x in size], mode="bilinear", align_corners=False
        )
        drawn = self.unet(seen, self.condition(condition), coarse)
        return estimate + drawn[:, :1] * (image - estimate) + drawn[:, 1:]
