"""benchmarks/baseline.json, the last accepted figures, and a short run that is compared with them."""

from __future__ import annotations

import json
import shutil
from fractions import Fraction
from pathlib import Path

import numpy as np

from bcdcodec.benchmarks.bench import bench
from bcdcodec.benchmarks.markdown import table_as_markdown
from bcdcodec.benchmarks.report import REPORT_VERSION
from bcdcodec.benchmarks.rows import write_whole
from bcdcodec.benchmarks.run import CLIPS, PROCEDURAL, SPEED, Options, Progress
from bcdcodec.benchmarks.sections import Table, number
from bcdcodec.errors import BcdError
from bcdcodec.model_folder import open_model
from bcdcodec.video import write_video

BASELINE = Path(__file__).with_name("baseline.json")
FULL, SHORT = "full", "short"  # reports of a whole benchmark, and of rendered clips that everybody can make
HEAVY = ("rows", "code_usage", "failed")  # parts of a report that are not kept
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
    kept = {key: value for key, value in report.items() if key not in HEAVY}
    write_whole(path, json.dumps(load_baseline(path) | {name: kept}, indent=1, sort_keys=True) + "\n")


def load_report(path: Path) -> dict:
    """A report.json. Raises BcdError when it is none."""
    try:
        report = json.loads(path.read_text())
        report["headlines"]
        return report
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BcdError(f"{path} is no report.json of bcd bench: {error}") from error


def short_run(out: Path, model: str, jobs: int = 1, progress: Progress | None = None) -> dict:
    """The report of a benchmark on rendered clips, without faces and classical codecs, some minutes long.

    It keeps nothing that an earlier run in `out` has measured: it is there to show what a change of the code has done.
    """
    for kept in (CLIPS, PROCEDURAL):
        shutil.rmtree(out / kept, ignore_errors=True)
    (out / SPEED).unlink(missing_ok=True)
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
    """A table of figures, the accepted ones, and now over then."""
    now, then = _figures(report), _figures(accepted)
    rows = tuple(
        (name, number(then[name], 3), number(now[name], 3), number(now[name] / then[name], 3) if then[name] else "-")
        for name in now
        if name in then
    )
    return table_as_markdown(Table(("figure", "accepted", "now", "ratio"), rows))


def _figures(report: dict) -> dict[str, float]:
    """All single figures of a report by name."""
    found = {f"{h['label']}, {h['unit']}".rstrip(", "): h["value"] for h in report["headlines"].values()}
    if report["procedural"]:
        cross, probes = report["procedural"]["cross_driven"], report["procedural"]["probes"]
        found |= {"cross-driven, dB": cross["decoded"], "person read from the codes": probes["identity_accuracy"]}
        found |= {f"{name} read from the codes, R2": value for name, value in probes["motion_r2"].items()}
    if report["speed"]:
        names = (
            "encode_fps",
            "decode_fps",
            "first_frame_warm",
            "first_frame_cold",
            "encode_peak_mib",
            "decode_peak_mib",
        )
        found |= {name.replace("_", " "): report["speed"][name] for name in names}
    return {name: value for name, value in found.items() if value is not None}
