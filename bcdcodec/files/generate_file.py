"""A reference image or a recording to a new recording: its face, in motion that a GPT-2 generates."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from bcdcodec.container import CHUNK_FRAMES, ByteCounts, Content, Head, Motion, Recording, write_recording
from bcdcodec.container.head import TABLES_FINGERPRINT_BYTES
from bcdcodec.device import pick_device
from bcdcodec.errors import BcdError, ModelMismatchError
from bcdcodec.files import PathLike, Progress
from bcdcodec.files.encode_file import EncodeOptions, encode_file
from bcdcodec.files.opening import model_of, naming, open_sound
from bcdcodec.generation.config import TEMPERATURE, TOP_P
from bcdcodec.generation.store import load_gpt2, open_gpt2
from bcdcodec.model_folder import DRAWN_MODEL, ModelFolder

MAX_SECONDS = 3600


@dataclass(frozen=True)
class GenerateOptions:
    """How motion is generated."""

    prompt: PathLike | None = None  # a `.bcd` file whose motion comes first
    gpt2: PathLike | None = None  # folder of a GPT-2; None: the one shipped with the model
    model: PathLike | None = None  # name or folder; None: the shipped one the content names, for pictures the default
    temperature: float = TEMPERATURE  # 0: always the most probable code
    top_p: float = TOP_P  # draw from the most probable codes that together have this share
    seed: int = 0  # of the draws
    device: str = "auto"  # auto, cpu, cuda or cuda:N


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
    options: GenerateOptions | None = None,
    progress: Progress | None = None,
) -> GenerateSummary:
    """Write a recording of `content`'s face that moves for `seconds`, after the prompt's motion; marked as generated.

    `content`: a `.bcd` file, or a picture or video that is encoded first.
    Raises FormatError and its kinds for damaged files, ModelError, ModelMismatchError, BcdError.
    """
    options, target = options or GenerateOptions(), Path(target)
    if target.suffix.lower() != ".bcd":
        raise BcdError(f"cannot generate into {target}: its suffix is {target.suffix or 'missing'!r}, expected .bcd")
    if not 0 < seconds <= MAX_SECONDS:
        raise BcdError(f"cannot generate {seconds:g} seconds, expected above 0 and at most {MAX_SECONDS}")
    with tempfile.TemporaryDirectory() as work:
        if Path(content).suffix.lower() != ".bcd":
            encoded = Path(work) / "reference.bcd"
            encode_file(
                content, encoded, EncodeOptions(options.model or DRAWN_MODEL, device=options.device, sound=None)
            )
            content = encoded
        head, reference, folder = _content_of(content, options.model)
    path, config = open_gpt2(options.gpt2, head)
    codes = [_codes_of(options.prompt, head, folder)] if options.prompt else []

    from bcdcodec.generation.sampling import SamplingOptions, pose_of, sample_motion  # torch takes seconds to load

    sampling = SamplingOptions(options.temperature, options.top_p, options.seed)
    network = load_gpt2(path, config, pick_device(options.device))
    count = max(1, round(seconds * folder.config.frame_rate))
    before = codes[0] if codes else pose_of(reference, head.groups)
    for i, frame in enumerate(sample_motion(network, reference.values, before, count, sampling)):
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
    how = {
        "generated": True,
        "gpt2": config.name,
        "temperature": options.temperature,
        "top_p": options.top_p,
        "seed": options.seed,
    }
    counts = write_recording(target, Recording(head, (reference,), tuple(motions), how), folder.tables)
    return GenerateSummary(len(merged), len(merged) / folder.config.frame_rate, counts)


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
