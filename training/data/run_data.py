"""What a run is given, and the data it learns from: footage, procedural heads, and what is held out of both."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bcdcodec.config import ModelConfig
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
    steps: int | None  # optimiser steps in all, or
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


def load_data(
    config: ModelConfig, options: RunOptions
) -> tuple[ClipStore, ClipStore, PairStore | None, PairStore | None]:
    """Training clips, held-out clips, training pairs, held-out pairs; procedural heads stand in for missing clips."""
    c = config.training
    cache = options.out / "data"
    size = config.latent.small.picture_size
    if options.data is not None:  # first, as a wrong folder must show before minutes of rendering
        clips, held_out = (load_store(options.data, split, size, cache) for split in ("train", "val"))
    pairs = held_out_pairs = None
    if c.procedural_share:
        frames = max(c.frames, config.window.length)
        pairs = load_pairs(options.procedural_groups, 0, frames, c.content_frames, c.temporal_stride, size, cache)
        held_out_pairs = load_pairs(12, HELD_OUT_SEED, frames, c.content_frames, c.temporal_stride, size, cache)
    if options.data is None:
        clips, held_out = (
            procedural_clips(first, people, size, cache) for first, people in ((0, PEOPLE_ALONE), (HELD_OUT_SEED, 4))
        )
    return clips, held_out, pairs, held_out_pairs


def load_large(config: ModelConfig, options: RunOptions) -> ClipStore:
    """Training pictures at full size, of footage every LARGE_EVERY-th."""
    size, cache = config.latent.picture_size, options.out / "data"
    if options.data is None:
        return procedural_clips(0, PEOPLE_ALONE, size, cache)
    return load_store(options.data, "train", size, cache, LARGE_EVERY)


def notes_into(log: Path, began: float) -> Callable[[dict], None]:
    """Writes records into a run's log, with the minutes since `began`."""

    def note(record: dict) -> None:
        with log.open("a") as lines:
            lines.write(json.dumps(record | {"minutes": round((time.monotonic() - began) / 60, 2)}) + "\n")

    return note


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
