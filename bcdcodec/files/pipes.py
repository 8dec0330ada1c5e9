"""Standard input and output in place of files: `-`."""

from __future__ import annotations

import os
import sys
from typing import BinaryIO

STANDARD = "-"  # in place of a path; a file of that name is ./-


def is_standard(path: str | os.PathLike | None) -> bool:
    """Whether a path stands for standard input or output."""
    return path is not None and os.fspath(path) == STANDARD


def standard_input() -> BinaryIO:
    return sys.stdin.buffer


def standard_output() -> BinaryIO:
    return sys.stdout.buffer
