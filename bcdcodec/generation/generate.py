"""A still or a recording to a new recording: its face, in motion that a GPT-2 invents."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from bcdcodec.container import CHUNK_FRAMES, ByteCounts, Content, Head, Motion, Recording, write_recording
from bcdcodec.container.head import TABLES_FINGERPRINT_BYTES
from bcdcodec.device import pick_device
from bcdcodec.errors import BcdError, ModelMismatchError
from bcdcodec.files.opening import model_of, naming, open_sound
from bcdcodec.generation.config import TEMPERATURE, TOP_P
from bcdcodec.generation.store import load_gpt2, open_gpt2
from bcdcodec.model_folder import DEFAULT_MODEL, ModelFolder

MAX_SECONDS = 3600

PathLike = str | os.PathLike
Progress = Callable[[int, int | None], None]


@dataclass(frozen=True)
class GenerateSummary:
    """What `generate_file` wrote."""

    frames: int
    duration_s: float  # seconds
    byte_counts: ByteCounts


def generate_file(
    content: PathLike,
    target: PathLike,
    seconds: float,
    prompt: PathLike | None = None,
    gpt2: PathLike | None = None,
    model: PathLike | None = None,
    temperature: float = TEMPERATURE,
    top_p: float = TOP_P,
    seed: int = 0,
    device: str = "auto",
    progress: Progress | None = None,
) -> GenerateSummary:
    """Write a recording of `content`'s face that moves for `seconds`, marked as generated; after the motion of `prompt`, if given.

    `content`: a `.bcd` file, or a picture or video whose still is taken; `gpt2`: the folder of one, else the one
    shipped with the model; `model`: a name or folder, else the shipped one that `content` names (for pictures: the default).
    Raises FormatError and its kinds for damaged files, ModelError, ModelMismatchError, BcdError.
    """
    target = Path(target)
    if target.suffix.lower() != ".bcd":
        raise BcdError(f"cannot generate into {target}: its suffix is {target.suffix or 'missing'!r}, expected .bcd")
    if not 0 < seconds <= MAX_SECONDS:
        raise BcdError(f"cannot generate {seconds:g} seconds, expected above 0 and at most {MAX_SECONDS}")
    with tempfile.TemporaryDirectory() as work:
        if Path(content).suffix.lower() != ".bcd":
            content = _encoded(content, Path(work) / "still.bcd", model, device)
        head, still, folder = _content_of(content, model)
    path, config = open_gpt2(gpt2, head)
    codes = [_codes_of(prompt, head, folder)] if prompt else []

    from bcdcodec.generation.sampling import (
        SamplingOptions,
        pose_of,
        sample_motion,
    )  # after the cheap checks: torch takes seconds

    options = SamplingOptions(temperature, top_p, seed)
    network = load_gpt2(path, config, pick_device(device))
    count = max(1, round(seconds * folder.config.frame_rate))
    before = codes[0] if prompt else pose_of(still, head.groups)
    for i, frame in enumerate(sample_motion(network, still.values, before, count, options)):
        codes.append(frame[None])
        if progress:
            progress(i + 1, count)
    merged = np.concatenate(codes)
    motions = [Motion(start, 0, merged[start : start + CHUNK_FRAMES]) for start in range(0, len(merged), CHUNK_FRAMES)]
    profile = folder.tables.motion_profile(None)
    head = replace(
        head,
        generated=True,
        frame_count=0,
        frame_duration=1,
        time_base_num=1,
        time_base_den=round(folder.config.frame_rate),
        entropy_profile=profile,
        tables_fingerprint=folder.tables.fingerprint(profile, head.content_profile)[:TABLES_FINGERPRINT_BYTES],
    )
    how = {"generated": True, "gpt2": config.name, "temperature": temperature, "top_p": top_p, "seed": seed}
    counts = write_recording(target, Recording(head, (still,), tuple(motions), how), folder.tables)
    return GenerateSummary(len(merged), len(merged) / folder.config.frame_rate, counts)


def _encoded(picture: PathLike, target: Path, model: PathLike | None, device: str) -> Path:
    """The file of a picture's or video's content."""
    from bcdcodec.files.transcode import encode_file

    encode_file(picture, target, DEFAULT_MODEL if model is None else model, device=device, sound=None)
    return target


def _content_of(path: PathLike, model: PathLike | None) -> tuple[Head, Content, ModelFolder]:
    """HEAD, first content and model of a file."""
    with open_sound(path) as reader, naming(path):
        folder = model_of(reader.head, model)
        return reader.head, replace(reader.content(0, folder.tables), number=0, first_frame=0), folder


def _codes_of(path: PathLike, head: Head, folder: ModelFolder) -> np.ndarray:
    """All codes [t, g] of a file of the same model."""
    with open_sound(path) as reader, naming(path):
        if reader.head.model_fingerprint != head.model_fingerprint:
            raise ModelMismatchError(
                f"the prompt is of model {reader.head.model_name!r}, the content of {head.model_name!r}: use one model"
            )
        return np.concatenate([motion.codes for motion in reader.motion(folder.tables)])
