"""What a run is given, and the data it learns from: footage, procedural heads, and what is held out of both."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bcdcodec.training.data.batches import ClipBatches
from bcdcodec.training.data.clips import ClipStore, load_store
from bcdcodec.training.data.procedural_pairs import PairStore, load_pairs

HELD_OUT_SEED = 10_000_000  # procedural groups from here on are never trained on
LARGE_EVERY = 12  # frames: neighbours are much alike, and large ones take much room
PEOPLE_ALONE = 16  # procedural people whose clips stand in where there is no footage


@dataclass(frozen=True)
class RunOptions:
    """What a run is given, beside the preset."""

    data: Path | None
    out: Path
    steps: int | None  # optimiser steps in all, or (with both None: epochs)
    minutes: float | None  # minutes of training in all, over all resumed parts
    resume: bool
    device: str  # "auto", "cpu", "cuda"
    seed: int
    procedural_groups: int
    vae: str | None = None  # hub name or folder of the image autoencoder, for presets over latents
    from_model: str | None = None  # name or folder of the model whose weights the run begins with
    checkpoint_minutes: float = 5.0
    evaluate_minutes: float = 10.0
    shard_mib: int | None = None
    epochs: float | None = None  # times that every clip is seen, in place of steps; for prepared data
    batch: int | None = None  # clips a step, of all processes together; None: the recipe's
    accumulate: int = 1  # forward and backward passes a step and process
    recompute: bool = False  # activations of the blocks are computed again going backward: less memory, more time


def load_data(
    batches: ClipBatches, size: int, frames: int, options: RunOptions
) -> tuple[ClipStore, ClipStore, PairStore | None, PairStore | None]:
    """Training clips, held-out clips, training pairs, held-out pairs; procedural heads stand in for missing clips.

    Pictures of `size` pixels; pairs of at least so many `frames`.
    """
    cache = options.out / "data"
    if options.data is not None:  # first, as a wrong folder must show before minutes of rendering
        clips, held_out = (load_store(options.data, split, size, cache) for split in ("train", "val"))
    pairs = held_out_pairs = None
    if batches.procedural_share:
        shape = max(batches.frames, frames), batches.content_frames, batches.temporal_stride, size, cache
        pairs = load_pairs(options.procedural_groups, 0, *shape)
        held_out_pairs = load_pairs(12, HELD_OUT_SEED, *shape)
    if options.data is None:
        clips, held_out = (
            procedural_clips(first, people, size, cache) for first, people in ((0, PEOPLE_ALONE), (HELD_OUT_SEED, 4))
        )
    return clips, held_out, pairs, held_out_pairs


def load_large(size: int, options: RunOptions) -> ClipStore:
    """Training pictures of `size` pixels, of footage every LARGE_EVERY-th."""
    cache = options.out / "data"
    if options.data is None:
        return procedural_clips(0, PEOPLE_ALONE, size, cache)
    return load_store(options.data, "train", size, cache, LARGE_EVERY)


def procedural_clips(first_seed: int, count: int, size: int, cache: Path) -> ClipStore:
    """Clips of procedural heads, four seconds each, for a run without footage."""
    from bcdcodec.training.data.procedural import Identity, render, sample_motion

    path = cache / f"procedural-clips-{size}-{first_seed}-{count}.npy"
    frames = 100
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        clips = []
        for i in range(count):
            rng = np.random.default_rng((20252, first_seed + i))
            clips.append(render(Identity.sample(rng), sample_motion(rng, frames), size))
        np.save(path, np.concatenate(clips))
    lengths = np.full(count, frames, np.int64)
    return ClipStore(
        np.load(path, mmap_mode="r"),
        np.cumsum(lengths) - lengths,
        lengths,
        tuple(f"procedural {first_seed + i}" for i in range(count)),
    )
