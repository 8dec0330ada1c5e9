"""Batches for the cross-driven strategy (section 3.4): clips divided in the middle of their time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bcdcodec.errors import ModelError
from bcdcodec.training.data.batches import to_pictures
from bcdcodec.training.data.clips import ClipStore, load_store
from bcdcodec.training.data.sheets import ACTIONS, FRAMES, Sheets, split


@dataclass(frozen=True)
class Halves:
    """Pictures in [-1, 1], or latents of them; the driving half is also what is reconstructed."""

    content: Tensor  # [b, t, c, h, w]
    driving: Tensor  # [b, t, c, h, w]


class ClipHalves:
    """Clips of footage: the content from the first half, the motion from the second. A function of (seed, step)."""

    latents = False  # batches hold pictures

    def __init__(self, train: ClipStore, val: ClipStore, frames: int, stride: int, seed: int):
        """`frames`: of a half; `stride`: source frames from one to the next. Raises ModelError without a long clip."""
        self.frames, self.stride, self.seed, self.val = frames, stride, seed, val
        self.span = (2 * frames - 1) * stride + 1  # source frames of a clip
        self.train = train
        self.long = np.flatnonzero(train.lengths >= self.span)
        if not len(self.long):
            raise ModelError(
                f"the longest of {len(train.lengths)} training clips has {train.lengths.max()} frames, "
                f"a training clip needs {self.span}: give longer clips"
            )

    @classmethod
    def open(cls, data: Path, size: int, cache: Path, frames: int, stride: int, seed: int) -> ClipHalves:
        train, val = (load_store(data, part, size, cache) for part in ("train", "val"))
        return cls(train, val, frames, stride, seed)

    def batch(self, step: int, batch: int, share: slice = slice(None)) -> Halves:
        """Clips of `batch` random places of the training footage, or a share of them."""
        rng = np.random.default_rng((self.seed, step))
        clips = []
        for index in rng.choice(self.long, batch):
            clip = self.train.clip(index)
            start = rng.integers(0, len(clip) - self.span + 1)
            clips.append(clip[start : start + self.span : self.stride])
        return self._halves(np.stack(clips[share]))

    def held_out(self) -> Iterator[Halves]:
        """The beginnings of the validation clips that are long enough, one by one."""
        for i, length in enumerate(self.val.lengths):
            if length >= self.span:
                yield self._halves(self.val.clip(i)[None, : self.span : self.stride])

    def _halves(self, clips: np.ndarray) -> Halves:
        pictures = to_pictures(clips)
        return Halves(pictures[:, : self.frames], pictures[:, self.frames :])


class SheetHalves:
    """Clips of the Sprites training split. A function of (seed, step).

    The actions are short and not cyclic: if the second half always drove, the frames of the first would never be
    decoded. So for half of the clips the first half drives.
    """

    latents = False  # batches hold pictures

    def __init__(self, sheets: Sheets, seed: int):
        self.sheets, self.seed = sheets, seed
        self.characters, self.test_characters = split()

    @classmethod
    def open(cls, data: Path, seed: int) -> SheetHalves:
        return cls(Sheets.load(data), seed)

    def batch(self, step: int, batch: int, share: slice = slice(None)) -> Halves:
        """Random characters in random actions, or a share of them."""
        rng = np.random.default_rng((self.seed, step))
        who, what = rng.choice(self.characters, batch), rng.integers(0, len(ACTIONS), batch)
        clips = to_pictures(np.stack([self.sheets.clip(int(n), int(a)) for n, a in zip(who[share], what[share])]))
        first, second = clips[:, : FRAMES // 2], clips[:, FRAMES // 2 :]
        exchanged = torch.from_numpy(rng.random(batch) < 0.5)[share, None, None, None, None]
        return Halves(torch.where(exchanged, second, first), torch.where(exchanged, first, second))
