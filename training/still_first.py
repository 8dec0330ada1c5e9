"""Before all that concerns motion: the still's filter learns alone what the quantiser takes from pictures."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from bcdcodec.models.bcd import BCD
from bcdcodec.training.batches import BatchSampler
from bcdcodec.training.motion_first import Note
from bcdcodec.training.precision import mixed_precision

PEAK_LR, BETAS = 1e-3, (0.9, 0.98)  # at 1.5e-3 and 0.999 it may die: all features negative, no output
LAST_LR = 0.01  # of the peak
WARMUP_STEPS = 30
WEIGHT_DECAY, GRAD_CLIP = 1e-4, 0.1
ABSOLUTE = 0.02  # weight of the absolute error beside the squared one
NEAR_DEFAULT = 2  # step indices to either side of the default that are learned
LOG_EVERY = 100


def teach_still(model: BCD, sampler: BatchSampler, encode: Callable[[Tensor], Tensor], steps: int, batch: int, seed: int,
                device: str, note: Note) -> None:
    """Train `model.still_filter` alone: pictures, coded as tokens at about the default step, are to look as they were.

    `encode`: pictures [b, t, c, h, w] as the model sees them.
    """
    config, still_filter = model.config.content, model.still_filter
    optimiser = torch.optim.AdamW(still_filter.parameters(), lr=PEAK_LR, betas=BETAS, weight_decay=WEIGHT_DECAY)
    for step in range(steps):
        rng = np.random.default_rng((seed, 5, step))
        z = encode(sampler.pictures(rng, batch)[:, None])[:, 0]
        index = torch.from_numpy(rng.integers(-NEAR_DEFAULT, NEAR_DEFAULT + 1, batch) + config.default_step).to(device)
        with torch.no_grad():
            coded = model.transform.inverse(model.content(model.transform(z)[..., : config.still_dim], index))
        cosine = 0.5 * (1 + math.cos(math.pi * step / steps))
        optimiser.param_groups[0]["lr"] = PEAK_LR * min(1.0, (step + 1) / WARMUP_STEPS) * (LAST_LR + (1 - LAST_LR) * cosine)
        with mixed_precision(device):
            difference = still_filter(coded) - z
        error = difference.square().mean()
        optimiser.zero_grad(set_to_none=True)
        (error + ABSOLUTE * difference.abs().mean()).backward()
        torch.nn.utils.clip_grad_norm_(still_filter.parameters(), GRAD_CLIP)
        optimiser.step()
        if (step + 1) % LOG_EVERY == 0:
            note({"still_step": step + 1, "still_psnr": round(10 * math.log10(4 / error.item()), 2),
                  "coded_psnr": round(10 * math.log10(4 / (coded - z).square().mean().item()), 2)})
