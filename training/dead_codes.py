"""Dead-code restart: codes that are hardly used are drawn again where one code stands for several motions."""

from __future__ import annotations

import torch
from torch import Tensor

from bcdcodec.models.group_vq import GroupVQ

BELOW = 0.3  # of even use, that a code is hardly used
APART = 0.4  # of the distance of neighbouring codes: features of one code that are further apart are of two motions
LEAST = 3  # features in each half of a code
MUCH_WORSE = 3.0  # times the error
HALVINGS = 10  # steps of 2-means


def dead_codes(counts: Tensor) -> Tensor:
    """Which codes [g, k] have so small a share of the counts [g, k]."""
    return counts / counts.sum(1, keepdim=True) < BELOW / counts.shape[1]


@torch.no_grad()
def restart_codes(vq: GroupVQ, unused: Tensor, features: Tensor, errors: Tensor) -> Tensor:
    """Draw the codes `unused` [g, k] again; which codes [g, k] have moved.

    Each halves another code: the two come to lie on both sides of the old one, along a difference of two of its
    features [n, t, g, d], of t frames of n clips. In this order:
    - codes under which a clip has two different pictures: within a clip looks are the same, so that is motion;
    - codes some of whose frames are decoded worse than others, by `errors` [n, t]: motions that are never in one clip;
    - codes whose features fall into two distant clusters, which may also be of looks;
    - other codes that two frames of a clip share, however little these differ.
    Where no code is left to halve, a code becomes the feature of a frame far from every code and decoded badly.
    """
    moved = torch.zeros_like(unused)
    codes = vq.distances(features).argmin(-1)  # [n, t, g]
    for g, free in enumerate(unused):
        least = APART * _spacing(vq.codebooks[g])
        clips = _differences(features[:, :, g], codes[:, :, g], vq.config.codes)
        clusters = _clusters(features[:, :, g].flatten(0, 1), codes[:, :, g].flatten(), vq.config.codes)
        worse = _worse(features[:, :, g].flatten(0, 1), codes[:, :, g].flatten(), errors.flatten(), vq.config.codes)
        ways = _longer(clips, least) + worse + _longer(clusters, least) + clips
        halves = [ways[i] for i in range(len(ways)) if ways[i][0] not in {old for old, _ in ways[:i]}]  # a code once
        for k in free.nonzero().flatten().tolist():
            if halves:
                old, way = halves.pop(0)
                vq.codebooks[g, k] = vq.codebooks[g, old] + way / 2
                vq.codebooks[g, old] -= way / 2
                moved[g, old] = True
            else:
                rows = features[:, :, g].flatten(0, 1)  # [n * t, d]
                distance = (rows[:, None] - vq.codebooks[g]).square().sum(-1).amin(1)
                vq.codebooks[g, k] = rows[(distance * errors.flatten()).argmax()]
            moved[g, k] = True
    return moved


def _longer(ways: list[tuple[int, Tensor]], least: Tensor) -> list[tuple[int, Tensor]]:
    return [way for way in ways if way[1].norm() >= least]


def _spacing(codebook: Tensor) -> Tensor:
    """The median distance of codes [k, d] from their nearest neighbours, []."""
    distances = torch.cdist(codebook, codebook)
    return distances.fill_diagonal_(torch.inf).amin(1).median()


def _worse(rows: Tensor, codes: Tensor, errors: Tensor, count: int) -> list[tuple[int, Tensor]]:
    """Codes and the way [d] from their features decoded well to those decoded MUCH_WORSE; most error in these first.

    Features [n, d], codes [n], errors [n].
    """
    found = []
    for k in range(count):
        own, error = rows[codes == k], errors[codes == k]
        if len(own) < 2 * LEAST:
            continue
        bad = error > MUCH_WORSE * error.sort().values[: len(error) // 2].mean()  # than the better half
        if min(bad.sum(), (~bad).sum()) >= LEAST:
            found.append((float(error[bad].sum()), k, own[bad].mean(0) - own[~bad].mean(0)))
    return [(k, way) for _, k, way in sorted(found, key=lambda x: -x[0])]


def _clusters(rows: Tensor, codes: Tensor, count: int) -> list[tuple[int, Tensor]]:
    """Codes and the way [d] between the two clusters of their features, longest first; features [n, d], codes [n]."""
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
            found.append((k, own[upper].mean(0) - own[~upper].mean(0)))
    return sorted(found, key=lambda x: -float(x[1].norm()))


def _differences(features: Tensor, codes: Tensor, count: int) -> list[tuple[int, Tensor]]:
    """Codes that two different frames of a clip share, and the largest difference [d] of two such features.

    Features [n, t, d], codes [n, t]; the code with the most difference first.
    """
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
