"""Content tokens to bytes and back: channel by channel, each value under a table chosen by its neighbours."""

from dataclasses import dataclass

import numpy as np

from bcdcodec.entropy.learned_content import LearnedContentModel
from bcdcodec.entropy.range_coder import RangeDecoder, RangeEncoder
from bcdcodec.entropy.tables import FrequencyTables
from bcdcodec.errors import FormatError, LimitError, ModelError

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

    def residuals(self, values: np.ndarray, rows: int, columns: int) -> np.ndarray:
        """Return what is coded for values int [n, d], int32 [n, d]."""
        residuals = values.astype(np.int32)
        grid = residuals[:, : self.predicted_channels].reshape(rows, columns, self.predicted_channels)
        differences = grid.copy()
        differences[:, 1:] -= grid[:, :-1]  # from the token to the left
        differences[1:, 0] -= grid[:-1, 0]  # the first column from the token above
        residuals[:, : self.predicted_channels] = differences.reshape(rows * columns, self.predicted_channels)
        return residuals

    def values(self, residuals: np.ndarray, rows: int, columns: int) -> np.ndarray:
        """Return the values int64 [n, d] whose `residuals` these are."""
        values = residuals.astype(np.int64)
        grid = values[:, : self.predicted_channels].reshape(rows, columns, self.predicted_channels)
        grid[:, 0] = np.cumsum(grid[:, 0], axis=0)
        values[:, : self.predicted_channels] = np.cumsum(grid, axis=1).reshape(rows * columns, self.predicted_channels)
        return values

    def all_contexts(self, residuals: np.ndarray, rows: int, columns: int) -> np.ndarray:
        """Return the row of `tables` for each of the residuals [n, d], int64 [n, d]: `contexts` of all at once."""
        n, d = residuals.shape
        magnitudes = np.abs(residuals)
        magnitudes[:, : self.predicted_channels] = (
            0  # their large values would drown what says something about the others
        )
        before = np.pad(magnitudes, ((0, 0), (4, 0))).astype(np.int64)
        activity = 2 * before[:, 3 : 3 + d] + 2 * before[:, 2 : 2 + d] + before[:, 1 : 1 + d] + before[:, :d]
        grid = np.pad(before[:, 3 : 3 + d].reshape(rows, columns, d), ((1, 1), (1, 1), (0, 0)))
        around = grid[:-2, 1:-1] + grid[2:, 1:-1] + grid[1:-1, :-2] + grid[1:-1, 2:]
        activity += around.reshape(n, d)
        return self.band_of_channel.astype(np.int64) * BUCKETS + np.searchsorted(THRESHOLDS, activity, side="left")

    def contexts(self, rows: int, columns: int) -> "NeighbourContexts":
        """Return what chooses the tables of one content, channel by channel."""
        return NeighbourContexts(self, rows, columns)


class NeighbourContexts:
    """The tables of a content's values, each known when all channels before are: `tables_of` and `add` in turn."""

    def __init__(self, model: ContentModel, rows: int, columns: int):
        self._model, self._grid = model, (rows, columns)
        self._before = [
            np.zeros(rows * columns, np.int64)
        ] * 4  # magnitudes of the four channels before, the last one first
        self._channel = 0

    def tables_of(self) -> np.ndarray:
        """Return the row of `tables` of every token for the next channel, int64 [n]."""
        last, second, third, fourth = self._before
        grid = np.pad(last.reshape(self._grid), 1)
        around = grid[:-2, 1:-1] + grid[2:, 1:-1] + grid[1:-1, :-2] + grid[1:-1, 2:]
        activity = 2 * (last + second) + third + fourth + around.ravel()
        band = int(self._model.band_of_channel[self._channel])
        return band * BUCKETS + np.searchsorted(THRESHOLDS, activity, side="left")

    def add(self, residuals: np.ndarray) -> None:
        """Take the residuals [n] of the next channel."""
        coded = self._channel >= self._model.predicted_channels
        self._before = [np.abs(residuals) if coded else np.zeros_like(residuals), *self._before[:3]]
        self._channel += 1


AnyContentModel = ContentModel | LearnedContentModel


def encode_content(values: np.ndarray, rows: int, columns: int, model: AnyContentModel) -> bytes:
    """Return the coded bytes of `values` int16 [n, d], n = rows * columns in raster order."""
    encoder = RangeEncoder()
    write_content_values(encoder, values, rows, columns, model)
    return encoder.finish()


