"""Content tokens to bytes and back: channel by channel, each value under a table chosen by its neighbours."""

from dataclasses import dataclass

import numpy as np

from ..errors import FormatError, LimitError, ModelError
from .range_coder import RangeDecoder, RangeEncoder
from .tables import FrequencyTables

SYMBOLS = 128
ESCAPE = 127  # symbol of a value outside -LARGEST..LARGEST
LARGEST = 63
BUCKETS = 10
MAX_VALUES = 1 << 20  # n * d of one content
THRESHOLDS = np.array([0, 1, 2, 3, 5, 8, 12, 18, 28])  # bucket = how many of these lie below the activity

BIT_TABLES = FrequencyTables(np.array([[32768, 32768]]))


@dataclass(frozen=True, eq=False)
class ContentModel:
    """Tables and layout for content tokens of d channels."""

    tables: FrequencyTables  # [bands * 10, 128], row = band * 10 + bucket
    band_of_channel: np.ndarray  # uint8 [d]
    predicted_channels: int  # that many first channels are sent as spatial differences

    def __post_init__(self):
        bands = np.array(self.band_of_channel)
        if bands.dtype != np.uint8 or bands.ndim != 1 or not 1 <= bands.size <= 65535:
            raise ModelError(f"bands of channels are {bands.dtype} {list(bands.shape)}, expected uint8 [channels]")
        expected = (BUCKETS * (int(bands.max()) + 1), SYMBOLS)
        if self.tables.frequencies.shape != expected:
            found = list(self.tables.frequencies.shape)
            raise ModelError(f"content tables are {found}, {int(bands.max()) + 1} bands want {list(expected)}")
        if not 0 <= self.predicted_channels <= bands.size:
            raise ModelError(f"{self.predicted_channels} predicted channels, expected 0 to {bands.size}")
        bands.setflags(write=False)
        object.__setattr__(self, "band_of_channel", bands)

    @property
    def channels(self) -> int:
        return self.band_of_channel.size


def encode_content(values: np.ndarray, rows: int, columns: int, model: ContentModel) -> bytes:
    """Return the coded bytes of `values` int16 [n, d], n = rows * columns in raster order."""
    encoder = RangeEncoder()
    write_content_values(encoder, values, rows, columns, model)
    return encoder.finish()


def decode_content(data: bytes, rows: int, columns: int, model: ContentModel) -> np.ndarray:
    """Return the values int16 [n, d] of one payload."""
    return read_content_values(RangeDecoder(data), rows, columns, model)


def write_content_values(encoder: RangeEncoder, values: np.ndarray, rows: int, columns: int, model: ContentModel) -> None:
    """Append `values` [n, d] to an encoder that may hold other symbols already.

    Raises LimitError for values outside int16 and FormatError for another shape than the model's.
    """
    residuals = _residuals(values, rows, columns, model.predicted_channels)  # [n, d]
    if residuals.shape[1] != model.channels:
        raise FormatError(f"content has {residuals.shape[1]} channels, the model {model.channels}")
    magnitudes = _context_magnitudes(residuals, model.predicted_channels)
    contexts = _all_contexts(magnitudes, rows, columns, model.band_of_channel).T  # [d, n]
    symbols = np.where(np.abs(residuals) <= LARGEST, residuals + LARGEST, ESCAPE).T
    start = 0
    for j in sorted({*np.flatnonzero((symbols == ESCAPE).any(1)), model.channels - 1}):  # escaped values follow their channel
        encoder.encode(model.tables, symbols[start : j + 1], contexts[start : j + 1])
        bits = [bit for value in residuals[symbols[j] == ESCAPE, j] for bit in _escape_bits(int(value))]
        encoder.encode(BIT_TABLES, np.array(bits, np.int32), np.zeros(len(bits), np.int64))
        start = j + 1


def read_content_values(decoder: RangeDecoder, rows: int, columns: int, model: ContentModel) -> np.ndarray:
    """Return the next values int16 [n, d] of a decoder; FormatError where they leave int16."""
    check_grid(rows, columns, model.channels)
    n = rows * columns
    residuals = np.zeros((n, model.channels), np.int32)
    magnitudes = np.zeros((n, model.channels), np.int32)
    for j in range(model.channels):
        contexts = _contexts(magnitudes, j, rows, columns, model.band_of_channel)
        symbols = decoder.decode(model.tables, contexts)
        v = symbols - LARGEST
        for p in np.flatnonzero(symbols == ESCAPE):
            v[p] = _read_escape(decoder)
        residuals[:, j] = v
        if j >= model.predicted_channels:
            magnitudes[:, j] = np.abs(v)
    return _from_residuals(residuals, rows, columns, model.predicted_channels)


def count_contexts(
    values: np.ndarray, rows: int, columns: int, band_of_channel: np.ndarray, predicted_channels: int
) -> np.ndarray:
    """Return how often each symbol comes in each context, int64 [bands * 10, 128], for fitting tables to `values` [n, d]."""
    residuals = _residuals(values, rows, columns, predicted_channels)
    magnitudes = _context_magnitudes(residuals, predicted_channels)
    counts = np.zeros((BUCKETS * (int(band_of_channel.max()) + 1), SYMBOLS), np.int64)
    symbols = np.where(np.abs(residuals) <= LARGEST, residuals + LARGEST, ESCAPE)
    np.add.at(counts, (_all_contexts(magnitudes, rows, columns, band_of_channel), symbols), 1)
    return counts


