"""Diffusion (equations 9 to 12) in the framework of EDM (Karras et al. 2022, arXiv 2206.00364), as the paper uses it.

EDM's noise level sigma takes the place of the appendix's beta_t and alpha_t: x / sqrt(1 + sigma^2) is its x_t.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from bcdcodec.models.bcd.config import EDMConfig


def add_noise(z: Tensor, sigma: Tensor, epsilon: Tensor) -> Tensor:
    """Equation 9, the forward process up to noise level sigma: x of clean latents z and unit noise epsilon."""
    return z + sigma * epsilon


def predicted_noise(x: Tensor, denoised: Tensor, sigma: float) -> Tensor:
    """Equation 11, epsilon_theta: the noise that the denoiser finds in x."""
    return (x - denoised) / sigma


def denoising_loss(z: Tensor, denoised: Tensor, sigma: Tensor, sigma_data: float) -> Tensor:
    """Equation 12 and equation 6, L_d [] of latents z and z~ = D(x; sigma), both [b, ...], at noise levels sigma [b].

    The squared error of the noise is that of the latents over sigma^2. EDM's weight 1 / sigma^2 + 1 / sigma_data^2
    (1 / c_out^2) also counts the highest noise levels, where the noise says nothing about the picture.
    """
    weight = 1 / sigma**2 + 1 / sigma_data**2
    return (weight * (z - denoised).square().flatten(1).mean(1)).mean()


def training_sigmas(count: int, config: EDMConfig) -> Tensor:
    """Log-normal noise levels [count]."""
    return (torch.randn(count) * config.p_std + config.p_mean).exp()


def sampling_sigmas(steps: int, config: EDMConfig) -> list[float]:
    """The `steps` noise levels of EDM's equation 5, and a final 0."""
    low, high = config.sigma_min ** (1 / config.rho), config.sigma_max ** (1 / config.rho)
    ramp = [i / max(steps - 1, 1) for i in range(steps)]
    return [(high + r * (low - high)) ** config.rho for r in ramp] + [0.0]


def guided(conditional: Tensor, unconditional: Tensor, guidance: float) -> Tensor:
    """Classifier-free guidance of two estimates (Ho and Salimans 2022)."""
    return unconditional + guidance * (conditional - unconditional)


def sample(denoise: Callable[[Tensor, float], Tensor], noise: Tensor, config: EDMConfig, steps: int) -> Tensor:
    """Equation 10, the reverse process from unit noise [...] to latents: Heun's method (EDM, algorithm 1).

    `denoise(x, sigma)` is D(x; sigma), conditioned. One step is the denoiser itself at sigma_max.
    """
    sigmas = sampling_sigmas(steps, config)
    x = sigmas[0] * noise
    for sigma, following in zip(sigmas[:-1], sigmas[1:]):
        epsilon = predicted_noise(x, denoise(x, sigma), sigma)
        euler = x + (following - sigma) * epsilon  # equation 11: the next x from the predicted noise
        if following == 0:
            return euler
        epsilon_next = predicted_noise(euler, denoise(euler, following), following)
        x = x + (following - sigma) * 0.5 * (epsilon + epsilon_next)
    return x
