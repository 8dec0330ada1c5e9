"""Group vector quantisation with a distance-Gumbel-softmax and its rate (section 3.2, equations 1-5)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bcdcodec.config import QuantiserConfig
from bcdcodec.models.rdoq import rdoq

FIRST_LAMBDA = 0.02  # of a bit, in distances times alpha, that `fit` tries


@dataclass(frozen=True)
class RateTerms:
    """Entropies of one batch, bits a frame (summed over groups)."""

    H_model: Tensor  # of the averaged histograms, equation 5
    H_conditional: Tensor  # mean entropy of each frame's own distribution

    @property
    def mutual_information(self) -> Tensor:
        return self.H_model - self.H_conditional

    def detach(self) -> RateTerms:
        return RateTerms(self.H_model.detach(), self.H_conditional.detach())


class GroupVQ(nn.Module):
    """`g` codebooks E_i of `k` entries with `d` channels each."""

    def __init__(self, config: QuantiserConfig):
        super().__init__()
        self.config = config
        self.codebooks = nn.Parameter(torch.randn(config.groups, config.codes, config.dim))  # [g, k, d]
        self.norm = nn.BatchNorm1d(config.groups * config.dim, affine=False) if config.normalise else nn.Identity()
        # log2 of the code probabilities, set at export from the integer tables: what a code costs
        self.register_buffer("log2_p", torch.zeros(config.groups, config.codes))
        # bits-to-distance exchange rate of the encoder's choice; 0 is the paper's plain argmax
        self.register_buffer("rate_lambda", torch.zeros(()))

    def features(self, m: Tensor) -> Tensor:
        """Motion features as compared with the codebooks: [b, t, g * d] -> [b, t, g, d]."""
        b, t, _ = m.shape
        m = self.norm(m.flatten(0, 1).float())
        return m.view(b, t, self.config.groups, self.config.dim)

    def encode_clip(self, m: Tensor, lambda_: float | None = None, hessian: Tensor | None = None) -> Tensor:
        """`encode` of a single clip: codes [t, g] of motion [t, m], with the Hessian [t, m, m] of the distortion."""
        return self.encode(m[None], lambda_, None if hessian is None else hessian[None])[0]

    def from_middle(self, m: Tensor) -> Tensor:
        """Frames of motion [t, m] in the order of their distance from the mean motion, nearest first, [t]."""
        features = self.features(m[None])[0].flatten(1)  # [t, g * d]
        return (features - features.mean(0)).square().sum(1).argsort()

    def distances(self, features: Tensor) -> Tensor:
        """Squared L2 distance to every code, equation 1: [b, t, g, d] -> [b, t, g, k]."""
        E = self.codebooks.float()
        cross = torch.einsum("btgd,gkd->btgk", features, E)
        return features.square().sum(-1, keepdim=True) - 2 * cross + E.square().sum(-1)

    def forward(self, m: Tensor, temperature: float) -> tuple[Tensor, Tensor, RateTerms]:
        """Training pass: quantised features [b, t, g * d], logits [b, t, g, k], rate terms."""
        features = self.features(m)
        logits = -self.config.alpha * self.distances(features)  # [b, t, g, k]
        if self.config.nearest:
            m_hat = self.quantise(m)
            m_hat = m_hat + features.flatten(2) - features.flatten(2).detach()
        elif self.config.hard:
            # tau acts on a hard sample only as a divisor of the logits: it sets how often that is not the nearest.
            m_hat = self._mixture(F.gumbel_softmax(logits / temperature, tau=1.0, hard=True, dim=-1))
        else:
            m_hat = self._mixture(F.gumbel_softmax(logits, tau=temperature, dim=-1))  # equation 2
        # The histogram is taken without the Gumbel noise, which would flatten it.
        soft = torch.softmax(logits / temperature, dim=-1)
        mu_avg = soft.mean(dim=(0, 1))  # [g, k], equation 4
        return m_hat, logits, RateTerms(_entropy(mu_avg).sum(), _entropy(soft).mean(dim=(0, 1)).sum())

    def _mixture(self, mu: Tensor) -> Tensor:
        """Codes weighted by mu [b, t, g, k], equation 3: [b, t, g * d]."""
        return torch.einsum("btgk,gkd->btgd", mu, self.codebooks.float()).flatten(2)

    def encode(self, m: Tensor, lambda_: float | None = None, hessian: Tensor | None = None) -> Tensor:
        """Codes as written to a file: [b, t, m] -> int64 [b, t, g]; `lambda_`: in place of the model's own rate_lambda.

        `hessian` [b, t, m, m] of the distortion, for codes of one channel and consecutive frames; None: squared error.
        """
        lambda_ = self.rate_lambda if lambda_ is None else lambda_
        features = self.features(m)
        if hessian is None:
            return (-self.config.alpha * self.distances(features) + lambda_ * self.log2_p).argmax(dim=-1)
        bits = -lambda_ / self.config.alpha * self.log2_p  # [g, k] in squared distances
        return rdoq(self.codebooks.float()[..., 0], bits, features[..., 0], hessian)

    def quantise(self, m: Tensor) -> Tensor:
        """Motion as the decoder will have it: [b, t, m] -> [b, t, g * d]."""
        return self.lookup(self.encode(m))

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

    @torch.no_grad()
    def fit(self, m: Tensor, target_bits: float, generator: torch.Generator) -> float:
        """Fit the codes to motion [n, m] without gradients, for at most `target_bits` a frame; the bits that they take.

        Entropy-constrained vector quantisation (Chou, Lookabaugh and Gray 1989): Lloyd's steps in which a code also
        costs its bits, at a lambda that rises until the target is met. The first codes are drawn as by k-means++.
        """
        rows = self.features(m[None])[0]  # [n, g, d]
        n, g = rows.shape[:2]
        nearest = torch.full((n, g), float("inf"))
        for k in range(self.config.codes):  # a row is drawn by its squared distance to the codes so far
            weight = torch.ones(n, g) if k == 0 else nearest + 1e-12
            pick = torch.multinomial(weight.T, 1, generator=generator)[:, 0]  # [g]
            self.codebooks[:, k] = rows[pick, torch.arange(g)]
            nearest = torch.minimum(nearest, (rows - self.codebooks[:, k]).square().sum(-1).cpu())
        lambda_, bits = 0.0, self._lloyd(rows, 0.0, 30)
        while bits > target_bits:
            lambda_ = lambda_ * 1.3 if lambda_ else FIRST_LAMBDA
            bits = self._lloyd(rows, lambda_, 5)
        self.rate_lambda.fill_(lambda_)
        return bits

    def _lloyd(self, rows: Tensor, lambda_: float, steps: int) -> float:
        """Move codes to the middles of the rows [n, g, d] they stand for; bits a row."""
        for step in range(steps + 1):
            score = -self.config.alpha * self.distances(rows[None])[0]  # [n, g, k]
            codes = (score + lambda_ * self.log2_p).argmax(-1)
            chosen = F.one_hot(codes, self.config.codes).float()  # [n, g, k]
            counts = chosen.sum(0)  # [g, k]
            p = (counts + 0.5) / (counts + 0.5).sum(1, keepdim=True)
            self.log2_p.copy_(p.log2())
            if step < steps:
                middles = torch.einsum("ngk,ngd->gkd", chosen, rows) / counts.clamp_min(1)[..., None]
                self.codebooks.copy_(torch.where(counts[..., None] > 0, middles, self.codebooks))
        return -(counts * self.log2_p).sum().item() / len(rows)


def _entropy(p: Tensor) -> Tensor:
    """Entropy in bits over the last axis."""
    return -(p * p.clamp_min(1e-9).log2()).sum(dim=-1)


def temperature_at(config: QuantiserConfig, step: int) -> float:
    """Gumbel temperature tau after `step` optimiser steps."""
    return max(config.temperature_min, config.temperature_max * config.temperature_decay**step)
