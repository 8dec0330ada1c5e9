"""Range coder over integer frequency tables: constriction's queue coder, rounding pinned and tail trimmed."""

import numpy as np

from bcdcodec.entropy.tables import FrequencyTables, exact_weights
from bcdcodec.errors import FormatError

BATCH = 16384  # symbols handed over at once; bounds the gathered weights to 8 MiB for 128 symbols

_FULL = 1 << 64


def _stream():
    from constriction import stream  # here, because `bcd info` never codes and should not wait for it

    return stream


class RangeEncoder:
    """Encodes symbols in order; the tables may change between calls."""

    def __init__(self):
        stream = _stream()
        self._coder = stream.queue.RangeEncoder()
        self._family = stream.model.Categorical(perfect=False)

    def encode(self, tables: FrequencyTables, symbols: np.ndarray, table_index: np.ndarray) -> None:
        """Append `symbols` [n], symbol i under row `table_index[i]` of `tables`; FormatError for one that they lack."""
        symbols = np.asarray(symbols).ravel()
        table_index = np.asarray(table_index).ravel()
        if symbols.shape != table_index.shape:
            raise FormatError(f"{symbols.size} symbols for {table_index.size} table indices, expected as many")
        if symbols.size and not 0 <= int(symbols.min()) <= int(symbols.max()) < tables.n_symbols:
            raise FormatError(
                f"symbols span {symbols.min()} to {symbols.max()}, the tables have 0 to {tables.n_symbols - 1}"
            )
        for start in range(0, symbols.size, BATCH):
            part = slice(start, start + BATCH)
            self._coder.encode(symbols[part].astype(np.int32), self._family, tables.coder_weights[table_index[part]])

    def encode_under(self, frequencies: np.ndarray, symbols: np.ndarray) -> None:
        """Append `symbols` [n], symbol i under row i of frequencies [n, n_symbols]: each at least 1, 65536 a row."""
        self._coder.encode(symbols.astype(np.int32), self._family, exact_weights(frequencies))

    def finish(self) -> bytes:
        """Return the coded bytes: big-endian words without what the decoder's zero fill restores."""
        words = self._coder.get_compressed()
        data = words.astype(">u4").tobytes()
        if not data:
            return b""
        return _shortest_tail(data, *self._coder.pos()).rstrip(b"\0")


def _shortest_tail(data: bytes, settled_words: int, state: tuple) -> bytes:
    """Return the shortest byte string that, zero filled, still lies in the coder's final interval.

    constriction closes with one or two whole words, so that anything may follow. Here zeros follow,
    and the number with the most trailing zero bytes inside [lower, lower + range) is enough.
    """
    lower, width = state
    head, tail = data[: 4 * settled_words], data[4 * settled_words :]
    if int.from_bytes(tail[:4], "big") << 32 < lower:
        return data  # the closing word carried into the words before it: keep it as it is
    # The coder keeps width at 2**32 or more, so that a number whose lower half is zero is always inside.
    points = (-(-lower >> shift) << shift for shift in (56, 48, 40, 32))  # lower, rounded up to whole bytes
    point = next(point for point in points if point < _FULL and point - lower < width)
    return head + point.to_bytes(8, "big")


class RangeDecoder:
    """Decodes what RangeEncoder wrote; bytes after the end of `data` read as zero."""

    def __init__(self, data: bytes):
        stream = _stream()
        padded = bytes(data) + bytes(-len(data) % 4)
        self._coder = stream.queue.RangeDecoder(np.frombuffer(padded, dtype=">u4").astype(np.uint32))
        self._family = stream.model.Categorical(perfect=False)

    def decode(self, tables: FrequencyTables, table_index: np.ndarray) -> np.ndarray:
        """Return the next symbols, int32 [n], symbol i under row `table_index[i]` [n].

        Raises FormatError for bytes that no encoder writes.
        """
        table_index = np.asarray(table_index).ravel()
        parts = []
        for start in range(0, table_index.size, BATCH):
            weights = tables.coder_weights[table_index[start : start + BATCH]]
            parts.append(self._decode(weights))
        return np.concatenate(parts) if parts else np.zeros(0, np.int32)

    def decode_under(self, frequencies: np.ndarray) -> np.ndarray:
        """Return the next symbols, int32 [n], symbol i under row i of `frequencies`; see `encode_under`."""
        return self._decode(exact_weights(frequencies))

    def _decode(self, weights: np.ndarray) -> np.ndarray:
        try:
            return self._coder.decode(self._family, weights)
        except (AssertionError, ValueError) as error:
            raise FormatError("coded data is damaged: it points outside the range of its tables") from error
