"""The poser: a network that turns and places the head of a reference image as that of another person's.

Motion in a file is relative to its own reference image. On another face the same change means the same only if that
face begins in the same pose. A pose encoder reads both images; the difference becomes a flow, and disoccluded areas
are inpainted.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bcdcodec.config import PoserConfig
from bcdcodec.models.heads.reference import HeadsReference
from bcdcodec.models.load_older import rename_on_load
from bcdcodec.models.stems import OverlapStem
from bcdcodec.models.unet import UNet
from bcdcodec.models.warp import centres, warp, warped_detail

UNSHUFFLE = 4  # pixels a side of a cell of the flow
COARSE = 4  # cells a side of a place where the pose enters the U-Net
FLOW_SCALE = 0.1  # of what the U-Net adds: one optimiser step would else move it by pixels
MASK_AT_FIRST = -2.0  # logits: little is inpainted
PLACE_RANK = 32  # of the map from pose to places


class PoseReader(nn.Module):
    """Pictures [n, c, h, w] -> pose of the head in them [n, d]."""

    def __init__(self, config: PoserConfig):
        super().__init__()
        self.stem = OverlapStem(config.channels, config.size, config.reader, config.width)
        self.head = nn.Sequential(
            nn.ReLU(), nn.Linear(config.width, config.width), nn.ReLU(), nn.Linear(config.width, config.pose)
        )

    def forward(self, pictures: Tensor) -> Tensor:
        return self.head(self.stem(pictures)).float()


class FlowNet(nn.Module):
    """A U-Net over a reference image, conditioned on the pose of its head and the one it is to have: the flow."""

    def __init__(self, config: PoserConfig):
        super().__init__()
        width, cells = config.width, config.size // UNSHUFFLE
        self.condition = nn.Sequential(nn.Linear(2 * config.pose, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU())
        y, x = torch.meshgrid(centres(cells), centres(cells), indexing="ij")
        self.register_buffer("places", torch.stack([x, y])[None], persistent=False)
        self.unet = UNet(
            config.channels * UNSHUFFLE**2 + 2,
            2,
            config.flow,
            shuffle=1,
            condition=width,
            coarse_input=lambda coarse: nn.Sequential(
                nn.Linear(width, PLACE_RANK), nn.Linear(PLACE_RANK, coarse * (cells // COARSE) ** 2)
            ),
        )
        rename_on_load(
            self,
            {
                r"(condition|unet)\.": r"\1.",
                r"to_places\.": "unet.coarse_input.",
                r"to_flow\.": "unet.draw.",
                r"": "unet.",
            },
        )

    def forward(self, image: Tensor, at: Tensor, change: Tensor) -> Tensor:
        """Flow [n, 2, gh, gw] for images [n, c, h, w] of pose `at` [n, d], which is to change by `change` [n, d]."""
        c = self.condition(torch.cat([at, change], 1))
        seen = torch.cat([F.pixel_unshuffle(image, UNSHUFFLE), self.places.expand(len(image), -1, -1, -1)], 1)
        cells = seen.shape[-1] // COARSE
        return FLOW_SCALE * self.unet(seen, c, self.unet.coarse_input(c).unflatten(1, (-1, cells, cells)))


class Filler(nn.Module):
    """Inpaints what a turned head uncovers: colours, and a mask of where they are used."""

    def __init__(self, config: PoserConfig):
        super().__init__()
        channels = config.channels
        self.net = UNet(2 * channels + 2, channels + 1, config.fill, shuffle=UNSHUFFLE)
        with torch.no_grad():
            self.net.draw.bias[channels * UNSHUFFLE**2 :] = MASK_AT_FIRST

    def forward(self, still: Tensor, warped: Tensor, flow: Tensor) -> tuple[Tensor, Tensor]:
        """Colours [n, c, h, w] in [-1, 1] and mask [n, 1, h, w] in 0..1; `warped` by flow [n, 2, gh, gw]."""
        flow = F.interpolate(flow, size=still.shape[-2:], mode="bilinear", align_corners=False)
        drawn = self.net(torch.cat([warped, still, flow], 1))
        return drawn[:, :-1].tanh(), drawn[:, -1:].sigmoid()


class Poser(nn.Module):
    """Reference images in the poses of other people's."""

    def __init__(self, config: PoserConfig):
        super().__init__()
        self.config = config
        self.read = PoseReader(config)
        self.flow = FlowNet(config)
        self.fill = Filler(config) if config.fill else None
        # The codec's own flow basis: heads move at once, which a U-Net takes hours to learn.
        cells = config.size // UNSHUFFLE
        self.register_buffer("fields", torch.zeros(config.pose, 2, cells, cells))

    def forward(self, still: Tensor, at: Tensor, change: Tensor) -> Tensor:
        """The flow [n, 2, gh, gw] that turns images [n, c, h, w] of pose `at` [n, d] by `change` [n, d]."""
        flow = self.flow(still, at, change)
        with torch.autocast(still.device.type, enabled=False):
            return flow + torch.tensordot(change.float(), self.fields.float(), dims=1)

    def posed(self, reference: HeadsReference, other: HeadsReference) -> HeadsReference:
        """A reference [1, ...] in the pose of the other, and with its motion."""
        image, mask, flow = self.turned(reference.image, self.read(other.image))
        detail = None if reference.detail is None else warped_detail(reference.image, reference.detail, flow)
        if detail is not None and mask is not None:  # what is inpainted has none
            detail = detail * (1 - F.interpolate(mask, size=detail.shape[-2:], mode="bilinear", align_corners=False))
        return replace(reference, image=image, motion=other.motion, detail=detail)

    def turned(self, still: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor | None, Tensor]:
        """Images [n, c, h, w] in the pose `wanted` [n, d], mask of inpainting [n, 1, h, w], flow [n, 2, gh, gw]."""
        at = self.read(still)
        flow = self(still, at, wanted - at)
        warped = warp(still, flow)
        if self.fill is None:
            return warped, None, flow
        colours, mask = self.fill(still, warped, flow)
        return torch.lerp(warped, colours, mask), mask, flow
