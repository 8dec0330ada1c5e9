"""Which paths name pipes and devices."""

from __future__ import annotations

import os
import stat
from typing import BinaryIO


def is_pipe(source: str | os.PathLike | BinaryIO) -> bool:
    """Returns whether a path or file object is a pipe or a device, which is read or written once, from the front."""
    if not isinstance(source, (str, os.PathLike)):
        return not source.seekable()
    try:
        mode = os.stat(source).st_mode
    except (OSError, ValueError):
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISCHR(mode) or stat.S_ISSOCK(mode)
