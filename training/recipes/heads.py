"""The recipe of the `heads` model: reference image, motion and codes are fitted first, then the decoder learns."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bcdcodec import presets
from bcdcodec.model_folder import ModelFolder
from bcdcodec.models.edm import loss_weight, training_sigmas
from bcdcodec.models.group_vq import temperature_at
from bcdcodec.models.heads.config import HeadsConfig
from bcdcodec.models.heads.model import HeadsModel
from bcdcodec.models.heads.reference import HeadsReference
from bcdcodec.models.latents import open_latents
from bcdcodec.training.checkpoint import take_weights
from bcdcodec.training.data.batches import Batch, BatchSampler, ClipBatches, to_pictures
from bcdcodec.training.data.run_data import load_data, load_large
from bcdcodec.training.discriminator import Discriminator, balanced
from bcdcodec.training.evaluate import Evaluation, evaluate
from bcdcodec.training.losses import coarse_warp_error, flow_error, gradient_error, motion_emphasis, robust
from bcdcodec.training.pretrain_motion import MotionPairs, fit_codes, fit_flow_basis, fit_shared_basis, pretrain_motion
from bcdcodec.training.pretrain_reference import pretrain_denoiser, pretrain_super_resolution
from bcdcodec.training.trainer import Losses, OptimiserConfig, Trainer, warmup_cosine

TRANSFORM_FRAMES = 1500  # to which the patch transform is fitted
DENOISER_BATCH = 16  # pictures, of the steps on the denoiser alone
LARGE_BATCH = 8  # pictures at full size
MOTION_BATCH = 32  # pairs of pictures, of the steps on motion alone
AGAIN_FROM = 0.5  # share of the recipe after which a run from a model begins: at half of the learning rate
ADVERSARIAL_LR = 0.25  # of refiner and discriminator, to the end


@dataclass(frozen=True, kw_only=True)
class HeadsTraining:
    """The training of a `heads` model."""

    batches: ClipBatches
    optimiser: OptimiserConfig
    lr: float = 8e-4  # peak
    huber: float = 0.1  # error from which the distortion grows linearly (pictures in [-1, 1])
    gradient_weight: float = 1.0  # on differences of neighbouring pixels
    motion_emphasis: float = 2.0  # extra weight where the clip moves
    warp_weight: float = 1.0  # on the warped reference image, from which alone the flow learns
    flow_weight: float = 20.0  # on the distance to the true flow of procedural heads (1 is half a picture)
    adversarial_weight: float = 0.8  # of the refiner's loss against the discriminator, over the gradient of all else
    adversarial_from: float = 0.8  # share of the run after which the refiner alone learns, that too
    temporal_from: float = 0.6  # share of the run after which temporal blocks act (stage 2)
    swap_weight: float = 0.0  # on reading the codes back from decodes with another clip's content
    swap_from: float = 0.7  # share of the run after which that acts
    swap_every: int = 4  # steps
    # Before the first step:
    denoiser_steps: int = 2000  # of the denoiser alone
    super_resolution_steps: int = 1500  # of the super-resolution network alone
    flow_pairs: int = 2400  # pairs of frames from whose flow fields the basis is fitted
    motion_steps: int = 6000  # of the encoder on motion alone


class HeadsRecipe:
    """L_d of section 3.4 for the decoder, with the terms that its parts learn by; encoder and codes rest meanwhile."""

    def __init__(self, config: HeadsConfig, training: HeadsTraining):
        self.config, self.training = config, training
        self.helpers: dict[str, nn.Module] = {}

    def open(self, run: Trainer) -> None:
        size, length = self.config.latent.size, self.config.window.length
        batches = self.training.batches
        self.clips, self.held_out, pairs, self.held_out_pairs = load_data(batches, size, length, run.options)
        self.sampler = BatchSampler(batches, self.clips, pairs, run.options.seed)

    def build_helpers(self, run: Trainer) -> None:
        self.helpers["discriminator"] = Discriminator(self.config.latent.channels).to(run.device)

    def parameter_groups(self, run: Trainer) -> list[dict]:
        parts = {"decoder": run.model.decoder, "refiner": run.model.refiner} | self.helpers
        return [
            {"params": list(module.parameters()), "peak": self.training.lr, "part": part}
            for part, module in parts.items()
        ]

    # ---- before the first step

    def prepare(self, run: Trainer) -> None:
        """Fit or teach the parts in this order: each builds on what those before it give."""
        model, c, seed = run.model, self.training, run.options.seed
        rng = np.random.default_rng(seed)
        clips = rng.integers(0, len(self.clips.lengths), TRANSFORM_FRAMES)
        frames = np.stack([self.clips.clip(i)[rng.integers(0, self.clips.lengths[i])] for i in clips])
        pictures = to_pictures(frames).to(run.device)
        model.transform.fit(torch.cat([pictures, pictures.flip(-1)]))
        model.train()
        pretrain_denoiser(model, self.sampler, run.encode, c.denoiser_steps, DENOISER_BATCH, seed, run.device, run.note)
        self._pretrain_super_resolution(run)
        fit_flow_basis(model.flow_basis, self.sampler, c.flow_pairs, seed, run.note)
        pairs = MotionPairs(model, self.sampler, 2 * c.flow_pairs, seed)
        decay = c.optimiser.weight_decay
        pretrain_motion(model, pairs, run.encode, c.motion_steps, MOTION_BATCH, decay, run.device, run.note)
        fit_shared_basis(model, self.sampler, run.encode, seed)
        fit_codes(model, pairs, run.encode, seed, run.note)

    def begin_from(self, run: Trainer, folder: ModelFolder) -> float:
        """At half of the recipe, or, if the model lacks a part that learns late, where the refiner learns."""
        missing = take_weights(run.model, folder, self.config.name, ("refiner", "super_resolution"))
        if "super_resolution" in missing:
            self._pretrain_super_resolution(run)
        return self.training.adversarial_from if missing else AGAIN_FROM

    def _pretrain_super_resolution(self, run: Trainer) -> None:
        if run.model.super_resolution is None:
            return
        latents = open_latents(self.config.latent, run.device)
        clips = load_large(self.config.latent.picture_size, run.options)
        steps, seed = self.training.super_resolution_steps, run.options.seed
        pretrain_super_resolution(run.model, clips, latents, steps, LARGE_BATCH, seed, run.device, run.note)

    # ---- a step

    def batch(self, run: Trainer) -> Batch:
        batch = self.sampler.batch(run.step, run.progress, self._temporal(run))
        content, driving, target = (run.encode(x) for x in (batch.content, batch.driving, batch.target))
        own = run.encode(batch.own[:, None])[:, 0] if len(batch.own) else batch.own
        return Batch(content, driving, target, batch.flow.to(run.device), own)

    def learning_rate(self, run: Trainer, part: str) -> float:
        return ADVERSARIAL_LR if self._adversarial(run) else warmup_cosine(run)

    def losses(self, run: Trainer, batch: Batch) -> Losses:
        self._choose_learning(run)
        terms, estimate, reference = decoder_losses(
            run.model, batch, self.training, run.step, self._temporal(run), self._adversarial(run)
        )
        total = terms.total
        c = self.training
        if c.swap_weight and run.progress >= c.swap_from and run.step % c.swap_every == 0:
            few = slice(len(batch.target) // 3, len(batch.target))
            read = swap_consistency(run.model, run.ema.eval(), reference, terms.codes, few, self._temporal(run))
            total = total + c.swap_weight * read
        if self._adversarial(run):
            discriminator = self.helpers["discriminator"]
            image = reference.image.detach()[:, None].expand_as(batch.target)
            seen = [x.flatten(0, 1) for x in (estimate, batch.target, image)]
            loss_g = discriminator.loss_g(*seen)
            factor = balanced(terms.total, loss_g, run.model.refiner.unet.draw.weight)
            total = total + (c.adversarial_weight * factor * loss_g + discriminator.loss_d(*seen))
        return replace(terms, total=total)

    def _choose_learning(self, run: Trainer) -> None:
        """What was taught before the first step rests: errors of a decoder that learns yet would undo it."""
        model = run.model.train()
        for part in (model.encoder, model.vq, model.denoiser):
            part.eval().requires_grad_(False)
        if self._adversarial(run):  # all that the refiner sees rests while it learns what true pictures are like
            model.eval().requires_grad_(False)
            model.refiner.train().requires_grad_(True)

    def after_step(self, run: Trainer, progress: float) -> None:
        """Nothing."""

    def _temporal(self, run: Trainer) -> bool:
        return run.progress >= self.training.temporal_from

    def _adversarial(self, run: Trainer) -> bool:
        return run.progress >= self.training.adversarial_from

    # ---- measures and state

    def evaluate(self, run: Trainer, log2_p: Tensor) -> tuple[Evaluation, np.ndarray]:
        return evaluate(run.ema, run.latents, self.held_out, self.held_out_pairs, log2_p, self._temporal(run))

    def state(self) -> dict:
        return {}

    def load_state(self, state: dict, device: str) -> None:
        """Nothing."""


def decoder_losses(
    model: HeadsModel, batch: Batch, c: HeadsTraining, step: int, temporal: bool, refined: bool
) -> tuple[Losses, Tensor, HeadsReference]:
    """Losses of decoder and flow, or, if `refined`, of the refiner; the estimate [b, t, c, h, w]; the reference."""
    config = model.config
    b, tc = batch.content.shape[:2]
    own = int(torch.randint(tc, ()))  # the reference frame
    content, m_content = model.encode(batch.content, own)
    step_index = torch.randint(0, config.content.steps // 2 + 1, (b,), device=content.device)
    tokens = model.content_quantiser(content, step_index)
    reference = model.reference(tokens, m_content[:, own])
    m_driving = refined_motion(model, batch, reference)
    m_hat, logits, rate = model.vq(torch.cat([m_content, m_driving], 1), temperature_at(config.quantiser, step))
    cross_identity = torch.arange(b, device=content.device).lt(len(batch.own)).float()
    reference = replace(reference, motion=m_hat[:, own], cross_identity=cross_identity)

    sigma = training_sigmas(b, config.diffusion).to(content.device)
    noisy = batch.target + sigma[:, None, None, None, None] * torch.randn_like(batch.target)
    denoised = model.denoise(noisy, sigma, reference, m_hat[:, tc:], temporal, refined)

    weight = loss_weight(sigma, config.diffusion.sigma_data)  # [b]
    where = motion_emphasis(batch.target, c.motion_emphasis)  # [b, t, 1, h, w]
    pairs = len(batch.flow)
    if pairs:
        where = at_features(where, batch.flow[:, :, own, 3:])
    squared = (denoised.latents - batch.target).square()
    distortion = (weight * (where * robust(squared, c.huber)).mean(dim=(1, 2, 3, 4))).mean()
    total = distortion + c.gradient_weight * (weight * gradient_error(denoised.latents, batch.target, where)).mean()
    missed = total.new_zeros(())
    if not refined:
        fine = (where * robust((denoised.warped - batch.target).square(), c.huber)).mean()
        coarse = coarse_warp_error(reference.image, denoised.flow, batch.target)
        total = total + c.warp_weight * config.diffusion.sigma_data**-2 * (fine + coarse)
        if pairs:
            missed = flow_error(denoised.flow[:pairs], batch.flow[:, :, own])
            total = total + c.flow_weight * missed
    at_max = sigma >= config.diffusion.sigma_max
    mse = config.latent.deviation**2 * squared.detach().mean(dim=(1, 2, 3, 4))
    mse = mse[at_max].mean() if at_max.any() else mse.new_tensor(float("nan"))
    codes = logits[:, tc:].argmax(-1).detach()
    more = {"flow_error": round(missed.item(), 4)}
    return Losses(total, distortion.detach(), rate.detach(), mse, codes, more), denoised.latents, reference


@torch.no_grad()
def refined_motion(model: HeadsModel, batch: Batch, reference: HeadsReference) -> Tensor:
    """Motion [b, t, m] as files hold it: that of the driving person's reference, and what alignment with it finds.

    `reference`: that of the contents. Clips without true flow drive themselves; for procedural heads another picture of
    the driving person is the reference.
    """
    k, parts = len(batch.own), []
    m_driving = model.motion(batch.driving)
    if k:
        own = HeadsReference(reference.tokens[:k], model.motion(batch.own[:, None])[:, 0], batch.own)
        parts.append(model.refine(batch.driving[:k], m_driving[:k], own)[0])
    if k < len(reference.image):
        quantised = model.vq.quantise(reference.motion[k:, None])[:, 0]
        rest = HeadsReference(reference.tokens[k:], quantised, reference.image[k:])
        parts.append(model.refine(batch.target[k:], m_driving[k:], rest)[0])
    return torch.cat(parts)


def at_features(where: Tensor, importance: Tensor) -> Tensor:
    """Weights `where` [b, t, 1, h, w] times the first clips' of eyes and mouth, [pairs, t, 1, gh, gw]; mean kept."""
    k, t = importance.shape[:2]
    fine = F.interpolate(importance.flatten(0, 1), size=where.shape[-2:], mode="bilinear").unflatten(0, (k, t))
    first = where[:k] * fine
    return torch.cat([first / first.mean(dim=(1, 2, 3, 4), keepdim=True), where[k:]])


