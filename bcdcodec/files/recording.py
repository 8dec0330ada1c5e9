"""Whole recordings to files and back, with the tables of the model the file names. Needs no torch."""

from __future__ import annotations

import os

from bcdcodec.container import Recording, open_bcd, write_recording
from bcdcodec.files.opening import model_of


def read(path: str | os.PathLike, model: str | os.PathLike | None = None) -> Recording:
    """The recording in a `.bcd` file; `model`: a name or folder, else the model the file names.

    Raises FormatError for a damaged file, ModelMismatchError when the file was made with another model.
    """
    with open_bcd(str(path)) as reader:
        return reader.read(model_of(reader.head, model).tables)


def write(path: str | os.PathLike, recording: Recording, model: str | os.PathLike | None = None) -> None:
    """Write a recording as a `.bcd` file, whole or not at all."""
    write_recording(str(path), recording, model_of(recording.head, model).tables)
