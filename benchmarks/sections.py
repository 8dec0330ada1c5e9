"""A report's figures as sections of text and tables, which report.md and report.html share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bcdcodec.benchmarks.rows import BCD, STILL
from bcdcodec.benchmarks.summary import CURVED
from bcdcodec.benchmarks.transfer import PUBLISHED

RATES = (
    "static_bits_per_frame",
    "ideal_bits_per_frame",
    "bits_per_frame",
    "motion_kbps",
    "coder_overhead",
    "content_bytes",
    "content_bytes_max",
    "contents",
    "container_bytes",
    "audio_kbps",
    "whole_kbps",
    "whole_kbps_10s",
)


@dataclass(frozen=True)
class Table:
    """Columns and rows of text; the first column is left-aligned, the others hold figures."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Section:
    """A heading with paragraphs, then tables; `plots` names the pictures that HTML shows there."""

    title: str
    paragraphs: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    plots: tuple[str, ...] = ()


def sections(report: dict) -> list[Section]:
    """A report in words and tables, in the order of reading."""
    found = [_about(report), _headlines(report), _rates(report)]
    if len(report["curves"]) > 2:
        found.append(_opponents(report))
    if report["speed"]:
        found.append(_speed(report["speed"]))
    if report["procedural"]:
        found.append(_procedural(report["procedural"]))
    if report["transfer"] or (report["procedural"] and report["procedural"]["cross_driven"]["transfer"]):
        found.append(_transfer(report))
    missing = Table(("not measured", "because"), tuple((m["measure"], m["reason"]) for m in report["not_measured"]))
    found.append(Section("Not measured", tables=(missing,)))
    if report["failed"]:
        table = Table(("clip", "error"), tuple((f["clip"], f["error"]) for f in report["failed"]))
        found.append(Section("Clips that failed", ("They are in no figure above.",), (table,)))
    return found


def number(value: float | None, digits: int) -> str:
    """A figure as text; a dash where there is none."""
    return "-" if value is None or np.isnan(value) else f"{value:.{digits}f}"


def figure(estimate: dict, digits: int) -> tuple[str, str]:
    """Value and interval as text."""
    low, high = estimate["low"], estimate["high"]
    interval = "-" if low is None else f"{number(low, digits)} to {number(high, digits)}"
    return number(estimate["value"], digits), interval


def _about(report: dict) -> Section:
    model, machine = report["model"], report["machine"]
    size = model["picture_size"]
    return Section(
        "What was measured",
        (
            (
                f"Model {model['name']} ({model['fingerprint'][:12]}), {size} x {size} pixels, {model['groups']} x {model['codes']} codes, "
                f"on {report['clips']} clips, {report['frames']} frames, {report['seconds']:.1f} s; bcdcodec {report['version']}, {report['date']}."
            ),
            f"Machine: {machine['processor']}, {machine['cores']} cores, {machine['memory_gib']} GiB, {machine['system']}; "
            + ", ".join(f"{k} {v}" for k, v in machine["versions"].items())
            + ".",
            (
                "Intervals are 95 % by bootstrap over clips. Pictures are compared with the source as the model sees it: "
                "cropped and scaled to its size. PSNR is over RGB, SSIM, MS-SSIM, VMAF and flicker over luma. "
                "VMAF (v0.6.1) was fitted on pictures of 1080 lines: here it ranks codings and says nothing beside published scores."
            ),
        ),
    )


def _headlines(report: dict) -> Section:
    rows = [
        (h["label"], *figure(h, h["digits"]), h["unit"])
        for name, h in report["headlines"].items()
        if name not in RATES and h["value"] is not None
    ]
    what = {"FID": "pictures", "FVD": "clips of 16 frames"}
    rows += [
        (f"{name}, of {found['count']} {what[name]}", number(found["value"], 1), "-", "")
        for name, found in report["sets"].items()
    ]
    return Section(
        "Quality of decoded files", tables=(Table(("measure", "value", "95 % interval", "unit"), tuple(rows)),)
    )


