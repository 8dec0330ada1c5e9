"""Clips one under the other at the same moments, as one picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def contact_sheet(clips: Sequence[np.ndarray], moments: int) -> np.ndarray:
    """A row of so many moments for each of clips uint8 [t, h, w, 3] of one length: uint8 [H, W, 3]."""
    picked = np.linspace(0, len(clips[0]) - 1, moments).round().astype(int)
    return np.ascontiguousarray(np.concatenate([np.concatenate(list(clip[picked]), 1) for clip in clips]))
