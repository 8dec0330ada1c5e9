"""Images and timestamps into a video file or a folder of PNGs: `write_video`."""

from __future__ import annotations

import os
import secrets
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

import numpy as np

from bcdcodec.container.audio import AudioFormat
from bcdcodec.errors import VideoError
from bcdcodec.video.callbacks import interruptible
from bcdcodec.video.pipes import is_pipe
from bcdcodec.video.sinks import FORMATS, FileSink, FolderSink

MAX_NAME_BYTES = 240  # of a temporary name; file systems take 255
STILL_DURATION = Fraction(1, 25)  # seconds a single frame is shown when nothing else is said


def holds_sound(path: str | os.PathLike | BinaryIO) -> bool:
    """Returns whether what `write_video` makes at `path` can hold sound."""
    if not isinstance(path, (str, os.PathLike)):
        return True
    path = Path(path)
    if is_pipe(path):
        return True
    return not path.is_dir() and path.suffix.lower() in FORMATS and FORMATS[path.suffix.lower()].sound


def write_video(
    path: str | os.PathLike | BinaryIO,
    width: int,
    height: int,
    time_base: Fraction,
    metadata: dict[str, str] | None = None,
    sound: AudioFormat | None = None,
) -> VideoWriter:
    """Returns a writer of uint8 [height, width, 3] images; what it makes depends on `path`.

    - `.mp4`: H.264 at crf 16, pts exact when `time_base` has a numerator of 1 or its
      multiples do; `.mkv`: the same, pts rounded to Matroska's milliseconds; `.webm`: VP9, as `.mkv` otherwise.
    - `.gif`: 256 colours a frame, pts rounded to hundredths of a second.
    - `.apng`: lossless; the last frame is shown as long as the one before it.
    - a file open for binary writing, or a named pipe: Matroska (WebM if its name ends in .webm), of which nothing is
      ever written twice.
    - a folder (no suffix, a final `/`, or an existing folder): `000000.png`, ...; timestamps
      are not kept.

    An odd side of a video file is padded to the next even one by repeating its last row or
    column. `metadata` becomes tags of the file (of every PNG). `sound`: what `write_sound` will
    bring, for a path that `holds_sound`. All is written under a temporary name beside `path`, or beside the file that
    the link `path` points to, and renamed on success; after an exception nothing is left.

    VideoError when the suffix is unknown, the target cannot be written, or a folder that
    exists is not empty.
    """
    return VideoWriter(path, width, height, time_base, metadata, sound)


