"""Motion codes to bytes and back, profile `context`: per frame which groups change, then their new codes."""

import numpy as np

from bcdcodec.entropy.context_state import ContextState, clipped
from bcdcodec.entropy.context_tables import ContextTables, change_frequencies
from bcdcodec.entropy.range_coder import RangeDecoder, RangeEncoder
from bcdcodec.entropy.tables import FrequencyTables
from bcdcodec.errors import FormatError

CHANGES = FrequencyTables(change_frequencies())  # [6144, 2]


def encode_context(codes: np.ndarray, tables: ContextTables) -> bytes:
    """Return the coded bytes of `codes` uint8 [t, g], t >= 1, each below k."""
    encoder = RangeEncoder()
    write_context(encoder, codes, tables)
    return encoder.finish()


def write_context(encoder: RangeEncoder, codes: np.ndarray, tables: ContextTables) -> None:
    """Append `codes` uint8 [t, g] to an encoder: per frame the changes, then the new codes if there are any."""
    write_frames(encoder, codes, ContextState(tables), tables)


def write_frames(encoder: RangeEncoder, codes: np.ndarray, state: ContextState, tables: ContextTables) -> None:
    """Append `codes` uint8 [t, g] to an encoder, as frames that follow those the state knows; it takes note of them."""
    for frame in codes:
        if not state.begun:
            encoder.encode(tables.first, frame, np.arange(len(frame)))
            state.begin(frame)
            continue
        moved = state.codes != frame  # [g]
        logits = state.change_logits()
        changes = 0
        for stage, groups in state.stages:
            logits[groups] += state.activity(stage, changes)
            changes += int(np.count_nonzero(moved[groups]))
        encoder.encode(CHANGES, moved, clipped(logits))
        if changes:
            changed = np.flatnonzero(moved)
            encoder.encode_under(state.successor_frequencies(changed), frame[changed])
        state.advance(frame)


def decode_context(data: bytes, frames: int, tables: ContextTables) -> np.ndarray:
    """Return the codes uint8 [frames, g] of a whole payload; FormatError for bytes that no writer makes."""
    return read_frames(data, frames, ContextState(tables), tables)


def read_frames(data: bytes, frames: int, state: ContextState, tables: ContextTables) -> np.ndarray:
    """Return the codes uint8 [frames, g] of a whole payload that follows the frames the state knows; it notes them."""
    return np.stack(list(_frames(RangeDecoder(data), frames, state, tables)))


def decode_context_prefix(data: bytes, frames: int, tables: ContextTables) -> np.ndarray:
    """Return codes uint8 [t, g], t <= frames: the frames a payload cut after `data` holds for certain.

    As for the static profile: a symbol is certain if continuations with zeros and with ones agree on it.
    """
    groups = tables.first.n_tables
    # A change and its code cost at most 32 bits, so this many ones are longer than any stream; the extra words fill
    # the coder's window.
    missing = max(0, 4 * frames * groups - len(data)) + 16
    codes = []
    try:
        certain = _CertainDecoder(data, bytes(data) + b"\xff" * missing)
        for frame in _frames(certain, frames, ContextState(tables), tables):
            codes.append(frame)  # one by one: what came before the end counts
    except (FormatError, _Uncertain):  # beyond the end the ones may leave the coder's range, which settles nothing
        pass
    return np.array(codes, np.uint8).reshape(len(codes), groups)


def _frames(decoder: "RangeDecoder | _CertainDecoder", frames: int, state: ContextState, tables: ContextTables):
    """Yield the codes uint8 [g] of each frame."""
    for _ in range(frames):
        if not state.begun:
            codes = decoder.decode(tables.first, np.arange(tables.first.n_tables)).astype(np.uint8)
            state.begin(codes)
            yield codes
            continue
        codes = state.codes.astype(np.uint8)
        logits = state.change_logits()
        moved = np.empty(len(codes), bool)
        changes = 0
        for stage, groups in state.stages:
            flags = decoder.decode(CHANGES, clipped(logits[groups] + state.activity(stage, changes)))
            moved[groups] = flags
            changes += int(flags.sum())
        if changes:
            changed = np.flatnonzero(moved)
            after = decoder.decode_under(state.successor_frequencies(changed))
            if np.any(after == codes[changed]):
                raise FormatError("coded data is damaged: a group changes to the code that it had")
            codes[changed] = after
        state.advance(codes)
        yield codes


class _Uncertain(Exception):
    """The next symbol depends on bytes that are not there."""


class _CertainDecoder:
    """Decodes two continuations of a cut payload side by side while they agree."""

    def __init__(self, low: bytes, high: bytes):
        self._low, self._high = RangeDecoder(low), RangeDecoder(high)

    def decode(self, tables: FrequencyTables, table_index: np.ndarray) -> np.ndarray:
        return self._agreed(self._low.decode(tables, table_index), self._high.decode(tables, table_index))

    def decode_under(self, frequencies: np.ndarray) -> np.ndarray:
        return self._agreed(self._low.decode_under(frequencies), self._high.decode_under(frequencies))

    @staticmethod
    def _agreed(lowest: np.ndarray, highest: np.ndarray) -> np.ndarray:
        if not np.array_equal(lowest, highest):
            raise _Uncertain
        return lowest
