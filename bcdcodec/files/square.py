"""The square to code of a source: around the face, else the centre."""

from __future__ import annotations

from bcdcodec.errors import BcdError, MissingDetectorError
from bcdcodec.files import PathLike
from bcdcodec.files.pipes import is_standard
from bcdcodec.video import Crop, face_square

AUTO_CROP = "auto"  # in place of a square: around the face


def face_or_centre(source: PathLike) -> tuple[Crop | None, str]:
    """The square around the face, else None for the centre; and a note about it. Raises BcdError for standard input."""
    if is_standard(source):
        raise BcdError(
            "--crop auto reads its source twice and cannot with standard input: give a file, or --crop x,y,w,h"
        )
    try:
        square = face_square(source)
    except MissingDetectorError as error:
        return None, f"{error}; the centre square of {source} is coded"
    if square is None:
        return None, f"no face is found in {source}: the centre square is coded"
    return square, f"the face in {source} lies in {square} (x, y, width, height), which is coded"
