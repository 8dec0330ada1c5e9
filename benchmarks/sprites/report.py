"""The measurements as report.json and report.md."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from bcdcodec.benchmarks.markdown import table_as_markdown
from bcdcodec.benchmarks.sections import Table
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
    text = as_markdown(report)
    (out / "report.json").write_text(json.dumps(asdict(report), indent=1))
    (out / "report.md").write_text(text)
    return text


def as_markdown(report: SpritesReport) -> str:
    """All figures of one model as Markdown."""
    both = next(a for a in report.accuracies if a.case == BOTH)
    parts = [
        f"# Sprites, model {report.model} ({report.fingerprint[:12]})",
        f"Test characters, decoded from files as written, {report.steps} sampling step{'s' * (report.steps != 1)}. "
        f"Judge: the nearest, by squared error, of all renderable frames (1296 characters x 63 motion frames) and of all "
        f"renderable clips. {LICENCES}",
        "## Attribute accuracy, cross-driven (table A4)",
        f"Percent of {both.clips} clips, each under a random content of another character in another action.",
        _table(("method", *COLUMNS), _accuracy_rows(report, both)),
        f"Misses (an attribute wrong in any frame): {len(report.misses)}{'; the first, all are in report.json' * (len(report.misses) > MISSES_SHOWN)}.",
        *(f"- {miss}" for miss in report.misses[:MISSES_SHOWN]),
        "## What differs between the content's clip and the driving one",
        "Percent of clips by nearest renderable clip (in brackets: of clips with all 8 frames right). Motion frames: percent of "
        "frames nearest to the very one; to it or one that looks alike, whose true picture has at least "
        f"{ALIKE:.0f} dB against its own (in brackets: of clips all of whose frames are).",
        _table(
            ("case", "clips", *COLUMNS, "motion frames", "or alike", "PSNR, dB", "lowest", "SSIM"),
            [
                (
                    a.case,
                    str(a.clips),
                    *(f"{_percent(c)} ({_percent(f)})" for c, f in zip(a.clip, a.all_frames)),
                    _percent(a.motion_frame),
                    f"{_percent(a.alike)} ({_percent(a.all_alike)})",
                    f"{q.psnr:.2f}",
                    f"{q.psnr_lowest:.2f}",
                    f"{q.ssim:.4f}",
                )
                for a, q in zip(report.accuracies, report.case_quality)
            ],
        ),
        "## Cross-driven quality by sampling steps",
        f"Other character and other action, against the rendered truth. The driving clip itself has {report.driving_psnr:.2f} dB "
        f"there, the content's clip {report.content_psnr:.2f} dB.",
        _table(
            ("steps", "clips", "PSNR, dB", "lowest", "SSIM"),
            [
                (str(q.steps), str(q.clips), f"{q.psnr:.2f}", f"{q.psnr_lowest:.2f}", f"{q.ssim:.4f}")
                for q in report.step_quality
            ],
        ),
        "## Content from fewer frames (table A5)",
        "Other character and other action; the content of the same clip, taken from so many of its 8 frames.",
        _table(
            ("frames", "clips", "bytes", *COLUMNS, "PSNR, dB"),
            [
                (
                    str(c.frames),
                    str(c.accuracy.clips),
                    f"{c.content_bytes:.1f}",
                    *map(_percent, c.accuracy.clip),
                    f"{c.quality.psnr:.2f}",
                )
                for c in report.content_results
            ],
        ),
        "## Rate, codes and speed",
        _table(("measure", "value"), [*_rate_rows(report), *_code_rows(report), *_speed_rows(report)]),
    ]
    return "\n\n".join(parts).replace("\n\n- ", "\n- ") + "\n"


def _accuracy_rows(report: SpritesReport, both: Accuracy) -> list[tuple[str, ...]]:
    rows = [(name, *(f"{v:.2f}" for v in values)) for name, values in PUBLISHED.items()]
    ours = {
        "exact judge, clips": both.clip,
        "exact judge, frames": both.frame,
        "exact judge, clips with all frames right": both.all_frames,
        "classifier": both.classifier,
    }
    rows += [(f"{report.model}, {name}", *map(_percent, values)) for name, values in ours.items()]
    return [*rows, ("the classifier on true test clips", *map(_percent, report.classifier_on_truth))]


def _rate_rows(report: SpritesReport) -> list[tuple[str, str]]:
    r = report.rate
    return [
        (f"coded bits a frame, static tables, all {r.clips} clips", f"{r.bits_per_frame:.3f}"),
        (
            f"coded bits a frame as written in profile static, {r.character_files} files of 72 frames",
            f"{r.character_file_bits_per_frame:.3f}",
        ),
        (
            f"coded bits a frame as written in profile static, {r.clips} files of 8 frames",
            f"{r.file_bits_per_frame:.3f}",
        ),
        (
            "content, container, whole file of 8 frames, bytes (mean)",
            f"{r.content_bytes:.1f}, {r.container_bytes:.1f}, {r.total_bytes:.1f}",
        ),
        (
            "whole file, bits a frame, of 8 frames, of 72",
            f"{r.total_bits_per_frame:.1f}, {r.character_total_bits_per_frame:.1f}",
        ),
    ]


def _code_rows(report: SpritesReport) -> list[tuple[str, str]]:
    i = report.information
    return [
        ("codes used", str(i.codes_used)),
        ("entropy of the codes, bits", f"{i.entropy:.3f}"),
        ("information of codes on the motion frame, bits (at most)", f"{i.motion:.3f} ({i.motion_entropy:.3f})"),
        (
            "information of codes on the character, bits: counted, by chance, corrected",
            f"{i.character:.4f}, {i.character_by_chance:.4f}, {i.character_corrected:.4f}",
        ),
        (
            "information of codes on skin, pants, top, hair, bits: corrected sum (counted each)",
            f"{i.attributes_corrected:.4f} ({', '.join(f'{v:.4f}' for v in i.attributes)})",
        ),
    ]


def _speed_rows(report: SpritesReport) -> list[tuple[str, str]]:
    s = report.speed
    on = f"{s.threads} thread{'s' * (s.threads != 1)}, median of {s.clips}"
    return [
        (f"encoding 8 frames, {on}", f"{1000 * s.encode_s:.0f} ms"),
        (f"decoding 8 frames, {s.steps} step{'s' * (s.steps != 1)}, {on}", f"{1000 * s.decode_s:.0f} ms"),
    ]


def _percent(share: float) -> str:
    """Two decimals, and never 100.00 for less than all."""
    text = f"{100 * share:.2f}"
    return "99.99" if text == "100.00" and share < 1 else text


def _table(columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    return table_as_markdown(Table(columns, tuple(rows)))
