"""The square to code of a source: around a face, else the centre."""

from __future__ import annotations

from bcdcodec.errors import BcdError
from bcdcodec.files import PathLike
from bcdcodec.files.pipes import is_standard
from bcdcodec.video import FaceChoice, choose_face

AUTO_CROP = "auto"  # in place of a square: around the face


def face_or_centre(source: PathLike, number: int | None, coded_side: int, track: int | None) -> FaceChoice:
    """The square around a face, as `choose_face` gives it. Raises BcdError for standard input."""
    if is_standard(source):
        raise BcdError(
            "--crop auto reads its source twice and cannot with standard input: give a file, or --crop x,y,w,h"
        )
    return choose_face(source, number, coded_side, track)
