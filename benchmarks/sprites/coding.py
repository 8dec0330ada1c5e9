"""The test clips as files: every clip is encoded, written, read back; what is measured later comes from these files."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from bcdcodec.codec import Codec
from bcdcodec.container import ByteCounts, Content, Head, Motion, Recording, open_bcd, write_recording
from bcdcodec.training.data.sheets import ACTIONS, FRAMES

Progress = Callable[[Iterable], Iterable]


@dataclass(frozen=True)
class CodedClips:
    """What the files of the clips hold."""

    head: Head
    codes: np.ndarray  # uint8 [n, t, g]
    contents: tuple[Content, ...]  # of each clip
    sizes: tuple[ByteCounts, ...]  # of each file


@dataclass(frozen=True)
class Rate:
    """Bits and bytes of the test clips under the model's static tables."""

    clips: int
    bits_per_frame: float  # information of all codes under the tables
    file_bits_per_frame: float  # coded motion bytes of the files of 8 frames; a file holds whole bytes
    character_files: int  # files of one character's nine clips in a row, 72 frames
    character_file_bits_per_frame: float  # coded motion bytes of those
    content_bytes: float  # mean of a file of 8 frames
    container_bytes: float
    total_bytes: float
    total_bits_per_frame: float  # of a file of 8 frames
    character_total_bits_per_frame: float  # of a file of 72 frames


@dataclass(frozen=True)
class Speed:
    """Seconds, medians after loading and one run to warm up."""

    threads: int
    clips: int
    encode_s: float  # of an 8-frame clip
    decode_s: float  # of an 8-frame clip, at `steps`
    steps: int


def code_clips(codec: Codec, clips: np.ndarray, progress: Progress = lambda items: items) -> CodedClips:
    """Encode clips uint8 [n, 8, 64, 64, 3] into a file each, in profile static as the paper counts, and read those."""
    tables = codec.folder.tables
    head, codes, contents, sizes = None, [], [], []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.bcd"
        for clip in progress(clips):
            write_recording(path, codec.encode(clip, profile="static"), tables)
            with open_bcd(str(path)) as reader:
                recording = reader.read(tables)
                sizes.append(reader.byte_counts)
            head = recording.head
            codes.append(recording.motions[0].codes)
            contents.append(recording.contents[0])
    return CodedClips(head, np.stack(codes), tuple(contents), tuple(sizes))


def measure_rate(codec: Codec, coded: CodedClips) -> Rate:
    """The rate of all clips, which are every action of each character in turn."""
    tables = codec.folder.tables
    flat = coded.codes.reshape(-1, coded.codes.shape[2])  # [frames, g]
    bits = tables.motion.ideal_bits(flat, np.tile(np.arange(flat.shape[1]), len(flat)))
    long_sizes = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "character.bcd"
        for start in range(0, len(coded.codes) - len(ACTIONS) + 1, len(ACTIONS)):
            codes = coded.codes[start : start + len(ACTIONS)].reshape(-1, flat.shape[1])
            recording = Recording(
                replace(coded.head, frame_count=len(codes)),
                coded.contents[start : start + 1],
                (Motion(0, 0, codes, None),),
            )
            long_sizes.append(write_recording(path, recording, tables))
    long_frames = len(ACTIONS) * FRAMES
    mean = {
        kind: float(np.mean([getattr(s, kind) for s in coded.sizes]))
        for kind in ("motion", "content", "container", "total")
    }
    long_mean = {kind: float(np.mean([getattr(s, kind) for s in long_sizes])) for kind in ("motion", "total")}
    return Rate(
        len(coded.codes),
        bits / len(flat),
        mean["motion"] * 8 / FRAMES,
        len(long_sizes),
        long_mean["motion"] * 8 / long_frames,
        mean["content"],
        mean["container"],
        mean["total"],
        mean["total"] * 8 / FRAMES,
        long_mean["total"] * 8 / long_frames,
    )


def measure_speed(codec: Codec, clips: np.ndarray) -> Speed:
    """Encode and decode each of a few clips uint8 [n, 8, 64, 64, 3] alone, as `bcd` does after loading."""
    import torch

    encode_s, decode_s = [], []
    for clip in clips[[0, *range(len(clips))]]:  # the first twice: what it takes to warm up is not counted
        began = time.perf_counter()
        recording = codec.encode(clip)
        encode_s.append(time.perf_counter() - began)
        began = time.perf_counter()
        codec.decode(recording)
        decode_s.append(time.perf_counter() - began)
    return Speed(
        torch.get_num_threads(),
        len(clips),
        float(np.median(encode_s[1:])),
        float(np.median(decode_s[1:])),
        codec.config.diffusion.steps,
    )
