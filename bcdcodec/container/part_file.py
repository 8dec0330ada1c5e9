"""Files that get their name only when they are complete."""

import os
import secrets
from pathlib import Path
from typing import BinaryIO

from bcdcodec.errors import BcdError

MAX_NAME_BYTES = 230  # of a temporary name, before its ending; file systems take 255


class PartFile:
    """A file that is written under a temporary name beside its own, in the same folder.

    Through a symbolic link the file that it points to is written. Raises BcdError if it cannot be opened.
    """

    def __init__(self, path: str | Path):
        path = Path(path)
        if path.exists() and not path.is_file():
            raise BcdError(f"cannot write {path}: it exists and is not a regular file")
        self.path = Path(os.path.realpath(path))
        name = os.fsencode(self.path.name)[:MAX_NAME_BYTES].decode(errors="ignore")
        self._part = self.path.with_name(f".{name}.{secrets.token_hex(4)}.part")
        try:
            self.file: BinaryIO = open(self._part, "xb")
        except OSError as error:
            raise BcdError(f"cannot write {self.path}: {error.strerror}") from error

    def finish(self) -> None:
        """Close the file and give it its name; a file of that name is replaced. Raises OSError."""
        self.file.close()
        os.replace(self._part, self.path)

    def discard(self) -> None:
        """Remove what was written; nothing changes at the path."""
        try:
            self.file.close()
        except OSError:
            pass  # a full disk: what is buffered cannot be written, and is not wanted
        self._part.unlink(missing_ok=True)
