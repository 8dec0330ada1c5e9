"""The reference image in the content tokens: the patch transform behind them and their quantisation."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bcdcodec.models.content_quantiser import ContentQuantiser
from bcdcodec.models.layers import patchify, unpatchify

# From fine to coarse: the last one at a step takes about the bytes of the first one at the next, and looks as good.
ROUNDINGS = (0.42, 0.39, 0.36, 0.33, 0.30)
NEAR_DEFAULT = 2  # step indices to either side of the default that reference images are learned at
# Of the residual basis, against the reference image: it is small, and what it shows is looked at.
FINENESS = 2.5


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


class ReferenceQuantiser(ContentQuantiser):
    """Quantisation of the reference image's coefficients, and, finer, of those of the residual basis.

    Tokens have the `dim` channels that the networks see and, in files, the coefficients of the residual basis: all
    components' first ones, then their second ones, ...
    """

    def choices(self) -> list[tuple[int, float]]:
        return [(index, rounding) for index in range(self.config.steps) for rounding in ROUNDINGS]

    def _steps(self, step_index: int, like: Tensor) -> Tensor:
        steps = super()._steps(step_index, like)
        steps[self.config.dim :] /= FINENESS
        return steps
