"""Codes that are hardly used, drawn anew where one code stands for several motions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from bcdcodec.models.bcd import BCD
from bcdcodec.models.group_vq import GroupVQ

BELOW = 0.3  # of even use, that a code is hardly used
APART = 0.4  # of the distance between neighbouring codes, from which features under one code are two motions rather than one
LEAST = 3  # features in each half of a code
CANDIDATES = 8  # codes that are tried, a group
WORTH = 0.05  # share of a code's error that a second code is to mend
TRIAL_ROUNDS, TRIAL_STEPS, TRIAL_FRAMES, TRIAL_RATE = 2, 10, 12, 0.25  # of Adam
HALVINGS = 10  # steps of 2-means
TEACHING_STEPS, TEACHING_CLIPS, TEACHING_RATE = 40, 32, 3e-4  # of Adam, on the encoder alone


def hardly_used(counts: Tensor) -> Tensor:
    """Which codes [g, k] have so small a share of the counts [g, k]."""
    return counts / counts.sum(1, keepdim=True) < BELOW / counts.shape[1]


Under = Callable[[int, Tensor, Tensor], Tensor]  # group, frames [r], code [d] -> errors [r] of these frames drawn with it


@dataclass(frozen=True)
class _Halves:
    """A code and the two [d] that it may become."""

    code: int
    one: Tensor
    other: Tensor


@torch.no_grad()
def reseed(vq: GroupVQ, unused: Tensor, features: Tensor, under: Under) -> tuple[Tensor, Tensor]:
    """Draw the codes `unused` [g, k] anew; which codes [g, k] have moved, and the codes [n, t, g] that frames are to have now.

    Each halves another code, under which a clip has two different pictures: `features` [n, t, g, d] are of t frames of n
    clips. Looks are the same throughout a clip, so that the difference of two of its features is one of motion, and the
    two codes come to lie to both sides of the old one along it. Motions that are never in one clip may share a code too,
    and their features then hardly differ: next are codes beside which another one draws some of their frames better, by
    `under`, with contents that do not tell the motion; then those whose features fall into the two lumps that are
    furthest apart, which may also be of looks; then what else clips share, however little it differs. Where no more codes
    are to be halved, a code becomes the feature of a frame far from every code and decoded badly.
    """
    moved = torch.zeros_like(unused)
    codes = vq.distances(features).argmin(-1)  # [n, t, g]
    for g, free in enumerate(unused):
        codebook, rows = vq.codebooks[g], features[:, :, g].flatten(0, 1)
        own, errors = codes[:, :, g].flatten(), torch.zeros(len(rows), device=rows.device)
        for k in own.unique():
            errors[own == k] = under(g, (own == k).nonzero().flatten(), codebook[k])
        spacing = _spacing(codebook)
        clips = _differences(features[:, :, g], codes[:, :, g], codebook)
        tried = _tried(under, g, own, errors, codebook)
        lumps = _lumps(rows, own, len(codebook))
        far = lambda found: [half for half in found if (half.one - half.other).norm() >= APART * spacing]  # noqa: E731
        halves = far(clips) + tried + far(lumps) + clips
        everything = torch.arange(len(rows), device=rows.device)
        for k in free.nonzero().flatten().tolist():
            if halves:
                half = halves.pop(0)
                halves = [each for each in halves if each.code != half.code]  # a code once
                vq.codebooks[g, k], vq.codebooks[g, half.code] = half.one, half.other
                moved[g, half.code] = True
                frames = everything[own == half.code]
                codes.view(-1, codes.shape[2])[frames, g] = torch.where(
                    under(g, frames, half.one) < under(g, frames, half.other), k, half.code)
            else:
                distance = (rows[:, None] - vq.codebooks[g]).square().sum(-1).amin(1)
                vq.codebooks[g, k] = rows[(distance * errors).argmax()]
            moved[g, k] = True
    return moved, codes


def teach(model: BCD, driving: Tensor, codes: Tensor, moved: Tensor, seed: int) -> None:
    """Teach the encoder to read codes [n, t, g] from driving frames [n, t, c, h, w], of clips with codes `moved` [g, k].

    A step of training tries few frames of any one code, and a code that none reads is drawn anew before it is learned.
    """
    groups = torch.arange(codes.shape[2], device=codes.device)
    clips = moved[groups, codes].flatten(1).any(1).nonzero().flatten()
    if not len(clips):
        return
    generator = torch.Generator().manual_seed(seed)
    parameters = list(model.encoder.parameters())
    optimiser = torch.optim.Adam(parameters, lr=TEACHING_RATE)
    with torch.enable_grad():
        for _ in range(TEACHING_STEPS):
            some = clips[torch.randint(len(clips), (TEACHING_CLIPS,), generator=generator).to(clips.device)]
            logits = -model.config.quantiser.alpha * model.vq.distances(model.vq.features(model.encode_motion(driving[some])))
            loss = F.cross_entropy(logits.flatten(0, 2), codes[some].flatten())
            optimiser.zero_grad()
            for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters, allow_unused=True)):
                parameter.grad = gradient
            optimiser.step()
            optimiser.zero_grad()


def _spacing(codebook: Tensor) -> Tensor:
    """The median distance of codes [k, d] from their nearest neighbours, []."""
    distances = torch.cdist(codebook, codebook)
    return distances.fill_diagonal_(torch.inf).amin(1).median()


def _tried(under: Under, g: int, codes: Tensor, errors: Tensor, codebook: Tensor) -> list[_Halves]:
    """Of frames with errors [n] under codes [n] of codebook [k, d]: codes, and for each one that draws some of its frames better, found by trial.

    Of the codes whose worst frames differ most from the others, a copy learns to draw these worst, then those that it draws
    better than the code does. The one that mends most of the error first.
    """
    everything = torch.arange(len(codes), device=codes.device)

    def spread(k: int) -> float:
        own = errors[codes == k].sort().values
        return float((own - own[: len(own) // 2].mean()).sum())

    found = []
    common = [k for k in range(len(codebook)) if (codes == k).sum() >= 2 * LEAST]
    for k in sorted(common, key=spread, reverse=True)[:CANDIDATES]:
        frames, error, code = everything[codes == k], errors[codes == k], codebook[k].clone()
        worst = error
        for _ in range(TRIAL_ROUNDS):
            code = _drawing_best(under, g, frames[worst.argsort(descending=True)[: max(LEAST, min(TRIAL_FRAMES, len(frames) // 3))]], code)
            worst = error - under(g, frames, code)  # what is better now
        mended = worst.clamp(min=0).sum()
        if mended >= WORTH * error.sum() and (worst > 0).sum() >= LEAST:
            found.append((float(mended), _Halves(k, code, codebook[k].clone())))
    return [halves for _, halves in sorted(found, key=lambda x: -x[0])]


def _drawing_best(under: Under, g: int, frames: Tensor, code: Tensor) -> Tensor:
    """The code [d], begun at `code`, under which frames [r] are drawn best."""
    with torch.enable_grad():
        code = code.detach().clone().requires_grad_(True)
        optimiser = torch.optim.Adam([code], lr=TRIAL_RATE)
        for _ in range(TRIAL_STEPS):
            optimiser.zero_grad()
            under(g, frames, code).mean().backward()
            optimiser.step()
    return code.detach()


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
