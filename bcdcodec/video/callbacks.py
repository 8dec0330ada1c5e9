"""Files that FFmpeg reads and writes through Python, without losing an interruption on the way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO


class Interrupted(Exception):
    """A KeyboardInterrupt or SystemExit that a signal's handler raised while FFmpeg waited for this file."""

    def __init__(self, interruption: BaseException):
        super().__init__(str(interruption))
        self.interruption = interruption


class CallbackFile:
    """A binary file for `av.open`, to be used inside `interruptible`.

    PyAV hands an Exception of a callback on to its caller. What is a BaseException only, it prints and forgets, after
    which FFmpeg reads on and may wait for ever; at SystemExit it ends the process before any file is cleaned up.
    """

    def __init__(self, file: BinaryIO):
        self._file = file
        self._write_failed = False

    def read(self, size: int) -> bytes:
        return self._guarded(self._file.read, size)

    def write(self, data: bytes) -> int:
        if (
            self._write_failed
        ):  # FFmpeg goes on to the end of the file; PyAV prints a second error instead of raising it
            return len(data)
        try:
            return self._guarded(self._file.write, data)
        except OSError:
            self._write_failed = True
            raise

    def seek(self, offset: int, whence: int = 0) -> int:
        if self._write_failed:
            return offset
        return self._guarded(self._file.seek, offset, whence)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def _guarded(self, function: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return function(*arguments)
        except (KeyboardInterrupt, SystemExit) as interruption:
            raise Interrupted(interruption) from None


@contextmanager
def interruptible() -> Iterator[None]:
    """Raises the interruption itself where PyAV raises `Interrupted`."""
    try:
        yield
    except Interrupted as interrupted:
        raise interrupted.interruption from None