def decode_content(data: bytes, rows: int, columns: int, model: AnyContentModel) -> np.ndarray:
    """Return the values int16 [n, d] of one payload."""
    return read_content_values(RangeDecoder(data), rows, columns, model)


def write_content_values(
    encoder: RangeEncoder, values: np.ndarray, rows: int, columns: int, model: AnyContentModel
) -> None:
    """Append `values` [n, d] to an encoder that may hold other symbols already.

    Raises LimitError for values outside int16 and FormatError for another shape than the model's.
    """
    values = _checked(values, rows, columns)
    if values.shape[1] != model.channels:
        raise FormatError(f"content has {values.shape[1]} channels, the model {model.channels}")
    residuals = model.residuals(values, rows, columns)  # [n, d]
    contexts = model.all_contexts(residuals, rows, columns).T  # [d, n]
    symbols = symbols_of(residuals).T
    start = 0
    for j in sorted(
        {*np.flatnonzero((symbols == ESCAPE).any(1)), model.channels - 1}
    ):  # escaped values follow their channel
        encoder.encode(model.tables, symbols[start : j + 1], contexts[start : j + 1])
        bits = [bit for value in residuals[symbols[j] == ESCAPE, j] for bit in _escape_bits(int(value))]
        encoder.encode(BIT_TABLES, np.array(bits, np.int32), np.zeros(len(bits), np.int64))
        start = j + 1


def read_content_values(decoder: RangeDecoder, rows: int, columns: int, model: AnyContentModel) -> np.ndarray:
    """Return the next values int16 [n, d] of a decoder; FormatError where they leave int16."""
    check_grid(rows, columns, model.channels)
    residuals = np.zeros((rows * columns, model.channels), np.int64)
    contexts = model.contexts(rows, columns)
    for j in range(model.channels):
        symbols = decoder.decode(model.tables, contexts.tables_of())
        residuals[:, j] = symbols - LARGEST
        for p in np.flatnonzero(symbols == ESCAPE):
            residuals[p, j] = _read_escape(decoder)
        contexts.add(residuals[:, j])
    values = model.values(residuals, rows, columns)
    if values.min() < -32768 or values.max() > 32767:
        raise FormatError(f"content values span {values.min()} to {values.max()}, expected -32768 to 32767")
    return values.astype(np.int16)


def symbols_of(residuals: np.ndarray) -> np.ndarray:
    """Return the symbols 0..127 of residuals, of any shape."""
    return np.where(np.abs(residuals) <= LARGEST, residuals + LARGEST, ESCAPE)


def count_contexts(
    values: np.ndarray, rows: int, columns: int, band_of_channel: np.ndarray, predicted_channels: int
) -> np.ndarray:
    """Return counts of symbols by context, int64 [bands * 10, 128], of `values` [n, d], to fit tables to."""
    shape = (BUCKETS * (int(band_of_channel.max()) + 1), SYMBOLS)
    model = ContentModel(FrequencyTables.from_counts(np.zeros(shape, np.int64)), band_of_channel, predicted_channels)
    residuals = model.residuals(_checked(values, rows, columns), rows, columns)
    counts = np.zeros(shape, np.int64)
    np.add.at(counts, (model.all_contexts(residuals, rows, columns), symbols_of(residuals)), 1)
    return counts


def check_grid(rows: int, columns: int, channels: int) -> None:
    """Raise LimitError for a grid of tokens above the limit, FormatError for an empty one."""
    if min(rows, columns, channels) < 1:
        raise FormatError(f"content is {rows} x {columns} tokens of {channels} channels, expected at least 1 each")
    if rows * columns * channels > MAX_VALUES:
        raise LimitError(
            f"content is {rows} x {columns} tokens of {channels} channels, the limit is {MAX_VALUES} values"
        )


def _checked(values: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Return `values` as an array. Raises FormatError or LimitError unless they are integers of 16 bits [n, d]."""
    values = np.asarray(values)
    if values.ndim != 2 or values.dtype.kind not in "iu" or values.shape[0] != rows * columns:
        found = f"{values.dtype} {list(values.shape)}"
        raise FormatError(f"content values are {found}, expected integers [{rows * columns}, channels]")
    check_grid(rows, columns, values.shape[1])
    if values.min() < -32768 or values.max() > 32767:
        raise LimitError(f"content values span {values.min()} to {values.max()}, the limit is -32768 to 32767")
    return values


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
