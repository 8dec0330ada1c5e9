"""What the writer and the reader of a motion chunk in profile `context` both know before each of its frames."""

import numpy as np

from bcdcodec.entropy.context_tables import AGES, DEGREES, LARGEST_LOGIT, STAGES, ContextTables
from bcdcodec.entropy.tables import FREQUENCY_TOTAL

_LARGEST_COUNT = 4096  # frames of a chunk; there are fewer groups
_DIGITS = np.array([min(n.bit_length(), DEGREES - 1) for n in range(_LARGEST_COUNT + 1)])


class ContextState:
    """Counts over the frames of one chunk so far; all integers, so that both sides hold the same."""

    def __init__(self, tables: ContextTables):
        g, k = tables.first.frequencies.shape
        stage = np.arange(g) * STAGES // g  # [g]
        self.stages = [(s, slice(*np.searchsorted(stage, [s, s + 1]))) for s in np.unique(stage).tolist()]
        self.begun = False  # whether there is a frame before
        self.frame_changes = 0  # of the frame before
        self._successors, self._pairs = tables.successors, tables.pairs
        self._weights = tables.weights.astype(np.int64)
        self._code_logits = tables.code_logits.ravel().astype(np.int64)
        self._age_logits = tables.age_logits.astype(np.int64)
        self._visit_logits = tables.visit_logits.ravel().astype(np.int64)
        self._activity_logits = tables.activity_logits.tolist()
        self._row = np.arange(g) * k  # [g], where a group begins in [g * k]
        self._codes = np.zeros(g, np.int64)  # of the frame before
        self._former = np.full(g, -1)  # the code that the group last changed from, -1 before its first change
        self._age = np.full(g, AGES - 1)
        self._stayed = np.zeros(g * k, np.int64)
        self._left = np.zeros(g * k, np.int64)
        self._arrived = np.zeros((g, k), np.int64)
        self._followed = np.zeros((g, k, k), np.uint16)  # at most 4095: one a frame

    @property
    def codes(self) -> np.ndarray:
        """Codes int64 [g] of the frame before."""
        return self._codes

    def begin(self, codes: np.ndarray) -> None:
        """Take the codes [g] of the chunk's first frame."""
        self.begun = True
        self._codes = codes.astype(np.int64)
        self._arrived[np.arange(len(codes)), self._codes] = 1

    def contexts(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return where each group [g] stands in `code_logits` [g * k], `age_logits` [16] and `visit_logits` [64]."""
        at = self._row + self._codes
        return at, self._age, digits(self._stayed[at]) * DEGREES + digits(self._left[at])

    def change_logits(self) -> np.ndarray:
        """Return the logit [g] of a change of each group, without the part of the frame's activity."""
        at, age, visits = self.contexts()
        return self._code_logits[at] + self._age_logits[age] + self._visit_logits[visits]

    def activity(self, stage: int, changes: int) -> int:
        """Return what the logits of a stage's groups have in common, after `changes` in this frame's earlier stages."""
        return self._activity_logits[stage][digits(changes)][digits(self.frame_changes)]

    def seen(self, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Return for `groups` [n]: code [n], the code before its last change [n] or -1, and counts of changes [n, k].

        The counts are of changes from that code, and of changes to each code.
        """
        codes = self._codes[groups]
        return codes, self._former[groups], self._followed[groups, codes].astype(np.int64), self._arrived[groups]

    def successor_frequencies(self, changed: np.ndarray) -> np.ndarray:
        """Return frequencies [n, k], each at least 1 and 65536 a row, of the new codes of the groups `changed` [n]."""
        codes, former, followed, arrived = self.seen(changed)
        from_code, in_group, back = self._weights
        each = np.arange(len(changed))
        known = self._successors[changed, codes]  # [n, k]
        if self._pairs is not None:
            known = np.where(former[:, None] < 0, known, self._pairs[changed, former, codes])
        w = known + from_code * followed + in_group * arrived
        w[each, former] += np.where(former < 0, 0, back)
        w[each, codes] = 0
        frequencies = 1 + w * (FREQUENCY_TOTAL - w.shape[1]) // w.sum(axis=1, keepdims=True)
        frequencies[each, w.argmax(axis=1)] += FREQUENCY_TOTAL - frequencies.sum(axis=1)
        return frequencies

    def advance(self, codes: np.ndarray) -> None:
        """Take the codes [g] of the frame that was coded."""
        codes = codes.astype(np.int64)
        moved = codes != self._codes
        at = self._row + self._codes
        self._stayed[at] += ~moved
        self._left[at] += moved
        self._age = np.where(moved, 0, np.minimum(self._age + 1, AGES - 1))
        changed = np.flatnonzero(moved)
        before, after = self._codes[changed], codes[changed]
        self._followed[changed, before, after] += 1
        self._arrived[changed, after] += 1
        self._former[changed] = before
        self._codes = codes
        self.frame_changes = len(changed)


def digits(counts: np.ndarray | int) -> np.ndarray:
    """Return the number of binary digits of counts up to 4096, at most 7."""
    return _DIGITS[counts]


def clipped(logits: np.ndarray) -> np.ndarray:
    """Return rows of `change_frequencies` for logits: those outside -3072..3071 as the nearest inside."""
    inside = np.minimum(
        np.maximum(logits, -LARGEST_LOGIT - 1), LARGEST_LOGIT
    )  # np.clip takes three times as long on 64 values
    return inside + (LARGEST_LOGIT + 1)
