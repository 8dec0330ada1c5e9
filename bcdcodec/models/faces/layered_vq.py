"""Quantisation of both layers of motion: the base layer's codes as they were chosen, the enhancement's by rate."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bcdcodec.models.faces.config import FacesConfig
from bcdcodec.models.rdoq import rdoq


class LayeredVQ(nn.Module):
    """Codes of motion [..., m] as `FacesConfig` lays its channels out.

    The base layer's channels are entries of codebooks already, as the enhancement is aligned with what they show;
    those of the enhancement layer are scalars, whose codes are chosen by rate and distortion.
    """

    def __init__(self, config: FacesConfig):
        super().__init__()
        q, base = config.quantiser, config.base
        self.config, self.base = q, base
        self.base_channels, self.base_groups = config.base_channels, config.base_groups
        self.register_buffer("base_codebooks", torch.zeros(base.groups, base.codes, base.dim))
        self.register_buffer("entries", torch.zeros(q.groups - config.base_groups, q.codes))  # of the enhancement
        # log2 of the code probabilities, set at export from the integer tables: what a code costs
        self.register_buffer("log2_p", torch.zeros(q.groups, q.codes))
        # bits-to-distance exchange rate of the encoder's choice
        self.register_buffer("rate_lambda", torch.zeros(()))

    def features(self, m: Tensor) -> Tensor:
        """Channels as compared with the codebooks, the same: [b, t, m]."""
        return m.float()

    def encode_clip(self, m: Tensor, lambda_: float | None = None, hessian: Tensor | None = None) -> Tensor:
        """`encode` of a single clip: codes [t, g] of motion [t, m], with the Hessian [t, m, m] of the distortion."""
        return self.encode(m[None], lambda_, None if hessian is None else hessian[None])[0]

    def encode(self, m: Tensor, lambda_: float | None = None, hessian: Tensor | None = None) -> Tensor:
        """Codes int64 [b, t, g] of motion [b, t, m]; `lambda_`: in place of the model's own `rate_lambda`.

        `hessian` [b, t, m, m] of the distortion; None: squared error.
        """
        lambda_ = self.rate_lambda if lambda_ is None else lambda_
        c = self.base
        features, digits, fine = m.float().split(
            [c.groups * c.dim, c.place_groups, m.shape[-1] - self.base_channels], -1
        )
        features = features.unflatten(-1, (c.groups, 1, c.dim))
        base = (features - self.base_codebooks).square().sum(-1).argmin(-1)  # [b, t, g]
        bits = -lambda_ * self.log2_p[self.base_groups :]
        if hessian is None:
            codes = ((fine[..., None] - self.entries).square() + bits).argmin(-1)
        else:
            inner = hessian[..., self.base_channels :, self.base_channels :]
            codes = rdoq(self.entries, bits, fine, inner)
        return torch.cat([base, digits.round().long().clamp(0, c.codes - 1), codes], -1)

    def lookup(self, codes: Tensor) -> Tensor:
        """Motion [b, t, m] of codes [b, t, g]."""
        c = self.base
        base, digits, fine = codes.split([c.groups, c.place_groups, codes.shape[-1] - self.base_groups], -1)
        features = self.base_codebooks[torch.arange(c.groups, device=codes.device), base].flatten(-2)
        entries = self.entries[torch.arange(len(self.entries), device=codes.device), fine]
        return torch.cat([features, digits.float(), entries], -1)

    def quantise(self, m: Tensor) -> Tensor:
        """Motion as the decoder will have it: [b, t, m] -> [b, t, m]."""
        return self.lookup(self.encode(m))
