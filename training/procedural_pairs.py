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
    motion: np.ndarray  # float32 [groups, t, p] parameters of the driven frames, zero mean and unit deviation
    content_motion: np.ndarray  # float32 [groups, people, tc, p] of the content frames, on the same scale


def draw_group(seed: int, frames: int, content_frames: int, stride: int) -> tuple[list[Identity], np.ndarray, np.ndarray]:
    """A group before rendering, a function of its seed: people, driving motion [t, p], content motion [people, tc, p]."""
    rng = np.random.default_rng((20251, seed))
    motion = sample_motion(rng, frames * stride)[::stride]
    people, own = [], []
    for _ in range(PEOPLE):
        people.append(Identity.sample(rng))
        own.append(sample_motion(rng, 100)[rng.choice(100, content_frames, replace=False)])
    return people, motion, np.stack(own)


def render_group(seed: int, frames: int, content_frames: int, stride: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """One group in pictures: driven [people, t, h, w, 3], content [people, tc, h, w, 3]."""
    people, motion, own = draw_group(seed, frames, content_frames, stride)
    pictures = np.stack([render(who, np.concatenate([motion, mine]), size) for who, mine in zip(people, own)])
    return pictures[:, :frames], pictures[:, frames:]


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
    drawn = [draw_group(first_seed + i, frames, content_frames, stride) for i in range(groups)]
    motion, own = np.stack([x[1] for x in drawn]), np.stack([x[2] for x in drawn])
    mean, deviation = own.mean((0, 1, 2)), own.std((0, 1, 2)) + 1e-6
    return PairStore(np.load(driven, mmap_mode="r"), np.load(content, mmap_mode="r"),
                     ((motion - mean) / deviation).astype(np.float32), ((own - mean) / deviation).astype(np.float32))