def swap_consistency(
    model: HeadsModel, ema: HeadsModel, reference: HeadsReference, codes: Tensor, clips: slice, temporal: bool
) -> Tensor:
    """Cross entropy (nats a group) of the codes that `ema` reads from one-step decodes with another clip's content."""
    config, codes = model.config, codes[clips]
    roll = lambda x: x[clips].roll(1, dims=0).detach()  # noqa: E731
    b, t = codes.shape[:2]
    swapped = model.reference(roll(reference.tokens), roll(reference.motion))
    swapped = replace(swapped, cross_identity=torch.ones(b, device=codes.device))
    largest, latent = config.diffusion.sigma_max, config.latent
    noise = torch.randn((b, t, latent.channels, latent.size, latent.size), device=codes.device)
    sigma = torch.full((b,), largest, device=codes.device)
    pictures = model.denoise(largest * noise, sigma, swapped, model.vq.lookup(codes), temporal).latents
    features = ema.vq.features(ema.motion(pictures))
    logits = -config.quantiser.alpha * ema.vq.distances(features)
    return F.cross_entropy(logits.flatten(0, 2), codes.flatten())


HEADS = HeadsTraining(
    batches=ClipBatches(batch=8, frames=8), optimiser=OptimiserConfig(warmup_steps=50, ema_decay=0.998)
)
# For tests and for a first look at the format.
TINY = replace(
    HEADS,
    batches=ClipBatches(batch=4, frames=4),
    denoiser_steps=5,
    super_resolution_steps=5,
    motion_steps=5,
    flow_pairs=48,
    swap_weight=0.02,
    swap_from=0.5,
)
PRESETS = {"heads": (presets.HEADS, HEADS), "tiny": (presets.TINY, TINY)}
