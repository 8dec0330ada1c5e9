"""Where decoded frames come from: a photo, a folder of pictures, or a file or pipe that PyAV opens."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

from bcdcodec.errors import VideoError
from bcdcodec.video.folder import FolderSource
from bcdcodec.video.photo import PhotoSource, open_photo
from bcdcodec.video.stream import StreamSource

Source = str | os.PathLike | BinaryIO
AnySource = StreamSource | FolderSource | PhotoSource


def open_source(source: Source, track: int | None = None) -> AnySource:
    """Opens a path, a folder of pictures or a binary file object for decoding.

    `track`: number of the video track, from 1; None for the default one. VideoError when the source does not exist,
    cannot be read, is no video, or has only audio.
    """
    if not isinstance(source, (str, os.PathLike)):
        return open_file(source, str(getattr(source, "name", "the given file object")), False, track)
    path = Path(source)
    if path.is_dir():
        return FolderSource(path, _open_picture)
    return open_file(open_path(path), str(path), True, track)


def open_file(file: BinaryIO, name: str, owns_file: bool, track: int | None = None) -> StreamSource | PhotoSource:
    """Opens a file object, which is closed with the source if this `owns_file`, and on errors."""
    try:
        photo = open_photo(file, name, owns_file) if file.seekable() else None
    except BaseException:
        if owns_file:
            file.close()
        raise
    return photo or StreamSource(file, name, owns_file, track)


def open_path(path: Path) -> BinaryIO:
    """Opens a file so that FFmpeg never sees its name.

    By name, FFmpeg would take `a:b.mp4` for a network protocol and `shot%03d.png` for a
    sequence of other files; a file opened by its descriptor has only a number for a name.
    """
    try:
        return open(os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0)), "rb")
    except FileNotFoundError:
        raise VideoError(f"no such file: {path}") from None
    except OSError as error:
        raise VideoError(f"cannot read {path}: {error.strerror}") from None


def _open_picture(path: Path) -> StreamSource | PhotoSource:
    return open_file(open_path(path), str(path), True)
