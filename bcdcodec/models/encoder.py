"""Disentangling encoder (section 3.1): frames and K learnable queries through a T5-style transformer."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bcdcodec.config import ModelConfig
from bcdcodec.models.layers import MultiHeadAttention, RMSNorm, patchify


class RelativeBias(nn.Module):
    """T5's bucketed relative position bias, shared by all layers: n -> [heads, n, n]."""

    def __init__(self, heads: int, buckets: int = 32, max_distance: int = 128):
        super().__init__()
        self.buckets, self.max_distance = buckets, max_distance
        self.table = nn.Embedding(buckets, heads)
        nn.init.normal_(self.table.weight, std=0.1)

    def forward(self, n: int) -> Tensor:
        position = torch.arange(n, device=self.table.weight.device)
        relative = position[None, :] - position[:, None]  # [n, n]
        half = self.buckets // 2
        exact = half // 2
        distance = relative.abs()
        far = (
            exact
            + (
                torch.log(distance.clamp(min=1).float() / exact) / math.log(self.max_distance / exact) * (half - exact)
            ).long()
        )
        bucket = torch.where(distance < exact, distance, far.clamp(max=half - 1)) + (relative > 0).long() * half
        return self.table(bucket).permute(2, 0, 1)


class T5Layer(nn.Module):
    """Pre-norm (RMS) attention without scaling and a ReLU feed-forward, both without bias, as in T5."""

    def __init__(self, width: int, ff: int, heads: int):
        super().__init__()
        self.norm_attention = RMSNorm(width)
        self.attention = MultiHeadAttention(width, heads, bias=False)
        self.norm_ff = RMSNorm(width)
        self.ff_in = nn.Linear(width, ff, bias=False)
        self.ff_out = nn.Linear(ff, width, bias=False)
        # T5 folds the missing 1 / sqrt(d') into the initialisation of the queries.
        nn.init.normal_(self.attention.qkv.weight[:width], std=(width * (width // heads)) ** -0.5)
        nn.init.normal_(self.attention.qkv.weight[width:], std=width**-0.5)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        x = x + self.attention(self.norm_attention(x), bias, scale=1.0)
        return x + self.ff_out(F.relu(self.ff_in(self.norm_ff(x))))


class ConvStem(nn.Module):
    """Patches of 4x4, then strided convolutions, each halving the grid, then one projection: [b, c, h, w] -> [b, width]."""

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


class LinearStem(nn.Module):
    """The paper's: one frame, one token: [b, c, h, w] -> [b, width]."""

    def __init__(self, channels: int, size: int, width: int):
        super().__init__()
        self.project = nn.Linear(channels * size * size, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.project(x.flatten(1))


class Encoder(nn.Module):
    """T(z) = (content c, motion m): latents [b, t, c, h, w] -> ([b, n, d], [b, t, m])."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        e, latent = config.encoder, config.latent
        if e.stem == "conv":
            self.stem: nn.Module = ConvStem(latent.channels, latent.size, e.stem_channels, e.width)
        elif e.stem == "overlap":
            self.stem = OverlapStem(latent.channels, latent.size, e.stem_channels, e.width)
        else:
            self.stem = LinearStem(latent.channels, latent.size, e.width)
        self.queries = nn.Parameter(torch.randn(config.content.tokens, e.width) * 0.02)
        self.frames_see_queries, self.frames_see_frames = e.frames_see_queries, e.frames_see_frames
        self.queries_see_queries = e.queries_see_queries
        self.bias = RelativeBias(e.heads)
        self.layers = nn.ModuleList(T5Layer(e.width, e.ff, e.heads) for _ in range(e.layers))
        if e.stem == "overlap":  # what the stem shows must first pass unhurt
            for layer in self.layers:
                nn.init.zeros_(layer.attention.out.weight)
                nn.init.zeros_(layer.ff_out.weight)
        self.norm = RMSNorm(e.width)
        self.to_motion = nn.Linear(e.width, config.motion_channels)
        self.to_content = nn.Linear(e.width, config.content.dim - config.content.still_dim)
        if config.content.still_dim:
            self.from_still = nn.Linear(config.content.still_dim, e.width)

    def forward(self, z: Tensor, still: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """`still` [b, n, d]: transform coefficients of the reference frame, the leading channels of its tokens."""
        frames = self._frames(z)  # [b, t, d]
        queries = self.queries[None].expand(len(frames), -1, -1)
        if still is not None:
            queries = queries + self.from_still(still)
        n = queries.shape[1]
        x = torch.cat([queries, frames.to(queries.dtype)], dim=1)  # [b, n + t, d]
        bias = self.bias(x.shape[1])
        hidden = torch.zeros_like(bias)
        if not self.frames_see_queries:
            hidden[:, n:, :n] = float("-inf")
        others = ~torch.eye(x.shape[1], dtype=torch.bool, device=x.device)
        if not self.frames_see_frames:
            hidden[:, n:, n:].masked_fill_(others[n:, n:], float("-inf"))
        if not self.queries_see_queries:
            hidden[:, :n, :n].masked_fill_(others[:n, :n], float("-inf"))
        bias = bias + hidden
        x = self._layers(x, bias)
        content = self.to_content(x[:, :n]).float()
        if still is not None:
            content = torch.cat([still, content], dim=-1)
        return content, self.to_motion(x[:, n:]).float()

    def motion(self, z: Tensor) -> Tensor:
        """The motion of `forward` alone; cheaper where the frames do not see the queries."""
        if self.frames_see_queries:
            raise ValueError("motion depends on the queries in this model")
        frames = self._frames(z)  # [b, t, d]
        b, t, _ = frames.shape
        if not self.frames_see_frames:
            frames = frames.flatten(0, 1)[:, None]
        return self.to_motion(self._layers(frames, self.bias(frames.shape[1]))).float().view(b, t, -1)

    def _frames(self, z: Tensor) -> Tensor:
        return self.stem(z.flatten(0, 1)).unflatten(0, z.shape[:2])

    def _layers(self, x: Tensor, bias: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x, bias)
        return self.norm(x)