class VideoWriter:
    """Writes one image after the other; use it in a `with` statement, which finishes it."""

    def __init__(
        self,
        path: str | os.PathLike | BinaryIO,
        width: int,
        height: int,
        time_base: Fraction,
        metadata: dict[str, str] | None = None,
        sound: AudioFormat | None = None,
    ):
        stream = None if isinstance(path, (str, os.PathLike)) else path
        self.path = Path(path if stream is None else str(getattr(path, "name", "the given file object")))
        self._shape = (height, width, 3)
        self._time_base = Fraction(time_base)
        self._waiting: tuple[np.ndarray, int, int | None] | None = None
        self._step: int | None = None  # ticks between the two newest frames
        self._frames = 0
        self._partial: Path | None = None
        self._pipe: BinaryIO | None = None  # that this writer opened
        if stream is None and is_pipe(self.path):
            stream = self._pipe = _opened_pipe(self.path)
        if stream is not None:
            kind = ".webm" if self.path.suffix.lower() == ".webm" else ".mkv"
            self._sink = FileSink(stream, FORMATS[kind], self._shape, self._time_base, metadata or {}, sound)
            return
        # Through a link: what it points to is written.
        self._target = Path(os.path.realpath(self.path))
        as_folder = str(os.fspath(path)).endswith(("/", os.sep)) or self.path.is_dir()
        suffix = self.path.suffix.lower()
        if not (as_folder or suffix == "" or suffix in FORMATS):
            raise VideoError(
                f"cannot write {self.path}: {self.path.suffix} is not one of {', '.join(FORMATS)} or a folder"
            )
        # The suffix goes last, so that a program that looks at the folder knows what it is.
        ending = f".partial-{secrets.token_hex(4)}{suffix if not as_folder else ''}"
        stem = os.fsencode(self._target.stem)[: MAX_NAME_BYTES - len(ending)].decode(errors="ignore")
        self._partial = self._target.with_name(f".{stem}{ending}")
        try:
            if as_folder or suffix == "":
                self._sink = FolderSink(self._partial, self._target, metadata or {})
            else:
                self._sink = FileSink(
                    self._partial, FORMATS[suffix], self._shape, self._time_base, metadata or {}, sound
                )
        except OSError as error:
            raise VideoError(f"cannot write {self.path}: {error.strerror}") from None

    def write(self, image: np.ndarray, pts: int, duration: int | None = None) -> None:
        """Adds an image, uint8 [height, width, 3], shown from `pts`, in ticks.

        It is shown until the next one; `duration`, in ticks, counts for the last image only
        (None: as long as the one before it, or 1/25 s if it is alone). VideoError when the
        image has another shape, or pts is negative or not after the one before.
        """
        if image.shape != self._shape or image.dtype != np.uint8:
            raise VideoError(
                f"frame {self._frames} is {image.dtype} {list(image.shape)}, "
                f"{self.path} takes uint8 {list(self._shape)}"
            )
        if pts < 0:
            raise VideoError(f"frame {self._frames} has pts {pts}, below zero")
        if self._waiting is not None:
            before = self._waiting[1]
            if pts <= before:
                raise VideoError(f"frame {self._frames} has pts {pts}, not after {before}")
            self._step = pts - before
            self._put(self._waiting, self._step)
        self._waiting = (image.copy(), pts, duration)  # the caller may reuse its array
        self._frames += 1

    def write_sound(self, first_sample: int, packet: bytes) -> None:
        """Adds an Opus packet that starts at a sample of 1/48000 s from the first packet's start.

        In order, best shortly before the image shown then, and to a file that was begun with sound.
        """
        import av

        try:
            with interruptible():
                self._sink.put_sound(first_sample, packet)
        except (OSError, av.FFmpegError) as error:
            raise VideoError(f"cannot write {self.path}: {error.strerror}") from None

    def _put(self, waiting: tuple[np.ndarray, int, int | None], duration: int) -> None:
        import av

        image, pts, _ = waiting
        try:
            with interruptible():
                self._sink.put(image, pts, duration)
        except (OSError, av.FFmpegError) as error:
            raise VideoError(f"cannot write {self.path}: {error.strerror}") from None

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(self, exception_type, exception, traceback) -> None:
        if exception_type is None:
            self.close()
        else:
            self._discard()

    def close(self) -> None:
        """Finishes the video and gives it its name; VideoError when no frame was written."""
        import av

        try:
            if self._waiting is None:
                raise VideoError(f"no frame to write into {self.path}")
            still = max(1, round(STILL_DURATION / self._time_base))
            self._put(self._waiting, self._waiting[2] or self._step or still)
            self._waiting = None
            with interruptible():
                self._sink.finish()
            if self._partial is None:
                return
            if self._partial.is_dir() and self._target.is_dir():
                self._target.rmdir()  # empty, as checked; some systems do not replace a folder
            os.replace(self._partial, self._target)
        except (OSError, av.FFmpegError) as error:
            raise VideoError(f"cannot write {self.path}: {error.strerror}") from None
        finally:
            self._discard()

    def _discard(self) -> None:
        self._sink.discard()
        if self._pipe is not None:
            try:
                self._pipe.close()
            except OSError:
                pass  # whoever read it has gone


def _opened_pipe(path: Path) -> BinaryIO:
    if path.suffix.lower() not in ("", ".mkv", ".webm"):
        raise VideoError(f"{path} is a pipe, which takes Matroska or WebM: let its name end in .mkv or .webm")
    try:
        return open(path, "wb")
    except OSError as error:
        raise VideoError(f"cannot write {path}: {error.strerror}") from None
