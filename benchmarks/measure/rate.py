"""Information of the codes of a recording in bits, frame by frame, against which the entropy coder is measured."""

from __future__ import annotations

import numpy as np

from bcdcodec.container import Recording
from bcdcodec.entropy.context import write_context
from bcdcodec.entropy.model_tables import ModelTables
from bcdcodec.entropy.profiles import PROFILE_CONTEXT
from bcdcodec.entropy.tables import FREQUENCY_TOTAL, FrequencyTables


def frame_bits(recording: Recording, tables: ModelTables) -> np.ndarray:
    """Information of each frame's codes in the file's own profile, bits: float [t].

    Frames between coded ones have none. The coder starts afresh with every chunk of motion, as in the file.
    """
    parts = []
    for motion in recording.motions:
        if recording.head.entropy_profile == PROFILE_CONTEXT:
            bits = _context_bits(motion.codes, tables)
        else:
            bits = static_bits(motion.codes, tables.motion)
        shown = np.zeros(motion.frames)
        shown[:: motion.stride] = bits
        parts.append(shown)
    return np.concatenate(parts)


def static_bits(codes: np.ndarray, tables: FrequencyTables) -> np.ndarray:
    """Information of each of codes uint8 [t, g] under one table a group [g, k], bits: float [t]."""
    chosen = tables.frequencies[np.arange(codes.shape[1]), codes]  # [t, g]
    return _bits(chosen).sum(1)


def all_codes(recording: Recording) -> np.ndarray:
    """The codes of all chunks, uint8 [u, g]."""
    return np.concatenate([motion.codes for motion in recording.motions])


def code_counts(codes: np.ndarray, alphabet: int) -> np.ndarray:
    """How often each code comes in each group of codes uint8 [t, g]: int [g, k]."""
    return np.stack([np.bincount(group, minlength=alphabet) for group in codes.T])


def _context_bits(codes: np.ndarray, tables: ModelTables) -> np.ndarray:
    counter = _Counter()
    write_context(counter, codes, tables.context_tables())
    return np.array(counter.frames)


class _Counter:
    """Takes the place of a range encoder and adds up information."""

    def __init__(self):
        self.frames: list[float] = []

    def encode(self, tables: FrequencyTables, symbols: np.ndarray, table_index: np.ndarray) -> None:
        self.frames.append(float(_bits(tables.frequencies[table_index, np.asarray(symbols, np.int64)]).sum()))

    def encode_under(self, frequencies: np.ndarray, symbols: np.ndarray) -> None:
        self.frames[-1] += float(_bits(frequencies[np.arange(len(symbols)), symbols]).sum())


def _bits(frequencies: np.ndarray) -> np.ndarray:
    return np.log2(FREQUENCY_TOTAL) - np.log2(frequencies.astype(np.float64))
