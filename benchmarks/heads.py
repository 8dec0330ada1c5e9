"""What a codec for calls has to reach on clips of unseen people, against a report of `bcd bench`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bcdcodec.benchmarks.report import rows_of
from bcdcodec.benchmarks.rows import BCD, Row, correlation
from bcdcodec.benchmarks.sections import Table, number
from bcdcodec.benchmarks.statistics import median
from bcdcodec.benchmarks.summary import own_rate, pooled

LOW_RATE = 1.0  # kbit/s of motion, at which a whole file of ten seconds is to stay below three
RATES = (LOW_RATE, 2.0, 4.0)  # beside the model's own

motion_kbps = pooled(lambda r: r.motion_bytes * 8 / 1000, lambda r: r.seconds)


@dataclass(frozen=True)
class Target:
    """One thing to reach."""

    what: str
    at: str  # "own" or "low": at which rate
    limit: float
    at_most: bool  # else at least
    digits: int
    value: Callable[[dict, list[Row]], float | None]  # from the report and the rows at that rate

    def reached(self, found: float | None) -> bool | None:
        if found is None:
            return None
        return found <= self.limit if self.at_most else found >= self.limit


def whole_kbps(rows: list[Row], seconds: float) -> float:
    """kbit/s of a file of that length, without sound, at the pooled motion rate with a median header and container."""
    return motion_kbps(rows) + median([r.content_bytes + r.container_bytes for r in rows]) * 8 / 1000 / seconds


def _median(name: str) -> Callable[[dict, list[Row]], float | None]:
    return lambda report, rows: median([getattr(r, name) for r in rows])


def _pooled_correlation(name: str) -> Callable[[dict, list[Row]], float | None]:
    return lambda report, rows: correlation([pair for r in rows for pair in getattr(r, name)])


def _largest_identity(report: dict, rows: list[Row]) -> float | None:
    known = [r.identity_distance for r in rows if r.identity_distance is not None]
    return max(known) if known else None


def _transfer(name: str, factor: float = 1.0) -> Callable[[dict, list[Row]], float | None]:
    def value(report: dict, rows: list[Row]) -> float | None:
        found = (report["transfer"] or {}).get(name)
        return None if found is None else factor * found

    return value


def _speed(name: str) -> Callable[[dict, list[Row]], float | None]:
    return lambda report, rows: report["speed"][name] if report["speed"] else None


def _bits_a_frame(report: dict, rows: list[Row]) -> float:
    return 8 * sum(r.motion_bytes for r in rows) / sum(r.frames for r in rows)


TARGETS = (
    Target("coded motion, bits a frame", "own", 176, True, 1, _bits_a_frame),
    Target("coded motion, bits a frame", "own", 144, False, 1, _bits_a_frame),
    Target("largest content header, bytes", "own", 1500, True, 0, lambda _, rows: max(r.content_bytes for r in rows)),
    Target("whole file of 30 s, kbit/s", "own", 4.6, True, 2, lambda _, rows: whole_kbps(rows, 30)),
    Target("identity distance (dlib), median", "own", 0.30, True, 3, _median("identity_distance")),
    Target("identity distance, largest of a clip", "own", 0.6, True, 3, _largest_identity),
    Target("landmark error, of the eye distance, median", "own", 0.025, True, 3, _median("landmark_error")),
    Target("mouth opening, correlation", "own", 0.85, False, 2, _pooled_correlation("mouth")),
    Target("eye opening, correlation", "own", 0.7, False, 2, _pooled_correlation("eyes")),
    Target("whole file of 10 s, kbit/s", "low", 3.0, True, 2, lambda _, rows: whole_kbps(rows, 10)),
    Target("whole file of 30 s, kbit/s", "low", 2.5, True, 2, lambda _, rows: whole_kbps(rows, 30)),
    Target("identity distance (dlib), median", "low", 0.35, True, 3, _median("identity_distance")),
    Target("identity distance, largest of a clip", "low", 0.6, True, 3, _largest_identity),
    Target("landmark error, of the eye distance, median", "low", 0.03, True, 3, _median("landmark_error")),
    Target("mouth opening, correlation", "low", 0.8, False, 2, _pooled_correlation("mouth")),
    Target("eye opening, correlation", "low", 0.7, False, 2, _pooled_correlation("eyes")),
    Target("another's motion: nearer to the content's person, % of pairs", "own", 95, False, 0, _transfer("nearer", 100)),
    Target("another's motion: pose error, degrees, median", "own", 6, True, 1, _transfer("pose_error")),
    Target("another's motion: mouth opening, correlation, median", "own", 0.7, False, 2, _transfer("mouth")),
    Target("encode, times real time", "own", 1, False, 1, _speed("encode_times_real_time")),
    Target("decode, times real time", "own", 1, False, 1, _speed("decode_times_real_time")),
)  # fmt: skip


def targets_table(report: dict) -> Table:
    """Every target beside what the report found; 'not measured' where it did not look."""
    rows = [r for r in rows_of(report) if r.codec == BCD]
    settings = {"own": own_rate(rows), "low": next((r.setting for r in rows if r.setting.startswith(f"{LOW_RATE:g} kbit/s")), None)}
    lines = []
    for target in TARGETS:
        at = [r for r in rows if r.setting == settings[target.at]]
        found = target.value(report, at) if at else None
        verdict = {True: "reached", False: "missed", None: "not measured"}[target.reached(found)]
        rate = "own" if target.at == "own" else f"{LOW_RATE:g} kbit/s"
        limit = f"{'at most' if target.at_most else 'at least'} {target.limit:g}"
        lines.append((target.what, rate, limit, number(found, target.digits), verdict))
    return Table(("target", "motion", "limit", "found", ""), tuple(lines))
