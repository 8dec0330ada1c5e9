"""The training of the paper's model (section 3.4, equations 6 to 8), with no loss term beside the paper's two."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bcdcodec.errors import ModelError
from bcdcodec.model_folder import ModelFolder
from bcdcodec.models.bcd.config import BCDConfig
from bcdcodec.models.bcd.edm import add_noise, denoising_loss, training_sigmas
from bcdcodec.models.bcd.presets import LRS3, SPRITES, SPRITES_BCD
from bcdcodec.training.checkpoint import take_weights
from bcdcodec.training.data.halves import ClipHalves, Halves, SheetHalves
from bcdcodec.training.data.shard_halves import ShardHalves, check_autoencoder
from bcdcodec.training.data.shards import is_prepared
from bcdcodec.training.evaluate_bcd import evaluate_clips, evaluate_sheets
from bcdcodec.training.precision import mixed_precision
from bcdcodec.training.trainer import SETUP_STEP, Losses, OptimiserConfig, Trainer

ENCODED_AT_ONCE = 32  # pictures, by an image autoencoder
SETUP_CLIPS = 64


@dataclass(frozen=True, kw_only=True)
class BCDTraining:
    """Tables A7 and A8, "Optimization" and temperatures."""

    data: str  # "clips": a folder of footage; "sheets": Sprites
    batch: int  # clips
    stride: int = 1  # source frames from one training frame to the next
    optimiser: OptimiserConfig  # gradients are clipped at norm 1, which the paper does not state
    lr_decoder: float
    lr_encoder: float  # of encoder and codebooks
    warmup_encoder: int = 100  # steps until its full rate; the paper states none
    temperature_max: float
    temperature_min: float
    temperature_decay: float = 0.9999972  # a step
    rate_weight: float = 0.04  # lambda of equation 8
    mask_rate: float = 0.1  # of the clips, without condition, for classifier-free guidance
    temporal_from: float = 0.0  # share of the run after which temporal blocks learn and the encoder's rate is halved

    def temperature(self, step: int) -> float:
        """Of the Gumbel softmax, after `step` optimiser steps."""
        return max(self.temperature_min, self.temperature_max * self.temperature_decay**step)


class BCDRecipe:
    """L = L_d + lambda L_VQ on cross-driven halves of clips."""

    shared = True  # a batch may be shared by several processes

    def __init__(self, config: BCDConfig, training: BCDTraining):
        self.config, self.training = config, training
        self.helpers: dict[str, nn.Module] = {}

    def open(self, run: Trainer) -> None:
        c, options, name = self.training, run.options, self.config.name
        if options.data is None:
            raise ModelError(f"preset {name!r} trains on {c.data}: give their folder with --data")
        if c.data == "sheets":
            self.halves = SheetHalves.open(options.data, options.seed)
            return
        size, frames = self.config.latent.small.picture_size, self.config.window.length
        if is_prepared(options.data):
            self.halves = ShardHalves.open(options.data, size, frames, c.stride, options.seed)
        else:
            self.halves = ClipHalves.open(options.data, size, options.out / "data", frames, c.stride, options.seed)

    def build_helpers(self, run: Trainer) -> None:
        if self.halves.latents:
            check_autoencoder(self.halves, run.latents)

    def parameter_groups(self, run: Trainer) -> list[dict]:
        model, c = run.model, self.training
        reading = [*model.encoder.parameters(), *model.vq.parameters()]
        return [
            {"params": list(model.decoder.parameters()), "peak": c.lr_decoder, "part": "decoder"},
            {"params": reading, "peak": c.lr_encoder, "part": "encoder"},
        ]

    def prepare(self, run: Trainer) -> None:
        """Begin with motion that is spread over the codes."""
        halves = self.halves.batch(SETUP_STEP, SETUP_CLIPS)
        run.model.encoder.standardise(self._latents(run, halves.driving))

    def begin_from(self, run: Trainer, folder: ModelFolder) -> float:
        """From its weights, at the start of the recipe."""
        take_weights(run.model, folder, self.config.name)
        return 0.0

    def learning_rate(self, run: Trainer, part: str) -> float:
        """Constant after a short warm-up, but for the encoder's second stage."""
        steps = self.training.warmup_encoder if part == "encoder" else run.optimisation.warmup_steps
        rise = min(1.0, (run.step + 1) / steps)
        return rise * (0.5 if part == "encoder" and self._second_stage(run) else 1.0)

    def _second_stage(self, run: Trainer) -> bool:
        return 0 < self.training.temporal_from <= run.progress

    def clips_an_epoch(self) -> int:
        if not isinstance(self.halves, ShardHalves):
            raise ModelError("--epochs counts prepared clips (bcd data prepare): give --steps for other data")
        return len(self.halves.train)

    def batch(self, run: Trainer) -> Halves:
        halves = self.halves.batch(run.step, run.clips, run.share)
        if self.halves.latents:
            return Halves(halves.content.to(run.device), halves.driving.to(run.device))
        return Halves(self._latents(run, halves.content), self._latents(run, halves.driving))

    def _latents(self, run: Trainer, pictures: Tensor) -> Tensor:
        """Latents of pictures [b, t, 3, h, w], few at once: the autoencoder's features are a hundred times larger."""
        with mixed_precision(run.device):
            parts = [run.encode(part[None])[0] for part in pictures.flatten(0, 1).split(ENCODED_AT_ONCE)]
        return torch.cat(parts).float().unflatten(0, pictures.shape[:2])

    def losses(self, run: Trainer, batch: Halves) -> Losses:
        """Cross-driven: content of one half and motion of the other reconstruct the other half."""
        model, c, config = run.model.train(), self.training, self.config
        z = batch.driving
        content, _ = model.encode(batch.content)
        _, m = model.encode(z)
        m_hat, rate = model.vq(m, c.temperature(run.step))
        sigma = training_sigmas(len(z), config.diffusion).to(z)  # one a clip
        epsilon = torch.randn_like(z)  # independent in every frame
        keep = torch.rand(len(z), device=z.device) >= c.mask_rate
        temporal = c.temporal_from <= run.progress
        x = add_noise(z, sigma[:, None, None, None, None], epsilon)
        z_tilde = model.denoise(x, sigma, content, m_hat, keep, temporal)
        L_d = denoising_loss(z, z_tilde, sigma, config.diffusion.sigma_data)  # equation 6
        L_VQ = (rate.H_model - config.quantiser.target_bits) ** 2  # equation 7
        with torch.no_grad():
            codes = model.vq.encode(m.detach())
        error = torch.full((), float("nan"))  # none of the samples is at sigma_max
        more = {"temperature": round(c.temperature(run.step), 4)}
        return Losses(L_d + c.rate_weight * L_VQ, L_d.detach(), rate, error, codes, more)  # equation 8

    def after_step(self, run: Trainer, progress: float) -> None:
        pass

    def evaluate(self, run: Trainer, log2_p: Tensor) -> tuple[Any, np.ndarray]:
        evaluate = evaluate_sheets if self.training.data == "sheets" else evaluate_clips
        return evaluate(run.ema, run.latents, self.halves, log2_p)

    def state(self) -> dict:
        return {}

    def load_state(self, state: dict, device: str) -> None:
        pass


