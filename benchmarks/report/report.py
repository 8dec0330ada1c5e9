"""What a run found, as report.json: figures, curves and raw rows, only JSON types."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np

from bcdcodec import __version__
from bcdcodec.benchmarks.report.summary import ablation, bd_rates, break_even, curves, headlines, settings_of
from bcdcodec.benchmarks.rows import BCD
from bcdcodec.benchmarks.run import Measured
from bcdcodec.benchmarks.speed import machine
from bcdcodec.model_folder import open_model

REPORT_VERSION = 3
AHG16 = (
    "Conditions of JVET's AHG16 on generative face video coding: the first {frames} frames of a clip at 25 a second, "
    "whole files, four rates, BD-rate of each clip against x265; the clips are ours, not JVET's."
)


def report_of(measured: Measured, date: str) -> dict:
    """All figures of a run. `date`: of the run, as it is to be shown."""
    rows, options = [row for clip in measured.clips for row in clip.rows], measured.options
    config = open_model(options.model).config
    with_anchors = [row for clip in measured.clips if {r.codec for r in clip.rows} - {BCD} for row in clip.rows]
    points = curves(with_anchors or rows)
    anchors = [name for name in dict.fromkeys(r.codec for r in with_anchors) if name != BCD]
    rates = [
        {"setting": s, "headlines": headlines([r for r in rows if (r.codec, r.setting, r.without) == (BCD, s, "")])}
        for s in settings_of(rows)
    ]
    first = [r for r in rows if (r.codec, r.setting, r.without) == (BCD, rates[0]["setting"], "")]
    conditions = AHG16.format(frames=options.frames) if options.ahg16 else ""
    if options.ahg16 and any(r.frames < options.frames for r in first):
        conditions += (
            f" {sum(r.frames < options.frames for r in first)} clips are shorter: our header weighs more there."
        )
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
        "machine": asdict(machine()),
        "conditions": conditions,
        "ahg16": options.ahg16,
        "clips": len(measured.clips),
        "frames": sum(r.frames for r in first),
        "seconds": sum(r.seconds for r in first),
        "rates": rates,
        "ablation": ablation(rows),
        "anchor_clips": len({r.clip for r in with_anchors}),
        "settings": {a.name: a.settings for a in measured.anchors},
        "curves": points,
        "bd_rates": bd_rates(with_anchors, "x265" if "x265" in anchors else anchors[0]) if anchors else [],
        "break_even": break_even(with_anchors) if anchors else [],
        "code_usage": _code_usage(measured),
        "speed": measured.speed,
        "procedural": measured.procedural,
        "sets": measured.sets,
        "reenactment": measured.reenactment,
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
