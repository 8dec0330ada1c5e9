"""Entropy and mutual information of counted discrete values."""

from __future__ import annotations

import numpy as np


def entropy(values: np.ndarray) -> float:
    """Entropy in bits of the empirical distribution of values [n]."""
    p = np.unique(values, return_counts=True)[1] / len(values)
    return float(-(p * np.log2(p)).sum())


def mutual_information(x: np.ndarray, y: np.ndarray) -> float:
    """Mutual information in bits of two discrete sequences [n], of their counted joint distribution.

    Counting few samples overestimates it, by about (cells - rows - columns + 1) / (2 n ln 2) bits.
    """
    x, y = np.unique(x, return_inverse=True)[1], np.unique(y, return_inverse=True)[1]
    return entropy(x) + entropy(y) - entropy(x * (y.max() + 1) + y)