def check_grid(rows: int, columns: int, channels: int) -> None:
    """Raise LimitError for a grid of tokens above the limit, FormatError for an empty one."""
    if min(rows, columns, channels) < 1:
        raise FormatError(f"content is {rows} x {columns} tokens of {channels} channels, expected at least 1 each")
    if rows * columns * channels > MAX_VALUES:
        raise LimitError(f"content is {rows} x {columns} tokens of {channels} channels, the limit is {MAX_VALUES} values")


def _residuals(values: np.ndarray, rows: int, columns: int, predicted_channels: int) -> np.ndarray:
    """Check `values` and return what is coded for them, int32 [n, d]."""
    values = np.asarray(values)
    if values.ndim != 2 or values.dtype.kind not in "iu" or values.shape[0] != rows * columns:
        found = f"{values.dtype} {list(values.shape)}"
        raise FormatError(f"content values are {found}, expected integers [{rows * columns}, channels]")
    check_grid(rows, columns, values.shape[1])
    if values.min() < -32768 or values.max() > 32767:
        raise LimitError(f"content values span {values.min()} to {values.max()}, the limit is -32768 to 32767")
    residuals = values.astype(np.int32)
    grid = residuals[:, :predicted_channels].reshape(rows, columns, predicted_channels)
    differences = grid.copy()
    differences[:, 1:] -= grid[:, :-1]  # from the token to the left
    differences[1:, 0] -= grid[:-1, 0]  # the first column from the token above
    residuals[:, :predicted_channels] = differences.reshape(rows * columns, predicted_channels)
    return residuals


def _from_residuals(residuals: np.ndarray, rows: int, columns: int, predicted_channels: int) -> np.ndarray:
    values = residuals.astype(np.int64)
    grid = values[:, :predicted_channels].reshape(rows, columns, predicted_channels)
    grid[:, 0] = np.cumsum(grid[:, 0], axis=0)
    values[:, :predicted_channels] = np.cumsum(grid, axis=1).reshape(rows * columns, predicted_channels)
    if values.min() < -32768 or values.max() > 32767:
        raise FormatError(f"content values span {values.min()} to {values.max()}, expected -32768 to 32767")
    return values.astype(np.int16)


def _context_magnitudes(residuals: np.ndarray, predicted_channels: int) -> np.ndarray:
    magnitudes = np.abs(residuals)
    magnitudes[:, :predicted_channels] = 0  # their large values would drown what says something about the others
    return magnitudes


def _contexts(magnitudes: np.ndarray, j: int, rows: int, columns: int, band_of_channel: np.ndarray) -> np.ndarray:
    """Return the table index of every token for channel j, int64 [n], from the channels before it."""
    activity = np.zeros(magnitudes.shape[0], np.int64)
    for back, weight in ((1, 2), (2, 2), (3, 1), (4, 1)):
        if j >= back:
            activity += weight * magnitudes[:, j - back]
    if j >= 1:
        grid = np.pad(magnitudes[:, j - 1].reshape(rows, columns), 1)
        around = grid[:-2, 1:-1] + grid[2:, 1:-1] + grid[1:-1, :-2] + grid[1:-1, 2:]
        activity += around.ravel()
    return int(band_of_channel[j]) * BUCKETS + np.searchsorted(THRESHOLDS, activity, side="left")


def _all_contexts(magnitudes: np.ndarray, rows: int, columns: int, band_of_channel: np.ndarray) -> np.ndarray:
    """Return `_contexts` of all channels at once, int64 [n, d], for who has all values."""
    n, d = magnitudes.shape
    before = np.pad(magnitudes, ((0, 0), (4, 0))).astype(np.int64)
    activity = 2 * before[:, 3 : 3 + d] + 2 * before[:, 2 : 2 + d] + before[:, 1 : 1 + d] + before[:, :d]
    grid = np.pad(before[:, 3 : 3 + d].reshape(rows, columns, d), ((1, 1), (1, 1), (0, 0)))
    around = grid[:-2, 1:-1] + grid[2:, 1:-1] + grid[1:-1, :-2] + grid[1:-1, 2:]
    activity += around.reshape(n, d)
    return band_of_channel.astype(np.int64) * BUCKETS + np.searchsorted(THRESHOLDS, activity, side="left")


def _escape_bits(value: int) -> list[int]:
    """Return the bits of an escaped value: Exp-Golomb of order 0 of |value| - 64, then the sign."""
    x = abs(value) - LARGEST  # (|value| - 64) + 1
    length = x.bit_length()
    return [0] * (length - 1) + [x >> i & 1 for i in range(length - 1, -1, -1)] + [int(value < 0)]


def _read_escape(decoder: RangeDecoder) -> int:
    zero = np.zeros(1, np.int64)

    def bit() -> int:
        return int(decoder.decode(BIT_TABLES, zero)[0])

    length = 1
    while not bit():
        length += 1
        if length > 17:  # |value| <= 65535, a difference of two int16
            raise FormatError("coded data is damaged: an escaped value has more than 17 bits")
    x = 1
    for _ in range(length - 1):
        x = x << 1 | bit()
    magnitude = x + LARGEST
    return -magnitude if bit() else magnitude
