"""Splits codes that two motions share, for models of a single group.

Two motions that are never in one clip may share a code for good: the content gives away which motion it is, so the
decoder draws both, and features of the two hardly differ. Contents redrawn in other motions do not give it away. Then
another code, found by gradient descent, draws the frames of one motion better. The two are motions, and not looks,
where the codes of the other frames in their clips differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from bcdcodec.models.sprites.model import SpritesModel
from bcdcodec.training.data.sprite_batches import SpriteBatch
from bcdcodec.training.redrawing import RedrawnFrames, as_filed, drawing_errors

LEAST = 6  # frames under a code that is tried
FEW = 4.0  # frames, as if all were alike, that another code must draw better, and worse
ALIKE = 3.0  # times a code's error: frames that another code draws within this are of the same motion (else six times)
SAVED = 0.01  # share of a code's error that a second one must save
BESIDE = 0.5  # overlap of the codes in the clips of either half, from which the halves differ in looks alone
WORST, TRIED = 12, 24  # frames a code is to draw better, at most; of these in each step
RATE, STEPS = 0.25, 10  # of Adam, on a code


@torch.no_grad()
def split_codes(ema: SpritesModel, batches: Sequence[SpriteBatch], unused: Tensor) -> Tensor:
    """Split codes of the `ema` model that two motions share; the codes [k, 2] that frames of each code choose between.

    The second code is one of the `unused` [k] that no frame has, where most error is saved first; or, where two codes
    stand for the same motions in different looks, the one of fewer frames. It is put into the model's codebook.
    """
    codebook = ema.vq.codebooks[0]
    drawing = RedrawnFrames(ema, batches)
    driven = torch.cat([_codes(ema, batch.driving) for batch in batches])  # [n, t]
    own = driven.flatten()
    beside = torch.cat([torch.cat([_codes(ema, batch.content) for batch in batches]), driven], 1)
    beside = beside.repeat_interleave(driven.shape[1], 0)  # [n * t, tc + t], of each frame's clip
    errors = drawing.errors(torch.arange(len(own), device=own.device), codebook[own])
    choices = torch.arange(len(codebook), device=own.device)[:, None].repeat(1, 2)

    def two_for(k: int) -> tuple[float, Tensor] | None:
        frames = (own == k).nonzero().flatten()
        return _other_motion(drawing, frames, errors[frames], codebook[k], beside[frames], k, len(codebook))

    for a, b in _alike(drawing, own, errors, codebook):
        kept, new = (a, b) if (own == a).sum() >= (own == b).sum() else (b, a)
        found = two_for(kept)
        if found is not None:
            codebook[new] = found[1]
            choices[kept] = choices[new] = torch.tensor([kept, new])
    common = [k for k in range(len(codebook)) if (own == k).sum() >= LEAST and choices[k, 0] == choices[k, 1]]
    halves = [(k, found) for k in common if (found := two_for(k)) is not None]
    halves.sort(key=lambda half: -half[1][0])
    free = [k for k in unused.nonzero().flatten().tolist() if not (own == k).any()]
    for (k, (_, code)), new in zip(halves, free):
        codebook[new] = code
        choices[k] = choices[new] = torch.tensor([k, new])
    return choices


@torch.no_grad()
def clips_of_split_codes(ema: SpritesModel, batches: Sequence[SpriteBatch], choices: Tensor) -> SpriteBatch:
    """As many clips of the batches as one batch has; up to half of them have a frame that chooses between two codes."""
    count = len(batches[0].content)
    content, driving, target = (
        torch.cat([getattr(batch, part) for batch in batches]) for part in ("content", "driving", "target")
    )
    asked = _undecided(_codes(ema, driving), choices)
    first = asked.nonzero().flatten()[: count // 2]
    rows = torch.cat([first, (~asked).nonzero().flatten(), asked.nonzero().flatten()[len(first) :]])[:count]
    return replace(batches[0], content=content[rows], driving=driving[rows], target=target[rows])


@torch.no_grad()
def with_codes(ema: SpritesModel, batch: SpriteBatch, choices: Tensor) -> SpriteBatch:
    """The batch with codes [b, t, 1] of its driving frames: of two to choose from the one that draws a frame better."""
    codes = _codes(ema, batch.driving)  # [b, t]
    rows = _undecided(codes, choices).nonzero().flatten()
    if len(rows):
        tokens, pair = as_filed(ema, batch.content[rows]), choices[codes[rows]]  # [r, t, 2]
        errors = [drawing_errors(ema, tokens, ema.vq.lookup(pair[..., i, None]), batch.target[rows]) for i in range(2)]
        codes[rows] = pair.gather(2, torch.stack(errors, -1).argmin(-1, keepdim=True))[..., 0]
    return replace(batch, codes=codes[..., None])


def _undecided(codes: Tensor, choices: Tensor) -> Tensor:
    """Which clips [b], of frames with codes [b, t], have a frame that chooses between two codes."""
    return (choices[codes] != codes[..., None]).flatten(1).any(1)


def _codes(ema: SpritesModel, frames: Tensor) -> Tensor:
    """Nearest codes [b, t] of frames [b, t, c, h, w]."""
    return ema.vq.distances(ema.vq.features(ema.motion(frames))).argmin(-1)[..., 0]


def _drawing_best(drawing: RedrawnFrames, frames: Tensor, code: Tensor) -> Tensor:
    """The code [d], begun at `code`, under which frames [r] are drawn best."""
    with torch.enable_grad():
        code = code.detach().clone().requires_grad_(True)
        optimiser = torch.optim.Adam([code], lr=RATE)
        for _ in range(STEPS):
            some = frames[torch.randperm(len(frames))[:TRIED].to(frames.device)]
            optimiser.zero_grad()
            drawing.errors(some, code).mean().backward()
            optimiser.step()
    return code.detach()


def _alike(drawing: RedrawnFrames, own: Tensor, errors: Tensor, codebook: Tensor) -> list[tuple[int, int]]:
    """Pairs of codes, each other's nearest, that draw each other's frames about as well; codes and errors [n]."""
    used = [k for k in range(len(codebook)) if (own == k).sum() >= LEAST]
    distances = torch.cdist(codebook[used], codebook[used]).fill_diagonal_(torch.inf)
    nearest = [used[i] for i in distances.argmin(1).tolist()]
    pairs = [(a, b) for a, b in zip(used, nearest) if a < b and nearest[used.index(b)] == a]

    def times(a: int, b: int) -> float:
        frames = (own == a).nonzero().flatten()
        return float(drawing.errors(frames, codebook[b]).sum() / errors[frames].sum())

    return [(a, b) for a, b in pairs if min(times(a, b), times(b, a)) < ALIKE]


def _other_motion(
    drawing: RedrawnFrames, frames: Tensor, errors: Tensor, code: Tensor, beside: Tensor, own: int, count: int
) -> tuple[float, Tensor] | None:
    """A second code [d] that draws some frames [n] of a code better, and the error that it saves; None if none.

    `errors` [n] under `code`; `beside` [n, s]: codes, of `count`, in each frame's clip; the `own` one is ignored.
    """
    worst = frames[errors.argsort(descending=True)[: min(WORST, len(frames) // 3)]]
    other = _drawing_best(drawing, worst, code)
    gain = errors - drawing.errors(frames, other)
    better, worse = gain.clamp_min(0), (-gain).clamp_min(0)
    found = (
        better.sum() >= SAVED * errors.sum()
        and min(_as_if_alike(better), _as_if_alike(worse)) >= FEW
        and _overlap(beside, better, worse, own, count) < BESIDE
    )
    return (float(better.sum()), other) if found else None


def _as_if_alike(amounts: Tensor) -> float:
    """How many alike amounts spread as much as these [n]."""
    return float(amounts.sum().square() / amounts.square().sum().clamp_min(1e-20))


def _overlap(beside: Tensor, better: Tensor, worse: Tensor, own: int, count: int) -> float:
    """Overlap, 0..1, of the histograms of codes [n, s] beside frames drawn `better` and `worse` [n]; without `own`."""
    histograms = []
    for amounts in (better, worse):
        weight = amounts[:, None].expand(beside.shape).flatten()
        histogram = torch.zeros(count, device=beside.device).index_add_(0, beside.flatten(), weight)
        histogram[own] = 0
        histograms.append(histogram / histogram.sum().clamp_min(1e-12))
    return float(torch.minimum(*histograms).sum())
