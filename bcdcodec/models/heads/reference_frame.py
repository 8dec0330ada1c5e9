"""The choice of the reference frame: the frame of a clip that warps into the others with the least error."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from bcdcodec.models.alignment import QUICK
from bcdcodec.models.flow_basis import FlowBasis
from bcdcodec.models.heads.alignment import align
from bcdcodec.models.heads.residual_basis import SharedBasis
from bcdcodec.models.warp import warp

CANDIDATES = 8  # frames, from the mean motion outwards ...
OUTERMOST = 0.8  # ... to this share of all
PROBES = 12  # frames that each of them is aligned with
EMPHASIS = 10.0  # extra weight of errors at mouth and eyes


def reference_frame(
    basis: FlowBasis, shared: SharedBasis, frames: Callable[[Tensor], Tensor], m: Tensor, order: Tensor
) -> int:
    """The number of the reference frame of a clip of motion `m` [t, m].

    Of CANDIDATES among `order` [t], the frames from the mean motion outwards, the one of least warp error over PROBES
    frames. Errors at mouth and eyes weigh more: a warp closes open ones, but cannot open closed ones.
    `frames`: from numbers of frames [k] to their latents [k, c, h, w].
    """
    t = len(m)
    candidates = order[torch.linspace(0, OUTERMOST * (t - 1), min(CANDIDATES, t)).long()].cpu().unique()
    probes = torch.linspace(0, t - 1, min(PROBES, t)).long().unique()
    z = frames(torch.cat([candidates, probes]))
    images, goals = z[: len(candidates)], z[len(candidates) :]
    weight = 1 + EMPHASIS * shared.salience_at(basis, m[probes])
    errors = []
    for image, candidate in zip(images, candidates, strict=True):
        image = image.expand_as(goals)
        change, _ = align(basis, image, goals, m[probes] - m[candidate], levels=QUICK)
        errors.append((weight * (warp(image, basis(change)) - goals).square()).mean())
    return int(candidates[int(torch.stack(errors).argmin())])
