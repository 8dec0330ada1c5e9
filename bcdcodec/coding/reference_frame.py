"""The reference frame of a clip, and the content tokens: its image and the residual basis of the clip."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from bcdcodec.models.base import VideoModel
from bcdcodec.models.heads.alignment import QUICK, align
from bcdcodec.models.latents import Latents, to_unit
from bcdcodec.models.warp import warp

CANDIDATES = 8  # frames, from the mean motion outwards ...
OUTERMOST = 0.8  # ... to this share of all
PROBES = 12  # frames that each of them is aligned with
EMPHASIS = 10.0  # extra weight of errors at mouth and eyes
BASIS_FRAMES = 40  # evenly spread, to which the residual basis is fitted


@torch.inference_mode()
def content_tokens(
    model: VideoModel, latents: Latents, pictures: np.ndarray, m: Tensor, device: str, fit: np.ndarray | None = None
) -> tuple[Tensor, Tensor]:
    """Content tokens [1, n, channels] of a clip uint8 [t, h, w, 3] with motion `m` [t, m].

    And the motion [1, m] of the reference frame. `fit`: bool [t], frames that they may be made of; None: all.
    """
    config = model.config
    if fit is not None and not fit.all():
        pictures, m = pictures[fit], m[torch.from_numpy(fit).to(m.device)]
    order = model.vq.from_middle(m)
    count = min(config.training.content_frames, len(pictures))
    picked = order[torch.linspace(0, len(order) - 1, count).long()].cpu().numpy()
    picked[0] = reference_frame(model, latents, pictures, m, order, device)
    z = latents.encode(to_unit(pictures[picked], device))
    tokens, shown = model.encode(z[None], reference=0)
    if config.content.still_dim:  # they take 129 bytes a content and change no picture
        tokens[..., config.content.still_dim : config.content.dim] = 0.0
    if config.content.appearance:
        others = np.unique(np.linspace(0, len(pictures) - 1, BASIS_FRAMES).astype(int))
        frames = latents.encode(to_unit(pictures[others], device))
        tokens = model.with_appearance(tokens, z[0], frames, m[others], m[picked[0]])
    return tokens, shown[0, :1]


@torch.inference_mode()
def reference_frame(
    model: VideoModel, latents: Latents, pictures: np.ndarray, m: Tensor, order: Tensor, device: str
) -> int:
    """The index of the reference frame among pictures uint8 [t, h, w, 3] with motion `m` [t, m].

    The first of `order` [t], the frames by `GroupVQ.from_middle`; with a flow basis, of CANDIDATES about it the one of
    least warp error over PROBES frames. Errors at mouth and eyes weigh more: a warp closes open ones, but cannot open
    closed ones.
    """
    if model.flow_basis is None:
        return int(order[0])
    t = len(m)
    candidates = order[torch.linspace(0, OUTERMOST * (t - 1), min(CANDIDATES, t)).long()].cpu().unique()
    probes = torch.linspace(0, t - 1, min(PROBES, t)).long().unique()
    z = latents.encode(to_unit(pictures[torch.cat([candidates, probes]).numpy()], device))
    shown, goals = z[: len(candidates)], z[len(candidates) :]
    weight = 1.0 if model.common is None else 1 + EMPHASIS * model.common.salience_of(model.flow_basis, m[probes])
    errors = []
    for i, candidate in enumerate(candidates):
        still = shown[i].expand_as(goals)
        change = align(model.flow_basis, still, goals, m[probes] - m[candidate], levels=QUICK)
        errors.append((weight * (warp(still, model.flow_basis(change)) - goals).square()).mean())
    return int(candidates[int(torch.stack(errors).argmin())])
