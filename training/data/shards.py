"""Training clips in WebDataset tars: the files of a prepared data set, and their reading in a shuffled, known order.

A folder or URL holds `shards.json` (the settings), tars of clips, and a journal for each process that wrote tars: a
line a tar with the sources it holds and the bytes of every clip. Any WebDataset reader reads the tars in sequence.
`ShardClips` reads single clips by their bytes instead: then the order is a function of the seed alone, and a run goes
on at any clip at no cost, with any number of processes.
"""

from __future__ import annotations

import io
import json
import tarfile
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from fsspec.core import url_to_fs
from torch import Tensor

from bcdcodec.errors import ModelError

SETTINGS = "shards.json"
PICTURES, LATENTS = "mkv", "safetensors"  # suffixes of a clip's files; json has its source
GROUP = 16  # shards whose clips are shuffled together


@dataclass(frozen=True)
class ShardSettings:
    """What all clips of a prepared data set have in common."""

    size: int  # pixels, side of the pictures
    frames: int  # of a clip
    rate: int  # frames a second
    crop: str  # "auto": around the face; "centre"
    vae_sha256: str = ""  # of the image autoencoder whose latents are kept; "" where there are none

    @classmethod
    def read(cls, text: str, place: str) -> ShardSettings:
        try:
            return cls(**json.loads(text))
        except (TypeError, ValueError) as error:
            raise ModelError(f"{place} is not readable: {error}") from error

    def text(self) -> str:
        return json.dumps(asdict(self), indent=1)


@dataclass(frozen=True)
class ShardRecord:
    """One finished tar: a line of a journal."""

    shard: str  # name of the tar; "" if none of the sources had a clip
    clips: list[tuple[int, int]]  # first byte and end of each clip in the tar
    pictures: list[int]  # numbers of the clips that have pictures
    sources: list[str]  # names of the videos that were read
    skipped: dict[str, str]  # of these: why a video, or its rest, was left out

    def line(self) -> str:
        return json.dumps(asdict(self)) + "\n"


def journal_name(split: str, part: int) -> str:
    return f"{split}-{part:03d}.jsonl"


def journal_records(text: str) -> list[ShardRecord]:
    """The tars that a journal lists; half a line at its end, of a process that was killed, is passed over."""
    return [ShardRecord(**json.loads(line)) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def is_prepared(folder: Path | str) -> bool:
    """Whether a folder or URL holds a prepared data set."""
    fs, path = url_to_fs(str(folder))
    return fs.exists(f"{path}/{SETTINGS}")


def scan_tar(tar: Path) -> tuple[list[tuple[int, int]], list[int]]:
    """First byte and end of each clip in a tar, whose files follow one another; and which clips have pictures."""
    ranges: dict[str, tuple[int, int]] = {}
    pictures = []
    with tarfile.open(tar, "r:") as archive:
        for member in archive:
            key, suffix = member.name.split(".", 1)
            end = member.offset_data + -(-member.size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
            ranges[key] = ranges.get(key, (member.offset, 0))[0], end
            if suffix == PICTURES:
                pictures.append(len(ranges) - 1)
    return list(ranges.values()), pictures


class ShardClips:
    """The clips of one split, in an endless shuffled order that is a function of the seed.

    Each epoch has every clip once: the shards in random order, and the clips of GROUP shards among each other. Kept in
    memory are 16 bytes a clip, and nothing of what was read. Raises ModelError.
    """

    def __init__(self, folder: Path | str, split: str, seed: int):
        self.fs, self.path = url_to_fs(str(folder))
        self.seed = seed
        self.settings = ShardSettings.read(self.fs.read_text(f"{self.path}/{SETTINGS}"), f"{folder}/{SETTINGS}")
        shards, ranges, self.with_pictures = [], [], []
        for journal in sorted(self.fs.glob(f"{self.path}/{split}-*.jsonl")):
            for record in journal_records(self.fs.read_text(journal)):
                if record.shard:
                    self.with_pictures += [(len(shards), clip) for clip in record.pictures]
                    shards.append(record.shard)
                    ranges.append(np.array(record.clips, np.int64))  # [clips, 2]
        self.shards, self.ranges = shards, ranges  # with_pictures: pairs of a shard and a number in it
        self.counts = np.array([len(r) for r in ranges], np.int64)
        self.groups = lru_cache(2)(self._group)

    def __len__(self) -> int:
        """Clips of an epoch."""
        return int(self.counts.sum())

    def place(self, n: int) -> tuple[int, int]:
        """Shard and number in it of the `n`-th clip of the order."""
        epoch, n = divmod(n, len(self))
        order, ends = self._epoch(epoch)
        group = int(np.searchsorted(ends, n, "right"))
        before = int(ends[group - 1]) if group else 0
        shard, clip = self.groups(epoch, group)[n - before]
        return int(order[group * GROUP + shard]), int(clip)

    def _epoch(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """The order of the shards in an epoch, and the clips up to the end of each group of them."""
        order = np.random.default_rng((self.seed, epoch)).permutation(len(self.counts))
        ends = np.cumsum(self.counts[order])
        return order, np.append(ends[GROUP - 1 :: GROUP], ends[-1:]) if len(ends) % GROUP else ends[GROUP - 1 :: GROUP]

    def _group(self, epoch: int, group: int) -> np.ndarray:
        """Pairs [clips, 2] of shard of the group and clip of the shard, shuffled."""
        counts = self.counts[self._epoch(epoch)[0][group * GROUP : (group + 1) * GROUP]]
        shards = np.repeat(np.arange(len(counts)), counts)
        clips = np.concatenate([np.arange(count) for count in counts])
        return np.random.default_rng((self.seed, epoch, group)).permutation(np.stack([shards, clips], 1))

    def read(self, shard: int, clip: int) -> dict[str, bytes]:
        """The files of a clip by their suffix, from one range of bytes."""
        first, end = self.ranges[shard][clip]
        data = self.fs.cat_file(f"{self.path}/{self.shards[shard]}", int(first), int(end))
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
            return {m.name.split(".", 1)[1]: archive.extractfile(m).read() for m in archive}


def latents_of(files: dict[str, bytes]) -> Tensor:
    """The latents [t, c, h, w] of a clip, in bfloat16."""
    from safetensors.torch import load

    return load(files[LATENTS])["latents"]


def pictures_of(files: dict[str, bytes], size: int) -> np.ndarray:
    """The pictures uint8 [t, size, size, 3] of a clip."""
    from bcdcodec.video import read_pictures

    return read_pictures(io.BytesIO(files[PICTURES]), None, size)


def latents_file(latents: Tensor) -> bytes:
    """Latents [t, c, h, w] as a file, in bfloat16."""
    from safetensors.torch import save

    return save({"latents": latents.to(torch.bfloat16).cpu().contiguous()})
