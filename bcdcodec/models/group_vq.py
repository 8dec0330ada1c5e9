"""Group vector quantisation with a distance-Gumbel-softmax and its rate (section 3.2, equations 1-5)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bcdcodec.config import QuantiserConfig


@dataclass(frozen=True)
class RateTerms:
    """Entropies of one batch, bits a frame (summed over groups)."""

    H_model: Tensor  # of the averaged histograms, equation 5
    H_conditional: Tensor  # mean entropy of each frame's own distribution

    @property
    def mutual_information(self) -> Tensor:
        return self.H_model - self.H_conditional


class GroupVQ(nn.Module):
    """`g` codebooks E_i of `k` entries with `d` channels each."""

    def __init__(self, config: QuantiserConfig):
        super().__init__()
        self.config = config
        self.codebooks = nn.Parameter(torch.randn(config.groups, config.codes, config.dim))  # [g, k, d]
        self.expand: nn.Module = nn.Identity()
        if config.rank:  # many coarse readings of few channels: what one group loses another has
            self.expand = nn.Linear(config.rank, config.groups * config.dim, bias=False)
            nn.init.normal_(self.expand.weight, std=config.rank ** -0.5)
        self.norm = nn.BatchNorm1d(config.groups * config.dim, affine=False) if config.normalise else nn.Identity()
        # log2 of the code probabilities, set at export from the integer tables: what a code costs
        self.register_buffer("log2_p", torch.zeros(config.groups, config.codes))
        # bits-to-distance exchange rate of the encoder's choice; 0 is the paper's plain argmax
        self.register_buffer("rate_lambda", torch.zeros(()))

    def features(self, m: Tensor) -> Tensor:
        """Motion features as compared with the codebooks: [b, t, m] -> [b, t, g, d], where m is `rank` or g * d."""
        b, t, _ = m.shape
        m = self.norm(self.expand(m.flatten(0, 1)).float())
        return m.view(b, t, self.config.groups, self.config.dim)

    def distances(self, features: Tensor) -> Tensor:
        """Squared L2 distance to every code, equation 1: [b, t, g, d] -> [b, t, g, k]."""
        E = self.codebooks.float()
        cross = torch.einsum("btgd,gkd->btgk", features, E)
        return features.square().sum(-1, keepdim=True) - 2 * cross + E.square().sum(-1)

    def forward(self, m: Tensor, temperature: float) -> tuple[Tensor, Tensor, RateTerms, Tensor]:
        """Training pass: quantised features [b, t, g * d], logits [b, t, g, k], rate terms, features [b, t, g, d]."""
        features = self.features(m)
        logits = -self.config.alpha * self.distances(features)  # [b, t, g, k]
        if self.config.nearest:
            m_hat = self.lookup(logits.argmax(-1))
            m_hat = m_hat + features.flatten(2) - features.flatten(2).detach()
        elif self.config.hard:
            # A hard sample does not feel tau unless the logits do: so divided, tau sets how often it is not the nearest.
            m_hat = self._mixture(F.gumbel_softmax(logits / temperature, tau=1.0, hard=True, dim=-1))
        else:
            m_hat = self._mixture(F.gumbel_softmax(logits, tau=temperature, dim=-1))  # equation 2
        # The histogram is taken without the Gumbel noise, which would flatten it.
        soft = torch.softmax(logits / temperature, dim=-1)
        mu_avg = soft.mean(dim=(0, 1))  # [g, k], equation 4
        return m_hat, logits, RateTerms(_entropy(mu_avg).sum(), _entropy(soft).mean(dim=(0, 1)).sum()), features

    def _mixture(self, mu: Tensor) -> Tensor:
        """Codes weighted by mu [b, t, g, k], equation 3: [b, t, g * d]."""
        return torch.einsum("btgk,gkd->btgd", mu, self.codebooks.float()).flatten(2)

    def encode(self, m: Tensor, price: float | None = None) -> Tensor:
        """Codes as written to a file: [b, t, m] -> int64 [b, t, g]; `price` in place of the model's own rate_lambda."""
        price = self.rate_lambda if price is None else price
        score = -self.config.alpha * self.distances(self.features(m)) + price * self.log2_p
        return score.argmax(dim=-1)

    def lookup(self, codes: Tensor) -> Tensor:
        """Codebook entries of codes: [b, t, g] -> [b, t, g * d]."""
        groups = torch.arange(self.config.groups, device=codes.device)
        return self.codebooks.float()[groups, codes].flatten(2)

    @torch.no_grad()
    def seed_codebooks(self, m: Tensor, generator: torch.Generator) -> None:
        """Draw the codes from encoder outputs [b, t, m], so that each is near some data."""
        rows = self.features(m).flatten(0, 1)  # [n, g, d]
        for g in range(self.config.groups):
            pick = torch.randint(rows.shape[0], (self.config.codes,), generator=generator)
            noise = torch.randn(self.config.codes, self.config.dim, generator=generator)
            self.codebooks[g] = rows[pick, g].cpu() + 0.1 * noise


def _entropy(p: Tensor) -> Tensor:
    """Entropy in bits over the last axis."""
    return -(p * p.clamp_min(1e-9).log2()).sum(dim=-1)


def temperature_at(config: QuantiserConfig, step: int) -> float:
    """Gumbel temperature tau after `step` optimiser steps."""
    return max(config.temperature_min, config.temperature_max * config.temperature_decay ** step)
