"""A photo in place of a `.bcd` file, for the face of a reenactment."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bcdcodec.container.chunks import SIGNATURE
from bcdcodec.errors import BcdError, VideoError
from bcdcodec.files import PathLike
from bcdcodec.files.encode_file import EncodeOptions, encode_file
from bcdcodec.files.pipes import is_standard
from bcdcodec.files.square import AUTO_CROP
from bcdcodec.video import is_pipe, read_frames


@contextmanager
def content_file(path: PathLike, model: PathLike, device: str, vae: str | None) -> Iterator[tuple[PathLike, list[str]]]:
    """`path` if it is a `.bcd` file; of a photo a temporary one, of the face and encoded with `model`, and notes.

    Raises BcdError for anything else.
    """
    if is_standard(path) or is_pipe(path) or _is_bcd(path):
        yield path, []
        return
    try:
        with read_frames(path, None, 16) as picture:
            is_photo = picture.is_photo
    except VideoError as error:
        raise BcdError(f"{path} is neither a .bcd file nor a photo: {error}") from None
    if not is_photo:
        raise BcdError(f"{path} is a video: encode it first, and give the .bcd file with --content")
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "photo.bcd"
        done = encode_file(path, target, EncodeOptions(model, device, vae, AUTO_CROP, surroundings=True))
        yield target, list(done.notes[:-1])  # the last one tells what to do with the file


def _is_bcd(path: PathLike) -> bool:
    try:
        with open(path, "rb") as file:
            return file.read(len(SIGNATURE)) == SIGNATURE
    except OSError as error:
        raise BcdError(f"cannot open {path}: {error.strerror}") from None
