"""How far mouths and eyes move in decoded frames against the source, within clips, by two judges."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

Judge = Callable[[np.ndarray], "tuple[float, float] | None"]  # picture -> opening of mouth and eyes


@dataclass(frozen=True)
class Movement:
    """Slope and correlation of decoded on source openings, medians over the clips whose source moves."""

    mouth_slope: float
    mouth_correlation: float
    eyes_slope: float
    eyes_correlation: float
    clips: int  # with a measure of the mouth


def dlib_judge() -> Judge:
    """Openings by dlib's 68 landmarks, as `benchmarks.faces` defines them. Raises BcdError without dlib."""
    from bcdcodec.benchmarks.measure.faces import eye_opening, face_meter, mouth_opening

    meter = face_meter()

    def judge(picture: np.ndarray) -> tuple[float, float] | None:
        marks = meter.marks(picture)
        return None if marks is None else (mouth_opening(marks), eye_opening(marks))

    return judge


def landmarker_judge(task: Path) -> Judge:
    """Openings by MediaPipe's landmarks: inner lips over the eye distance, lids' distance over the eyes' width."""
    from bcdcodec.training.data.landmarker import Landmarker

    landmarker = Landmarker(task)

    def judge(picture: np.ndarray) -> tuple[float, float] | None:
        face = landmarker(picture)
        if face is None:
            return None
        p = face.points[:, :2]
        mouth = _distance(p, 13, 14) / _distance(p, 33, 263)
        lids = [(160, 144), (158, 153), (385, 380), (387, 373)]
        eyes = sum(_distance(p, *pair) for pair in lids) / 2 / (_distance(p, 33, 133) + _distance(p, 362, 263))
        return float(mouth), float(eyes)

    return judge


def _distance(points: np.ndarray, i: int, j: int) -> float:
    return float(np.linalg.norm(points[i] - points[j]))


LEAST = 0.015, 0.02  # deviation of the source's opening of mouth and eyes from which a clip moves


def movement(clips: list[list[tuple[tuple[float, float], tuple[float, float]]]]) -> Movement:
    """Of (source, decoded) openings by clip. A decoded opening that does not change has slope and correlation 0."""
    values = []
    for part in (0, 1):
        slopes, correlations = [], []
        for pairs in clips:
            a = np.array([[s[part], d[part]] for s, d in pairs]).reshape(-1, 2)
            if len(a) < 5 or a[:, 0].std() < LEAST[part]:
                continue
            cov = np.cov(a.T, bias=True)
            slopes.append(cov[0, 1] / cov[0, 0])
            correlations.append(cov[0, 1] / np.sqrt(cov[0, 0] * cov[1, 1]) if cov[1, 1] > 1e-12 else 0.0)
        values.append(
            (
                float(np.median(slopes)) if slopes else 0.0,
                float(np.median(correlations)) if slopes else 0.0,
                len(slopes),
            )
        )
    (ms, mc, n), (es, ec, _) = values
    return Movement(ms, mc, es, ec, n)
