"""Motion codes to bytes and back, profile `static`: frame by frame, group g under table g."""

import numpy as np

from bcdcodec.entropy.range_coder import RangeDecoder, RangeEncoder
from bcdcodec.entropy.tables import FrequencyTables
from bcdcodec.errors import FormatError


def encode_motion(codes: np.ndarray, tables: FrequencyTables) -> bytes:
    """Return the coded bytes of `codes` uint8 [t, g] under `tables` [g, k]."""
    check_codes(codes, tables)
    encoder = RangeEncoder()
    encoder.encode(tables, codes, _groups(len(codes), tables))
    return encoder.finish()


def decode_motion(data: bytes, frames: int, tables: FrequencyTables) -> np.ndarray:
    """Return the codes uint8 [frames, g] of a whole payload."""
    symbols = RangeDecoder(data).decode(tables, _groups(frames, tables))
    return symbols.astype(np.uint8).reshape(frames, tables.n_tables)


def decode_motion_prefix(data: bytes, frames: int, tables: FrequencyTables) -> np.ndarray:
    """Return codes uint8 [t, g], t <= frames: the frames a payload cut after `data` holds for certain.

    Whatever the lost bytes were, the coded number lies between `data` followed by zeros and `data`
    followed by ones. Decoding is monotone in that number, so a symbol on which both agree (all
    earlier ones agreeing too) is the symbol that was written.
    """
    # one symbol costs at most 16 bits, so this many ones outlast any stream; the extra words fill the coder's window
    missing = max(0, 2 * frames * tables.n_tables - len(data)) + 16
    low, high = RangeDecoder(data), RangeDecoder(bytes(data) + b"\xff" * missing)
    groups = _groups(1, tables)
    codes = []
    for _ in range(frames):
        try:
            lowest, highest = low.decode(tables, groups), high.decode(tables, groups)
        except FormatError:  # beyond the end the ones may leave the coder's range, which settles nothing
            break
        if not np.array_equal(lowest, highest):
            break
        codes.append(lowest.astype(np.uint8))
    return np.array(codes, np.uint8).reshape(len(codes), tables.n_tables)


def check_codes(codes: np.ndarray, tables: FrequencyTables) -> None:
    """Raise FormatError unless `codes` is uint8 [t, g] for these tables."""
    if codes.dtype != np.uint8 or codes.ndim != 2:
        raise FormatError(f"codes are {codes.dtype} {list(codes.shape)}, expected uint8 [frames, groups]")
    if codes.shape[1] != tables.n_tables:
        raise FormatError(f"codes have {codes.shape[1]} groups, the tables {tables.n_tables}")


def _groups(frames: int, tables: FrequencyTables) -> np.ndarray:
    return np.tile(np.arange(tables.n_tables), frames)  # [t * g]
