"""Content tokens (section 3.1): the patch transform behind them, their quantisation and the picture they hold."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bcdcodec.config import ModelConfig
from bcdcodec.models.layers import patchify, unpatchify


class PatchTransform(nn.Module):
    """Karhunen-Loeve transform of picture patches, fitted on training pictures: an orthonormal linear autoencoder.

    The leading components of a patch are what a transform coder would keep of it.
    """

    def __init__(self, patch: int, channels: int, rows: int, columns: int, components: int):
        super().__init__()
        self.patch, self.rows, self.columns = patch, rows, columns
        size = channels * patch * patch
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("basis", torch.eye(size)[:, :components].contiguous())  # [size, components]
        self.register_buffer("deviation", torch.ones(components))  # of each component over training patches

    def forward(self, x: Tensor) -> Tensor:
        """Pictures [b, c, h, w] -> coefficients [b, n, components]."""
        # Half precision would cost more than the quantiser: its error grows with the patch's mean.
        with torch.autocast(x.device.type, enabled=False):
            return (patchify(x.float(), self.patch) - self.mean) @ self.basis

    def inverse(self, coefficients: Tensor) -> Tensor:
        """Leading coefficients [b, n, d <= components] -> pictures [b, c, h, w]."""
        return self._pictures(coefficients, self.mean)

    def coefficients(self, difference: Tensor, count: int) -> Tensor:
        """Leading `count` coefficients [b, n, count] of differences between pictures [b, c, h, w]."""
        with torch.autocast(difference.device.type, enabled=False):
            return patchify(difference.float(), self.patch) @ self.basis[:, :count]

    def difference(self, coefficients: Tensor) -> Tensor:
        """The difference between pictures [b, c, h, w] of such coefficients [b, n, d]."""
        return self._pictures(coefficients, 0.0)

    def _pictures(self, coefficients: Tensor, mean: Tensor | float) -> Tensor:
        d = coefficients.shape[-1]
        with torch.autocast(coefficients.device.type, enabled=False):
            patches = coefficients.float() @ self.basis[:, :d].T + mean
        return unpatchify(patches, self.patch, self.rows, self.columns)

    @torch.no_grad()
    def fit(self, pictures: Tensor) -> None:
        """Fit on pictures [b, c, h, w] by the eigenvectors of the patches' covariance."""
        patches = patchify(pictures.float(), self.patch).flatten(0, 1).double()  # [n, size]
        mean = patches.mean(0)
        covariance = (patches - mean).T @ (patches - mean) / len(patches)
        values, vectors = torch.linalg.eigh(covariance)  # ascending
        k = self.basis.shape[1]
        # A sign convention makes the basis a function of the data alone.
        vectors = vectors.flip(1)[:, :k]
        vectors = vectors * torch.sign(vectors.sum(0) + 1e-12)
        self.mean.copy_(mean)
        self.basis.copy_(vectors)
        self.deviation.copy_(values.flip(0)[:k].clamp_min(1e-8).sqrt())


# Below one half: values near a rounding border go to the cheaper one, which buys a finer step at the same bytes.
ROUNDING = 0.35
# Of stills, from fine to coarse: the last at one step takes about the bytes of the first at the next, and looks as good.
ROUNDINGS = (0.42, 0.39, 0.36, 0.33, 0.30)
NEAR_DEFAULT = 2  # step indices to either side of the default that stills are learned at


def _round(x: Tensor, rounding: float = ROUNDING) -> Tensor:
    return torch.sign(x) * torch.floor(x.abs() + rounding)


# Of the appearance's components against the still: they are small, and what they show is looked at.
FINENESS = 2.5


class ContentQuantiser(nn.Module):
    """Quantisation of content tokens with a chosen step, and its straight-through training form.

    Tokens have the `dim` channels that the networks know, and in files, where the config has an appearance, the
    coefficients of its components: all components' first ones, then their second ones, ...
    """

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.config = config.content

    def choices(self) -> list[tuple[int, float]]:
        """Step indices and roundings that an encoder may choose, from fine to coarse. How values were rounded no decoder needs to know."""
        c = self.config
        if not c.still_dim:
            return [(index, ROUNDING) for index in range(c.default_step, c.steps)]
        return [(index, rounding) for index in range(c.steps) for rounding in ROUNDINGS]

    def quantise(self, content: Tensor, step_index: int, rounding: float = ROUNDING) -> Tensor:
        """Tokens [b, n, d] -> integers [b, n, d] (int32)."""
        return _round(content / self._steps(step_index, content), rounding).int()

    def dequantise(self, values: Tensor, step_index: int) -> Tensor:
        """Integers [b, n, d] -> tokens [b, n, d]."""
        values = values.float()
        return values * self._steps(step_index, values)

    def _steps(self, step_index: int, like: Tensor) -> Tensor:
        """The step of every channel of tokens [..., d], [d]."""
        steps = torch.full((like.shape[-1],), self.config.step_size(step_index), device=like.device)
        steps[self.config.dim :] /= FINENESS
        return steps

    def forward(self, content: Tensor, step_index: Tensor) -> Tensor:
        """Training: what the decoder would receive at step indices [b], with the gradient passed through."""
        size = self.config.step * self.config.step_ratio ** step_index.float()[:, None, None]
        rounded = _round(content / size) * size
        return content + (rounded - content).detach()

    def bits(self, content: Tensor, step_index: Tensor) -> Tensor:
        """A smooth estimate of the coded bits [b]: log2(1 + |c| / step) summed over tokens."""
        size = self.config.step * self.config.step_ratio ** step_index.float()[:, None, None]
        return torch.log2(1 + content.abs() / size).sum(dim=(1, 2))
