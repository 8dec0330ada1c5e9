"""Files to files: video to `.bcd` and back."""

from __future__ import annotations

import os
from collections.abc import Callable

PathLike = str | os.PathLike
Progress = Callable[[int, int | None], None]  # frames done, frames in all where known
