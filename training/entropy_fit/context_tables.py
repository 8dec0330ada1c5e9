"""Fits the tables of the context profile to the codes of training clips."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from bcdcodec.container import CHUNK_FRAMES
from bcdcodec.entropy.context_state import ContextState, digits
from bcdcodec.entropy.context_tables import (
    AGES,
    DEGREES,
    LARGEST_LOGIT,
    MAX_PAIRS,
    MAX_SUCCESSORS,
    MAX_WEIGHT,
    STAGES,
    SUCCESSOR_TOTAL,
    ContextTables,
)
from bcdcodec.entropy.tables import FREQUENCY_TOTAL, FrequencyTables

MAX_CHANGES = 10_000  # on which weights are tried
BLOCK = 8  # clips in a row are on the same side of the split: those of one person are neighbours in a list of files
FIRST_PRIOR = 20  # first frames that the frequencies of all frames count for
EPOCHS, BATCH, LEARNING_RATE, DECAY = 3, 512, 0.02, 2e-6
BLENDS = (1, 3, 10, 30, 100)  # changes from a code that the frequencies of all codes count for
PAIR_BLEND = 1  # changes from two codes in a row that what is known of the second alone counts for
WEIGHTS = (65536, 4096, 65536)  # where the search begins
ROUNDS = 3  # of the search, over all weights


@dataclass(frozen=True)
class Observed:
    """What coding knows before every frame but a chunk's first, and what the frame then brings."""

    places: tuple[np.ndarray, ...]  # int32 [n, g] each: in code, age, visit and activity logits
    moved: np.ndarray  # bool [n, g]


@dataclass(frozen=True)
class Changes:
    """Changes of single groups, and what their chunk had shown before."""

    group: np.ndarray  # [m]
    code: np.ndarray  # [m]
    former: np.ndarray  # [m], -1 for none
    followed: np.ndarray  # [m, k]
    arrived: np.ndarray  # [m, k]
    new: np.ndarray  # [m]


