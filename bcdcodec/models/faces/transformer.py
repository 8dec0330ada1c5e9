"""What the networks of the base layer are made of: patches of a picture as tokens, and transformer blocks."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def patches(x: Tensor, step: int, margin: int = 0) -> Tensor:
    """Patches of `step` pixels with a margin around each: [b, c, h, h] -> [b, n, c * (step + 2 * margin) ** 2].

    Beyond the picture its border repeats.
    """
    if margin:
        x = F.pad(x, [margin] * 4, mode="replicate")
    side = step + 2 * margin
    # Views and one copy: `torch.nn.functional.unfold` takes five times as long.
    return x.unfold(2, side, step).unfold(3, side, step).permute(0, 2, 3, 1, 4, 5).flatten(3).flatten(1, 2)


class Block(nn.Module):
    """Transformer block with AdaLN-Zero (DiT, figure 3)."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.modulation = nn.Linear(width, 6 * width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.ff_in = nn.Linear(width, 4 * width)
        self.ff_out = nn.Linear(4 * width, width)
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Tokens [b, n, d] under a condition [b, d] -> [b, n, d]."""
        shift_a, scale_a, gate_a, shift_f, scale_f, gate_f = self.modulation(condition)[:, None].chunk(6, -1)
        scale_a, gate_a, scale_f, gate_f = 1 + scale_a, 1 + gate_a, 1 + scale_f, 1 + gate_f
        x = torch.addcmul(x, gate_a, self._attention(torch.addcmul(shift_a, self.norm(x), scale_a)))
        # Exact GELU: in bfloat16 on a CPU its approximation by tanh takes five times as long.
        hidden = F.gelu(self.ff_in(torch.addcmul(shift_f, self.norm(x), scale_f)))
        return torch.addcmul(x, gate_f, self.ff_out(hidden))

    def _attention(self, x: Tensor) -> Tensor:
        b, n, d = x.shape
        q, k, v = self.qkv(x).view(b, n, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        weights = ((q * (d // self.heads) ** -0.5) @ k.transpose(-1, -2)).softmax(-1)
        return self.out((weights.to(v.dtype) @ v).transpose(1, 2).reshape(b, n, d))
