"""Quantisation of content tokens (section 3.1) with a chosen step, and its straight-through training form."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bcdcodec.config import ContentConfig

# Below one half: values near a rounding border go to the cheaper one, which buys a finer step at the same bytes.
ROUNDING = 0.35


class ContentQuantiser(nn.Module):
    """Uniform quantisation of tokens [b, n, d] with a dead zone; it has no weights."""

    def __init__(self, config: ContentConfig):
        super().__init__()
        self.config = config

    def choices(self) -> list[tuple[int, float]]:
        """Step indices and roundings that an encoder may choose, from fine to coarse. Decoders need the step alone."""
        return [(index, ROUNDING) for index in range(self.config.default_step, self.config.steps)]

    def quantise(self, content: Tensor, step_index: int, rounding: float = ROUNDING) -> Tensor:
        """Tokens [b, n, d] -> integers [b, n, d] (int32)."""
        return _round(content / self._steps(step_index, content), rounding).int()

    def dequantise(self, values: Tensor, step_index: int) -> Tensor:
        """Integers [b, n, d] -> tokens [b, n, d]."""
        values = values.float()
        return values * self._steps(step_index, values)

    def _steps(self, step_index: int, like: Tensor) -> Tensor:
        """The step of every channel of tokens [..., d], [d]."""
        return torch.full((like.shape[-1],), self.config.step_size(step_index), device=like.device)

    def forward(self, content: Tensor, step_index: Tensor) -> Tensor:
        """Training: what the decoder would receive at step indices [b], with the gradient passed through."""
        size = self.config.step * self.config.step_ratio ** step_index.float()[:, None, None]
        rounded = _round(content / size, ROUNDING) * size
        return content + (rounded - content).detach()

    def bits(self, content: Tensor, step_index: Tensor) -> Tensor:
        """A smooth estimate of the coded bits [b]: log2(1 + |c| / step) summed over tokens."""
        size = self.config.step * self.config.step_ratio ** step_index.float()[:, None, None]
        return torch.log2(1 + content.abs() / size).sum(dim=(1, 2))


def _round(x: Tensor, rounding: float) -> Tensor:
    return torch.sign(x) * torch.floor(x.abs() + rounding)
