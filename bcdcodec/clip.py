"""Whole recordings to files and back, with the tables of the model the file names. Needs no torch."""

from __future__ import annotations

import os

from bcdcodec.container import Recording, open_bcd, write_recording
from bcdcodec.modelstore import open_model


def read(path: str | os.PathLike, model: str | os.PathLike | None = None) -> Recording:
    """The recording in a `.bcd` file; `model`: a name or folder, else the model the file names.

    Raises FormatError for a damaged file, ModelMismatchError when the tables are not those it was coded with.
    """
    with open_bcd(str(path)) as reader:
        return reader.read(open_model(model or reader.head.model_name).tables)


def write(path: str | os.PathLike, recording: Recording, model: str | os.PathLike | None = None) -> None:
    """Write a recording as a `.bcd` file, whole or not at all."""
    write_recording(str(path), recording, open_model(model or recording.head.model_name).tables)
