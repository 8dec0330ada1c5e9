"""What a codec for calls has to reach on clips of unseen people, against a report of `bcd bench`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bcdcodec.benchmarks.faces import SAME_PERSON
from bcdcodec.benchmarks.report import rows_of
from bcdcodec.benchmarks.rows import BCD, Row
from bcdcodec.benchmarks.sections import Table, number
from bcdcodec.benchmarks.summary import (
    Statistic,
    bits_per_frame,
    correlation_of,
    largest_content,
    median_of,
    own_rate,
    whole_file_of,
)

PAPER_RATE = 4.0  # kbit/s of motion
RATES = (1.0, PAPER_RATE)  # beside the model's own, at which a whole file of ten seconds is to be at most three

Value = Callable[[dict, list[Row]], float | None]  # from the report and the rows at one rate


@dataclass(frozen=True)
class Target:
    """One thing to reach."""

    what: str
    at: float | None  # which rate, kbit/s; None: the model's own
    limit: float
    at_most: bool  # else at least
    digits: int
    value: Value

    def reached(self, found: float | None) -> bool | None:
        if found is None:
            return None
        return found <= self.limit if self.at_most else found >= self.limit


def _of_rows(statistic: Statistic) -> Value:
    return lambda report, rows: statistic(rows)


def _transfer(name: str, factor: float = 1.0) -> Value:
    def value(report: dict, rows: list[Row]) -> float | None:
        found = (report["transfer"] or {}).get(name)
        return None if found is None else factor * found

    return value


def _speed(name: str) -> Value:
    return lambda report, rows: report["speed"][name] if report["speed"] else None


def _largest_identity(rows: list[Row]) -> float | None:
    known = [r.identity_distance for r in rows if r.identity_distance is not None]
    return max(known) if known else None


def _faces(at: float | None, identity: float, landmarks: float, mouth: float) -> tuple[Target, ...]:
    """What is asked of faces at one rate, with the limits that differ between rates."""
    return (
        Target(
            "identity distance (dlib), median",
            at,
            identity,
            True,
            3,
            _of_rows(median_of(lambda r: r.identity_distance)),
        ),
        Target("identity distance, largest of a clip", at, SAME_PERSON, True, 3, _of_rows(_largest_identity)),
        Target(
            "landmark error, of the eye distance, median",
            at,
            landmarks,
            True,
            3,
            _of_rows(median_of(lambda r: r.landmark_error)),
        ),
        Target("mouth opening, correlation", at, mouth, False, 2, _of_rows(correlation_of("mouth"))),
        Target("eye opening, correlation", at, 0.7, False, 2, _of_rows(correlation_of("eyes"))),
    )


TARGETS = (
    Target("coded motion, bits a frame", PAPER_RATE, 176, True, 1, _of_rows(bits_per_frame)),
    Target("coded motion, bits a frame", PAPER_RATE, 144, False, 1, _of_rows(bits_per_frame)),
    Target("largest content header, bytes", None, 1500, True, 0, _of_rows(largest_content)),
    Target("whole file of 30 s, kbit/s", PAPER_RATE, 4.6, True, 2, _of_rows(whole_file_of(30))),
    *_faces(PAPER_RATE, identity=0.30, landmarks=0.025, mouth=0.85),
    Target("whole file of 10 s, kbit/s", None, 3.0, True, 2, _of_rows(whole_file_of(10))),
    Target("whole file of 30 s, kbit/s", None, 2.5, True, 2, _of_rows(whole_file_of(30))),
    *_faces(None, identity=0.35, landmarks=0.03, mouth=0.8),
    Target("another's motion: nearer to the content's person, % of pairs", None, 95, False, 0, _transfer("nearer", 100)),
    Target("another's motion: pose error, degrees, median", None, 6, True, 1, _transfer("pose_error")),
    Target("another's motion: mouth opening, correlation, median", None, 0.7, False, 2, _transfer("mouth")),
    Target("encode, times real time", None, 1, False, 1, _speed("encode_times_real_time")),
    Target("decode, times real time", None, 1, False, 1, _speed("decode_times_real_time")),
)  # fmt: skip


def targets_table(report: dict) -> Table:
    """Every target beside what the report found; 'not measured' where it did not look."""
    rows = [r for r in rows_of(report) if r.codec == BCD]
    settings = {
        rate: next((r.setting for r in rows if r.setting.startswith(f"{rate:g} kbit/s")), None) for rate in RATES
    } | {None: own_rate(rows)}
    lines = []
    for target in TARGETS:
        at = [r for r in rows if r.setting == settings[target.at]]
        found = target.value(report, at) if at else None
        verdict = {True: "reached", False: "missed", None: "not measured"}[target.reached(found)]
        rate = "own" if target.at is None else f"{target.at:g} kbit/s"
        limit = f"{'at most' if target.at_most else 'at least'} {target.limit:g}"
        lines.append((target.what, rate, limit, number(found, target.digits), verdict))
    return Table(("target", "motion", "limit", "found", ""), tuple(lines))
