"""A still whose head is turned and placed as that of another person's still.

Motion in a file is counted from its own person's still. On another face the same change means the same only if that face
begins in the same pose: so before it is moved, its still is brought there. A reader says of both stills how the head in
them is turned, in numbers that are the same for all people; what lies between becomes a flow.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bcdcodec.config import PoserConfig
from bcdcodec.models.appearance import Portrait
from bcdcodec.models.encoder import OverlapStem
from bcdcodec.models.painter import FilmBlock
from bcdcodec.models.warp import centres, warp

UNSHUFFLE = 4  # pixels a side of a cell of the flow
COARSE = 4  # cells a side of a place that motion comes to
FLOW_SCALE = 0.1  # of what the U-Net adds: one optimiser step would else move it by pixels
PLACE_RANK = 32  # motion comes to each place through so many numbers


class PoseReader(nn.Module):
    """Pictures [n, c, h, w] -> how the head in them is turned and placed [n, d]."""

    def __init__(self, config: PoserConfig):
        super().__init__()
        self.stem = OverlapStem(config.channels, config.size, config.reader, config.width)
        self.head = nn.Sequential(nn.ReLU(), nn.Linear(config.width, config.width), nn.ReLU(), nn.Linear(config.width, config.pose))

    def forward(self, pictures: Tensor) -> Tensor:
        return self.head(self.stem(pictures)).float()


class FlowNet(nn.Module):
    """A U-Net over a still, told where its head is and where it is to be: the flow."""

    def __init__(self, config: PoserConfig):
        super().__init__()
        fine, middle, coarse = config.flow
        width, cells = config.width, config.size // UNSHUFFLE
        self.condition = nn.Sequential(nn.Linear(2 * config.pose, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU())
        y, x = torch.meshgrid(centres(cells), centres(cells), indexing="ij")
        self.register_buffer("places", torch.stack([x, y])[None], persistent=False)
        self.embed = nn.Conv2d(config.channels * UNSHUFFLE ** 2 + 2, fine, 3, padding=1)
        self.down_middle = nn.Conv2d(fine, middle, 4, stride=2, padding=1)
        self.down_coarse = nn.Conv2d(middle, coarse, 4, stride=2, padding=1)
        self.to_places = nn.Sequential(nn.Linear(width, PLACE_RANK), nn.Linear(PLACE_RANK, coarse * (cells // COARSE) ** 2))
        self.fine_in, self.fine_out = FilmBlock(fine, width), FilmBlock(fine, width)
        self.middle_in, self.middle_out = FilmBlock(middle, width), FilmBlock(middle, width)
        self.coarse = nn.ModuleList(FilmBlock(coarse, width) for _ in range(3))
        self.up_middle = nn.Conv2d(coarse, 4 * middle, 1)
        self.up_fine = nn.Conv2d(middle, 4 * fine, 1)
        self.to_flow = nn.Conv2d(fine, 2, 3, padding=1)
        nn.init.zeros_(self.to_flow.weight)
        nn.init.zeros_(self.to_flow.bias)

    def forward(self, still: Tensor, at: Tensor, change: Tensor) -> Tensor:
        """Stills [n, c, h, w] whose heads are read as `at` [n, d] and are to be `change` [n, d] away: flow [n, 2, gh, gw]."""
        c = self.condition(torch.cat([at, change], 1))
        seen = torch.cat([F.pixel_unshuffle(still, UNSHUFFLE), self.places.expand(len(still), -1, -1, -1)], 1)
        fine = self.fine_in(self.embed(seen.contiguous(memory_format=torch.channels_last)), c)
        middle = self.middle_in(self.down_middle(F.silu(fine)), c)
        x = self.down_coarse(F.silu(middle))
        x = x + self.to_places(c).view_as(x)
        for block in self.coarse:
            x = block(x, c)
        x = self.middle_out(middle + F.pixel_shuffle(self.up_middle(F.silu(x)), 2), c)
        x = self.fine_out(fine + F.pixel_shuffle(self.up_fine(F.silu(x)), 2), c)
        return FLOW_SCALE * self.to_flow(F.silu(x)).float()


class Poser(nn.Module):
    """Stills in the poses of other people's."""

    def __init__(self, config: PoserConfig):
        super().__init__()
        self.config = config
        self.read = PoseReader(config)
        self.flow = FlowNet(config)
        # What heads do most: the codec's own fields, which move at once what a U-Net takes hours to.
        cells = config.size // UNSHUFFLE
        self.register_buffer("fields", torch.zeros(config.pose, 2, cells, cells))

    def forward(self, still: Tensor, at: Tensor, change: Tensor) -> Tensor:
        """The flow [n, 2, gh, gw] that turns stills [n, c, h, w], whose heads are read as `at` [n, d], by `change` [n, d]."""
        flow = self.flow(still, at, change)
        with torch.autocast(still.device.type, enabled=False):
            return flow + torch.tensordot(change.float(), self.fields.float(), dims=1)

    def posed(self, portrait: Portrait, other: Portrait) -> Portrait:
        """A portrait whose head is turned and placed as the other's, and which stands for that one's motion; of single contents."""
        at, wanted = self.read(portrait.still), self.read(other.still)
        flow = self(portrait.still, at, wanted - at)
        detail = None if portrait.detail is None else warp(portrait.detail, flow)
        return replace(portrait, still=warp(portrait.still, flow), motion=other.motion, detail=detail)
