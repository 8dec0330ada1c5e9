"""Content and motion extraction (section 3.1): a T5 encoder over learnable queries and frames."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bcdcodec.models.bcd.config import BCDConfig
from bcdcodec.models.layers import RMSNorm
from bcdcodec.models.t5 import RelativeBias, T5Layer


class Encoder(nn.Module):
    """T(z) = (c, m): latents [b, t, c, h, w] -> content [b, n, channels] and motion [b, t, m].

    The `n` learnable queries q stand before the frames. Each frame is one token, a linear map of all its latents; the
    paper does not say how it makes one. Everything attends to everything, by relative positions.
    """

    def __init__(self, config: BCDConfig):
        super().__init__()
        e, latent = config.encoder, config.latent
        self.embed = nn.Linear(latent.channels * latent.size**2, e.width)
        self.queries = nn.Parameter(torch.randn(config.content.tokens, e.width))  # q
        self.bias = RelativeBias(e.heads)
        self.layers = nn.ModuleList(T5Layer(e.width, e.ff, e.heads) for _ in range(e.layers))
        self.norm = RMSNorm(e.width)
        self.to_content = nn.Linear(e.width, config.content.dim)
        self.to_motion = nn.Linear(e.width, config.motion_channels)

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        frames = self.embed(z.flatten(2))  # [b, t, d]
        q = self.queries.to(frames.dtype).expand(len(z), -1, -1)
        x = torch.cat([q, frames], dim=1)  # [b, n + t, d]
        bias = self.bias(x.shape[1])
        for layer in self.layers:
            x = layer(x, bias)
        c, m = self.norm(x).split([q.shape[1], frames.shape[1]], dim=1)
        return self.to_content(c).float(), self.to_motion(m).float()

    @torch.no_grad()
    def standardise(self, z: Tensor) -> None:
        """Give frame tokens and motion of latents z [b, t, c, h, w] zero mean and unit deviation, as the codes have.

        An initialisation from data (Salimans and Kingma 2016), which the paper does not state. As drawn, the layers
        give all frames nearly the same motion, so most codes are near none of them.
        """
        _standardise(self.embed, self.embed(z.flatten(2)))
        _standardise(self.to_motion, self(z)[1])


def _standardise(layer: nn.Linear, found: Tensor) -> None:
    """Scale and shift a layer that gives `found` [b, t, d] so that each channel has zero mean and unit deviation."""
    rows = found.flatten(0, 1)
    deviation = rows.std(0).clamp_min(1e-3)
    layer.bias.copy_((layer.bias - rows.mean(0)) / deviation)
    layer.weight.div_(deviation[:, None])
