"""Held-out measures of a model in training: hard-coded bits, PSNR on unseen people, exact cross-driven PSNR."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from bcdcodec.models.heads.model import HeadsModel
from bcdcodec.models.heads.reference import HeadsReference
from bcdcodec.models.latents import Latents
from bcdcodec.training.data.batches import to_pictures
from bcdcodec.training.data.clips import ClipStore
from bcdcodec.training.data.procedural_pairs import PairStore


@dataclass(frozen=True)
class Evaluation:
    """All in hard codes, one sampling step, EMA weights."""

    psnr_self: float  # dB, held-out clips, content of the first half, motion of the second
    psnr_still: float  # dB, the content picture alone against the same frames
    psnr_moving: float  # dB on the quarter of the pixels that move most
    psnr_cross: float  # dB, procedural people: B in A's motion against the rendered truth
    psnr_cross_still: float  # dB, B's still against that truth
    psnr_cross_own: float  # dB, A's own pictures against that truth
    hard_bits: float  # bits a frame of the codes under tables fitted on training codes
    mutual_information: float  # bits a frame, H(mean mu) - mean H(mu), soft
    codes_used: float  # codes a group that occur on the held-out clips


@torch.no_grad()
def evaluate(
    model: HeadsModel,
    latents: Latents,
    clips: ClipStore,
    pairs: PairStore | None,
    log2_p: Tensor,
    temporal: bool,
    most_clips: int = 24,
) -> tuple[Evaluation, np.ndarray]:
    """Measures and a picture uint8 [h, w, 3]: rows of content still, truth and decoded frames.

    `log2_p` [g, k]: code probabilities measured on training clips, on the model's device.
    """
    model.eval()
    config = model.config
    t = config.window.length
    size = config.latent.size
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(1, 1, config.latent.channels, size, size, generator=generator).to(log2_p.device)
    mse, mse_still, mse_moving, bits, information = [], [], [], [], []
    used: list[Tensor] = []
    rows: list[Tensor] = []
    usable = np.flatnonzero(clips.lengths >= 2 * t)
    if not len(usable):  # shorter clips than two windows are better than none
        usable = np.flatnonzero(clips.lengths >= 2)
    for count, index in enumerate(usable[:: max(1, len(usable) // most_clips)]):
        frames = to_pictures(clips.clip(index))
        half = len(frames) // 2
        content, target = frames[[0, half // 2]][None], frames[half :: max(1, half // t)][None, :t]
        still, decoded, codes, rate = _transfer(model, latents, content, target, noise, temporal)
        mse.append((decoded - target).square().mean().item())
        mse_still.append((still[:, None] - target).square().mean().item())
        motion = (target - target.mean(1, keepdim=True)).abs().mean(2, keepdim=True)
        moving = (motion >= torch.quantile(motion.flatten(), 0.75)).float()
        mse_moving.append(
            ((decoded - target).square().mean(2, keepdim=True) * moving).sum().item() / moving.sum().item()
        )
        g = torch.arange(config.quantiser.groups)
        bits.append(-log2_p.cpu()[g, codes.cpu()].sum(-1).mean().item())
        information.append(rate.mutual_information.item())
        used.append(codes.flatten(0, 1).cpu())
        if count < 6:
            pick = [0, target.shape[1] // 3, 2 * target.shape[1] // 3]
            rows.append(torch.cat([still[0]] + [target[0, i] for i in pick] + [decoded[0, i] for i in pick], dim=2))
    cross = ([], [], [])
    if pairs is not None:
        for group in range(min(len(pairs.driven), 12)):
            a, b = to_pictures(pairs.driven[group, 0, :t])[None], to_pictures(pairs.driven[group, 1, :t])[None]
            content = to_pictures(pairs.content[group, 1])[None]
            own = to_pictures(pairs.content[group, 0, :1])[None]
            still, decoded, _, _ = _transfer(model, latents, content, a, noise, temporal, own)
            for store, picture in zip(cross, (decoded, still[:, None].expand_as(b), a)):
                store.append((picture.clamp(-1, 1) - b).square().mean().item())
            if group < 3:
                pick = [0, t // 3, 2 * t // 3]
                rows.append(torch.cat([still[0]] + [b[0, i] for i in pick] + [decoded[0, i] for i in pick], dim=2))
    distinct = [len(codes.unique()) for codes in torch.cat(used).unbind(1)] if used else []
    mean = lambda values: float(np.mean(values)) if len(values) else float("nan")  # noqa: E731
    db = lambda values: mean(10 * np.log10(4 / np.array(values)))  # noqa: E731
    rows = rows or [torch.zeros(3, size, size)]
    picture = ((torch.cat(rows, dim=1).clamp(-1, 1) + 1) * 127.5).round().byte().movedim(0, -1).cpu().numpy()
    return Evaluation(
        db(mse),
        db(mse_still),
        db(mse_moving),
        db(cross[0]),
        db(cross[1]),
        db(cross[2]),
        mean(bits),
        mean(information),
        mean(distinct),
    ), picture


def _transfer(
    model: HeadsModel,
    latents: Latents,
    content: Tensor,
    driving: Tensor,
    noise: Tensor,
    temporal: bool,
    own: Tensor | None = None,
):
    """Still [b, c, h, w], one-step decode [b, t, c, h, w], hard codes [b, t, g] and rate terms of the driving frames.

    `own` [b, 1, c, h, w]: a picture of the driving person, where that is not the content's.
    """
    config = model.config
    content, driving = (
        latents.encode(x.to(noise.device).flatten(0, 1)).unflatten(0, x.shape[:2]) for x in (content, driving)
    )
    tokens, m_content = model.encode(content, 0)
    index = config.content.default_step
    tokens = model.content_quantiser.dequantise(model.content_quantiser.quantise(tokens, index), index)
    driver = reference = model.reference(tokens, model.vq.quantise(m_content[:, :1])[:, 0])
    if own is not None:
        picture = latents.encode(own.to(noise.device).flatten(0, 1))
        driver = HeadsReference(tokens, model.vq.quantise(model.motion(picture[:, None]))[:, 0], picture)
        reference = replace(reference, cross_identity=torch.ones(len(tokens), device=noise.device))
    m, hessian, _ = model.refine(driving, model.motion(driving), driver)
    codes = model.vq.encode(m, hessian=hessian)
    _, _, rate = model.vq(m, config.quantiser.temperature_min)
    b, t = driving.shape[:2]
    sigma = torch.full((b,), config.diffusion.sigma_max, device=noise.device)
    x = config.diffusion.sigma_max * noise.expand(b, t, -1, -1, -1)
    decoded = model.denoise(x, sigma, reference, model.vq.lookup(codes), temporal).latents
    decoded = latents.decode(decoded.flatten(0, 1)).unflatten(0, (b, t)).clamp(-1, 1).cpu()
    return latents.decode(reference.image).cpu(), decoded, codes, rate
