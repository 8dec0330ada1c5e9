"""What a run found, as report.json: figures, curves and raw rows, only JSON types."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np

from bcdcodec import __version__
from bcdcodec.benchmarks.rows import BCD, STILL, Row, row_from
from bcdcodec.benchmarks.run import Measured, settings_in_words
from bcdcodec.benchmarks.speed import machine
from bcdcodec.benchmarks.summary import bd_rates, break_even, curves, headlines, own_rate
from bcdcodec.model_folder import open_model

REPORT_VERSION = 1


def report_of(measured: Measured, date: str) -> dict:
    """All figures of a run, only JSON types. `date`: of the run, as it is to be shown."""
    rows = [row for clip in measured.clips for row in clip.rows]
    config = open_model(measured.options.model).config
    contested = [row for clip in measured.clips if {r.codec for r in clip.rows} - {BCD, STILL} for row in clip.rows]
    points = curves(contested or rows)
    opponents = [name for name in dict.fromkeys(r.codec for r in contested) if name not in (BCD, STILL)]
    own = own_rate(rows)
    first = [r for r in rows if r.codec == BCD and r.setting == own]
    others = [setting for setting in dict.fromkeys(r.setting for r in rows if r.codec == BCD) if setting != own]
    return {
        "report": REPORT_VERSION,
        "date": date,
        "version": __version__,
        "model": {
            "name": config.name,
            "fingerprint": measured.fingerprint,
            "picture_size": config.latent.picture_size,
            "groups": config.quantiser.groups,
            "codes": config.quantiser.codes,
        },
        "setting": own,
        "machine": asdict(machine()),
        "clips": len(measured.clips),
        "frames": sum(r.frames for r in first),
        "seconds": sum(r.seconds for r in first),
        "headlines": headlines(rows, own),
        "rates": [{"setting": setting, "headlines": headlines(rows, setting)} for setting in others],
        "contested_clips": len({r.clip for r in contested}),
        "settings": settings_in_words(",".join(opponents)),
        "curves": points,
        "bd_rates": bd_rates(points, "x265" if "x265" in opponents else opponents[0]) if opponents else [],
        "break_even": break_even(contested or rows),
        "code_usage": _code_usage(measured),
        "speed": measured.speed,
        "procedural": measured.procedural,
        "sets": measured.sets,
        "transfer": measured.transfer,
        "not_measured": measured.not_measured,
        "failed": measured.failed,
        "rows": [asdict(row) for row in rows],
    }


def _code_usage(measured: Measured) -> dict:
    """How the codes are used over all clips: counts [g][k], codes that occur and perplexity, means over groups."""
    counts = np.sum([np.array(clip.code_counts) for clip in measured.clips], 0)
    share = counts / counts.sum(1, keepdims=True)
    entropy = -(share * np.log2(np.where(share > 0, share, 1))).sum(1)  # [g], bits
    return {
        "counts": counts.tolist(),
        "used_per_group": float((counts > 0).sum(1).mean()),
        "perplexity": float((2**entropy).mean()),
        "groups_of_one_code": int(((counts > 0).sum(1) <= 1).sum()),
    }


def rows_of(report: dict) -> list[Row]:
    """The raw rows of a report. Raises TypeError or KeyError for a report of another version."""
    return [row_from(raw) for raw in report["rows"]]