def _rates(report: dict) -> Section:
    heads = report["headlines"]
    rows = [
        (heads[name]["label"], *figure(heads[name], heads[name]["digits"]), heads[name]["unit"])
        for name in RATES
        if heads[name]["value"] is not None
    ]
    usage, even = report["code_usage"], report["break_even"]
    pays = Table(
        ("from how many seconds the whole file is smaller than", "its kbit/s", "seconds"),
        tuple(
            (e["against"], number(e["kbps"], 2), "never" if e["seconds"] is None else number(e["seconds"], 1))
            for e in even
        ),
    )
    return Section(
        "Where the bytes go",
        (
            (
                f"{usage['used_per_group']:.1f} of {report['model']['codes']} codes occur in a group, perplexity "
                f"{usage['perplexity']:.1f}, means over {report['model']['groups']} groups. Groups of "
                f"which only one code occurs: {usage['groups_of_one_code']}."
            ),
        ),
        (Table(("rate", "value", "95 % interval", "unit"), tuple(rows)), pays),
        ("frame_bits", "code_usage"),
    )


def _opponents(report: dict) -> Section:
    points = sorted(report["curves"], key=lambda p: (p["codec"] != BCD, p["codec"] != STILL, p["codec"], -p["side"]))
    faces = any(p["identity_distance"]["value"] is not None for p in points)
    columns = ("codec", "coded at", "kbit/s", "PSNR, dB", "SSIM", "MS-SSIM", "VMAF", "flicker")
    columns += ("faces found, %", "identity", "landmarks", "pose, degrees", "mouth r") if faces else ()
    rows = []
    for p in points:
        cells = [
            f"{p['codec']} {p['setting']}",
            f"{p['side']}",
            number(p["kbps"]["value"], 2),
            number(p["psnr"]["value"], 2),
            number(p["ssim"]["value"], 3),
            number(p["ms_ssim"]["value"], 3),
            number(p["vmaf"]["value"], 1),
            number(p["flicker"]["value"], 2),
        ]
        if faces:
            share = p["faces_found"]["value"]
            cells += [
                number(None if share is None else 100 * share, 0),
                number(p["identity_distance"]["value"], 3),
                number(p["landmark_error"]["value"], 3),
                number(p["pose_error"]["value"], 1),
                number(p["mouth_correlation"]["value"], 2),
            ]
        rows.append(tuple(cells))
    settings = Table(("codec", "settings"), tuple(report["settings"].items()))
    measures = tuple(m for m in CURVED if any(m in b["rates"] or m in b["missing"] for b in report["bd_rates"]))
    delta = Table(
        ("BD-rate", *(f"{m.upper().replace('_', '-')}, %" for m in measures), "missing because"),
        tuple(
            (
                f"{b['codec']} at {b['side']}, against {b['anchor']}",
                *(number(b["rates"].get(m), 1) for m in measures),
                "; ".join(dict.fromkeys(b["missing"].values())),
            )
            for b in report["bd_rates"]
        ),
    )
    return Section(
        "Beside classical codecs",
        (
            (
                f"On {report['contested_clips']} of the clips, medians. Of BCD the whole file counts, container and content included; of the "
                "classical codecs the bare elementary stream, without container or comments, one keyframe. What is coded smaller is scaled "
                "up again (bicubic) before it is compared. Their last rung is the coarsest quality they have."
            ),
            "None of them can show another face in the recorded motion.",
        ),
        (Table(columns, tuple(rows)), delta, settings),
        ("curves",),
    )


def _speed(speed: dict) -> Section:
    stages = [(f"encode: {k}", v) for k, v in speed["encode_stages"].items()] + [
        (f"decode: {k}", v) for k, v in speed["decode_stages"].items()
    ]
    rows = tuple((name, number(1000 * s, 0), number(1000 * s / speed["frames"], 2)) for name, s in stages)
    m = speed["machine"]
    whole = (
        (
            "encode, all stages",
            f"{speed['encode_fps']:.0f} frames/s, {speed['encode_times_real_time']:.1f} times real time",
        ),
        (
            "decode, all stages",
            f"{speed['decode_fps']:.0f} frames/s, {speed['decode_times_real_time']:.1f} times real time",
        ),
        ("first frame, model in memory", f"{1000 * speed['first_frame_warm']:.0f} ms"),
        ("first frame, from the start of a process", f"{speed['first_frame_cold']:.1f} s"),
        (
            "bcd encode, bcd decode, from start to end",
            f"{speed['encode_command']:.1f} s, {speed['decode_command']:.1f} s",
        ),
        (
            "peak memory of bcd encode, bcd decode",
            f"{speed['encode_peak_mib']:.0f} MiB, {speed['decode_peak_mib']:.0f} MiB",
        ),
    )
    width, height = speed["source_size"]
    return Section(
        "Speed",
        (
            (
                f"{speed['clip']}: {speed['frames']} frames, {speed['seconds']:.1f} s, {width} x {height} pixels. Medians of {speed['repeats']} "
                f"on {m['processor']}, {m['threads']} threads, bfloat16 products {'in hardware' if m['bf16'] else 'not in hardware'}."
            ),
        ),
        (Table(("what", "measured"), whole), Table(("stage", "ms", "ms a frame"), rows)),
    )


