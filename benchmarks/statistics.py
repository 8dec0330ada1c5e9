"""Medians, confidence intervals by bootstrap over clips, BD-rate, and how a figure is written."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from bcdcodec.errors import BcdError

RESAMPLES = 1000
CONFIDENCE = 0.95
Item = TypeVar("Item")


@dataclass(frozen=True)
class Estimate:
    """A figure over clips with the interval in which it lies at CONFIDENCE; None where it does not exist."""

    value: float | None
    low: float | None
    high: float | None


def estimate(items: Sequence[Item], statistic: Callable[[Sequence[Item]], float | None]) -> Estimate:
    """A statistic of clips with its percentile bootstrap interval; with fewer than three clips there is none.

    Clips are drawn, not frames, as frames of one clip are alike.
    """
    value = statistic(items) if items else None
    if value is None or len(items) < 3:
        return Estimate(value, None, None)
    rng = np.random.default_rng(0)
    drawn = (statistic([items[i] for i in rng.integers(len(items), size=len(items))]) for _ in range(RESAMPLES))
    values = [v for v in drawn if v is not None]
    low, high = np.quantile(values, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Estimate(value, float(low), float(high))


def median(values: Sequence[float | None]) -> float | None:
    """Median of those that are not None; None when all are."""
    known = [v for v in values if v is not None]
    return float(np.median(known)) if known else None


def evenly(items: list, most: int | None) -> list:
    """At most `most` of a list, evenly picked."""
    if most is None or most >= len(items):
        return items
    return [items[i * len(items) // most] for i in range(most)]


def evenly_in_time(frames: int, most: int) -> np.ndarray:
    """Numbers of at most `most` of so many frames, evenly picked from the first to the last."""
    return np.linspace(0, frames - 1, min(most, frames)).astype(int)


def number(value: float | None, digits: int) -> str:
    """A figure as text; a dash where there is none."""
    return "-" if value is None or value != value else f"{value:.{digits}f}"


@dataclass(frozen=True)
class BdRate:
    """Bjontegaard delta rate, over the qualities that both curves have."""

    percent: float  # negative: less rate for the same quality
    shared: float  # share of the anchor's range of quality that both have, 0..1: the smaller, the less it says


def bd_rate(anchor: Sequence[tuple[float, float]], test: Sequence[tuple[float, float]]) -> BdRate:
    """BD-rate of `test` against `anchor`, each a list of (kbit/s, quality), by Akima interpolation.

    Points that cost more than another and are no better are left out: they are not on the operational rate-distortion
    curve. Raises BcdError with the reason when it does not exist: fewer than four points, quality that never rises with
    the rate, no overlap.
    """
    try:
        from bjontegaard import bd_rate as delta
    except ImportError as error:
        raise BcdError("BD-rate needs bjontegaard: pip install 'bcdcodec[eval]'") from error
    curves = []
    for name, points in (("anchor", anchor), ("test", test)):
        if len(points) < 4:
            raise BcdError(f"the {name} curve has {len(points)} of the 4 rates that BD-rate needs")
        kept: list[tuple[float, float]] = []
        for rate, quality in sorted(points, key=lambda p: (p[0], -p[1])):
            if not kept or quality > kept[-1][1]:
                kept.append((rate, quality))
        if len(kept) < 2:
            raise BcdError(f"the quality of the {name} curve never rises with its rate")
        curves += [*np.array(kept).T]
    low, high = max(curves[1][0], curves[3][0]), min(curves[1][-1], curves[3][-1])
    if low >= high:
        raise BcdError(
            f"the curves share no quality: {curves[1][0]:.4g} to {curves[1][-1]:.4g} and "
            f"{curves[3][0]:.4g} to {curves[3][-1]:.4g}"
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a small overlap, which the reports show as it is
        percent = float(delta(*curves, method="akima", min_overlap=0, require_matching_points=False))
    return BdRate(percent, float((high - low) / np.ptp(curves[1])))
