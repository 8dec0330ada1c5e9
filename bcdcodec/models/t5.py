"""Blocks of a T5-style transformer (Raffel et al. 2020), which the encoders of section 3.1 are made of."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bcdcodec.models.layers import MultiHeadAttention, RMSNorm


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
