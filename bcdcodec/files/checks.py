"""Checks before any work: targets that can be written, files of one model, times that a player can hold."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path

from bcdcodec.container import Head
from bcdcodec.container.limits import MAX_VALUES
from bcdcodec.errors import BcdError, LimitError, ModelMismatchError
from bcdcodec.files import PathLike
from bcdcodec.files.pipes import is_standard
from bcdcodec.video.pipes import is_pipe

MAX_TICK = 2**31 - 1  # numerator and denominator of a time base in FFmpeg
MAX_FRAME_SECONDS = 86400


def check_same_model(source: PathLike, head: Head, content: PathLike, other: Head) -> None:
    """Raise ModelMismatchError unless two files are of one model."""
    if head.model_fingerprint != other.model_fingerprint:
        raise ModelMismatchError(
            f"{content} was made with model {other.model_name!r} ({other.model_fingerprint.hex()[:12]}), {source} with "
            f"{head.model_name!r} ({head.model_fingerprint.hex()[:12]}): --content must be of the same model"
        )


def checked_target(target: PathLike, *sources: PathLike | None) -> Path:
    """The path of an output, checked before any work is put into it."""
    path = Path(target)
    if is_standard(target) or is_pipe(target):
        return path
    parent = path.parent
    if not parent.is_dir():
        reason = "is not a folder" if parent.exists() else "does not exist; make it first"
        raise BcdError(f"cannot write {path}: folder {parent} {reason}")
    if not os.access(parent, os.W_OK):
        raise BcdError(f"cannot write {path}: folder {parent} is not writable")
    for source in sources:
        if source is not None and path.exists() and Path(source).exists() and path.samefile(source):
            raise BcdError(f"the output {path} is the input {source}: give another name")
    return path


def playable_time_base(path: PathLike, head: Head) -> Fraction:
    """Seconds a tick. Raises LimitError where no video file can hold it: the format has a larger range than FFmpeg."""
    time_base = Fraction(head.time_base_num, head.time_base_den)
    frame = time_base * max(head.frame_duration, 1)
    if max(time_base.numerator, time_base.denominator) > MAX_TICK or frame > MAX_FRAME_SECONDS:
        raise LimitError(
            f"{path}: a tick is {time_base} s and a frame {head.frame_duration} ticks; a video holds ticks "
            f"with numbers to {MAX_TICK} and frames to {MAX_FRAME_SECONDS} s"
        )
    return time_base


def refuse_above(max_frames: int, frames: int, path: PathLike, values: int = 0) -> None:
    """Raise LimitError for more frames, or more values of all contents together, than may be decoded."""
    if frames > max_frames:
        raise LimitError(f"{path} has {frames} frames or more, the limit is {max_frames}: raise it with --max-frames")
    if values > MAX_VALUES:
        raise LimitError(f"{path} has contents of {values} values, the limit is {MAX_VALUES}")
