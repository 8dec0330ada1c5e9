"""Rate-distortion optimised quantisation (RDOQ): codes of all groups and neighbouring frames chosen jointly."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

SWEEPS = 2  # over frames and groups; each code is chosen again, given the others
STEADY = 1.0  # weight of the change of the error from frame to frame, which is seen as flicker, to that of the error


def rdoq(entries: Tensor, bits: Tensor, features: Tensor, hessian: Tensor, before: Tensor | None = None) -> Tensor:
    """Codes int64 [b, t, g], of scalar `entries` [g, k] that cost `bits` [g, k] each, for features [b, t, g] of clips.

    Minimises the sum of e' H e over each frame's error e, with its Hessian H [b, t, g, g], of STEADY times the same of
    the change of e from frame to frame, and of the bits. By coordinate descent: every other frame in turn, given those
    between, group by group. `before`: the error [b, g] of the frame before the first, whose codes are chosen already.
    """
    b, t, groups = features.shape
    diagonal = hessian.diagonal(dim1=2, dim2=3)  # [b, t, g]
    codes = (diagonal[..., None] * (features[..., None] - entries).square() + bits).argmin(-1)
    neighbours = torch.full((t, 1), 2.0, device=features.device)  # of each frame
    neighbours[0] -= int(before is None)
    neighbours[-1] -= 1
    weight = 1 + STEADY * neighbours  # [t, 1] of a frame's own e' H e, given its neighbours
    for _ in range(SWEEPS):
        for first in (0, 1):
            at = slice(first, None, 2)
            errors = F.pad(entries[torch.arange(groups, device=codes.device), codes] - features, (0, 0, 1, 1))
            if before is not None:
                errors[:, 0] = before
            goal = features + STEADY / weight * (errors[:, :-2] + errors[:, 2:])  # [b, t, g] minimum
            found = _descend(
                entries,
                bits / weight[at].repeat(b, 1)[..., None],
                goal[:, at].flatten(0, 1),
                hessian[:, at].flatten(0, 1),
                codes[:, at].flatten(0, 1),
            )
            codes[:, at] = found.view_as(codes[:, at])
    return codes


def _descend(entries: Tensor, bits: Tensor, goal: Tensor, hessian: Tensor, codes: Tensor) -> Tensor:
    """Codes [n, g] after a sweep over the groups, from `codes` [n, g]. An error is that against the `goal` [n, g].

    bits [n, g, k], hessian [n, g, g].
    """
    codes, groups = codes.clone(), torch.arange(len(entries), device=codes.device)
    chosen = entries[groups, codes]  # [n, g]
    slope = torch.einsum("nij,nj->ni", hessian, chosen - goal)
    for g in range(len(entries)):
        step = entries[g] - chosen[:, g, None]  # [n, k]
        code = (hessian[:, g, g, None] * step.square() + 2 * slope[:, g, None] * step + bits[:, g]).argmin(1)
        slope = slope + hessian[:, :, g] * step.gather(1, code[:, None])
        codes[:, g] = code
    return codes
