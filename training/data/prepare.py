"""`bcd data prepare`: videos of any kind into WebDataset tars of clips for training."""

from __future__ import annotations

import io
import json
import os
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import count
from pathlib import Path

import numpy as np

from bcdcodec.errors import BcdError, ModelError, VideoError
from bcdcodec.models.latents import Latents, VaeLatents, to_unit
from bcdcodec.training.data.layouts import SPLITS, SourceVideo, videos_of
from bcdcodec.training.data.shards import (
    LATENTS,
    PICTURES,
    SETTINGS,
    ShardRecord,
    ShardSettings,
    journal_name,
    journal_records,
    latents_file,
    scan_tar,
)
from bcdcodec.training.data.steady import at_rate, steady_clips
from bcdcodec.training.precision import mixed_precision
from bcdcodec.video import FaceChoice, choose_face, read_frames, write_video
from bcdcodec.video.detector import find_detector

AUTO = "auto"
PICTURES_EVERY = 50  # clips for training with latents keep their pictures, too: entropy tables are fitted on pictures


@dataclass(frozen=True)
class PrepareOptions:
    """How a data set is prepared."""

    size: int = 256  # pixels, side of the pictures
    rate: int = 25  # frames a second
    frames: int = 100  # of a clip
    crop: str = AUTO  # the square around the face; or "centre"
    layout: str = "auto"
    vae: str | None = None  # hub name or folder of an image autoencoder, whose latents are kept in place of pictures
    device: str = "cpu"
    shard_mib: int = 512  # size after which a tar is closed; its last video may make it larger
    part: int = 0  # this process takes the videos whose number is `part` modulo `parts`
    parts: int = 1


@dataclass(frozen=True)
class PrepareReport:
    """What one process has written so far; videos that an earlier run finished are in it."""

    videos: int
    clips: int
    shards: int
    skipped: dict[str, str]  # video -> why it, or its rest, was left out


def prepare(
    raw: Path, out: Path, options: PrepareOptions, progress: Callable[[int, int | None], None] | None = None
) -> PrepareReport:
    """Make tars of clips from the videos of `raw`; goes on where an earlier run was stopped.

    Every video is decoded once (for `crop` "auto" twelve pictures of it before). Clips of `frames` frames follow one
    another; a cut, or a picture that stands still, ends one, and what is shorter is left out. Clips have pictures. With
    a `vae` they have latents; then those for validation, and every PICTURES_EVERY-th for training, keep their pictures.
    A video that cannot be read is listed and passed over. Raises BcdError for another data set in `out`, and for face
    detection without a detector.
    """
    if options.crop == AUTO:
        find_detector()  # raises before any work
    vae = None if options.vae is None else VaeLatents(options.vae, options.device)
    settings = ShardSettings(
        options.size, options.frames, options.rate, options.crop, "" if vae is None else vae.sha256()
    )
    videos = videos_of(raw, options.layout)
    out.mkdir(parents=True, exist_ok=True)
    _keep_settings(out / SETTINGS, settings)
    done, total = 0, sum(len(videos[split][options.part :: options.parts]) for split in SPLITS)
    for split in SPLITS:
        finished = {name for record in _records(out, split) for name in record.sources}
        mine = videos[split][options.part :: options.parts]
        with ShardSeries(out, split, options) as shards:
            for video in mine:
                done += 1
                if video.name not in finished:
                    shards.add(video.name, _clips(video, options, vae, 1 if split == "val" else PICTURES_EVERY))
                if progress:
                    progress(done, total)
    return _report(out, options.part)


