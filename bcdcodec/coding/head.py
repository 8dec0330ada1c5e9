"""The HEAD of a recording: what a model writes into it, and whether it names that model. Needs no torch."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from bcdcodec.container import Head
from bcdcodec.container.head import MODEL_FINGERPRINT_BYTES, TABLES_FINGERPRINT_BYTES
from bcdcodec.errors import ModelMismatchError
from bcdcodec.model_folder import ModelFolder


@dataclass(frozen=True)
class Geometry:
    """Where the coded square lies in the source picture, pixels."""

    source_width: int
    source_height: int
    crop: tuple[int, int, int, int]  # x, y, w, h


def make_head(
    folder: ModelFolder,
    geometry: Geometry,
    time_base: Fraction,
    frame_duration: int,
    seed: int = 0,
    profile: str | None = None,
) -> Head:
    """The HEAD of a recording by a model; `time_base` in seconds, `frame_duration` in ticks, 0 when it varies.

    `profile`: static or context, of the motion; None: context where the model has tables for it. Raises ModelError
    for a profile that the model has no tables for.
    """
    q, tables, size = folder.config.quantiser, folder.tables, folder.config.latent.picture_size
    entropy_profile = tables.motion_profile(profile)
    return Head(
        source_width=geometry.source_width,
        source_height=geometry.source_height,
        crop=geometry.crop,
        coded_width=size,
        coded_height=size,
        time_base_num=time_base.numerator,
        time_base_den=time_base.denominator,
        frame_duration=frame_duration,
        frame_count=0,
        groups=q.groups,
        codes=q.codes,
        sampler_seed=seed,
        model_fingerprint=folder.fingerprint[:MODEL_FINGERPRINT_BYTES],
        tables_fingerprint=tables.fingerprint(entropy_profile, tables.content_profile)[:TABLES_FINGERPRINT_BYTES],
        model_name=folder.name,
        entropy_profile=entropy_profile,
        content_profile=tables.content_profile,
    )


def check_model(head: Head, folder: ModelFolder) -> None:
    """Raise ModelMismatchError unless a file's HEAD names this model's weights."""
    found = folder.fingerprint[:MODEL_FINGERPRINT_BYTES]
    if found != head.model_fingerprint:
        raise ModelMismatchError(
            f"the file was made with model {head.model_name!r} ({head.model_fingerprint.hex()[:12]}), "
            f"this is {folder.name!r} ({found.hex()[:12]}): use --model with the folder it was made with"
        )
