"""What codes tell of something else: entropies and mutual information of discrete values, with their bias."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bcdcodec.training.information import entropy, mutual_information

SHUFFLES = 20


@dataclass(frozen=True)
class CodeInformation:
    """Of the codes of all test clips, in bits a frame.

    A character has 72 frames, few against 64 codes: what is counted about characters is too much, by about what
    chance gives, and less so the more strictly codes follow the character. The truth lies between the corrected
    and the counted value. Attributes have six values each, so there the bias is small.
    """

    codes_used: int  # different codes that occur
    entropy: float
    motion: float  # mutual information with the true motion frame
    motion_entropy: float  # what it could be at most
    character: float  # mutual information with the character, as counted
    character_by_chance: (
        float  # what would be counted if, given the motion frame, codes did not depend on the character
    )
    attributes: tuple[float, ...]  # mutual information with each attribute of the character
    attributes_by_chance: tuple[float, ...]

    @property
    def character_corrected(self) -> float:
        return max(0.0, self.character - self.character_by_chance)

    @property
    def attributes_corrected(self) -> float:
        """Summed over attributes, which are independent: codes tell at least so much of the character."""
        return max(0.0, sum(self.attributes) - sum(self.attributes_by_chance))


def expected_by_chance(codes: np.ndarray, labels: np.ndarray, given: np.ndarray, seed: int = 0) -> float:
    """Mean mutual information of codes and labels [n] when labels are shuffled among samples of equal `given`.

    All that codes tell of `given` stays; what they tell of the labels beyond it is gone: the rest is bias.
    """
    rng = np.random.default_rng(seed)
    order = np.argsort(given, kind="stable")
    ends = np.flatnonzero(np.diff(given[order])) + 1
    found = []
    for _ in range(SHUFFLES):
        shuffled = labels.copy()
        for group in np.split(order, ends):
            shuffled[group] = labels[rng.permutation(group)]
        found.append(mutual_information(codes, shuffled))
    return float(np.mean(found))


def measure_information(
    codes: np.ndarray, motions: np.ndarray, characters: np.ndarray, attributes: np.ndarray
) -> CodeInformation:
    """Codes [n, g] of frames against their true motion frames [n], characters [n] and their attributes [n, a]."""
    symbols = np.unique(codes, axis=0, return_inverse=True)[1].reshape(-1)
    return CodeInformation(
        int(symbols.max()) + 1,
        entropy(symbols),
        mutual_information(symbols, motions),
        entropy(motions),
        mutual_information(symbols, characters),
        expected_by_chance(symbols, characters, motions),
        tuple(mutual_information(symbols, column) for column in attributes.T),
        tuple(expected_by_chance(symbols, column, motions) for column in attributes.T),
    )
