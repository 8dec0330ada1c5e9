"""benchmarks/baseline.json, the last accepted figures, and a short run that is compared with them."""

from __future__ import annotations

import json
import re
import shutil
from fractions import Fraction
from pathlib import Path

import numpy as np

from bcdcodec.benchmarks.report.render import as_markdown
from bcdcodec.benchmarks.report.report import REPORT_VERSION
from bcdcodec.benchmarks.report.summary import HEADLINES
from bcdcodec.benchmarks.report.tables import frame
from bcdcodec.benchmarks.rows import write_whole
from bcdcodec.benchmarks.run import KEPT, Options, Progress, bench
from bcdcodec.benchmarks.statistics import number
from bcdcodec.errors import BcdError
from bcdcodec.model_folder import open_model
from bcdcodec.video import write_video

BASELINE = Path(__file__).with_name("baseline.json")
FULL, SHORT = "full", "short"  # reports of a whole benchmark, and of rendered clips that everybody can make
SPEED = ("encode_fps", "decode_fps", "first_frame_warm", "first_frame_cold", "encode_peak_mib", "decode_peak_mib")
PEOPLE, FRAMES, FRAME_RATE = 4, 100, 25
SEED = 78_000_000  # people and motions that no training run has seen


def load_baseline(path: Path = BASELINE) -> dict:
    """The accepted reports by name, FULL and SHORT; those there are. Raises BcdError for a damaged file."""
    try:
        return json.loads(path.read_text()) if path.exists() else {}
    except (OSError, ValueError) as error:
        raise BcdError(f"cannot read {path}: {error}") from error


def accept(report: dict, name: str, path: Path = BASELINE) -> None:
    """Keep a report's figures as the accepted ones. Raises BcdError for a report of another version."""
    if report.get("report") != REPORT_VERSION:
        raise BcdError(
            f"the report has version {report.get('report')}, this bcdcodec writes {REPORT_VERSION}: run bcd bench again"
        )
    kept = load_baseline(path) | {name: _small(report)}
    text = json.dumps(kept, indent=1)
    # A list of numbers on one line.
    write_whole(path, re.sub(r"\[[^\[\]{}]*\]", lambda m: " ".join(m[0].split()), text) + "\n")


def _small(report: dict) -> dict:
    """What of a report is kept: each figure as value, low, high, that of the held reference, and number of clips."""

    def rounded(name: str, figure: dict) -> list:
        digits = HEADLINES[name].digits + 1
        values = [figure.get(k, figure.get("gain")) for k in ("value", "low", "high", "held")]
        return [None if v is None else round(v, digits) for v in values] + [figure["clips"]]

    speed = report["speed"] and {n: round(report["speed"][n], 2) for n in SPEED}
    return {name: report[name] for name in ("date", "version", "model", "clips", "frames", "seconds")} | {
        "rates": {r["setting"]: {n: rounded(n, f) for n, f in r["headlines"].items()} for r in report["rates"]},
        "ablation": {
            a["part"]: {"brings": a["brings"]} | {n: rounded(n, g) for n, g in a["gains"].items()}
            for a in report["ablation"]
        },
        "speed": speed,
    }


def load_report(path: Path) -> dict:
    """A report.json. Raises BcdError when it is none."""
    try:
        report = json.loads(path.read_text())
        report["rates"]
        return report
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BcdError(f"{path} is no report.json of bcd bench: {error}") from error


def short_run(out: Path, model: str, jobs: int = 1, progress: Progress | None = None) -> dict:
    """The report of a benchmark on rendered clips, without faces and classical codecs, some minutes long.

    It keeps nothing that an earlier run in `out` has measured: it is there to show what a change of the code has done.
    """
    for kept in KEPT:
        shutil.rmtree(out / kept, ignore_errors=True)
        (out / kept).unlink(missing_ok=True)
    clips = render_clips(out / "rendered", open_model(model).config.latent.picture_size)
    return bench(clips, Options(model, out, faces=False, few_rendered=True, jobs=jobs), progress).report


def render_clips(folder: Path, size: int, clips: int = PEOPLE, frames: int = FRAMES) -> list[Path]:
    """Videos of rendered people, made once."""
    from bcdcodec.training.data.procedural import Identity, render, sample_motion

    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"head-{size}-{frames}-{i}.mp4" for i in range(clips)]
    for i, path in enumerate(paths):
        if not path.exists():
            rng = np.random.default_rng((SEED, i))
            with write_video(path, size, size, Fraction(1, FRAME_RATE)) as video:
                for pts, picture in enumerate(render(Identity.sample(rng), sample_motion(rng, frames), size)):
                    video.write(picture, pts)
    return paths


def ratios(report: dict, accepted: dict) -> str:
    """A table of figures, the accepted ones, and now over then. `accepted`: as `accept` keeps them."""
    now = _small(report)
    (setting, figures), (_, known) = (next(iter(r["rates"].items())) for r in (now, accepted))
    rows = [(HEADLINES[n].label, known[n][0], f[0]) for n, f in figures.items() if n in known]
    if now["speed"] and accepted["speed"]:
        rows += [(n.replace("_", " "), accepted["speed"][n], now["speed"][n]) for n in SPEED]
    lines = [(label, number(a, 3), number(b, 3), number(b / a if a else None, 3)) for label, a, b in rows]
    return as_markdown(frame(("figure", "accepted", f"now, {setting}", "ratio"), lines))
