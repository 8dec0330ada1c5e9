"""Content profile `learned`: a small integer network predicts the magnitude of a value from coded neighbours."""

import hashlib
import struct
from dataclasses import dataclass

import numpy as np

from bcdcodec.entropy.arrays import keep_arrays, little_endian
from bcdcodec.entropy.tables import FrequencyTables
from bcdcodec.errors import ModelError

CLASSES = 64  # of expected size, a table each
FEATURES = 16
MAX_UNITS = 64
MAX_CHANNELS = 65535
LARGEST_BIAS = 1 << 30
_LARGEST_SUM = 1023
_BLOCK = 64  # channels at once, which bounds what is gathered for a large content
# Sums of magnitudes: of the token, its four neighbours, its four diagonal ones; channels j - last .. j - first.
_OWN = ((1, 1), (2, 2), (3, 3), (4, 4), (8, 8), (5, 7), (9, 24), (25, MAX_CHANNELS))
_BESIDE = ((1, 1), (2, 2), (3, 3), (4, 8), (9, 24))
_DIAGONAL = ((1, 1), (2, 8), (9, 24))


def _logarithms() -> np.ndarray:
    """Return 32 log2(1 + n) of n in 0..1023 with straight lines between the powers of two, rounded down."""
    n = np.arange(1, _LARGEST_SUM + 2)
    digits = np.array([int(x).bit_length() - 1 for x in n])
    return 32 * digits + ((n << 5) >> digits) - 32


_LOG = _logarithms()


@dataclass(frozen=True, eq=False)
class LearnedContentModel:
    """Tables for content tokens of d channels and the network of h units that chooses among them.

    Raises ModelError for arrays of other types, shapes or ranges than stated here.
    """

    tables: FrequencyTables  # [predicted + 64, 128]: of the predicted channels one each, then of the classes
    predicted_channels: int  # that many first channels are sent as what prediction from neighbours leaves
    unit_bias: np.ndarray  # int32 [d, h], 2^-15
    unit_weights: np.ndarray  # int16 [16, h], 2^-10 a feature of 1/32
    output_bias: np.ndarray  # int32 [d], 2^-18
    output_weights: np.ndarray  # int16 [h], 2^-10
    direct_weights: np.ndarray  # int16 [16], 2^-13 a feature of 1/32

    def __post_init__(self):
        d, h = self.unit_bias.shape if np.ndim(self.unit_bias) == 2 else (0, 0)
        if not 1 <= d <= MAX_CHANNELS or not 1 <= h <= MAX_UNITS:
            raise ModelError(
                f"learned content tables are for {d} channels and {h} units, "
                f"expected 1 to {MAX_CHANNELS} and 1 to {MAX_UNITS}"
            )
        keep_arrays(self, array_layout(d, h), "learned content tables", {np.int32: LARGEST_BIAS})
        if not 0 <= self.predicted_channels <= d:
            raise ModelError(f"{self.predicted_channels} predicted channels, expected 0 to {d}")
        if self.tables.n_tables != self.predicted_channels + CLASSES:
            found, expected = self.tables.n_tables, self.predicted_channels + CLASSES
            raise ModelError(
                f"there are {found} learned content tables, "
                f"{self.predicted_channels} predicted channels want {expected}"
            )

    @property
    def channels(self) -> int:
        return len(self.unit_bias)

    def fingerprint(self) -> bytes:
        """Return the SHA-256 (32 bytes) of the tables' fingerprint, u32 predicted channels and all arrays in order.

        All little-endian.
        """
        digest = hashlib.sha256(self.tables.fingerprint() + struct.pack("<I", self.predicted_channels))
        for data in little_endian(self, array_layout(*self.unit_bias.shape)):
            digest.update(data)
        return digest.digest()

    def residuals(self, values: np.ndarray, rows: int, columns: int) -> np.ndarray:
        """Return what is coded for values int [n, d], int64 [n, d]."""
        residuals = values.astype(np.int64)
        grid = residuals[:, : self.predicted_channels].reshape(rows, columns, -1)
        differences = grid - np.array([[_predicted(grid, y, x) for x in range(columns)] for y in range(rows)]).reshape(
            grid.shape
        )
        residuals[:, : self.predicted_channels] = differences.reshape(rows * columns, -1)
        return residuals

    def values(self, residuals: np.ndarray, rows: int, columns: int) -> np.ndarray:
        """Return the values int64 [n, d] whose `residuals` these are."""
        values = residuals.astype(np.int64)
        grid = values[:, : self.predicted_channels].reshape(rows, columns, -1)
        for y in range(rows):
            for x in range(columns):
                grid[y, x] += _predicted(grid, y, x)
        values[:, : self.predicted_channels] = grid.reshape(rows * columns, -1)
        return values

    def all_contexts(self, residuals: np.ndarray, rows: int, columns: int) -> np.ndarray:
        """Return the row of `tables` for each of the residuals [n, d], int64 [n, d]: `contexts` of all at once."""
        contexts = self.contexts(rows, columns)
        contexts.add(residuals.T)
        blocks = range(0, self.channels, _BLOCK)
        return np.concatenate([contexts.rows_of(np.arange(j, min(j + _BLOCK, self.channels))) for j in blocks]).T

    def contexts(self, rows: int, columns: int) -> "LearnedContexts":
        """Return what chooses the tables of one content, channel by channel."""
        return LearnedContexts(self, rows, columns)


