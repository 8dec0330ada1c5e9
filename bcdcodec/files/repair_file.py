"""A damaged `.bcd` file into a valid one, with the tables of the model that it names where they are at hand."""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from bcdcodec.container import BcdReader, open_bcd
from bcdcodec.container.limits import excess
from bcdcodec.container.repair import RepairReport, read_head, repair, stated_sizes
from bcdcodec.errors import BcdError, ModelError, ModelMismatchError
from bcdcodec.files import PathLike
from bcdcodec.files.checks import checked_target, refuse_above
from bcdcodec.files.opening import model_of, naming
from bcdcodec.files.pipes import is_standard, standard_input

_SPOOL_BYTES = 16 << 20  # a repaired file is kept in memory up to here, then on disk


@dataclass(frozen=True)
class RepairSummary:
    """What `repair_file` wrote."""

    report: RepairReport
    notes: tuple[str, ...]  # what the user should know, one line each


def repair_file(
    source: PathLike, target: PathLike, model: PathLike | None = None, everything: bool = False
) -> RepairSummary:
    """Write what is whole in the file `source` as the valid file `target`, whole or not at all.

    `model`: name or folder; None: the shipped one that the file names. Without it only whole chunks are kept, and
    codes are not checked. So it is with a file that states more than `container.limits` allows, but for `everything`.
    Raises FormatError and its kinds where nothing can be repaired, ModelMismatchError if `model` did not make the file,
    BcdError for a target that cannot be written.
    """
    target = checked_target(target, source)
    if target.suffix.lower() != ".bcd":
        raise BcdError(f"cannot repair into {target}: its suffix is {target.suffix or 'missing'!r}, expected .bcd")
    data = _bytes_of(source)
    with naming(source):
        tables, notes = None, ()
        try:
            tables = model_of(read_head(data), model).tables
        except (ModelError, ModelMismatchError) as error:
            if model is not None:
                raise
            notes = (f"repaired without the model: {error}",)
        if tables is not None and not everything and (text := excess(*stated_sizes(data))):
            tables, notes = None, (f"repaired without the model: {text}; decode all with --all",)
        return RepairSummary(repair(data, target, tables), notes)


@contextmanager
def open_repaired(path: PathLike, model: PathLike | None, max_frames: int) -> Iterator[tuple[BcdReader, RepairReport]]:
    """An open file of what is whole in the file `path`, which is not changed; `-` is standard input.

    Raises as `repair_file`, ModelError if the model is not at hand, LimitError for more than `max_frames`.
    """
    data = standard_input().read() if is_standard(path) else _bytes_of(path)
    frames, values = stated_sizes(data)
    refuse_above(max_frames, frames, path, values)
    with tempfile.SpooledTemporaryFile(max_size=_SPOOL_BYTES) as spool:
        with naming(path):
            report = repair(data, spool, model_of(read_head(data), model).tables)
        with open_bcd(spool) as reader:
            yield reader, report


def _bytes_of(path: PathLike) -> bytes | mmap.mmap:
    """The bytes of a file; one that is large is not read into memory at once."""
    try:
        with open(path, "rb") as file:
            if os.fstat(file.fileno()).st_size <= _SPOOL_BYTES:
                return file.read()
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise BcdError(f"cannot read {path}: {error.strerror}") from error
