"""Procedural heads for training: several people following the same motion, rendered once in parallel."""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bcdcodec.training.data.procedural import Identity, flow_between, render, sample_motion

PACES = (1, 2, 4, 6)  # of a group's driven frames, in strides: from neighbouring frames to four seconds
FLOW_CELL = 4  # pixels from one vector of the true flow to the next
PEOPLE = 3  # a group: so many people, one driving motion, each with frames of another motion as content


@dataclass(frozen=True)
class PairStore:
    """Groups of people with a shared motion: the exact truth of every cross-driven pair among them."""

    driven: np.ndarray  # uint8 [groups, people, t, h, w, 3], all people of a group follow one motion
    content: np.ndarray  # uint8 [groups, people, tc, h, w, 3], each person in a motion of its own
    flow: np.ndarray  # float16 [groups, people, t, tc, 4, gh, gw] from driven to content frames, see `flow_between`


def draw_group(
    seed: int, frames: int, content_frames: int, stride: int
) -> tuple[list[Identity], np.ndarray, np.ndarray]:
    """A group before rendering, by its seed: people, driving motion [t, p], content motion [people, tc, p]."""
    rng = np.random.default_rng((20251, seed))
    pace = stride * int(rng.choice(PACES))
    motion = sample_motion(rng, frames * pace)[::pace]
    people, own = [], []
    for _ in range(PEOPLE):
        people.append(Identity.sample(rng))
        own.append(sample_motion(rng, 100)[rng.choice(100, content_frames, replace=False)])
    return people, motion, np.stack(own)


def render_group(seed: int, frames: int, content_frames: int, stride: int, size: int) -> tuple[np.ndarray, ...]:
    """One group: driven [people, t, h, w, 3], content [people, tc, h, w, 3], flow [people, t, tc, 4, gh, gw]."""
    people, motion, own = draw_group(seed, frames, content_frames, stride)
    pictures = np.stack([render(who, np.concatenate([motion, mine]), size) for who, mine in zip(people, own)])
    flow = np.stack([flow_between(who, motion, mine, size // FLOW_CELL) for who, mine in zip(people, own)])
    return pictures[:, :frames], pictures[:, frames:], flow


def load_pairs(
    groups: int, first_seed: int, frames: int, content_frames: int, stride: int, size: int, cache: Path
) -> PairStore:
    """`groups` rendered groups, from the cache or rendered by all cores into it."""
    name = f"procedural-paced-{size}-{first_seed}-{groups}x{frames}+{content_frames}x{stride}"
    parts = [cache / f"{part}.part" for part in ("driven", "content", "flow")]
    files = [cache / f"{name}-{part.stem}.npy" for part in parts]
    if not files[-1].exists():
        cache.mkdir(parents=True, exist_ok=True)
        cells = size // FLOW_CELL
        shapes = [(frames, size, size, 3), (content_frames, size, size, 3), (frames, content_frames, 4, cells, cells)]
        stores = [
            np.lib.format.open_memmap(part, mode="w+", dtype=dtype, shape=(groups, PEOPLE, *shape))
            for part, dtype, shape in zip(parts, (np.uint8, np.uint8, np.float16), shapes)
        ]
        jobs = [(first_seed + i, frames, content_frames, stride, size) for i in range(groups)]
        with ProcessPoolExecutor(os.cpu_count()) as pool:
            for i, rendered in enumerate(pool.map(render_group, *zip(*jobs), chunksize=4)):
                for store, values in zip(stores, rendered):
                    store[i] = values
        for store, part, file in zip(stores, parts, files):
            store.flush()
            part.rename(file)
    return PairStore(*(np.load(file, mmap_mode="r") for file in files))
