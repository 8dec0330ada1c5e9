"""Opens `.bcd` files by path, with the model they name; errors say which file they are about."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from bcdcodec.coding.head import check_model
from bcdcodec.container import BcdReader, Head, open_bcd
from bcdcodec.errors import FormatError, ModelError, ModelMismatchError
from bcdcodec.files.pipes import is_standard, standard_input
from bcdcodec.model_folder import ModelFolder, open_model, shipped_models


@contextmanager
def naming(path: str | os.PathLike) -> Iterator[None]:
    """Put the file's name before errors about its bytes or its model; two files may be open."""
    try:
        yield
    except (FormatError, ModelError, ModelMismatchError) as error:
        raise type(error)(f"{path}: {error}") from error


@contextmanager
def open_sound(path: str | os.PathLike) -> Iterator[BcdReader]:
    """An open `.bcd` file without a fault; a truncated file has none. `-` is standard input, read to its end.

    Raises FormatError and its kinds for any fault, BcdError when the file cannot be read.
    """
    with naming(path):
        reader = open_bcd(standard_input() if is_standard(path) else str(path))
    with reader:
        if reader.fault is not None:
            with naming(path):
                raise reader.fault
        yield reader


def model_of(head: Head, model: str | os.PathLike | None = None) -> ModelFolder:
    """The model a file was made with: `model`, or the shipped one of the name in HEAD.

    A name in a file is never taken for a path. Raises ModelError when the model is not at hand,
    ModelMismatchError when its weights are not those the file was made with.
    """
    name = head.model_name
    if model is None and name not in shipped_models():
        raise ModelError(
            f"the file was made with model {name!r}, which this bcdcodec does not ship "
            f"(it ships: {', '.join(shipped_models()) or 'none'}): use --model with its folder"
        )
    folder = open_model(name if model is None else model)
    check_model(head, folder)
    return folder
