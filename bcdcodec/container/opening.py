"""Opens `.bcd` files by path, or from a file or pipe that is already open."""

import os
import tempfile
from pathlib import Path
from typing import BinaryIO

from bcdcodec.container.reader import BcdReader, Recording
from bcdcodec.entropy.model_tables import ModelTables
from bcdcodec.errors import BcdError

_SPOOL_BYTES = 16 << 20  # a pipe is kept in memory up to here, then on disk
_COPY_PIECE = 1 << 20


def open_bcd(source: str | Path | BinaryIO) -> BcdReader:
    """Open a `.bcd` file by path, or one already open for binary reading (a pipe is first copied to a temporary file).

    The reader closes the file. Raises BcdError if it cannot be opened, FormatError and its kinds if it is no
    `.bcd` file that this version reads.
    """
    file = open_path(source) if isinstance(source, str | Path) else source
    try:
        if not file.seekable():
            file = _spooled(file)
        return BcdReader(file, file.seek(0, os.SEEK_END))
    except OSError as error:
        file.close()
        raise BcdError(f"cannot read {source}: {error.strerror}") from error
    except BaseException:
        file.close()
        raise


def open_path(path: str | Path) -> BinaryIO:
    """Open a file for binary reading. Raises BcdError if it cannot be opened."""
    try:
        return open(path, "rb")
    except OSError as error:
        raise BcdError(f"cannot open {path}: {error.strerror}") from error


def read_recording(source: str | Path | BinaryIO, tables: ModelTables) -> Recording:
    """Return a whole file in memory; of a file that ends early, what is there."""
    with open_bcd(source) as reader:
        return reader.read(tables)


def _spooled(pipe: BinaryIO) -> BinaryIO:
    spool = tempfile.SpooledTemporaryFile(max_size=_SPOOL_BYTES)
    while piece := pipe.read(_COPY_PIECE):
        spool.write(piece)
    pipe.close()
    return spool
