"""The demonstration: two rendered people are coded, decoded, and one is driven by the other's motion."""

from __future__ import annotations

import os
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from bcdcodec.benchmarks.contact_sheet import contact_sheet
from bcdcodec.benchmarks.measure.pictures import psnr
from bcdcodec.errors import BcdError
from bcdcodec.files import Progress
from bcdcodec.files.decode_file import DecodeOptions, decode_file
from bcdcodec.files.encode_file import EncodeOptions, encode_file
from bcdcodec.files.info import describe_file
from bcdcodec.model_folder import DEFAULT_MODEL, open_model
from bcdcodec.video import encode_png, read_pictures, write_video

SECONDS = 4
FRAME_RATE = 25  # Hz
SEEDS = {"a": (31, 0), "b": (31, 1)}  # of the two people and their motion; training uses others
COLUMNS = 8  # moments in the picture
STEPS = 8  # reported to `progress`
ROWS = ("a, original", "a, decoded", "b's face in a's motion, decoded", "b's face in a's motion, exact rendering")


@dataclass(frozen=True)
class DemoReport:
    """What the demonstration measured: PSNR in dB over all frames, `describe_file`'s facts, the picture's path."""

    facts: dict[str, dict]  # of a.bcd and b.bcd, by person
    decoded_db: dict[str, float]  # decoded against original, by person
    reenacted_db: float  # b in a's motion against its exact rendering
    still_db: float  # b's first frame, held, against the same
    unchanged_db: float  # a's own video against the same
    picture: Path
    rows: tuple[str, ...]  # of the picture, from above


def run_demo(
    folder: str | os.PathLike,
    model: str | os.PathLike = DEFAULT_MODEL,
    device: str = "auto",
    progress: Progress | None = None,
) -> DemoReport:
    """Fill `folder` (made if missing) with videos, `.bcd` files and demo.png; files of these names are replaced.

    Raises ModelError, BcdError when the folder cannot be written.
    """
    out = Path(folder)
    size = open_model(model).config.latent.picture_size
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BcdError(f"cannot make folder {out}: {error.strerror}") from error
    steps = iter(range(1, STEPS + 1))

    def step() -> None:
        if progress:
            progress(next(steps), STEPS)

    truth = _render_people(out, size, step)
    names = {"a": "a.decoded.mp4", "b": "b.decoded.mp4"}
    decoding = DecodeOptions(model, device)
    for person, decoded in names.items():
        recording = out / f"{person}.bcd"
        encode_file(out / f"{person}.mp4", recording, EncodeOptions(model, device))
        step()
        decode_file(recording, out / decoded, options=decoding)
        step()
    decode_file(out / "a.bcd", out / "b.as-a.mp4", out / "b.bcd", decoding)
    step()

    original = {person: read_pictures(out / f"{person}.mp4", None, size) for person in names}
    decoded = {person: read_pictures(out / name, None, size) for person, name in names.items()}
    reenacted = read_pictures(out / "b.as-a.mp4", None, size)
    picture = out / "demo.png"
    sheet = contact_sheet((original["a"], decoded["a"], reenacted, truth), COLUMNS)
    try:
        picture.write_bytes(encode_png(sheet))
    except OSError as error:
        raise BcdError(f"cannot write {picture}: {error.strerror}") from error
    return DemoReport(
        facts={person: describe_file(out / f"{person}.bcd") for person in names},
        decoded_db={person: psnr(decoded[person], original[person]) for person in names},
        reenacted_db=psnr(reenacted, truth),
        still_db=psnr(np.broadcast_to(original["b"][:1], truth.shape), truth),
        unchanged_db=psnr(original["a"], truth),
        picture=picture,
        rows=ROWS,
    )


def _render_people(out: Path, size: int, step) -> np.ndarray:
    """Write a.mp4, b.mp4 and b.as-a.truth.mp4; return the last one's pictures [t, h, w, 3] as they were rendered."""
    from bcdcodec.training.data.procedural import Identity, render, sample_motion

    people, motions = {}, {}
    for person, seed in SEEDS.items():
        rng = np.random.default_rng(seed)
        people[person] = Identity.sample(rng)
        motions[person] = sample_motion(rng, SECONDS * FRAME_RATE)
    for name, person, motion in (("a", "a", "a"), ("b", "b", "b"), ("b.as-a.truth", "b", "a")):
        pictures = render(people[person], motions[motion], size)
        with write_video(out / f"{name}.mp4", size, size, Fraction(1, FRAME_RATE)) as video:
            for i, picture in enumerate(pictures):
                video.write(picture, i)
        step()
    return pictures
