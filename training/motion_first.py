"""Before the first step of a run: the encoder learns to show motion, then the codes to stand for it."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from bcdcodec.models.bcd import BCD
from bcdcodec.training.objective import motion_distance
from bcdcodec.training.precision import mixed_precision

STEM_LR, REST_LR, CODES_LR = 2e-3, 6e-4, 2e-3  # the transformer learns nothing at the convolutions' rate
WARMUP_STEPS = 50
LOG_EVERY = 50

Draw = Callable[[int], tuple[Tensor, Tensor]]  # step -> pictures as the model sees them [n, 1, c, h, w], motion [k, 1, p] of the first
Note = Callable[[dict], None]


def teach_motion(model: BCD, draw: Draw, steps: int, weight_decay: float, device: str, note: Note) -> None:
    """Train the encoder alone to show the true motion of procedural heads in its leading channels.

    Afterwards the groups read only these; the others, which show looks yet, join as the pictures' errors ask for them.
    """
    stem = list(model.encoder.stem.parameters())
    rest = [p for name, p in model.encoder.named_parameters() if not name.startswith("stem.")]
    optimiser = torch.optim.AdamW(
        [{"params": stem, "peak": STEM_LR}, {"params": rest, "peak": REST_LR}], weight_decay=weight_decay)
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = group["peak"] * min(1.0, (step + 1) / WARMUP_STEPS) * 0.5 * (1 + math.cos(math.pi * step / steps))
        pictures, motion = draw(step)
        with mixed_precision(device):
            error = motion_distance(model.encode_motion(pictures)[: len(motion)], motion)
        optimiser.zero_grad(set_to_none=True)
        error.backward()
        torch.nn.utils.clip_grad_norm_([*stem, *rest], 1.0)
        optimiser.step()
        if (step + 1) % LOG_EVERY == 0:
            note({"motion_step": step + 1, "motion_error": round(error.item(), 3)})
    with torch.no_grad():
        model.vq.expand.weight[:, motion.shape[-1]:] = 0


def teach_codes(model: BCD, draw: Draw, steps: int, note: Note) -> None:
    """Move the codes to the middle of the features they stand for."""
    vq = model.vq
    optimiser = torch.optim.Adam([vq.codebooks], lr=CODES_LR)
    for step in range(steps):
        with torch.no_grad():
            features = vq.features(model.encode_motion(draw(step)[0]))
            codes = vq.distances(features).argmin(-1)
        error = F.mse_loss(vq.lookup(codes), features.flatten(2))
        optimiser.zero_grad(set_to_none=True)
        error.backward()
        optimiser.step()
        if (step + 1) % LOG_EVERY == 0:
            note({"codes_step": step + 1, "codes_error": round(error.item(), 3)})
