"""Batches for the cross-driven strategy (section 3.4): clips divided in the middle of their time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from bcdcodec.errors import ModelError
from bcdcodec.training.data.batches import to_pictures
from bcdcodec.training.data.clips import ClipStore, load_store
from bcdcodec.training.data.sheets import ACTIONS, FRAMES, Sheets, split
from bcdcodec.training.data.sprite_batches import MOTION_OF


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

    A character performs one action after another, and a clip is cut anywhere, as from a longer video. If every clip
    were one action from its start, its first half would tell its second half: the motion would add nothing to the
    content. Cross-driving asks for halves with the same content and different motion.
    """

    latents = False  # batches hold pictures

    def __init__(self, sheets: Sheets, seed: int):
        self.sheets, self.seed = sheets, seed
        self.characters, self.test_characters = split()

    @classmethod
    def open(cls, data: Path, seed: int) -> SheetHalves:
        return cls(Sheets.load(data), seed)

    def batch(self, step: int, batch: int, share: slice = slice(None)) -> Halves:
        """Random characters in two random actions, eight frames from a random one on, or a share of them."""
        rng = np.random.default_rng((self.seed, step))
        who, what = rng.choice(self.characters, batch), rng.integers(0, len(ACTIONS), (batch, 2))
        motions = MOTION_OF[what].reshape(batch, 2 * FRAMES)
        first = rng.integers(0, FRAMES + 1, (batch, 1))
        motions = np.take_along_axis(motions, first + np.arange(FRAMES), axis=1)
        clips = self.clips(who[share], motions[share])
        return Halves(clips[:, : FRAMES // 2], clips[:, FRAMES // 2 :])

    def clips(self, characters: np.ndarray, motions: np.ndarray) -> Tensor:
        """Pictures [b, t, 3, h, w] of characters [b] in motion frames [b, t]."""
        frames = self.sheets.frames(np.repeat(characters, motions.shape[1]), motions.flatten())
        return to_pictures(frames).unflatten(0, motions.shape)
