"""Disentangling encoder (section 3.1) of `sprites`: motion from each frame alone, content from all frames."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bcdcodec.models.layers import RMSNorm
from bcdcodec.models.sprites.config import SpritesConfig
from bcdcodec.models.stems import ConvStem
from bcdcodec.models.t5 import RelativeBias, T5Layer


class SpritesEncoder(nn.Module):
    """T(z) = (content c, motion m): latents [b, t, c, h, w] -> ([b, n, d], [b, t, m]).

    A frame attends to itself alone: its motion needs no neighbours. A query attends to itself and to all frames: the
    other queries would outnumber the few frames.
    """

    def __init__(self, config: SpritesConfig):
        super().__init__()
        e, latent = config.encoder, config.latent
        self.stem = ConvStem(latent.channels, latent.size, e.stem_channels, e.width)
        self.queries = nn.Parameter(torch.randn(config.content.tokens, e.width) * 0.02)
        self.bias = RelativeBias(e.heads)
        self.layers = nn.ModuleList(T5Layer(e.width, e.ff, e.heads) for _ in range(e.layers))
        self.norm = RMSNorm(e.width)
        self.to_motion = nn.Linear(e.width, config.motion_channels)
        self.to_content = nn.Linear(e.width, config.content.dim)

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        frames = self._frames(z)  # [b, t, d]
        queries = self.queries[None].expand(len(frames), -1, -1)
        n = queries.shape[1]
        x = torch.cat([queries, frames.to(queries.dtype)], dim=1)  # [b, n + t, d]
        seen = torch.eye(x.shape[1], dtype=torch.bool, device=x.device)
        seen[:n, n:] = True
        x = self._layers(x, self.bias(x.shape[1]).masked_fill(~seen, float("-inf")))
        return self.to_content(x[:, :n]).float(), self.to_motion(x[:, n:]).float()

    def motion(self, z: Tensor) -> Tensor:
        """The motion of `forward` alone, [b, t, m], without the cost of the queries."""
        frames = self._frames(z).flatten(0, 1)[:, None]  # [b * t, 1, d]
        return self.to_motion(self._layers(frames, self.bias(1))).float().view(*z.shape[:2], -1)

    def _frames(self, z: Tensor) -> Tensor:
        return self.stem(z.flatten(0, 1)).unflatten(0, z.shape[:2])

    def _layers(self, x: Tensor, bias: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x, bias)
        return self.norm(x)
