"""The rate-distortion objective (section 3.4, equations 6-8) with the terms that keep it from collapsing."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from bcdcodec.config import ModelConfig
from bcdcodec.models.dit import Condition
from bcdcodec.models.edm import loss_weight, training_sigmas
from bcdcodec.models.group_vq import temperature_at
from bcdcodec.models.heads.residual_basis import Portrait
from bcdcodec.models.joint import BCD, coarse_warp_error
from bcdcodec.training.data.batches import Batch

TAUGHT_WEIGHT = 0.5  # of the cross entropy (nats a group) of codes that are given
CHOICE_LAMBDA = 0.0002  # squared error (pixels of unit deviation) that a bit is worth in the choice of codes: a dozen pixels are 0.004
COLOUR_LEVELS = 12  # a channel: of six, two shades of a skin are one
FLOW_EPS = 0.01  # half a picture: below, the flow's error counts by its square


@dataclass(frozen=True)
class Schedule:
    """Where a run stands."""

    step: int
    progress: float  # 0..1

    def adversarial(self, config: ModelConfig) -> bool:
        """Whether the painter alone learns, judged by an adversary."""
        return bool(config.training.adversarial_weight) and self.progress >= config.training.adversarial_from

    def temporal(self, config: ModelConfig) -> bool:
        return self.progress >= config.training.temporal_from


@dataclass(frozen=True)
class Losses:
    """Terms of one step; `total` is what is minimised."""

    total: Tensor
    distortion: Tensor  # L_d, weighted by 1 / sigma_data^2 as in EDM
    H_model: Tensor  # soft bits a frame, equation 5
    mutual_information: Tensor  # bits a frame
    mse_at_max: Tensor  # plain mean squared error of the samples at sigma_max, pictures in [-1, 1]
    codes: Tensor  # [b, t, g] of the driving frames
    flow_error: Tensor  # mean distance from the true flow of procedural heads, 1 is half a picture
    condition: Condition
    painted: Tensor  # [b, t, c, h, w] the estimate
    still: Tensor | None  # [b, c, h, w] the content picture


class PaletteReader(torch.nn.Module):
    """A linear map from content tokens to the clip's colours; it is not part of the model.

    Colours of few pixels (skin, trousers) matter little to the squared error and are learned late without it.
    """

    def __init__(self, values: int):
        super().__init__()
        self.linear = torch.nn.Linear(values, COLOUR_LEVELS**3)

    def error(self, tokens: Tensor, pictures: Tensor) -> Tensor:
        """Mean squared error of the roots of a colour histogram, of unit deviation; pictures [b, t, 3, h, w] in [-1, 1]."""
        root = _colours(pictures)[1].sqrt()
        spread = root.std(0, unbiased=False)
        there = spread > 0.5  # colours that some clips have and others lack
        if not there.any():
            return tokens.new_zeros(())
        target = (root - root.mean(0))[:, there] / spread[there]
        return F.mse_loss(self.linear(tokens.flatten(1))[:, there], target)


def rate_distortion(model: BCD, reader: PaletteReader | None, batch: Batch, schedule: Schedule) -> Losses:
    """L = L_d + lambda (H_model - H_target)^2 and the preset's auxiliary terms, of one batch."""
    config, training = model.config, model.config.training
    b, t = batch.target.shape[:2]
    tc = batch.content.shape[1]
    reference = int(torch.randint(tc, ()))
    content, m_content = model.encode(batch.content, reference)
    step_index = torch.randint(0, config.content.steps // 2 + 1, (b,), device=content.device)
    tokens = model.content(content, step_index)
    portrait = model.portrait(tokens, m_content[:, reference])
    m_driving = model.encode_motion(batch.driving)
    if model.flow_basis is not None:
        m_driving = _aligned(model, batch, m_driving, portrait)
    m_hat, logits, rate = model.vq(
        torch.cat([m_content, m_driving], 1), temperature_at(config.quantiser, schedule.step)
    )
    codes = logits[:, tc:].argmax(-1).detach()
    if batch.codes is not None:  # the decoder learns them before the encoder knows them
        codes = batch.codes
        m_hat = torch.cat([m_hat[:, :tc], model.vq.lookup(codes)], 1)

    keep = (
        (torch.rand(b, device=content.device) >= config.decoder.mask_rate).float() if config.decoder.mask_rate else None
    )
    mask = training.content_mask_rate
    keep_content = (torch.rand(b, device=content.device) >= mask).float() if mask else None
    condition = Condition(
        tokens,
        m_hat[:, tc:],
        m_hat[:, reference] if config.content.reference_motion else None,
        keep,
        keep_content,
        torch.arange(b, device=content.device).lt(len(batch.own)).float(),
        portrait,
    )

    sigma = training_sigmas(b, config.diffusion).to(content.device)
    expand = (slice(None), None, None, None, None)
    noisy = batch.target + sigma[expand] * torch.randn_like(batch.target)
    denoised = model.denoise(noisy, sigma, condition, schedule.temporal(config), painted=schedule.adversarial(config))

    weight = loss_weight(sigma, config.diffusion.sigma_data)  # [b]
    where = _emphasis(batch.target, training.motion_emphasis)  # [b, t, 1, h, w]
    if len(batch.flow) and training.motion_emphasis:
        where = _at_features(where, batch.flow[:, :, reference, 3:])
    if training.rare_colours:
        where = where * rarity(batch.target * config.latent.deviation + config.latent.mean, training.rare_colours)
    squared = (denoised.latents - batch.target).square()
    distortion = (weight * (where * _robust(squared, training.huber)).mean(dim=(1, 2, 3, 4))).mean()
    total = distortion
    if training.gradient_weight:
        total = (
            total + training.gradient_weight * (weight * _gradient_error(denoised.latents, batch.target, where)).mean()
        )
    warp_learns = denoised.flow is not None and not schedule.adversarial(config)
    if training.warp_weight and warp_learns:
        scale = config.diffusion.sigma_data**-2
        fine = (where * _robust((denoised.warped - batch.target).square(), training.huber)).mean()
        coarse = coarse_warp_error(denoised.still, denoised.flow, batch.target)
        total = total + training.warp_weight * scale * (fine + coarse)
    flow_error = total.new_zeros(())
    if training.flow_weight and warp_learns and len(batch.flow):
        flow_error = _flow_error(denoised.flow[: len(batch.flow)], batch.flow[:, :, reference])
        total = total + training.flow_weight * flow_error
    if batch.codes is None:
        total = total + training.rate_weight * (rate.H_model - config.quantiser.target_bits).square()  # equation 7
        total = total + training.conditional_entropy_weight * rate.H_conditional / config.quantiser.groups
    else:  # of clips chosen by their codes, whose histogram is not that of the data
        total = total + TAUGHT_WEIGHT * F.cross_entropy(logits[:, tc:].flatten(0, 2), codes.flatten())
    if training.content_weight:
        total = total + training.content_weight * model.content.bits(content, step_index).mean()
    if reader is not None:
        latent = config.latent
        pictures = torch.cat([batch.content, batch.target], 1) * latent.deviation + latent.mean
        total = total + training.palette_weight * reader.error(tokens, pictures)
    at_max = sigma >= config.diffusion.sigma_max
    if keep_content is not None:
        at_max = at_max & (keep_content > 0)
    mse = config.latent.deviation**2 * squared.detach().mean(dim=(1, 2, 3, 4))
    mse = mse[at_max].mean() if at_max.any() else mse.new_tensor(float("nan"))
    return Losses(
        total,
        distortion.detach(),
        rate.H_model.detach(),
        rate.mutual_information.detach(),
        mse,
        codes,
        flow_error.detach(),
        condition,
        denoised.latents,
        denoised.still,
    )


@torch.no_grad()
def _aligned(model: BCD, batch: Batch, m_driving: Tensor, portrait: Portrait) -> Tensor:
    """Motion [b, t, m] as files hold it: that of the driving person's still, and what alignment with it finds.

    `m_driving` [b, t, m] is the encoder's, `portrait` what the contents show. Clips without true flow drive themselves; of
    procedural heads another picture of the driving person is the still.
    """
    k = len(batch.own)
    parts = []
    if k:
        own = Portrait(batch.own, model.encode_motion(batch.own[:, None])[:, 0])
        parts.append(model.aligned_motion(batch.driving[:k], m_driving[:k], own)[0])
    if k < len(portrait.still):
        shown = Portrait(portrait.still[k:], model.vq.quantise(portrait.motion[k:, None])[:, 0])
        parts.append(model.aligned_motion(batch.target[k:], m_driving[k:], shown)[0])
    return torch.cat(parts)


def swap_consistency(model: BCD, frozen: BCD, losses: Losses, clips: slice, temporal: bool) -> Tensor:
    """Cross entropy (nats a group) of the codes read back from a one-step decode with another clip's content,
    with the preset's weights the same read by the learning encoder, which thereby learns that looks are no motion,
    and the error of that content read back, over its variance.

    `frozen` is a copy of the model whose weights do not learn: it reads the decoded pictures. What is
    constant within a clip but is motion then cannot hide in the content.
    """
    config = model.config
    c = losses.condition
    codes = losses.codes[clips]
    roll = lambda x: x[clips].roll(1, dims=0)  # noqa: E731
    content = roll(c.content).detach()
    swapped = Condition(
        content,
        model.vq.lookup(codes),
        None if c.reference_motion is None else roll(c.reference_motion).detach(),
        foreign=torch.ones(len(content), device=content.device),
    )
    b, t = codes.shape[:2]
    shape = (b, t, config.latent.channels, config.latent.size, config.latent.size)
    sigma = torch.full((b,), config.diffusion.sigma_max, device=codes.device)
    noisy = config.diffusion.sigma_max * torch.randn(shape, device=codes.device)
    pictures = model.denoise(noisy, sigma, swapped, temporal).latents
    m = frozen.encode_motion(pictures)
    logits = -config.quantiser.alpha * frozen.vq.distances(frozen.vq.features(m))
    total = F.cross_entropy(logits.flatten(0, 2), codes.flatten())
    weight = config.training.swap_motion_weight
    if weight:  # the same motion with other looks is the same code: the frequent one of two that mean the same wins
        features = frozen.vq.features(model.encode_motion(pictures.detach()))
        logits = -config.quantiser.alpha * model.vq.distances(features)
        total = total + weight * F.cross_entropy(logits.flatten(0, 2), codes.flatten())
    weight = config.training.swap_content_weight
    if weight:
        read, _ = frozen.encode(pictures)
        total = total + weight * (read - content).square().mean() / content.var(dim=0).mean().clamp_min(1e-3)
    return total


def code_choice(
    model: BCD, frozen: BCD, losses: Losses, batch: Batch, log2_p: Tensor, frames: int, candidates: int
) -> Tensor:
    """Cross entropy (nats) of the encoder's codes to those of least error and bits when decoded in one step.

    The decoder has each clip's own content, so the code it does best with is the one of the motion, whatever
    the encoder has filed under looks. Of some driving frames, one a clip, the `candidates` nearest codes are
    tried by the `frozen` copy. `log2_p` [1, k] prices them: of two codes of the same motion the frequent one wins,
    and the other becomes free for motions that share a code. For models of a single group.
    """
    config = model.config
    features = frozen.vq.features(model.encode_motion(batch.driving[:frames, :1]))  # [b, 1, g, d]
    logits = -config.quantiser.alpha * model.vq.distances(features)[:, 0, 0]  # [b, k]
    with torch.no_grad():
        tried = logits.topk(candidates, dim=-1).indices  # [b, candidates], which take the place of the frames
        c = losses.condition
        reference = None if c.reference_motion is None else c.reference_motion[:frames]
        condition = Condition(c.content[:frames], frozen.vq.lookup(tried[..., None]), reference)
        b = len(tried)
        sigma = torch.full((b,), config.diffusion.sigma_max, device=tried.device)
        noise = torch.randn_like(batch.target[:frames, :1]).expand(-1, candidates, -1, -1, -1)
        pictures = frozen.denoise(config.diffusion.sigma_max * noise, sigma, condition, temporal=False).latents
        error = (pictures - batch.target[:frames, :1]).square().mean(dim=(2, 3, 4))  # [b, candidates]
        error = error - CHOICE_LAMBDA * log2_p[0, tried]
        best = tried.gather(1, error.argmin(1, keepdim=True))[:, 0]
    return F.cross_entropy(logits, best)


def _robust(squared: Tensor, huber: float) -> Tensor:
    """Squared errors, growing only linearly beyond the error `huber`: a few misplaced pixels do not call for blur."""
    if not huber:
        return squared
    return 2 * huber * ((squared + huber**2).sqrt() - huber)


def _emphasis(target: Tensor, strength: float) -> Tensor:
    """Weights of mean 1 that are larger where a clip moves: [b, t, 1, h, w]."""
    if not strength:
        return target.new_ones(())
    moving = (target - target.mean(1, keepdim=True)).abs().mean(2, keepdim=True)
    moving = F.avg_pool2d(moving.flatten(0, 1), 5, 1, 2).view_as(moving)
    weight = 1 + strength * (moving / (moving.mean(dim=(1, 2, 3, 4), keepdim=True) + 0.02)).clamp(max=4)
    return weight / weight.mean(dim=(1, 2, 3, 4), keepdim=True)


def _colours(pictures: Tensor) -> tuple[Tensor, Tensor]:
    """Coarse colours [b, t * h * w] of pictures [b, t, 3, h, w] in [-1, 1], and how many pixels of a clip have each, [b, colours]."""
    level = ((pictures + 1) * (COLOUR_LEVELS / 2)).long().clamp(0, COLOUR_LEVELS - 1)
    colours = ((level[:, :, 0] * COLOUR_LEVELS + level[:, :, 1]) * COLOUR_LEVELS + level[:, :, 2]).flatten(1)
    count = torch.zeros(len(colours), COLOUR_LEVELS**3, device=colours.device)
    return colours, count.scatter_add_(1, colours, torch.ones_like(colours, dtype=count.dtype))


def rarity(pictures: Tensor, exponent: float) -> Tensor:
    """Weights of mean 1 that fall with the share of a clip's pixels that have a pixel's colour: [b, t, 1, h, w].

    pictures [b, t, 3, h, w] in [-1, 1]. Trousers of which a robe shows few pixels are else painted as the mean of two.
    """
    colours, count = _colours(pictures)
    weight = count.gather(1, colours).pow(-exponent)
    weight = weight / weight.mean(1, keepdim=True)
    return weight.unflatten(1, (pictures.shape[1], 1, *pictures.shape[3:]))


def _at_features(where: Tensor, importance: Tensor) -> Tensor:
    """Weights `where` [b, t, 1, h, w] times those of eyes and mouth of the first clips, [pairs, t, 1, gh, gw]; mean kept."""
    k, t = importance.shape[:2]
    fine = F.interpolate(importance.flatten(0, 1), size=where.shape[-2:], mode="bilinear").unflatten(0, (k, t))
    first = where[:k] * fine
    return torch.cat([first / first.mean(dim=(1, 2, 3, 4), keepdim=True), where[k:]])


def _flow_error(flow: Tensor, truth: Tensor) -> Tensor:
    """Mean distance of flow [b, t, 2, gh, gw] from the true flow [b, t, 4, h, w] where that is known, []."""
    truth = F.interpolate(truth.flatten(0, 1), size=flow.shape[-2:], mode="bilinear")
    error = ((flow.flatten(0, 1) - truth[:, :2]).square().sum(1) + FLOW_EPS**2).sqrt() - FLOW_EPS  # [b * t, gh, gw]
    weight = truth[:, 2] * truth[:, 3]
    return (weight * error).sum() / weight.sum().clamp_min(1.0)


def _gradient_error(x: Tensor, y: Tensor, where: Tensor) -> Tensor:
    """Mean absolute error of neighbouring pixels' differences, [b]: rewards edges that a squared error blurs."""
    d = x - y
    where = where.expand(*d.shape[:2], 1, *d.shape[3:]) if where.ndim else where.expand_as(d)
    vertical = (d[..., 1:, :] - d[..., :-1, :]).abs() * where[..., 1:, :]
    horizontal = (d[..., 1:] - d[..., :-1]).abs() * where[..., 1:]
    return 0.1 * (vertical.mean(dim=(1, 2, 3, 4)) + horizontal.mean(dim=(1, 2, 3, 4)))
