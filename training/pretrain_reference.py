"""Before all that concerns motion: the denoiser and the super-resolution network of the reference image learn alone."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from bcdcodec.models.heads.model import HeadsModel
from bcdcodec.models.heads.reference_image import NEAR_DEFAULT
from bcdcodec.models.latents import Latents, enlarged
from bcdcodec.models.unet import UNet
from bcdcodec.training.data.batches import BatchSampler, random_tint, to_pictures
from bcdcodec.training.data.clips import ClipStore
from bcdcodec.training.precision import mixed_precision
from bcdcodec.training.pretrain_motion import Note

PEAK_LR, BETAS = 1e-3, (0.9, 0.98)  # at 1.5e-3 and 0.999 it may die: all features negative, no output
LAST_LR = 0.01  # of the peak
WARMUP_STEPS = 30
WEIGHT_DECAY, GRAD_CLIP = 1e-4, 0.1
ABSOLUTE = 0.02  # weight of the absolute error beside the squared one
LOG_EVERY = 100


def pretrain_denoiser(
    model: HeadsModel,
    sampler: BatchSampler,
    encode: Callable[[Tensor], Tensor],
    steps: int,
    batch: int,
    seed: int,
    device: str,
    note: Note,
) -> None:
    """Train the denoiser alone to restore pictures that are coded as tokens at about the default step.

    `encode`: pictures [b, t, c, h, w] as the model sees them.
    """

    def draw(rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        z = encode(sampler.pictures(rng, batch)[:, None])[:, 0]
        return model.transform.inverse(_coded(model, z, rng)), z

    _learn(model.denoiser, draw, model.denoiser, "denoiser", steps, (seed, 5), device, note)


def pretrain_super_resolution(
    model: HeadsModel, clips: ClipStore, latents: Latents, steps: int, batch: int, seed: int, device: str, note: Note
) -> None:
    """Train the super-resolution network alone: from decoded reference images to pictures of full size, `clips`."""

    def draw(rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        pictures = to_pictures(np.stack([clips.draw(rng) for _ in range(batch)])).to(device)
        flip = torch.from_numpy(rng.random(batch) < 0.5).to(device)[:, None, None, None]
        pictures = random_tint(rng, torch.where(flip, pictures.flip(-1), pictures))
        return model.image(_coded(model, latents.encode(pictures), rng)), pictures

    _learn(
        model.super_resolution,
        draw,
        lambda still: latents.decode(still, model.super_resolution(still)),
        "super_resolution",
        steps,
        (seed, 6),
        device,
        note,
    )


def _coded(model: HeadsModel, z: Tensor, rng: np.random.Generator) -> Tensor:
    """Tokens [b, n, transform_dim] of pictures z [b, c, h, w], coded at about the default step."""
    config = model.config.content
    index = config.default_step + rng.integers(-NEAR_DEFAULT, NEAR_DEFAULT + 1, len(z))
    return model.content_quantiser(
        model.transform(z)[..., : config.transform_dim], torch.from_numpy(index).to(z.device)
    )


def _learn(
    net: UNet,
    draw: Callable[[np.random.Generator], tuple[Tensor, Tensor]],
    run: Callable[[Tensor], Tensor],
    name: str,
    steps: int,
    seed: tuple[int, int],
    device: str,
    note: Note,
) -> None:
    """Train `net` so that `run` maps the first of what is drawn to the second, pictures [b, c, h, w]."""
    optimiser = torch.optim.AdamW(net.parameters(), lr=PEAK_LR, betas=BETAS, weight_decay=WEIGHT_DECAY)
    for step in range(steps):
        with torch.no_grad():
            seen, truth = draw(np.random.default_rng((*seed, step)))
        cosine = 0.5 * (1 + math.cos(math.pi * step / steps))
        optimiser.param_groups[0]["lr"] = (
            PEAK_LR * min(1.0, (step + 1) / WARMUP_STEPS) * (LAST_LR + (1 - LAST_LR) * cosine)
        )
        with mixed_precision(device):
            difference = run(seen) - truth
        error = difference.square().mean()
        optimiser.zero_grad(set_to_none=True)
        (error + ABSOLUTE * difference.abs().mean()).backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), GRAD_CLIP)
        optimiser.step()
        if (step + 1) % LOG_EVERY == 0:
            before = enlarged(seen, truth.shape[-1] // seen.shape[-1])
            note(
                {
                    f"{name}_step": step + 1,
                    f"{name}_psnr": round(10 * math.log10(4 / error.item()), 2),
                    "coded_psnr": round(10 * math.log10(4 / (before - truth).square().mean().item()), 2),
                }
            )
