"""Training footage on disk: frames of many clips in one memory-mapped array, made once from a folder of video."""

from __future__ import annotations

import csv
import hashlib
import json
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from bcdcodec.errors import BcdError, VideoError

VIDEO_SUFFIXES = (".mp4", ".mkv", ".mov", ".webm", ".avi", ".gif")
PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png")
HELD_OUT_SHARE = 0.1  # of the files, where no manifest says which


@dataclass(frozen=True)
class ClipStore:
    """Clips of one split; a picture is a clip of one frame."""

    frames: np.ndarray  # uint8 [n, h, w, 3], all clips one after another
    starts: np.ndarray  # int64 [clips], first frame of each clip
    lengths: np.ndarray  # int64 [clips]
    names: tuple[str, ...]

    def clip(self, index: int) -> np.ndarray:
        """Frames of one clip, uint8 [t, h, w, 3]."""
        return self.frames[self.starts[index] : self.starts[index] + self.lengths[index]]

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """A frame uint8 [h, w, 3] of any clip, each clip as often as the others."""
        clip = self.clip(int(rng.integers(len(self.lengths))))
        return clip[int(rng.integers(len(clip)))]


def split_of(folder: Path) -> dict[str, list[Path]]:
    """Files for `train` and `val`.

    A `manifest.csv` with columns `file` and `split` decides where there is one (other splits are left
    alone); otherwise a tenth of the files, chosen by a hash of the name, is held out.
    Raises VideoError when nothing can be trained on.
    """
    if not folder.is_dir():
        raise VideoError(f"no folder {folder}: --data must name a folder of video files")
    files: dict[str, list[Path]] = {"train": [], "val": []}
    manifest = folder / "manifest.csv"
    if manifest.exists():
        with manifest.open(newline="") as stream:
            for row in csv.DictReader(stream):
                if row.get("split") in files:
                    files[row["split"]].append(folder / row["file"])
    else:
        for path in sorted(folder.rglob("*")):
            if path.suffix.lower() in VIDEO_SUFFIXES + PICTURE_SUFFIXES:
                digest = hashlib.sha256(str(path.relative_to(folder)).encode()).digest()
                files["val" if digest[0] < 256 * HELD_OUT_SHARE else "train"].append(path)
        if files["train"] and not files["val"]:
            files["val"] = files["train"][-1:]
            files["train"] = files["train"][:-1] or files["val"]
        files["train"] = files["train"] or files["val"]  # one video is both
    if not files["train"]:
        raise VideoError(f"no video or picture to train on in {folder} (0 files)")
    return files


def load_store(folder: Path, split: str, size: int, cache: Path, every: int = 1) -> ClipStore:
    """Clips of a split at size x size pixels, every `every`-th frame; decoded once into `cache`, then memory-mapped.

    A file that cannot be read is left out with a note in the cache's list, not fatal.
    """
    of = f"{folder.resolve()}|{split}|{size}" + (f"|{every}" if every > 1 else "")
    key = hashlib.sha256(of.encode()).hexdigest()[:12]
    array, listing = cache / f"{split}-{size}-{key}.npy", cache / f"{split}-{size}-{key}.json"
    if not listing.exists():
        cache.mkdir(parents=True, exist_ok=True)
        _decode_all(split_of(folder)[split], folder, size, every, array, listing)
    info = json.loads(listing.read_text())
    lengths = np.array(info["lengths"], np.int64)
    return ClipStore(np.load(array, mmap_mode="r"), np.cumsum(lengths) - lengths, lengths, tuple(info["names"]))


def _decode_all(files: list[Path], folder: Path, size: int, every: int, array: Path, listing: Path) -> None:
    from bcdcodec.video import read_frames

    raw = array.with_suffix(".raw")
    names, lengths, skipped = [], [], []
    with raw.open("wb") as stream:
        for path in files:
            count = 0
            try:
                with read_frames(path, None, size) as reader:
                    for _, picture in islice(reader, 0, None, every):
                        stream.write(np.ascontiguousarray(picture, np.uint8).tobytes())
                        count += 1
            except BcdError as error:
                skipped.append(f"{path}: {error}")
            if count:
                names.append(str(path.relative_to(folder)))
                lengths.append(count)
    total = sum(lengths)
    if not total:
        raise VideoError(f"none of {len(files)} files in {folder} could be read; first: {(skipped or ['-'])[0]}")
    # Straight from the raw file, so that memory stays flat.
    out = np.lib.format.open_memmap(array, mode="w+", dtype=np.uint8, shape=(total, size, size, 3))
    out[:] = np.memmap(raw, np.uint8, "r", shape=(total, size, size, 3))
    out.flush()
    raw.unlink()
    listing.write_text(json.dumps({"names": names, "lengths": lengths, "skipped": skipped}))
