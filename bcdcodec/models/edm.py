"""EDM preconditioning, noise levels and sampling (Karras et al. 2022, arXiv 2206.00364, table 1 and algorithm 2)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from bcdcodec.config import DiffusionConfig

SECOND_ORDER_FROM = 0.5  # of a step's noise level must be left after it


class NoiseLevels(Protocol):
    """Noise levels of sampling: the lowest, the highest, and how they are spaced."""

    sigma_min: float
    sigma_max: float
    rho: float


def preconditioning(sigma: Tensor, sigma_data: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """c_skip, c_out, c_in, c_noise of noise levels sigma."""
    total = sigma**2 + sigma_data**2
    c_skip = sigma_data**2 / total
    c_out = sigma * sigma_data / total.sqrt()
    return c_skip, c_out, 1 / total.sqrt(), sigma.log() / 4


def loss_weight(sigma: Tensor, sigma_data: float) -> Tensor:
    """lambda(sigma) = 1 / c_out^2: every noise level weighs the same on F."""
    return (sigma**2 + sigma_data**2) / (sigma * sigma_data) ** 2


def training_sigmas(count: int, config: DiffusionConfig, generator: torch.Generator | None = None) -> Tensor:
    """Noise levels [count] for training: log-normal, a share of them at sigma_max (the one-step regime)."""
    sigma = (torch.randn(count, generator=generator) * config.p_std + config.p_mean).exp()
    at_max = torch.rand(count, generator=generator) < config.share_at_max
    return torch.where(
        at_max, torch.full_like(sigma, config.sigma_max), sigma.clamp(config.sigma_min, config.sigma_max)
    )


def karras_sigmas(steps: int, config: NoiseLevels) -> Tensor:
    """The `steps` noise levels of equation 5 and a final 0: [steps + 1]."""
    ramp = torch.linspace(0, 1, steps) if steps > 1 else torch.zeros(1)
    low, high = config.sigma_min ** (1 / config.rho), config.sigma_max ** (1 / config.rho)
    return torch.cat([(high + ramp * (low - high)) ** config.rho, torch.zeros(1)])


def sample_heun(denoise: Callable[[Tensor, float], Tensor], noise: Tensor, config: NoiseLevels, steps: int) -> Tensor:
    """Deterministic second-order sampler: unit noise [...] -> sample [...].

    One step is the denoiser itself at sigma_max. `denoise(x, sigma)` is D(x; sigma). The correction of algorithm 2
    divides the denoiser's error by the next noise level and multiplies it by the step. Steps that more than halve the
    noise level, as few steps do, would amplify that error; they are left at first order.
    """
    sigmas = karras_sigmas(steps, config).tolist()
    x = noise * sigmas[0]
    for sigma, sigma_next in zip(sigmas[:-1], sigmas[1:]):
        denoised = denoise(x, sigma)
        if sigma_next == 0:
            return denoised
        slope = (x - denoised) / sigma
        x_next = x + (sigma_next - sigma) * slope
        if sigma_next >= SECOND_ORDER_FROM * sigma:
            slope_next = (x_next - denoise(x_next, sigma_next)) / sigma_next
            x_next = x + (sigma_next - sigma) * 0.5 * (slope + slope_next)
        x = x_next
    return x
