"""Disentangling encoder (section 3.1) of `heads`: frames and one query a token through a T5-style transformer."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bcdcodec.models.heads.config import HeadsConfig
from bcdcodec.models.layers import RMSNorm
from bcdcodec.models.stems import ConvStem, OverlapStem
from bcdcodec.models.t5 import RelativeBias, T5Layer


class HeadsEncoder(nn.Module):
    """T(z) = (content c, motion m): latents [b, t, c, h, w] -> ([b, n, d], [b, t, m]).

    Frames do not attend to the queries.
    """

    def __init__(self, config: HeadsConfig):
        super().__init__()
        e, latent, content = config.encoder, config.latent, config.content
        stem = OverlapStem if e.stem == "overlap" else ConvStem
        self.stem = stem(latent.channels, latent.size, e.stem_channels, e.width)
        self.queries = nn.Parameter(torch.randn(content.tokens, e.width) * 0.02)
        self.bias = RelativeBias(e.heads)
        self.layers = nn.ModuleList(T5Layer(e.width, e.ff, e.heads) for _ in range(e.layers))
        if e.stem == "overlap":  # the transformer begins as the identity on what the stem gives
            for layer in self.layers:
                nn.init.zeros_(layer.attention.out.weight)
                nn.init.zeros_(layer.ff_out.weight)
        self.norm = RMSNorm(e.width)
        self.to_motion = nn.Linear(e.width, config.motion_channels)
        self.to_content = nn.Linear(e.width, content.dim - content.transform_dim)
        self.from_still = nn.Linear(content.transform_dim, e.width)

    def forward(self, z: Tensor, coefficients: Tensor) -> tuple[Tensor, Tensor]:
        """`coefficients` [b, n, d]: of the reference frame's patches, the leading channels of the tokens."""
        frames = self._frames(z)  # [b, t, d]
        queries = self.queries[None].expand(len(frames), -1, -1) + self.from_still(coefficients)
        n = queries.shape[1]
        x = torch.cat([queries, frames.to(queries.dtype)], dim=1)  # [b, n + t, d]
        bias = self.bias(x.shape[1])
        hidden = torch.zeros_like(bias)
        hidden[:, n:, :n] = float("-inf")
        x = self._layers(x, bias + hidden)
        content = torch.cat([coefficients, self.to_content(x[:, :n]).float()], dim=-1)
        return content, self.to_motion(x[:, n:]).float()

    def motion(self, z: Tensor) -> Tensor:
        """The motion of `forward` alone, without the cost of the queries."""
        frames = self._frames(z)  # [b, t, d]
        return self.to_motion(self._layers(frames, self.bias(frames.shape[1]))).float()

    def _frames(self, z: Tensor) -> Tensor:
        return self.stem(z.flatten(0, 1)).unflatten(0, z.shape[:2])

    def _layers(self, x: Tensor, bias: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x, bias)
        return self.norm(x)
