"""Codes that are hardly used, drawn anew where one code stands for several motions."""

from __future__ import annotations

import torch
from torch import Tensor

from bcdcodec.models.group_vq import GroupVQ

BELOW = 0.3  # of even use, that a code is hardly used


def hardly_used(counts: Tensor) -> Tensor:
    """Which codes [g, k] have so small a share of the counts [g, k]."""
    return counts / counts.sum(1, keepdim=True) < BELOW / counts.shape[1]


@torch.no_grad()
def reseed(vq: GroupVQ, unused: Tensor, features: Tensor, errors: Tensor) -> Tensor:
    """Draw the codes `unused` [g, k] anew; which codes [g, k] have moved.

    Each halves another code, under which a clip has two different pictures: `features` [n, t, g, d] are of t frames of n
    clips. Looks are the same throughout a clip, so that the difference of two of its features is one of motion, and the
    two codes come to lie to both sides of the old one along it. Where no more clips have such pictures, a code becomes the
    feature of a frame far from every code and decoded badly, `errors` [b, t] of the first b clips.
    """
    moved = torch.zeros_like(unused)
    codes = vq.distances(features).argmin(-1)  # [n, t, g]
    for g, free in enumerate(unused):
        halves = _differences(features[:, :, g], codes[:, :, g], vq.config.codes)
        for k in free.nonzero().flatten().tolist():
            if halves:
                old, way = halves.pop(0)
                vq.codebooks[g, k] = vq.codebooks[g, old] + way / 2
                vq.codebooks[g, old] -= way / 2
                moved[g, old] = True
            else:
                rows = features[: len(errors), :, g].flatten(0, 1)  # [b * t, d]
                far = (rows[:, None] - vq.codebooks[g]).square().sum(-1).amin(1)
                vq.codebooks[g, k] = rows[(far * errors.flatten()).argmax()]
            moved[g, k] = True
    return moved


def _differences(features: Tensor, codes: Tensor, count: int) -> list[tuple[int, Tensor]]:
    """Of features [n, t, d] under codes [n, t]: codes that two different frames of a clip share, and the largest difference
    [d] of two such; the code with the most of it first."""
    t = features.shape[1]
    first, second = torch.triu_indices(t, t, 1, device=features.device)
    shared = codes[:, first] == codes[:, second]  # [n, pairs]
    ways, code = (features[:, first] - features[:, second])[shared], codes[:, first][shared]  # [m, d], [m]
    energy = ways.square().sum(-1)
    total = torch.zeros(count, device=features.device).index_add_(0, code, energy)
    found = []
    for k in total.argsort(descending=True).tolist():
        if total[k] <= 0:
            break
        found.append((k, ways[torch.where(code == k, energy, -1.0).argmax()]))
    return found
