"""Codes that are hardly used, drawn anew where one code stands for several motions."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bcdcodec.models.group_vq import GroupVQ

BELOW = 0.3  # of even use, that a code is hardly used
APART = 0.4  # of the distance between neighbouring codes, from which features under one code are two motions rather than one
LEAST = 3  # features in each half of a code
MUCH_WORSE = 1.5  # times the error, from which a frame needs its clip's content to be told from others of its code
HALVINGS = 10  # steps of 2-means


def hardly_used(counts: Tensor) -> Tensor:
    """Which codes [g, k] have so small a share of the counts [g, k]."""
    return counts / counts.sum(1, keepdim=True) < BELOW / counts.shape[1]


@dataclass(frozen=True)
class _Halves:
    """A code and the two [d] that it may become."""

    code: int
    one: Tensor
    other: Tensor


@torch.no_grad()
def reseed(vq: GroupVQ, unused: Tensor, features: Tensor, foreign: Tensor, own: Tensor) -> Tensor:
    """Draw the codes `unused` [g, k] anew; which codes [g, k] have moved.

    Each halves another code, under which a clip has two different pictures: `features` [n, t, g, d] are of t frames of n
    clips. Looks are the same throughout a clip, so that the difference of two of its features is one of motion, and the
    two codes come to lie to both sides of the old one along it. Motions that are never in one clip may share a code too, if
    contents tell them apart: next are those of which frames are decoded worse with contents of other motions than with
    their clip's, of errors `foreign` and `own` [n, t], by what their features differ in from the others; then those whose
    features fall into the two lumps that are furthest apart, which may also be of looks; then what else clips share,
    however little it differs. Where no more codes are to be halved, a code becomes the feature of a frame far from every
    code and decoded badly.
    """
    moved = torch.zeros_like(unused)
    codes = vq.distances(features).argmin(-1)  # [n, t, g]
    for g, free in enumerate(unused):
        codebook, rows = vq.codebooks[g], features[:, :, g].flatten(0, 1)
        spacing = _spacing(codebook)
        clips = _differences(features[:, :, g], codes[:, :, g], codebook)
        worse = _worse(rows, codes[:, :, g].flatten(), (foreign / own).flatten(), len(codebook), spacing)
        lumps = _lumps(rows, codes[:, :, g].flatten(), len(codebook))
        far = lambda found: [half for half in found if (half.one - half.other).norm() >= APART * spacing]  # noqa: E731
        halves = far(clips) + worse + far(lumps) + clips
        for k in free.nonzero().flatten().tolist():
            if halves:
                half = halves.pop(0)
                halves = [each for each in halves if each.code != half.code]  # a code once
                vq.codebooks[g, k], vq.codebooks[g, half.code] = half.one, half.other
                moved[g, half.code] = True
            else:
                distance = (rows[:, None] - vq.codebooks[g]).square().sum(-1).amin(1)
                vq.codebooks[g, k] = rows[(distance * foreign.flatten()).argmax()]
            moved[g, k] = True
    return moved


def _spacing(codebook: Tensor) -> Tensor:
    """The median distance of codes [k, d] from their nearest neighbours, []."""
    distances = torch.cdist(codebook, codebook)
    return distances.fill_diagonal_(torch.inf).amin(1).median()


def _worse(rows: Tensor, codes: Tensor, worse: Tensor, count: int, spacing: Tensor) -> list[_Halves]:
    """Of features [n, d] under codes [n]: codes with frames that get MUCH_WORSE than others, by `worse` [n]; most such frames first.

    Contents told them apart so far, and their features hardly do. The halves are `spacing` apart, about the middle of the
    two kinds: nearer ones would both stand for both.
    """
    found = []
    for k in range(count):
        own, times = rows[codes == k], worse[codes == k]
        if len(own) < 2 * LEAST:
            continue
        bad = times > MUCH_WORSE * times.sort().values[: len(times) // 2].mean()  # than the better half
        if min(bad.sum(), (~bad).sum()) >= LEAST:
            one, other = own[bad].mean(0), own[~bad].mean(0)
            way = (one - other) * (spacing / (one - other).norm()).clamp(min=1)
            found.append((int(bad.sum()), _Halves(k, (one + other + way) / 2, (one + other - way) / 2)))
    return [halves for _, halves in sorted(found, key=lambda x: -x[0])]


def _lumps(rows: Tensor, codes: Tensor, count: int) -> list[_Halves]:
    """Of features [n, d] under codes [n]: codes and the middles of the two lumps of their features, the furthest apart first."""
    found = []
    for k in range(count):
        own = rows[codes == k]
        if len(own) < 2 * LEAST:
            continue
        along = (own - own.mean(0)) @ torch.linalg.svd(own - own.mean(0), full_matrices=False)[2][0]
        upper = along > along.median()
        for _ in range(HALVINGS):
            if min(upper.sum(), (~upper).sum()) < LEAST:
                break
            middles = own[upper].mean(0), own[~upper].mean(0)
            upper = (own - middles[0]).square().sum(-1) < (own - middles[1]).square().sum(-1)
        else:
            found.append(_Halves(k, own[upper].mean(0), own[~upper].mean(0)))
    return sorted(found, key=lambda x: -float((x.one - x.other).norm()))


def _differences(features: Tensor, codes: Tensor, codebook: Tensor) -> list[_Halves]:
    """Of features [n, t, d] under codes [n, t] of codebook [k, d]: codes that two different frames of a clip share, and what
    lies to both sides of them along the largest difference of two such; the code with the most of it first."""
    t = features.shape[1]
    first, second = torch.triu_indices(t, t, 1, device=features.device)
    shared = codes[:, first] == codes[:, second]  # [n, pairs]
    ways, code = (features[:, first] - features[:, second])[shared], codes[:, first][shared]  # [m, d], [m]
    energy = ways.square().sum(-1)
    total = torch.zeros(len(codebook), device=features.device).index_add_(0, code, energy)
    found = []
    for k in total.argsort(descending=True).tolist():
        if total[k] <= 0:
            break
        way = ways[torch.where(code == k, energy, -1.0).argmax()]
        found.append(_Halves(k, codebook[k] + way / 2, codebook[k] - way / 2))
    return found