class ShardSeries:
    """Writes the tars and the journal of one split and process.

    A tar ends only between two videos, and one that is not finished is thrown away: no clip is there twice.
    """

    def __init__(self, out: Path, split: str, options: PrepareOptions):
        self.out, self.split, self.options = out, split, options
        self.journal = out / journal_name(split, options.part)
        records = _read_journal(self.journal)
        self.journal.write_text("".join(record.line() for record in records))  # without half a line of a killed process
        self.names = (f"{split}-{options.part:03d}-{n:06d}.tar" for n in count(sum(bool(r.shard) for r in records)))
        self.clip = sum(len(record.clips) for record in records)
        self._open()

    def _open(self) -> None:
        from webdataset import TarWriter

        self.sources: list[str] = []
        self.skipped: dict[str, str] = {}
        self.part = self.out / f".{self.split}-{self.options.part:03d}.tar.part"
        self.file = self.part.open("wb")
        self.tar = TarWriter(self.file, encoder=False)
        self.empty = True

    def add(self, name: str, clips: Iterator[dict[str, bytes]]) -> None:
        """Write the clips of one video; one that fails is listed."""
        written = 0
        try:
            for files in clips:
                key = f"{self.split}_{self.options.part:03d}_{self.clip:08d}"
                self.tar.write({"__key__": key, **files})
                self.clip, written, self.empty = self.clip + 1, written + 1, False
            if not written:
                seconds = self.options.frames / self.options.rate
                raise VideoError(f"no {seconds:g} s without a cut or a picture that stands still")
        except BcdError as error:
            self.skipped[name] = str(error) + (f" (after {written} clips)" if written else "")
        self.sources.append(name)
        if self.file.tell() >= self.options.shard_mib * 2**20:
            self._finish()
            self._open()

    def _finish(self) -> None:
        """Give the tar its name, and note it: a tar without its line is written again."""
        self.tar.close()
        self.file.close()
        name, ranges, pictures = "", [], []
        if not self.empty:
            name, (ranges, pictures) = next(self.names), scan_tar(self.part)
            self.part.replace(self.out / name)
        if self.sources:
            with self.journal.open("a") as journal:
                journal.write(ShardRecord(name, ranges, pictures, self.sources, self.skipped).line())
                journal.flush()
                os.fsync(journal.fileno())

    def __enter__(self) -> ShardSeries:
        return self

    def __exit__(self, kind, *exception) -> None:
        if kind is None:
            self._finish()
        else:
            self.tar.close()
            self.file.close()
        self.part.unlink(missing_ok=True)


def _clips(
    video: SourceVideo, options: PrepareOptions, vae: Latents | None, pictures_every: int
) -> Iterator[dict[str, bytes]]:
    """The files of each clip of a video, by suffix. `pictures_every`: where there are latents. Raises VideoError."""
    chosen = zlib.crc32(video.name.encode()) % pictures_every  # most videos have few clips
    choice = _square(video, options)
    with read_frames(video.path, choice.crop, options.size, turn=choice.turn) as frames:
        ticks = at_rate(frames, frames.time_base, options.rate)
        for number, (first, pictures) in enumerate(steady_clips(ticks, options.frames)):
            facts = {"source": video.name, "person": video.person, "start_s": first / options.rate}
            files = {"json": json.dumps(facts).encode()}
            if vae is not None:
                with mixed_precision(options.device):
                    files[LATENTS] = latents_file(vae.encode(to_unit(pictures).to(options.device)))
            if vae is None or (number + chosen) % pictures_every == 0:
                files[PICTURES] = _video_file(pictures, options.rate)
            yield files


def _square(video: SourceVideo, options: PrepareOptions) -> FaceChoice:
    if options.crop != AUTO:
        return FaceChoice(None)
    choice = choose_face(video.path, None, options.size)
    if choice.crop is None:
        raise VideoError("no face is found")
    return choice


def _video_file(pictures: np.ndarray, rate: int) -> bytes:
    """Pictures uint8 [t, h, w, 3] as H.264 in Matroska."""
    file = io.BytesIO()
    file.name = "clip.mkv"
    with write_video(file, pictures.shape[2], pictures.shape[1], Fraction(1, rate)) as writer:
        for i, picture in enumerate(pictures):
            writer.write(picture, i)
    return file.getvalue()


def _keep_settings(path: Path, settings: ShardSettings) -> None:
    """Write the settings, or compare them with those of what is there."""
    if path.exists():
        found = ShardSettings.read(path.read_text(), str(path))
        if found != settings:
            raise ModelError(
                f"{path.parent} holds clips made with {found}, asked for are {settings}: give another --out"
            )
        return
    part = path.with_name(f".{path.name}.{os.getpid()}")
    part.write_text(settings.text())
    part.replace(path)


def _read_journal(path: Path) -> list[ShardRecord]:
    return journal_records(path.read_text()) if path.exists() else []


def _records(out: Path, split: str) -> Iterator[ShardRecord]:
    for journal in sorted(out.glob(f"{split}-*.jsonl")):
        yield from _read_journal(journal)


def _report(out: Path, part: int) -> PrepareReport:
    records = [record for split in SPLITS for record in _read_journal(out / journal_name(split, part))]
    return PrepareReport(
        sum(len(record.sources) for record in records),
        sum(len(record.clips) for record in records),
        sum(bool(record.shard) for record in records),
        {name: why for record in records for name, why in record.skipped.items()},
    )
