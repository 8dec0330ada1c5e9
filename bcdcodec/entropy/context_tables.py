"""What a model brings for the context profile: the logits and frequencies that every motion chunk starts from."""

import hashlib
from dataclasses import dataclass

import numpy as np

from bcdcodec.entropy.arrays import keep_arrays, little_endian
from bcdcodec.entropy.tables import FREQUENCY_TOTAL, FrequencyTables
from bcdcodec.errors import ModelError

LARGEST_LOGIT = 3071  # 12 nats
AGES, DEGREES, STAGES = 16, 8, 8
PAIRS = "pairs"  # the one array that is not always there; in the fingerprint the last
SUCCESSOR_TOTAL = 1 << 15  # a row of successors sums to this, so that it fits 16 bits
MAX_SUCCESSORS = 1 << 24  # g * k * k: bounds what one chunk's counts take
MAX_PAIRS = 1 << 20  # g * k * k * k, for models of few groups
MAX_WEIGHT = 1 << 20

# 65536 / (1 + exp(-x)), rounded, at least 1, for x = -12, -11.5, ..., 0
_KNOTS = (
    1, 1, 1, 2, 3, 5, 8, 13, 22, 36, 60, 98, 162, 267, 439, 720,
    1179, 1921, 3108, 4971, 7812, 11955, 17625, 24743, 32768,
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class ContextTables:
    """How motion codes follow each other: g groups of k codes, logits in units of 1/256 nat within +-3071.

    Raises ModelError for arrays of other types, shapes or ranges than stated here.
    """

    first: FrequencyTables  # [g, k], codes of a chunk's first frame
    code_logits: np.ndarray  # int16 [g, k], of a change, by group and the code before
    age_logits: np.ndarray  # int16 [16], added by how many frames ago the group last changed
    visit_logits: np.ndarray  # int16 [8, 8], added by how often the group stayed at this code and left it
    activity_logits: (
        np.ndarray
    )  # int16 [8, 8, 8], added by stage, changes before it in this frame, changes in the frame before
    successors: (
        np.ndarray
    )  # uint16 [g, k, k], to which code each code changes: rows sum to 32768, 0 to itself, else at least 1
    weights: (
        np.ndarray
    )  # uint32 [3], of one change seen from this code, one seen in this group, the code before the last change
    pairs: np.ndarray | None = (
        None  # uint16 [g, k, k, k], successors by the code before the last change and the code; else those
    )

    def __post_init__(self):
        g, k = self.first.frequencies.shape
        if g * k * k > MAX_SUCCESSORS:
            raise ModelError(
                f"context tables for {g} groups of {k} codes: {g * k * k} successors, the limit is {MAX_SUCCESSORS}"
            )
        if self.pairs is not None and g * k**3 > MAX_PAIRS:
            raise ModelError(f"context tables for {g} groups of {k} codes: {g * k**3} pairs, the limit is {MAX_PAIRS}")
        keep_arrays(self, self._layout(), "context tables", {np.int16: LARGEST_LOGIT})
        for rows in (self.successors, self.pairs):
            if rows is None:
                continue
            wrong = rows.sum(axis=-1, dtype=np.int64) != SUCCESSOR_TOTAL
            wrong |= ((rows == 0) != np.eye(k, dtype=bool)).any(axis=-1)
            if wrong.any():
                group, *_, code = np.argwhere(wrong)[0]
                expected = f"0 to itself, at least 1 to others and {SUCCESSOR_TOTAL} in all"
                raise ModelError(f"context tables: the successors of code {code} of group {group} are not {expected}")
        if int(self.weights.max()) > MAX_WEIGHT:
            raise ModelError(f"context tables: weights are {self.weights.tolist()}, the limit is {MAX_WEIGHT}")

    def fingerprint(self) -> bytes:
        """Return the SHA-256 (32 bytes) of the first tables' fingerprint and all arrays in order, little-endian."""
        digest = hashlib.sha256(self.first.fingerprint())
        for data in little_endian(self, self._layout()):
            digest.update(data)
        return digest.digest()

    def _layout(self) -> dict[str, tuple[type, tuple[int, ...]]]:
        g, k = self.first.frequencies.shape
        return array_layout(g, k) | ({} if self.pairs is None else {PAIRS: (np.uint16, (g, k, k, k))})


def array_layout(g: int, k: int) -> dict[str, tuple[type, tuple[int, ...]]]:
    """Return type and shape of the arrays of ContextTables but `first` and `pairs`, in the fingerprint's order."""
    return {
        "code_logits": (np.int16, (g, k)),
        "age_logits": (np.int16, (AGES,)),
        "visit_logits": (np.int16, (DEGREES, DEGREES)),
        "activity_logits": (np.int16, (STAGES, DEGREES, DEGREES)),
        "successors": (np.uint16, (g, k, k)),
        "weights": (np.uint32, (3,)),
    }


def change_frequencies() -> np.ndarray:
    """Return frequencies uint32 [6144, 2], of 65536, that a group stays or changes at logit -3072..3071.

    Linear between knots 128 apart.
    """
    knots = np.array([*_KNOTS, *(FREQUENCY_TOTAL - p for p in _KNOTS[-2::-1])])  # [49]
    knot, part = np.divmod(np.arange(2 * (LARGEST_LOGIT + 1)), 128)
    changes = (knots[knot] * (128 - part) + knots[knot + 1] * part) >> 7
    return np.stack([FREQUENCY_TOTAL - changes, changes], axis=1).astype(np.uint32)