def fit_context(clips: list[np.ndarray], motion: FrequencyTables) -> ContextTables | None:
    """Return context tables for codes uint8 [t, g] of clips, `motion` being the static tables fitted on the same codes.

    What a chunk's own changes weigh against what is known beforehand is tried on a quarter of the clips with the
    successors of the others, so that it holds for people whom the tables have not seen.
    None for models with too many groups and codes for the profile.
    """
    g, k = motion.frequencies.shape
    if g * k * k > MAX_SUCCESSORS:
        return None
    kept = [i // BLOCK % 4 != 3 for i in range(len(clips))]
    others = [clip for clip, keep in zip(clips, kept) if keep]
    held_out = [clip for clip, keep in zip(clips, kept) if not keep] or others
    tried = changes(held_out, g, k)
    known = {blend: successors(others, motion, blend) for blend in BLENDS}
    blend, weights = _best(tried, {blend: _rows(tried, table, pairs(others, table)) for blend, table in known.items()})
    table = successors(clips, motion, blend)
    logits = [
        np.rint(256 * table).clip(-LARGEST_LOGIT, LARGEST_LOGIT).astype(np.int16)
        for table in _fit_logits(observe(clips, g, k), g * k)
    ]
    return ContextTables(
        first=_first(clips, motion),
        code_logits=logits[0].reshape(g, k),
        age_logits=logits[1],
        visit_logits=logits[2].reshape(DEGREES, DEGREES),
        activity_logits=logits[3].reshape(STAGES, DEGREES, DEGREES),
        successors=table,
        weights=np.array(weights, np.uint32),
        pairs=pairs(clips, table),
    )


def _walk(clips: list[np.ndarray], g: int, k: int):
    """The state before and the codes [g] of every frame but a chunk's first."""
    empty = blank_tables(g, k)
    for clip in clips:
        for start in range(0, len(clip), CHUNK_FRAMES):  # counts begin anew, as in files
            chunk = clip[start : start + CHUNK_FRAMES].astype(np.int64)
            state = ContextState(empty)
            state.begin(chunk[0])
            for before, frame in pairwise(chunk):
                yield state, frame, frame != before
                state.advance(frame)


def observe(clips: list[np.ndarray], g: int, k: int) -> Observed:
    """What the flags of clips' frames are coded with, and the flags."""
    stage = np.arange(g) * STAGES // g
    first_of_stage = np.searchsorted(stage, stage)
    places, moves = [], []
    for state, _, moved in _walk(clips, g, k):
        earlier = np.concatenate([[0], np.cumsum(moved)])[first_of_stage]  # [g], changes in lower stages
        activity = (stage * DEGREES + digits(earlier)) * DEGREES + digits(state.frame_changes)
        places.append(np.stack([*state.contexts(), activity]).astype(np.int32))
        moves.append(moved)
    stacked = np.stack(places, axis=1) if places else np.zeros((4, 0, g), np.int32)
    return Observed(tuple(stacked), np.array(moves, bool).reshape(-1, g))


def changes(clips: list[np.ndarray], g: int, k: int) -> Changes:
    """Changes of clips; where there are more than MAX_CHANGES, evenly picked ones."""
    every = 1 + sum(int(np.count_nonzero(clip[1:] != clip[:-1])) for clip in clips) // MAX_CHANGES
    found, count = [], 0
    for state, frame, moved in _walk(clips, g, k):
        groups = np.flatnonzero(moved)
        picked = groups[-count % every :: every]
        count += len(groups)
        if len(picked):
            found.append((picked, *state.seen(picked), frame[picked]))
    if not found:
        return Changes(*np.zeros((3, 0), int), *np.zeros((2, 0, k), int), np.zeros(0, int))
    return Changes(*(np.concatenate(column) for column in zip(*found)))


def successors(clips: list[np.ndarray], motion: FrequencyTables, blend: float) -> np.ndarray:
    """Frequencies uint16 [g, k, k] of the code after a change; plus `blend` changes distributed as all codes are."""
    g, k = motion.frequencies.shape
    counts, own = np.zeros((g, k, k)), np.arange(k)
    for clip in clips:
        np.add.at(counts, (np.arange(g), clip[:-1], clip[1:]), 1)
    usual = np.repeat(motion.frequencies[:, None] / FREQUENCY_TOTAL, k, axis=1)
    counts[:, own, own] = usual[:, own, own] = 0
    return _integer(counts + blend * usual / usual.sum(2, keepdims=True))


def pairs(clips: list[np.ndarray], known: np.ndarray) -> np.ndarray | None:
    """Frequencies uint16 [g, k, k, k] of the code after a change, by the code before the last change and the code.

    PAIR_BLEND changes are added as `known`, the successors [g, k, k], has them. None for models of many groups.
    """
    g, k, _ = known.shape
    if g * k**3 > MAX_PAIRS:
        return None
    counts = np.repeat(PAIR_BLEND / SUCCESSOR_TOTAL * known[:, None], k, axis=1)
    for clip in clips:
        for group in range(g):
            codes = clip[:, group]
            visited = codes[np.concatenate([[True], codes[1:] != codes[:-1]])]
            np.add.at(counts[group], (visited[:-2], visited[1:-1], visited[2:]), 1)
    return _integer(counts)


def _integer(counts: np.ndarray) -> np.ndarray:
    """Rows [..., k, k] proportional to counts, 0 on the diagonal, at least 1 elsewhere, as uint16 of sum 32768."""
    k = counts.shape[-1]
    own = np.arange(k)
    frequencies = 1 + np.floor(counts * (SUCCESSOR_TOTAL - k) / counts.sum(-1, keepdims=True)).astype(np.int64)
    frequencies[..., own, own] = 0
    missing = SUCCESSOR_TOTAL - frequencies.sum(-1, keepdims=True)
    best = frequencies.argmax(-1)[..., None]
    np.put_along_axis(frequencies, best, np.take_along_axis(frequencies, best, -1) + missing, -1)
    return frequencies.astype(np.uint16)


def _best(tried: Changes, candidates: dict[float, np.ndarray]) -> tuple[float, tuple[int, ...]]:
    """The blend and the weights under which changes take the fewest bits, each weight searched by factors of two."""
    best = (np.inf, 0.0, WEIGHTS)
    for blend, rows in candidates.items():
        weights = WEIGHTS
        lowest = change_bits(tried, rows, weights)
        for _ in range(ROUNDS):
            for i in range(len(weights)):
                for other in (weights[i] // 4, weights[i] // 2, weights[i] * 2, weights[i] * 4):
                    trial = (*weights[:i], min(other, MAX_WEIGHT), *weights[i + 1 :])
                    bits = change_bits(tried, rows, trial)
                    if bits < lowest:
                        lowest, weights = bits, trial
        best = min(best, (lowest, blend, weights))
    return best[1], best[2]


def _rows(tried: Changes, known: np.ndarray, pairs: np.ndarray | None) -> np.ndarray:
    """What is known beforehand of each change, [m, k]."""
    rows = known[tried.group, tried.code]
    if pairs is None:
        return rows
    return np.where(tried.former[:, None] < 0, rows, pairs[tried.group, tried.former, tried.code])


def change_bits(tried: Changes, rows: np.ndarray, weights: tuple[int, ...]) -> float:
    """Bits that the new codes of changes take with what is known beforehand, [m, k], and the three weights."""
    each = np.arange(len(tried.group))
    w = rows.astype(np.float64) + weights[0] * tried.followed + weights[1] * tried.arrived
    w[each, tried.former] += weights[2] * (tried.former >= 0)
    w[each, tried.code] = 0
    return float(-np.log2(w[each, tried.new] / w.sum(1)).sum())


def _fit_logits(observed: Observed, codes: int) -> list[np.ndarray]:
    """Logits of a change, in natural units, of every place in the four tables: logistic regression over their sums."""
    tables = [torch.zeros(n) for n in (codes, AGES, DEGREES**2, STAGES * DEGREES**2)]
    n = len(observed.moved)
    share = np.clip(observed.moved.mean() if n else 0.5, 1e-3, 1 - 1e-3)
    usual = float(np.log(share / (1 - share)))
    tables[0] += usual
    places = [torch.from_numpy(place) for place in observed.places]
    moved = torch.from_numpy(observed.moved).float()
    optimiser = torch.optim.Adam([table.requires_grad_() for table in tables], lr=LEARNING_RATE)
    generator = torch.Generator().manual_seed(0)
    for epoch in range(EPOCHS):
        optimiser.param_groups[0]["lr"] = LEARNING_RATE * 0.3**epoch
        for rows in torch.randperm(n, generator=generator).split(BATCH):
            logits = sum(table[place[rows]] for table, place in zip(tables, places))
            away = sum(table.square().sum() for table in tables[1:]) + (tables[0] - usual).square().sum()
            loss = binary_cross_entropy_with_logits(logits, moved[rows]) + DECAY * away
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return [table.detach().numpy() for table in tables]


def _first(clips: list[np.ndarray], motion: FrequencyTables) -> FrequencyTables:
    """Tables of a clip's first frame, held to those of all frames where clips are few."""
    g, k = motion.frequencies.shape
    counts = np.zeros((g, k), np.int64)
    for clip in clips:
        counts[np.arange(g), clip[0]] += 1
    return FrequencyTables.from_counts(FREQUENCY_TOTAL * counts + FIRST_PRIOR * motion.frequencies.astype(np.int64))


def blank_tables(g: int, k: int) -> ContextTables:
    """Tables that know nothing."""
    uniform = FrequencyTables.from_counts(np.zeros((g, k), np.int64))
    return ContextTables(
        first=uniform,
        code_logits=np.zeros((g, k), np.int16),
        age_logits=np.zeros(AGES, np.int16),
        visit_logits=np.zeros((DEGREES, DEGREES), np.int16),
        activity_logits=np.zeros((STAGES, DEGREES, DEGREES), np.int16),
        successors=successors([], uniform, 1),
        weights=np.array(WEIGHTS, np.uint32),
    )
