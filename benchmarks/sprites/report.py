"""The measurements as report.json and report.md."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pandas as pd

from bcdcodec.benchmarks.report.render import templates
from bcdcodec.benchmarks.report.tables import frame
from bcdcodec.benchmarks.sprites.benchmark import SpritesReport
from bcdcodec.benchmarks.sprites.judge import ALIKE, COLUMNS
from bcdcodec.benchmarks.sprites.pairs import BOTH
from bcdcodec.benchmarks.sprites.transfer import Accuracy

MISSES_SHOWN = 20
# Table A4 of arXiv 2509.08376: attribute accuracy, percent, by the authors' classifier.
PUBLISHED = {"C-DSVAE, published": (100.0,) * 5, "BCD, published": (100.0,) * 5}
LICENCES = (
    "The pictures show art of the Liberated Pixel Cup (lpc.opengameart.org) under CC-BY-SA 3.0 and GPL 3.0; "
    "pass them on only under these, with its authors named."
)


def write_report(report: SpritesReport, out: Path) -> str:
    """Write report.json and report.md into `out`; the text of the latter."""
    both = next(a for a in report.accuracies if a.case == BOTH)
    text = templates(Path(__file__).parent).get_template("report.md.jinja").render(
        r=report, both=both, licences=LICENCES, shown=MISSES_SHOWN, alike=f"{ALIKE:.0f}",
        accuracy=_accuracy(report, both), cases=_cases(report), steps=_steps(report), contents=_contents(report),
        rates=_rates(report),
    ) + "\n"  # fmt: skip
    (out / "report.json").write_text(json.dumps(asdict(report), indent=1))
    (out / "report.md").write_text(text)
    return text


def percent(share: float) -> str:
    """Two decimals, and never 100.00 for less than all."""
    text = f"{100 * share:.2f}"
    return "99.99" if text == "100.00" and share < 1 else text


def _accuracy(report: SpritesReport, both: Accuracy) -> pd.DataFrame:
    rows = [(name, *(f"{v:.2f}" for v in values)) for name, values in PUBLISHED.items()]
    ours = {
        "exact judge, clips": both.clip,
        "exact judge, frames": both.frame,
        "exact judge, clips with all frames right": both.all_frames,
        "classifier": both.classifier,
    }
    rows += [(f"{report.model}, {name}", *map(percent, values)) for name, values in ours.items()]
    rows.append(("the classifier on true test clips", *map(percent, report.classifier_on_truth)))
    return frame(("method", *COLUMNS), rows)


def _cases(report: SpritesReport) -> pd.DataFrame:
    rows = []
    for a, q in zip(report.accuracies, report.case_quality):
        shares = (f"{percent(c)} ({percent(f)})" for c, f in zip(a.clip, a.all_frames))
        alike = f"{percent(a.alike)} ({percent(a.all_alike)})"
        quality = (f"{q.psnr:.2f}", f"{q.psnr_lowest:.2f}", f"{q.ssim:.4f}")
        rows.append((a.case, str(a.clips), *shares, percent(a.motion_frame), alike, *quality))
    return frame(("case", "clips", *COLUMNS, "motion frames", "or alike", "PSNR, dB", "lowest", "SSIM"), rows)


def _steps(report: SpritesReport) -> pd.DataFrame:
    rows = [
        (str(q.steps), str(q.clips), f"{q.psnr:.2f}", f"{q.psnr_lowest:.2f}", f"{q.ssim:.4f}")
        for q in report.step_quality
    ]
    return frame(("steps", "clips", "PSNR, dB", "lowest", "SSIM"), rows)


def _contents(report: SpritesReport) -> pd.DataFrame:
    rows = [
        (c.frames, c.accuracy.clips, f"{c.content_bytes:.1f}", *map(percent, c.accuracy.clip), f"{c.quality.psnr:.2f}")
        for c in report.content_results
    ]
    return frame(("frames", "clips", "bytes", *COLUMNS, "PSNR, dB"), rows)


def _rates(report: SpritesReport) -> pd.DataFrame:
    r, i, s = report.rate, report.information, report.speed
    on = f"{s.threads} thread{'s' * (s.threads != 1)}, median of {s.clips}"
    rows = [
        (f"coded bits a frame, static tables, all {r.clips} clips", f"{r.bits_per_frame:.3f}"),
        (f"the same as written, {r.character_files} files of 72 frames", f"{r.character_file_bits_per_frame:.3f}"),
        (f"the same as written, {r.clips} files of 8 frames", f"{r.file_bits_per_frame:.3f}"),
        ("reference, container, whole file of 8 frames, bytes (mean)",
         f"{r.content_bytes:.1f}, {r.container_bytes:.1f}, {r.total_bytes:.1f}"),
        ("whole file, bits a frame, of 8 frames, of 72",
         f"{r.total_bits_per_frame:.1f}, {r.character_total_bits_per_frame:.1f}"),
        ("codes used", str(i.codes_used)),
        ("entropy of the codes, bits", f"{i.entropy:.3f}"),
        ("information of codes on the motion frame, bits (at most)", f"{i.motion:.3f} ({i.motion_entropy:.3f})"),
        ("information of codes on the character, bits: counted, by chance, corrected",
         f"{i.character:.4f}, {i.character_by_chance:.4f}, {i.character_corrected:.4f}"),
        ("information of codes on skin, pants, top, hair, bits: corrected sum (counted each)",
         f"{i.attributes_corrected:.4f} ({', '.join(f'{v:.4f}' for v in i.attributes)})"),
        (f"encoding 8 frames, {on}", f"{1000 * s.encode_s:.0f} ms"),
        (f"decoding 8 frames, {s.steps} step{'s' * (s.steps != 1)}, {on}", f"{1000 * s.decode_s:.0f} ms"),
    ]  # fmt: skip
    return frame(("measure", "value"), rows)
