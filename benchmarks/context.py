"""Entropy profile context beside static, and beside what a GPT-2 predicts: bits, speed and the cost of resets."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from bcdcodec.benchmarks.measure.rate import all_codes
from bcdcodec.benchmarks.report.render import as_markdown
from bcdcodec.benchmarks.report.tables import frame
from bcdcodec.benchmarks.statistics import evenly_in_time, number
from bcdcodec.codec import Codec
from bcdcodec.container import Recording, read_recording, write_recording
from bcdcodec.container.head import TABLES_FINGERPRINT_BYTES
from bcdcodec.entropy.context import decode_context, encode_context
from bcdcodec.entropy.motion import decode_motion, encode_motion
from bcdcodec.entropy.profiles import PROFILES
from bcdcodec.errors import FormatError
from bcdcodec.training.data.clips import split_of
from bcdcodec.video import read_pictures

CHUNK_FRAMES = 256  # of a file's MOTN
OTHER_CHUNKS = (32, 64, 128, 4096)  # frames, for the cost of a reset
TIMED_FRAMES = 20_000  # coded at least, repeating the clips where they are fewer
SPRITE_CLIPS = 360  # where all would be thousands of the same few motions


@dataclass(frozen=True)
class ProfileResult:
    """One profile on all clips."""

    name: str
    bits_per_frame: float  # coded motion bytes of files as written
    kbps: float  # the same, over the clips' time
    encode_fps: float  # frames a second of one core's time, codes in memory
    decode_fps: float


@dataclass(frozen=True)
class ContextReport:
    """All clips of one model."""

    model: str
    frame_rate: float
    clips: int
    frames: int
    profiles: tuple[ProfileResult, ...]  # static, context
    bits_by_chunk: dict[int, float]  # profile context with so many frames a MOTN: bits a frame
    gpt2_bits: float | None = (
        None  # a frame, of ideal coding under a GPT-2's predictions; floats, so no file can use it
    )

    @property
    def saved(self) -> float:
        """Share of the static profile's motion bytes that context saves."""
        static, context = self.profiles
        return 1 - context.bits_per_frame / static.bits_per_frame

    def markdown(self) -> str:
        """The report as text."""
        rows = [
            (p.name, number(p.bits_per_frame, 2), number(p.kbps, 3), f"{p.encode_fps:.0f}, {p.decode_fps:.0f}")
            for p in self.profiles
        ]
        if self.gpt2_bits is not None:
            kbps = self.gpt2_bits * self.frame_rate / 1000
            rows.append(("ideal under the GPT-2", number(self.gpt2_bits, 2), number(kbps, 3), ""))
        profiles = frame(("profile", "bits a frame", "kbit/s", "frames coded, decoded a second and core"), rows)
        names = ("frames a chunk, profile context", *map(str, self.bits_by_chunk))
        chunks = frame(names, [("bits a frame", *(number(b, 2) for b in self.bits_by_chunk.values()))])
        head = f"{self.model}: {self.clips} clips, {self.frames} frames; profile context saves {100 * self.saved:.1f} %"
        return f"{head} of the motion\n\n{as_markdown(profiles)}\n\n{as_markdown(chunks)}\n"


def held_out_pictures(codec: Codec, data: Path, most: int | None) -> Iterator[np.ndarray]:
    """Clips uint8 [t, h, w, 3] that the model was not trained on, evenly picked where there are more than `most`."""
    if codec.config.model == "sprites":
        from bcdcodec.training.data.sheets import Sheets, split
        from bcdcodec.training.data.sprite_batches import SpriteClips

        clips = SpriteClips(Sheets.load(data), split()[1])
        yield from map(clips.clip, evenly_in_time(len(clips.lengths), most or SPRITE_CLIPS))
        return
    paths = split_of(data)["val"]
    for index in evenly_in_time(len(paths), most or len(paths)):
        yield read_pictures(paths[index], None, codec.picture_size)


def run(codec: Codec, clips: Iterable[np.ndarray], gpt2: Path | None = None) -> ContextReport:
    """Encode clips once and write their codes both ways; `gpt2`: the folder of one, to compare with.

    Raises ModelError for a model without context tables, ModelMismatchError for a GPT-2 of another model.
    """
    tables, rate = codec.folder.tables, codec.config.frame_rate
    tables.context_tables()
    recordings = [codec.encode(pictures, rate) for pictures in clips]
    codes = [all_codes(recording) for recording in recordings]
    frames = sum(map(len, codes))
    coders = {
        "static": (encode_motion, decode_motion, tables.motion),
        "context": (encode_context, decode_context, tables.context),
    }
    results = []
    for name, (encode, decode, table) in coders.items():
        size = sum(_motion_bytes(codec, recording, name) for recording in recordings)
        fps = _speed(
            _chunks(codes, CHUNK_FRAMES),
            lambda c, e=encode, t=table: e(c, t),
            lambda d, n, f=decode, t=table: f(d, n, t),
        )
        results.append(ProfileResult(name, 8 * size / frames, 8 * size * rate / frames / 1000, *fps))
    by_chunk = {
        length: 8 * sum(len(encode_context(chunk, tables.context)) for chunk in _chunks(codes, length)) / frames
        for length in sorted((*OTHER_CHUNKS, CHUNK_FRAMES))
    }
    predicted = None if gpt2 is None else _gpt2_bits(gpt2, recordings)
    return ContextReport(codec.config.name, rate, len(codes), frames, tuple(results), by_chunk, predicted)


def _gpt2_bits(folder: Path, recordings: list[Recording]) -> float:
    """Bits a frame that ideal coding would take under the GPT-2's predictions."""
    from bcdcodec.generation.store import load_gpt2, open_gpt2
    from bcdcodec.training.gpt2 import CodedClip, evaluate_gpt2

    path, config = open_gpt2(folder, recordings[0].head)
    clips = [
        CodedClip(r.contents[0].values.astype(np.float32).ravel(), all_codes(r).astype(np.int64)) for r in recordings
    ]
    return evaluate_gpt2(load_gpt2(path, config), clips).bits_per_frame


def _motion_bytes(codec: Codec, recording: Recording, profile: str) -> int:
    """Coded motion bytes of a recording's file in a profile. Raises FormatError if other codes are read back."""
    tables, number = codec.folder.tables, PROFILES[profile]
    fingerprint = tables.fingerprint(number, recording.head.content_profile)[:TABLES_FINGERPRINT_BYTES]
    head = replace(recording.head, entropy_profile=number, tables_fingerprint=fingerprint)
    file = io.BytesIO()
    counts = write_recording(file, replace(recording, head=head), tables)
    file.seek(0)
    back = read_recording(file, tables)
    if not all(np.array_equal(a.codes, b.codes) for a, b in zip(back.motions, recording.motions)):
        raise FormatError(f"profile {profile} gives other codes than were written")
    return counts.motion


def _speed(chunks: list[np.ndarray], encode: Callable, decode: Callable) -> tuple[float, float]:
    """Frames a second of processor time, encoding and decoding."""
    frames = sum(map(len, chunks))
    repeats = -(-TIMED_FRAMES // frames)
    began = time.process_time()
    for _ in range(repeats):
        coded = [encode(chunk) for chunk in chunks]
    between = time.process_time()
    for _ in range(repeats):
        for data, chunk in zip(coded, chunks):
            decode(data, len(chunk))
    return repeats * frames / (between - began), repeats * frames / (time.process_time() - between)


def _chunks(codes: list[np.ndarray], length: int) -> list[np.ndarray]:
    return [clip[start : start + length] for clip in codes for start in range(0, len(clip), length)]