class LearnedContexts:
    """The tables of a content's values, each known when all channels before are: `tables_of` and `add` in turn."""

    def __init__(self, model: LearnedContentModel, rows: int, columns: int):
        self._model, self._grid = model, (rows, columns)
        # Integers in float64, as BLAS multiplies no integers: all sums are below 2^53 and so exact in any order.
        weights = (model.unit_weights, model.output_weights, model.direct_weights)
        self._unit_weights, self._output_weights, self._direct_weights = (w.astype(np.float64) for w in weights)
        # Sums of magnitudes over the channels before each, [d + 1, n]: of a token, its neighbours, its diagonal ones.
        self._own, self._beside, self._diagonal = (
            np.zeros((model.channels + 1, rows * columns), np.int64) for _ in range(3)
        )
        self._channel = 0

    def tables_of(self) -> np.ndarray:
        """Return the row of `tables` of every token for the next channel, int64 [n]."""
        return self.rows_of(np.array([self._channel]))[0]

    def features(self, channels: np.ndarray) -> np.ndarray:
        """Return the network's input of all tokens for `channels` [c], int64 [c, n, 16]; earlier ones must be known."""
        spans = [(self._own, span) for span in _OWN] + [(self._beside, span) for span in _BESIDE]
        spans += [(self._diagonal, span) for span in _DIAGONAL]
        since = lambda back: np.maximum(channels - back, 0)  # noqa: E731
        sums = [of[since(first - 1)] - of[since(last)] for of, (first, last) in spans]  # channels j - last .. j - first
        return _LOG[np.minimum(np.stack(sums, axis=-1), _LARGEST_SUM)]

    def rows_of(self, channels: np.ndarray) -> np.ndarray:
        """Return the row of `tables` of every token for `channels` [c], int64 [c, n]; those before must be known."""
        model = self._model
        x = self.features(channels).astype(np.float64)
        units = model.unit_bias[channels][:, None] + (x @ self._unit_weights).astype(np.int64)  # [c, n, h]
        units = np.maximum(units, 0) >> 7
        output = (units.astype(np.float64) @ self._output_weights + x @ self._direct_weights).astype(np.int64)  # [c, n]
        output += model.output_bias[channels][:, None]
        rows = model.predicted_channels + np.clip(output >> 16, 0, CLASSES - 1)
        return np.where(channels[:, None] < model.predicted_channels, channels[:, None], rows)

    def add(self, residuals: np.ndarray) -> None:
        """Take the residuals [n] of the next channel, or [c, n] of the next ones."""
        residuals = residuals.reshape(-1, residuals.shape[-1])
        first = self._channel
        self._channel += len(residuals)
        magnitudes = np.abs(residuals).astype(np.int64)
        # The predicted channels' large values would drown what says something about the others.
        magnitudes[: max(0, self._model.predicted_channels - first)] = 0
        around = np.pad(magnitudes.reshape(-1, *self._grid), ((0, 0), (1, 1), (1, 1)))
        beside = around[:, :-2, 1:-1] + around[:, 2:, 1:-1] + around[:, 1:-1, :-2] + around[:, 1:-1, 2:]
        diagonal = around[:, :-2, :-2] + around[:, :-2, 2:] + around[:, 2:, :-2] + around[:, 2:, 2:]
        for sums, found in ((self._own, magnitudes), (self._beside, beside), (self._diagonal, diagonal)):
            sums[first + 1 : self._channel + 1] = sums[first] + np.cumsum(found.reshape(magnitudes.shape), axis=0)


def array_layout(d: int, h: int) -> dict[str, tuple[type, tuple[int, ...]]]:
    """Return type and shape of every array of LearnedContentModel, in the order of the fingerprint."""
    return {
        "unit_bias": (np.int32, (d, h)),
        "unit_weights": (np.int16, (FEATURES, h)),
        "output_bias": (np.int32, (d,)),
        "output_weights": (np.int16, (h,)),
        "direct_weights": (np.int16, (FEATURES,)),
    }


def _predicted(grid: np.ndarray, y: int, x: int) -> np.ndarray:
    """Return the prediction of grid [rows, columns, c] at (y, x), int64 [c]: LOCO-I's median edge detector."""
    if not y or not x:
        return grid[y, x - 1] if x else grid[y - 1, x] if y else np.zeros_like(grid[0, 0])
    left, above, corner = grid[y, x - 1], grid[y - 1, x], grid[y - 1, x - 1]
    low, high = np.minimum(left, above), np.maximum(left, above)
    return np.clip(left + above - corner, low, high)
