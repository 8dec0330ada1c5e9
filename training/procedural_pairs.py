"""Procedural heads for training: several people following the same motion, rendered once in parallel."""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bcdcodec.training.procedural import Identity, render, sample_motion

PEOPLE = 3  # a group: so many people, one driving motion, each with frames of another motion as content


@dataclass(frozen=True)
class PairStore:
    """Groups of people with a shared motion: the exact truth of every cross-driven pair among them."""

    driven: np.ndarray  # uint8 [groups, people, t, h, w, 3], all people of a group follow one motion
    content: np.ndarray  # uint8 [groups, people, tc, h, w, 3], each person in a motion of its own


def render_group(seed: int, frames: int, content_frames: int, stride: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """One group, a function of its seed: driven [people, t, h, w, 3], content [people, tc, h, w, 3]."""
    rng = np.random.default_rng((20251, seed))
    motion = sample_motion(rng, frames * stride)[::stride]
    driven, content = [], []
    for _ in range(PEOPLE):
        identity = Identity.sample(rng)
        own = sample_motion(rng, 100)[rng.choice(100, content_frames, replace=False)]
        pictures = render(identity, np.concatenate([motion, own]), size)
        driven.append(pictures[:frames])
        content.append(pictures[frames:])
    return np.stack(driven), np.stack(content)


def load_pairs(groups: int, first_seed: int, frames: int, content_frames: int, stride: int, size: int,
               cache: Path) -> PairStore:
    """`groups` rendered groups, from the cache or rendered by all cores into it."""
    name = f"procedural-{size}-{first_seed}-{groups}x{frames}+{content_frames}x{stride}"
    driven, content = cache / f"{name}-driven.npy", cache / f"{name}-content.npy"
    if not content.exists():
        cache.mkdir(parents=True, exist_ok=True)
        shape = (groups, PEOPLE)
        a = np.lib.format.open_memmap(cache / "driven.part", mode="w+", dtype=np.uint8,
                                      shape=(*shape, frames, size, size, 3))
        b = np.lib.format.open_memmap(cache / "content.part", mode="w+", dtype=np.uint8,
                                      shape=(*shape, content_frames, size, size, 3))
        jobs = [(first_seed + i, frames, content_frames, stride, size) for i in range(groups)]
        with ProcessPoolExecutor(os.cpu_count()) as pool:
            for i, (x, y) in enumerate(pool.map(render_group, *zip(*jobs), chunksize=4)):
                a[i], b[i] = x, y
        a.flush(), b.flush()
        (cache / "driven.part").rename(driven)
        (cache / "content.part").rename(content)
    return PairStore(np.load(driven, mmap_mode="r"), np.load(content, mmap_mode="r"))
