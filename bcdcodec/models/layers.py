"""Building blocks that encoder and decoder share."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class MultiHeadAttention(nn.Module):
    """Self-attention over the second axis: [b, n, d] -> [b, n, d], with an optional additive bias [heads, n, n]."""

    def __init__(self, width: int, heads: int, bias: bool):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=bias)
        self.out = nn.Linear(width, width, bias=bias)

    def forward(self, x: Tensor, bias: Tensor | None = None, scale: float | None = None) -> Tensor:
        b, n, d = x.shape
        q, k, v = self.qkv(x).view(b, n, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)  # [b, heads, n, d']
        mask = None if bias is None else bias.to(q.dtype)[None]
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale)
        return self.out(y.transpose(1, 2).reshape(b, n, d))


class RMSNorm(nn.Module):
    """Root mean square normalisation with a learned scale, in whatever precision its input has."""

    def __init__(self, width: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, self.weight.shape, self.weight.to(x.dtype), eps=1e-6)


class FeedForward(nn.Sequential):
    """Two linear maps with a tanh-approximated GELU between, as in DiT."""

    def __init__(self, width: int, hidden: int):
        super().__init__(nn.Linear(width, hidden), nn.GELU(approximate="tanh"), nn.Linear(hidden, width))


def sinusoidal(values: Tensor, width: int, max_period: float = 10000.0) -> Tensor:
    """Sinusoidal features of scalars: [...] -> [..., width]."""
    half = width // 2
    frequencies = torch.exp(-math.log(max_period) * torch.arange(half, device=values.device) / half)
    angles = values[..., None].float() * frequencies
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


def grid_positions(rows: int, columns: int, width: int) -> Tensor:
    """Fixed sine-cosine position features of a grid, as in DiT: [rows * columns, width]."""
    y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    half = width // 2
    return torch.cat([sinusoidal(y.flatten(), half), sinusoidal(x.flatten(), width - half)], dim=-1)


def patchify(x: Tensor, patch: int) -> Tensor:
    """Pictures into flattened patches: [b, c, h, w] -> [b, n, c * patch * patch]."""
    b, c, h, w = x.shape
    x = x.view(b, c, h // patch, patch, w // patch, patch).permute(0, 2, 4, 1, 3, 5)
    return x.reshape(b, (h // patch) * (w // patch), c * patch * patch)


def unpatchify(x: Tensor, patch: int, rows: int, columns: int) -> Tensor:
    """The inverse of `patchify`: [b, n, c * patch * patch] -> [b, c, h, w]."""
    b = x.shape[0]
    c = x.shape[2] // (patch * patch)
    x = x.view(b, rows, columns, c, patch, patch).permute(0, 3, 1, 4, 2, 5)
    return x.reshape(b, c, rows * patch, columns * patch)


class DiTBlock(nn.Module):
    """Attention and feed-forward modulated by the condition (AdaLN-zero), equation 13."""

    def __init__(self, width: int, ff: int, heads: int):
        super().__init__()
        self.norm_attention = nn.LayerNorm(width, elementwise_affine=False, eps=1e-6)
        self.attention = MultiHeadAttention(width, heads, bias=True)
        self.norm_ff = nn.LayerNorm(width, elementwise_affine=False, eps=1e-6)
        self.ff = FeedForward(width, ff)
        self.modulation = nn.Linear(width, 6 * width)
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """X [b, n, d], condition [b, 1 or n, d]."""
        shift_a, scale_a, gate_a, shift_f, scale_f, gate_f = self.modulation(condition).chunk(6, dim=-1)
        x = x + gate_a * self.attention(self.norm_attention(x) * (1 + scale_a) + shift_a)
        return x + gate_f * self.ff(self.norm_ff(x) * (1 + scale_f) + shift_f)
