"""`bcd eval`: the measures of the paper's table 1 for pairs of a person and another person's motion."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from torch import Tensor

from bcdcodec.benchmarks.codec_runs import codec_run
from bcdcodec.benchmarks.measure.identity import cosine, embedding, has_sface
from bcdcodec.benchmarks.measure.landmarks import Landmarks, clip_landmarks, find_task
from bcdcodec.benchmarks.measure.meshes import HEAD_FILE, FittedClip, find_head, fit_landmarks, mesh_errors
from bcdcodec.benchmarks.measure.networks import FILES, found_in, frechet_distance, measure_networks, set_features
from bcdcodec.benchmarks.measure.reenactment import PUBLISHED
from bcdcodec.benchmarks.statistics import evenly_in_time
from bcdcodec.errors import BcdError
from bcdcodec.training.data.landmarker import Landmarker
from bcdcodec.training.data.portraits.head import Head
from bcdcodec.video import read_pictures

SIDE = 256  # pixels, at which clips are compared
SAMPLES = 48  # frames of a clip
MEASURES = ("FID", "CSIM", "sface", "identity_error", "motion_error", "cross_error")
MODEL, HELD = "this", "the content's first picture, held"


@dataclass(frozen=True)
class Pair:
    """A person, a motion, and what should show that person in that motion, frame by frame as `motion`."""

    content: Path
    motion: Path
    generated: Path | None = None  # None: made by a model


@dataclass
class PairsReport:
    """Means over pairs by row (MODEL, HELD) and measure; None where a network is missing or no face was found."""

    rows: dict[str, dict[str, float | None]]
    pairs: int
    missing: list[str]  # what was not measured, and the file that it needs
    failed: dict[str, str] = field(default_factory=dict)  # pair -> error


def read_pairs(path: Path) -> list[Pair]:
    """Pairs of a CSV with columns content, motion and, if the clips are made already, generated; paths from its folder.

    Raises BcdError.
    """
    try:
        with path.open(newline="") as stream:
            rows = list(csv.DictReader(stream))
    except OSError as error:
        raise BcdError(f"cannot read {path}: {error.strerror}") from error
    if not rows or not {"content", "motion"} <= rows[0].keys():
        found = ", ".join(rows[0]) if rows else "no rows"
        raise BcdError(f"{path} has {found}: columns content and motion are wanted, and generated where clips are made")
    return [
        Pair(*(path.parent / row[name] for name in ("content", "motion")), _made(path, row.get("generated")))
        for row in rows
    ]


def _made(path: Path, name: str | None) -> Path | None:
    return path.parent / name if name else None


def evaluate_pairs(
    pairs: list[Pair], networks: Path, model: str, progress: Callable[[int, int | None], None] | None = None
) -> PairsReport:
    """Measure pairs by the networks in a folder; a pair that fails is listed.

    FID is between all generated frames and all frames of the contents. CSIM and the cosine of SFace are between a
    generated clip and its content. Raises BcdError without MediaPipe's landmarker.
    """
    judge = _Judge(networks)
    sums: dict[str, list[dict]] = {MODEL: [], HELD: []}
    failed = {}
    for i, pair in enumerate(pairs):
        try:
            for name, measures in judge.pair(pair, model).items():
                sums[name].append(measures)
        except BcdError as error:
            failed[f"{pair.content}, {pair.motion}"] = str(error)
        if progress:
            progress(i + 1, len(pairs))
    if not sums[MODEL]:
        raise BcdError(f"none of {len(pairs)} pairs could be measured; first: {next(iter(failed.values()))}")
    rows = {name: _mean(some) | {"FID": judge.fid(name)} for name, some in sums.items()}
    missing = [f"{name}: {FILES[name]}" for name in ("FID", "CSIM") if name not in found_in(networks)]
    missing += [] if has_sface(networks) else ["sface: sface.safetensors"]
    missing += [] if judge.head else [f"identity, motion and cross error: {HEAD_FILE}"]
    return PairsReport(rows, len(sums[MODEL]), missing, failed)


class _Judge:
    """The networks, and the features that FID is computed from at the end."""

    def __init__(self, networks: Path):
        self.networks, self.landmarker = networks, Landmarker(find_task(networks))
        self.head: Head | None = find_head(networks)
        self.features: dict[str, list[np.ndarray]] = {MODEL: [], HELD: [], "content": []}

    def pair(self, pair: Pair, model: str) -> dict[str, dict[str, float | None]]:
        """The measures of one pair, by row. Raises BcdError."""
        if pair.generated is None:
            run = codec_run(model)
            content, motion = run.pictures(pair.content), run.pictures(pair.motion)
            shown = run.codec.decode(run.codec.encode(motion), content=run.codec.encode(content))
        else:
            shown, content, motion = (
                read_pictures(path, None, SIDE) for path in (pair.generated, pair.content, pair.motion)
            )
        if len(shown) != len(motion):
            raise BcdError(f"{pair.generated} has {len(shown)} frames, the motion {pair.motion} has {len(motion)}")
        held = np.broadcast_to(content[:1], shown.shape)
        moments = evenly_in_time(len(motion), SAMPLES)
        content = content[evenly_in_time(len(content), SAMPLES)]
        person, driver = self._look(content), self._look(motion[moments])
        self._keep("content", content)
        rows = {}
        for name, clip in ((MODEL, shown[moments]), (HELD, np.ascontiguousarray(held[moments]))):
            self._keep(name, clip)
            seen = self._look(clip)
            found = measure_networks(self.networks, clip, content, seen.landmarks, person.landmarks, ("CSIM",))
            errors = None
            if self.head and seen.fitted and person.fitted and driver.fitted:
                errors = mesh_errors(self.head, seen.fitted, person.fitted, driver.fitted)
            rows[name] = {"CSIM": found.get("csim"), "sface": cosine(seen.embedding, person.embedding)} | {
                measure: None if errors is None else getattr(errors, measure)
                for measure in ("identity_error", "motion_error", "cross_error")
            }
        return rows

    def fid(self, name: str) -> float | None:
        """Of a row, against the contents."""
        sets = self.features[name], self.features["content"]
        return None if not all(sets) else frechet_distance(*(np.concatenate(some) for some in sets))

    def _keep(self, name: str, clip: np.ndarray) -> None:
        features = set_features(self.networks, clip, ("FID",))
        if "FID" in features:
            self.features[name].append(features["FID"])

    def _look(self, clip: np.ndarray) -> _Seen:
        landmarks = clip_landmarks(self.landmarker, clip)
        fitted = None if self.head is None else fit_landmarks(self.head, landmarks, clip.shape[2])
        return _Seen(landmarks, fitted, embedding(clip, landmarks, self.networks) if has_sface(self.networks) else None)


@dataclass(frozen=True)
class _Seen:
    """What the networks see in a clip."""

    landmarks: Landmarks
    fitted: FittedClip | None
    embedding: Tensor | None


def _mean(rows: list[dict[str, float | None]]) -> dict[str, float | None]:
    known = {name: [row[name] for row in rows if row[name] is not None] for name in rows[0]}
    return {name: float(np.mean(values)) if values else None for name, values in known.items()}


def as_text(report: PairsReport) -> str:
    """A table: the rows measured, then the published ones, whose errors are of another mesh on other clips."""
    heads = ("FID", "CSIM", "SFace", "identity", "motion", "cross")
    lines = [f"{'':42}" + "".join(f"{head:>10}" for head in heads)]
    for name, row in report.rows.items():
        lines.append(f"{name:42}" + "".join(_figure(row[measure]) for measure in MEASURES))
    lines.append("published, on LRS3; errors of another mesh: identity x 10, motion and cross x 100")
    for name, (fid, csim, *errors) in PUBLISHED.items():
        lines.append(f"{name:42}" + "".join(map(_figure, (fid, csim, None, *errors))))
    lines += [f"not measured: {what}" for what in report.missing]
    return "\n".join(lines)


def _figure(value: float | None) -> str:
    return f"{'-':>10}" if value is None else f"{value:10.3f}"
