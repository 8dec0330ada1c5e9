"""Integer frequency tables: the only probabilities that coding and decoding ever see."""

import hashlib
import struct
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from bcdcodec.errors import ModelError

FREQUENCY_TOTAL = 1 << 16  # every row sums to this
MAX_SYMBOLS = 4096
MAX_TABLES = 65536


@dataclass(frozen=True, eq=False)
class FrequencyTables:
    """A stack of frequency tables over one alphabet.

    `frequencies` is an integer array [n_tables, n_symbols]; each entry is at least 1 and each row
    sums to 65536, so that an entry is at most 65536 - (n_symbols - 1) and fits 16 bits.
    Raises ModelError for anything else.
    """

    frequencies: np.ndarray  # uint32 [n_tables, n_symbols]

    def __post_init__(self):
        given = np.asarray(self.frequencies)
        if given.ndim != 2 or given.dtype.kind not in "iu":
            raise ModelError(
                f"frequency tables are {given.dtype} {list(given.shape)}, expected integers [tables, symbols]"
            )
        n_tables, n_symbols = given.shape
        if not 1 <= n_tables <= MAX_TABLES or not 2 <= n_symbols <= MAX_SYMBOLS:
            raise ModelError(
                f"{n_tables} frequency tables of {n_symbols} symbols, "
                f"expected 1 to {MAX_TABLES} tables of 2 to {MAX_SYMBOLS} symbols"
            )
        if given.min() < 1 or given.max() > FREQUENCY_TOTAL:
            raise ModelError(f"frequencies span {given.min()} to {given.max()}, expected 1 to {FREQUENCY_TOTAL}")
        frequencies = np.array(given, dtype=np.uint32, order="C")  # a copy, so that the caller cannot change it
        sums = frequencies.sum(axis=1, dtype=np.int64)
        wrong = np.flatnonzero(sums != FREQUENCY_TOTAL)
        if wrong.size:
            raise ModelError(f"frequency table {wrong[0]} sums to {sums[wrong[0]]}, expected {FREQUENCY_TOTAL}")
        frequencies.setflags(write=False)
        object.__setattr__(self, "frequencies", frequencies)

    @property
    def n_tables(self) -> int:
        return self.frequencies.shape[0]

    @property
    def n_symbols(self) -> int:
        return self.frequencies.shape[1]

    @classmethod
    def from_counts(cls, counts: np.ndarray, pseudo_count: int = 1) -> "FrequencyTables":
        """Return tables fitted to non-negative integer `counts` [n_tables, n_symbols].

        `pseudo_count` >= 1 is added to every count. Integer arithmetic only, so the same counts give
        the same tables everywhere: every symbol gets 1, the rest is shared in proportion and
        rounded down, and what is left goes one by one to the largest remainders, lower symbol first.
        """
        counts = np.asarray(counts)
        if counts.ndim != 2 or counts.dtype.kind not in "iu" or counts.size == 0 or int(counts.min()) < 0:
            raise ModelError(
                f"counts are {counts.dtype} {list(counts.shape)}, expected non-negative integers [tables, symbols]"
            )
        if pseudo_count < 1:
            raise ModelError(f"pseudo count is {pseudo_count}, expected at least 1")
        if int(counts.max()) + pseudo_count > 1 << 34:
            raise ModelError(
                f"largest count is {counts.max()}, expected at most {1 << 34}"
            )  # keeps the products in int64
        weights = counts.astype(np.int64) + pseudo_count  # [n_tables, n_symbols]
        n_tables, n_symbols = weights.shape
        totals = weights.sum(axis=1, keepdims=True)
        shared, remainders = np.divmod(weights * (FREQUENCY_TOTAL - n_symbols), totals)
        frequencies = shared + 1
        missing = FREQUENCY_TOTAL - frequencies.sum(axis=1)  # below n_symbols in every row
        order = np.argsort(-remainders, axis=1, kind="stable")
        for table in range(n_tables):
            frequencies[table, order[table, : missing[table]]] += 1
        return cls(frequencies)

    def fingerprint(self) -> bytes:
        """Return the SHA-256 (32 bytes) of n_tables, n_symbols and all frequencies row by row, as little-endian u32."""
        digest = hashlib.sha256(struct.pack("<II", self.n_tables, self.n_symbols))
        digest.update(self.frequencies.astype("<u4").tobytes())
        return digest.digest()

    def ideal_bits(self, symbols: np.ndarray, table_index: np.ndarray) -> float:
        """Return the information of `symbols` [n], coded with the tables `table_index` [n], in bits."""
        chosen = self.frequencies[np.asarray(table_index).ravel(), np.asarray(symbols).ravel()]
        return float(chosen.size * 16 - np.log2(chosen.astype(np.float64)).sum())

    @cached_property
    def coder_weights(self) -> np.ndarray:
        """Weights float32 [n_tables, n_symbols] for which constriction's rounding is exact."""
        return exact_weights(self.frequencies)


def exact_weights(frequencies: np.ndarray) -> np.ndarray:
    """Return weights float32 [n, n_symbols] for frequencies, 65536 a row, that constriction rounds exactly.

    constriction puts the left boundary of symbol i at floor(sum of weights before i * scale) + i with
    scale = (2**24 - n_symbols) / sum of weights. With weights 256 * frequency - 1 the sum is
    2**24 - n_symbols, the scale is exactly 1.0 and every partial sum is an integer below 2**24, which
    float32 holds exactly: the boundary is 256 * (sum of frequencies before i), with no rounding at all.
    """
    return (256 * frequencies.astype(np.int64) - 1).astype(np.float32)