def _procedural(found: dict) -> Section:
    cross, probes = found["cross_driven"], found["probes"]
    rows = (
        ("B's face in A's motion, decoded", number(cross["decoded"], 1)),
        ("B's still, held", number(cross["still"], 1)),
        ("A's own video", number(cross["own"], 1)),
    )
    r2 = tuple((name, number(value, 2)) for name, value in probes["motion_r2"].items())
    who = (
        ("person, told from the codes", f"{100 * probes['identity_accuracy']:.0f} %"),
        ("the same by chance", f"{100 * probes['identity_chance']:.0f} %"),
    )
    return Section(
        "Motion and content apart, on rendered heads",
        (
            (
                f"People and motions that no training run has seen; the truth is rendered. {cross['pairs']} pairs. A linear map reads motion "
                "parameters (share of variance explained) and the person from the codes of people it was not fitted on."
            ),
        ),
        (
            Table(("PSNR against B rendered in A's motion", "dB"), rows),
            Table(("read from the codes", "R2"), r2),
            Table(("", "share"), who),
        ),
    )


def _transfer(report: dict) -> Section:
    measured = (report["procedural"] or {}).get("cross_driven", {}).get("transfer") or {}
    names = {
        "decoded": "rendered heads: B in A's motion, decoded",
        "still": "rendered heads: B's still, held",
        "own": "rendered heads: A's own video",
    }
    rows = [(names[name], measured[name]) for name in names if name in measured]
    for name, at in (report["procedural"] or {}).items():
        if name.startswith("cross_driven ") and at["transfer"]:
            rows.append((f"{names['decoded']}, at {name.removeprefix('cross_driven ')}", at["transfer"]["decoded"]))
    if report["transfer"]:
        rows.append((f"clips: one person in another's motion, {report['transfer']['pairs']} pairs", report["transfer"]))
    ours = tuple(
        (
            name,
            number(m["identity_distance"], 3),
            *(_hundredths(m[e]) for e in ("identity_error", "motion_error", "cross_error")),
            number(m["pose_error"], 1),
            f"{number(m.get('turn_error'), 1)} ({number(m.get('turn_still'), 1)})",
            number(m.get("mouth"), 2),
            number(100 * m["faces"], 0),
            number(None if m.get("nearer") is None else 100 * m["nearer"], 0),
        )
        for name, m in rows
    )
    columns = (
        "measured here",
        "identity distance (dlib)",
        "identity error x 100",
        "motion error x 100",
        "cross error x 100",
        "pose, degrees",
        "turn, degrees (of a still head)",
        "mouth r",
        "faces, %",
        "nearer to the content's person, % of pairs",
    )
    published = tuple(
        (f"{name} (published, other data)", *(number(v, 2) for v in values)) for name, values in PUBLISHED.items()
    )
    return Section(
        "One person in another's motion",
        (
            (
                "Laid out as the paper's tables 1 and 3. Measured here: mean squared distances of dlib's 68 landmarks in squared eye "
                "distances, medians over pairs; identity error: of the mean face brought upright; motion error: of the landmarks' way from "
                "their mean place; cross error: as they are. Rendered heads are compared with exact truth, B rendered in A's motion. "
                "Clips have no such truth: identity is compared with B's clip, motion and pose with A's; there is no cross error. "
                "Mouth r: correlation of its opening with that in the driving pictures, where that mouth moves. A pose read from landmarks depends on the face: "
                "two rendered people in the very same pose differ by what the row of A's own video says; and the same landmarks turn the still that clips show, "
                "where they are installed, while rendered heads are joined by networks alone. So the turn stands beside it, "
                "the rotation from a clip's own mean pose, with what a head that never turns would miss."
            ),
            (
                "The paper's figures are mean squared vertex distances of a fitted face model that is not public, on LRS3. They stand "
                "beside, not in one column: unit and data are others."
            ),
        ),
        (
            Table(columns, ours),
            Table(("published", "identity error x 10", "motion error x 100", "cross error x 100"), published),
        ),
    )


def _hundredths(value: float | None) -> str:
    return number(None if value is None else 100 * value, 2)
