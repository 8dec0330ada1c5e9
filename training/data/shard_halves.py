"""Batches for the cross-driven strategy from prepared shards: read ahead, in a known order, for one process of many."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bcdcodec.errors import ModelError
from bcdcodec.models.latents import Latents, VaeLatents
from bcdcodec.training.data.batches import to_pictures
from bcdcodec.training.data.halves import Halves
from bcdcodec.training.data.shards import ShardClips, latents_of, pictures_of

READERS = 4  # threads


class ShardHalves:
    """Content from the first half of a clip, motion from the second. A function of (seed, step)."""

    def __init__(self, train: ShardClips, val: ShardClips, frames: int, stride: int):
        """`frames`: of a half; `stride`: from one to the next. Raises ModelError for no clips, or short ones."""
        self.train, self.val, self.frames, self.stride = train, val, frames, stride
        self.span = (2 * frames - 1) * stride + 1  # frames of a clip
        self.latents = bool(train.settings.vae_sha256)  # whether batches hold latents, else pictures
        if train.settings.frames < self.span or not len(train):
            raise ModelError(
                f"{train.path} has {len(train)} training clips of {train.settings.frames} frames, "
                f"a training clip needs {self.span}: prepare it with longer clips"
            )
        self.readers = ThreadPoolExecutor(READERS)
        self.ahead: dict[int, Future[Tensor]] = {}  # clips being read, by their place in the order

    @classmethod
    def open(cls, data: Path | str, size: int, frames: int, stride: int, seed: int) -> ShardHalves:
        """`size`: of the pictures that the model takes. Raises ModelError if others were prepared."""
        train, val = (ShardClips(data, split, seed) for split in ("train", "val"))
        if train.settings.size != size:
            raise ModelError(f"{data} has pictures of {train.settings.size} pixels, the model takes {size}")
        return cls(train, val, frames, stride)

    def batch(self, step: int, batch: int, share: slice = slice(None)) -> Halves:
        """The clips of a step, or a share of them: the same ones however many processes share them."""
        places = range(step * batch, (step + 1) * batch)[share]
        clips = [self.ahead.pop(n) if n in self.ahead else self.readers.submit(self._read, n) for n in places]
        for n in places:
            self.ahead[n + batch] = self.readers.submit(self._read, n + batch)
        halves = torch.stack([clip.result() for clip in clips])
        return Halves(halves[:, : self.frames], halves[:, self.frames :])

    def _read(self, n: int) -> Tensor:
        """Frames [t, c, h, w] of both halves of the `n`-th clip: latents, or pictures in [-1, 1]."""
        files = self.train.read(*self.train.place(n))
        start = int(np.random.default_rng((self.train.seed, n)).integers(self.train.settings.frames - self.span + 1))
        if self.latents:
            return latents_of(files)[start : start + self.span : self.stride].float()
        return to_pictures(pictures_of(files, self.train.settings.size)[start : start + self.span : self.stride])

    def held_out(self) -> Iterator[Halves]:
        """The pictures of the validation clips, one by one."""
        for place in self.val.with_pictures:
            pictures = to_pictures(pictures_of(self.val.read(*place), self.val.settings.size))
            halves = pictures[None, : self.span : self.stride]
            yield Halves(halves[:, : self.frames], halves[:, self.frames :])


def check_autoencoder(halves: ShardHalves, latents: Latents) -> None:
    """Raise ModelError unless the latents of the clips are of the run's image autoencoder."""
    found = halves.train.settings.vae_sha256
    if not isinstance(latents, VaeLatents) or latents.sha256() != found:
        own = latents.sha256()[:12] if isinstance(latents, VaeLatents) else "none"
        raise ModelError(
            f"{halves.train.path} has latents of the image autoencoder {found[:12]}, the run's is {own}: give that one "
            "with --vae, or prepare the data with the run's"
        )


class ShardPictures:
    """Clips of which there are pictures, one decoded at a time: what entropy tables are fitted on."""

    def __init__(self, clips: ShardClips, most: int):
        """Of at most `most` clips. Raises ModelError if there is none."""
        self.clips, self.places = clips, clips.with_pictures[:most]
        if not self.places:
            raise ModelError(f"none of the {len(clips)} clips in {clips.path} has pictures, which are needed here")
        self.lengths = np.full(len(self.places), clips.settings.frames, np.int64)
        self.names = tuple(f"{clips.shards[shard]} {clip}" for shard, clip in self.places)

    def clip(self, index: int) -> np.ndarray:
        """Pictures uint8 [t, h, w, 3]."""
        return pictures_of(self.clips.read(*self.places[index]), self.clips.settings.size)
