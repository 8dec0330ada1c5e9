"""Group vector quantisation with a distance-Gumbel-softmax, and its bitrate (section 3.2, equations 1 to 5)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, distributed, nn
from torch.nn import functional as F

from bcdcodec.models.bcd.config import BCDQuantiserConfig


@dataclass(frozen=True)
class Rate:
    """Bits a frame of one batch, summed over groups."""

    H_model: Tensor  # [] equation 5, of the sampled distributions: what is trained
    mutual_information: Tensor  # [] between frame and sampled code, without gradient: what the samples really tell


class GroupVQ(nn.Module):
    """`g` codebooks E_i of `k` entries with `d` channels each."""

    def __init__(self, config: BCDQuantiserConfig):
        super().__init__()
        self.config = config
        self.codebooks = nn.Parameter(torch.randn(config.groups, config.codes, config.dim))  # E [g, k, d]
        # Of files, not of the paper: log2 of the code probabilities, set at export from the integer tables, and the
        # Lagrangian multiplier by which an encoder lowers the rate. 0 is the paper's argmax.
        self.register_buffer("log2_p", torch.zeros(config.groups, config.codes))
        self.register_buffer("rate_lambda", torch.zeros(()))

    def features(self, m: Tensor) -> Tensor:
        """Motion [b, t, g * d] split into groups m_t^i, [b, t, g, d]."""
        return m.float().unflatten(2, (self.config.groups, self.config.dim))

    def distances(self, m: Tensor) -> Tensor:
        """Equation 1, d_t^i: L2 distances of motion [b, t, g * d] to all codes, [b, t, g, k]."""
        rows = self.features(m).flatten(0, 1).transpose(0, 1)  # [g, b * t, d]
        # Not by matrix products: their result would depend on the number of frames.
        d = torch.cdist(rows, self.codebooks.float(), compute_mode="donot_use_mm_for_euclid_dist")  # [g, b * t, k]
        return d.transpose(0, 1).unflatten(0, m.shape[:2])

    def forward(self, m: Tensor, temperature: float) -> tuple[Tensor, Rate]:
        """Training: motion [b, t, g * d] -> sampled codes m_hat [b, t, g * d] and their rate."""
        logits = -self.config.alpha * self.distances(m)
        mu = F.gumbel_softmax(logits, tau=temperature, dim=-1)  # equation 2, [b, t, g, k]
        # The reparametrised sample: the codes weighted by mu, which tends to one of them as the temperature falls.
        m_hat = torch.einsum("btgk,gkd->btgd", mu, self.codebooks.float()).flatten(2)
        return m_hat, Rate(model_bits(mu), information(logits.detach()))

    def encode(self, m: Tensor, lambda_: float | None = None, hessian: None = None) -> Tensor:
        """Inference: argmax of the distribution, motion [b, t, g * d] -> codes int64 [b, t, g].

        `lambda_`: in place of the model's own rate_lambda, distance (times alpha) that a bit is worth.
        """
        lambda_ = self.rate_lambda if lambda_ is None else lambda_
        return (-self.config.alpha * self.distances(m) + lambda_ * self.log2_p).argmax(dim=-1)

    def encode_clip(self, m: Tensor, lambda_: float | None = None, hessian: None = None) -> Tensor:
        """`encode` of a single clip: codes [t, g] of motion [t, g * d]."""
        return self.encode(m[None], lambda_)[0]

    def lookup(self, codes: Tensor) -> Tensor:
        """Codebook entries of codes: [b, t, g] -> [b, t, g * d]."""
        return self.codebooks.float()[torch.arange(self.config.groups, device=codes.device), codes].flatten(2)

    def quantise(self, m: Tensor) -> Tensor:
        """Motion as the decoder will have it: [b, t, g * d] -> [b, t, g * d]."""
        return self.lookup(self.encode(m))


def entropy(p: Tensor) -> Tensor:
    """Equation 3, H: entropy in bits of probabilities over the last axis."""
    return -(p * p.clamp_min(1e-12).log2()).sum(dim=-1)


def model_bits(mu: Tensor) -> Tensor:
    """H_model: equation 5 summed over groups, bits a frame, of sampled distributions mu [b, t, g, k]."""
    mu_avg = over_processes(mu.float().mean(dim=(0, 1)))  # equation 4, [g, k]
    return entropy(mu_avg).sum()  # equation 5


def over_processes(mean: Tensor) -> Tensor:
    """The mean over all processes of torch.distributed, with its gradient: B of equation 4 is the global batch."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return mean
    from torch.distributed.nn.functional import all_reduce

    return all_reduce(mean) / distributed.get_world_size()


def information(logits: Tensor) -> Tensor:
    """Mutual information of frames and codes drawn from softmax(logits [b, t, g, k]), bits a frame.

    Gumbel noise added to the logits makes their argmax a draw from that distribution, at any temperature.
    """
    p = torch.softmax(logits, dim=-1)
    return (entropy(p.mean(dim=(0, 1))) - entropy(p).mean(dim=(0, 1))).sum()