# Table A7. The main text swaps the two learning rates, and anneals the temperature from 1.1 to 0.5 by 0.999 a step.
# Of 45 epochs the first 30 leave the temporal blocks out.
LRS3_TRAINING = BCDTraining(
    data="clips",
    batch=32,
    stride=2,
    optimiser=OptimiserConfig(),
    lr_decoder=2e-4,
    lr_encoder=1e-4,
    temperature_max=1.5,
    temperature_min=0.1,
    temporal_from=2 / 3,
)

# Table A8.
SPRITES_TRAINING = BCDTraining(
    data="sheets",
    batch=128,
    optimiser=OptimiserConfig(),
    lr_decoder=5e-5,
    lr_encoder=5e-5,
    temperature_max=2.0,
    temperature_min=0.5,
)

# Fewer clips a step and fewer steps than the paper's: higher learning rates, and the same range of temperatures within
# 2,800 steps instead of 500,000. The encoder's rate rises slowly: until the decoder reads the codes, the rate term
# alone drives the encoder, and Adam follows it at full speed however small its weight.
SPRITES_BCD_TRAINING = BCDTraining(
    data="sheets",
    batch=32,
    optimiser=OptimiserConfig(ema_decay=0.999),
    lr_decoder=1e-3,
    lr_encoder=1e-4,
    warmup_encoder=500,
    temperature_max=2.0,
    temperature_min=0.5,
    temperature_decay=0.9995,
)

PRESETS = {
    "lrs3": (LRS3, LRS3_TRAINING),
    "sprites": (SPRITES, SPRITES_TRAINING),
    "sprites-bcd": (SPRITES_BCD, SPRITES_BCD_TRAINING),
}
