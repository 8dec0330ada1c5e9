"""Which frame a content is to show: the one from which the others are reached best."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from bcdcodec.models.bcd import BCD
from bcdcodec.models.latents import Latents, to_unit
from bcdcodec.models.warp import warp

CANDIDATES = 8  # frames, from the middle of the motion outwards ...
OUTERMOST = 0.8  # ... to this share of all
PROBES = 12  # frames that each of them is aligned with


@torch.inference_mode()
def reference_frame(model: BCD, latents: Latents, pictures: np.ndarray, m: Tensor, order: Tensor, device: str) -> int:
    """The frame of pictures uint8 [t, h, w, 3] with motion `m` [t, m] that the content should show.

    The first of `order` [t], the frames by `GroupVQ.from_middle`; with a flow basis, of some about it the one that warps
    into the others with the least error: closed eyes and lips cannot be opened by a warp, open ones can be closed.
    """
    if model.flow_basis is None:
        return int(order[0])
    t = len(m)
    candidates = order[torch.linspace(0, OUTERMOST * (t - 1), min(CANDIDATES, t)).long()].cpu().unique()
    probes = torch.linspace(0, t - 1, min(PROBES, t)).long().unique()
    z = latents.encode(to_unit(pictures[torch.cat([candidates, probes]).numpy()], device))
    shown, goals = z[: len(candidates)], z[len(candidates) :]
    errors = []
    for i, candidate in enumerate(candidates):
        still = shown[i].expand_as(goals)
        change = model.flow_basis.align(still, goals, m[probes] - m[candidate])
        errors.append((warp(still, model.flow_basis(change)) - goals).square().mean())
    return int(candidates[int(torch.stack(errors).argmin())])
