"""A report's figures as sections of text and tables, which report.md and report.html share."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from bcdcodec.benchmarks.measure.reenactment import PUBLISHED as PUBLISHED_REENACTMENT
from bcdcodec.benchmarks.measure.within_clip import SIGNALS
from bcdcodec.benchmarks.report.summary import ABLATED, BD_MEASURES, HEADLINES, MEASURES, QUALITY, RATES, WITHIN
from bcdcodec.benchmarks.statistics import number

# JVET-AG2035 and later AHG16 reports: kbit/s, DISTS, LPIPS, PSNR; their own clips of 250 frames.
PUBLISHED = {
    "DAC": (2.5, 0.150, 0.24, 23.3),
    "CFTE": (2.8, 0.151, 0.27, None),
    "FV2V": (3.5, 0.168, 0.335, None),
    "VVC": (4.6, 0.271, 0.47, None),
    "VVC, higher rate": (15.3, 0.159, 0.24, None),
}
CURVED = ("psnr", "ms_ssim", "vmaf", "feature_distance", "lpips", "dists", "sface_cosine", "dlib_distance",
          "mouth.slope", "right eye.slope", "left eye.slope", "mouth, dlib.slope", "eyes, dlib.slope", "flicker",
          "flow_error")  # fmt: skip


QUALITY_TEXT = """SSIM, MS-SSIM and VMAF are of luma, in three runs of four frames. VMAF v0.6.1 was fitted on 1080
lines: here it ranks codings. The EfficientNet feature distance is no LPIPS. SFace: above 0.363 is the same person."""
WITHIN_TEXT = """Slope of the decoded signal on the source's within a clip, frame by frame: 1 is full motion, 0 is
none. Median over the clips whose source moves. The extreme: the tenth of frames with the widest mouth or most closed
eye. Signals are MediaPipe's, but for those of dlib, which sees every second frame."""
CURVES_TEXT = """Medians; in brackets the held picture: our reference, the first frame of an anchor. Of bcd the whole
file counts; of an anchor the elementary stream without container, one keyframe. What is coded smaller is scaled up
again (bicubic). The last rung of a ladder is the coarsest quality there is. BD-rate: in brackets of how many clips, and
the share of the anchor's range of quality that both have; of a small share it says little."""
RENDERED_TEXT = "People and motions that no training run has seen, against B rendered in A's motion."
PROBES_TEXT = "A linear map reads motion parameters (R2) and the person from codes of people it was not fitted on."
REENACTMENT_TEXT = """Laid out as the paper's tables 1 and 3: mean squared distances of dlib's 68 landmarks in squared
eye distances, medians over pairs. Rendered heads are compared with exact truth; clips, which have none, in identity
with the person shown and in motion with the driver. The turn is the rotation from a clip's own mean pose. The paper's
figures are of a face model that is not public, on LRS3: they do not compare."""
REENACTMENT = ("reenactment", "identity distance (dlib)", "identity error x 100", "motion error x 100",
               "cross error x 100", "pose, degrees", "turn, degrees (held)", "mouth r", "faces, %",
               "nearer to the shown person, %")  # fmt: skip


@dataclass(frozen=True)
class Section:
    """A heading with paragraphs and tables of text; `plots` names the pictures that HTML shows there."""

    title: str
    paragraphs: tuple[str, ...] = ()
    tables: tuple[pd.DataFrame, ...] = ()
    plots: tuple[str, ...] = ()


def sections(report: dict) -> list[Section]:
    """A report in words and tables, in the order of reading."""
    found = [_about(report), _quality(report), _within(report), _rates(report)]
    parts = (
        (report["ablation"], _ablation),
        (len(report["curves"]) > 1, _curves),
        (report["speed"], _speed),
        (report["procedural"], _procedural),
        (report["reenactment"], _reenactment),
        (report["not_measured"], lambda r: _listed("Not measured", r["not_measured"])),
        (report["failed"], lambda r: _listed("Clips that failed (in no figure above)", r["failed"])),
    )
    return found + [make(report) for there, make in parts if there]


def frame(columns: tuple[str, ...], rows: list[tuple]) -> pd.DataFrame:
    """A table of text."""
    return pd.DataFrame(rows, columns=list(columns), dtype=str)


def _about(report: dict) -> Section:
    model, machine = report["model"], report["machine"]
    size = model["picture_size"]
    return Section(
        "What was measured",
        (
            f"Model {model['name']} ({model['fingerprint'][:12]}), {size} x {size} pixels, {model['groups']} groups of "
            f"{model['codes']} codes, on {report['clips']} clips, {report['frames']} frames, "
            f"{report['seconds']:.1f} s; bcdcodec {report['version']}, {report['date']}. {report['conditions']}",
            f"Machine: {machine['processor']}, {machine['cores']} cores, {machine['memory_gib']} GiB; "
            + ", ".join(f"{k} {v}" for k, v in machine["versions"].items()) + ".",
            "Medians over clips, with 95 % intervals by bootstrap over clips. Decoded pictures are compared with the "
            "source as the model sees it: cropped and scaled. Held: the file's reference image shown for all frames.",
        ),
    )  # fmt: skip


def _text(text: str) -> str:
    return " ".join(text.split())


def _with_interval(figure: dict, digits: int) -> str:
    low, high = figure["low"], figure["high"]
    interval = "" if low is None else f" ({number(low, digits)} to {number(high, digits)})"
    return number(figure["value"], digits) + interval


def _figures(report: dict, names: tuple[str, ...], held: bool) -> pd.DataFrame:
    """A row a figure: at the default rate with interval, beside it the held reference, then the other rates."""
    first, *others = report["rates"]
    columns = ("measure", "unit", first["setting"], *(("held",) if held else ()))
    for rate in others:
        columns += (rate["setting"], *((f"held, {rate['setting'].split(',')[0]}",) if held else ()))
    rows = []
    for name in names:
        h, figures = HEADLINES[name], [rate["headlines"].get(name) for rate in report["rates"]]
        if figures[0] is not None:
            cells = [h.label, h.unit.strip()]
            for i, figure in enumerate(figures):
                shown = "-" if figure is None else number(figure["value"], h.digits)
                cells.append(_with_interval(figure, h.digits) if i == 0 else shown)
                cells += [number(figure and figure["held"], h.digits)] if held else []
            rows.append(tuple(cells))
    return frame(columns, rows)


def _quality(report: dict) -> Section:
    what = {"FID": "pictures", "FVD": "clips of 16 frames"}
    sets = [(f"{n}, {v['count']} {what[n]}", number(v["value"], 1)) for n, v in report["sets"].items()]
    tables = (_figures(report, tuple(QUALITY), True),)
    return Section(
        "Pictures and identity",
        (_text(QUALITY_TEXT),),
        (*tables, frame(("set distance", "value"), sets)) if sets else tables,
    )  # fmt: skip


def _within(report: dict) -> Section:
    head = report["rates"][0]["headlines"]
    rows = []
    for name, signal in SIGNALS.items():
        slope, r, error = (head.get(f"{name}.{part}") for part in ("slope", "correlation", "extreme_error"))
        if slope is not None:
            more = [f"{number(error['value'], 3)} ({number(error['held'], 3)})" if error else "-"]
            cells = [_with_interval(slope, 2), number(slope["held"], 2), number(r["value"], 2), number(r["held"], 2)]
            rows.append((name, *cells, *more, signal.unit, str(slope["clips"])))
    columns = (
        "signal",
        "slope",
        "held",
        "correlation",
        "held ",
        "error at the extreme (held)",
        "unit",
        "clips that move",
    )
    others = [name for name in WITHIN if name.endswith(".slope")] if len(report["rates"]) > 1 else []
    return Section(
        "Facial motion within clips",
        (_text(WITHIN_TEXT),),
        (frame(columns, rows), *((_figures(report, tuple(others), True),) if others else ())),
    )  # fmt: skip


def _rates(report: dict) -> Section:
    usage = report["code_usage"]
    pays = [(e["against"], number(e["kbps"], 2), "never" if e["seconds"] is None else number(e["seconds"], 1))
            for e in report["break_even"]]  # fmt: skip
    columns = ("from how many seconds the whole file is smaller than", "its kbit/s", "seconds")
    return Section(
        "Where the bytes go",
        (f"{usage['used_per_group']:.1f} of {report['model']['codes']} codes occur in a group, perplexity "
         f"{usage['perplexity']:.1f}, means over groups. Groups of one code: {usage['groups_of_one_code']}.",),
        (_figures(report, tuple(RATES), False), *((frame(columns, pays),) if pays else ())),
        ("frame_bits", "code_usage"),
    )  # fmt: skip


def _ablation(report: dict) -> Section:
    names = [n for n in (*ABLATED, "whole_kbps") if any(n in a["gains"] for a in report["ablation"])]
    labels = {n: HEADLINES[n].label + (" (saved)" if n == "whole_kbps" else "") for n in names}
    rows, harmful = [], []
    for a in report["ablation"]:
        cells = []
        for n in names:
            gain, digits = a["gains"].get(n), max(3, HEADLINES[n].digits)
            cells.append("-" if gain is None else _with_interval(gain | {"value": gain["gain"]}, digits))
        known = [g for g in a["gains"].values() if g["low"] is not None]
        better, worse = sum(g["low"] > 0 for g in known), sum(g["high"] < 0 for g in known)
        harmful += [a["part"]] if worse > better else []
        rows.append((a["part"], *cells, f"better in {better}, worse in {worse} of {len(known)}"))
    without = [a["part"] for a in report["ablation"] if not a["brings"]]
    told = f"No interval lies above 0 for: {', '.join(without)}." if without else "Every part has an interval above 0."
    told += f" Worse in more measures than better: {', '.join(harmful)}." if harmful else ""
    return Section(
        "What each part brings",
        (f"With the part minus without it, on {report['ablation'][0]['clips']} clips, median and interval; turned so "
         "that more is better. Of a part without any effect one interval in forty lies above 0 by chance, and one "
         f"below. {told}",),
        (frame(("left out", *labels.values(), "verdict"), rows).set_index("left out").T.reset_index(names="measure"),),
    )  # fmt: skip


def _curves(report: dict) -> Section:
    points = report["curves"]
    shown = [m for m in CURVED if any(m in p for p in points)]
    columns = ("codec", "coded at", "kbit/s", *(HEADLINES[m].label.replace(" within clips", "") for m in shown))
    rows = []
    for p in points:
        cells = []
        for m in shown:
            digits, found = HEADLINES[m].digits, p.get(m)
            cells.append(
                "-" if found is None else f"{number(found['value'], digits)} ({number(found['held'], digits)})"
            )
        rows.append((f"{p['codec']} {p['setting']}", str(p["side"]), number(p["kbps"], 2), *cells))
    tables = [frame(columns, rows)]
    measures = [m for m in BD_MEASURES if any(m in b["clips"] for b in report["bd_rates"])]
    if report["bd_rates"]:
        delta = [
            (f"{b['codec']} at {b['side']}, against {b['anchor']}",
             *(_bd_rate(b, m) for m in measures),
             "; ".join(dict.fromkeys(b["missing"].values())))
            for b in report["bd_rates"]
        ]  # fmt: skip
        tables.append(frame(("BD-rate", *(f"{MEASURES[m][0]}, %" for m in measures), "missing because"), delta))
    if report["ahg16"]:
        points = [(n, *(number(v, d) for v, d in zip(values, (1, 3, 3, 1)))) for n, values in PUBLISHED.items()]
        tables.append(frame(("published, on other clips", "kbit/s", "DISTS", "LPIPS", "PSNR, dB"), points))
    tables.append(frame(("anchor", "settings"), list(report["settings"].items())))
    return Section(
        "Beside the anchors",
        (f"On {report['anchor_clips']} clips. {_text(CURVES_TEXT)}",),
        tuple(t for t in tables if len(t)),
        ("curves",),
    )  # fmt: skip


def _bd_rate(entry: dict, measure: str) -> str:
    """BD-rate in %, in brackets of how many clips, and the share of the anchor's range of quality that it is over."""
    if measure not in entry["rates"]:
        return "-"
    shared = number(100 * entry["shared"][measure], 0)
    return f"{number(entry['rates'][measure], 1)} ({entry['clips'][measure]}; {shared} %)"


def _speed(report: dict) -> Section:
    speed = report["speed"]
    rows = [(f"{kind}: {name}", number(1000 * s, 0), number(1000 * s / speed["frames"], 2))
            for kind in ("encode", "decode") for name, s in speed[f"{kind}_stages"].items()]  # fmt: skip
    whole = [
        (f"{kind}, all stages (times real time)",
         f"{speed[f'{kind}_fps']:.0f} frames/s ({speed[f'{kind}_times_real_time']:.1f})")
        for kind in ("encode", "decode")
    ] + [
        ("first frame, model in memory", f"{1000 * speed['first_frame_warm']:.0f} ms"),
        ("first frame, from the start of a process", f"{speed['first_frame_cold']:.1f} s"),
        ("bcd encode, bcd decode", f"{speed['encode_command']:.1f} s, {speed['decode_command']:.1f} s"),
        ("their peak memory", f"{speed['encode_peak_mib']:.0f} MiB, {speed['decode_peak_mib']:.0f} MiB"),
    ]  # fmt: skip
    machine, (width, height) = speed["machine"], speed["source_size"]
    return Section(
        "Speed",
        (f"{speed['clip']}: {speed['frames']} frames, {speed['seconds']:.1f} s, {width} x {height} pixels. Medians of "
         f"{speed['repeats']} on {machine['processor']}, {machine['threads']} threads, bfloat16 products "
         f"{'' if machine['bf16'] else 'not '}in hardware.",),
        (frame(("what", "measured"), whole), frame(("stage", "ms", "ms a frame"), rows)),
    )  # fmt: skip


def _procedural(report: dict) -> Section:
    cross, probes = report["procedural"].get("cross_driven"), report["procedural"]["probes"]
    names = {"decoded": "B in A's motion, decoded", "still": "B's reference, held", "own": "A's own video"}
    psnr = [frame(("PSNR", "dB"), [(label, number(cross[n], 1)) for n, label in names.items()])] if cross else []
    read = [(name, number(value, 2)) for name, value in probes["motion_r2"].items()]
    read.append(
        ("person (share told right; chance)", f"{probes['identity_accuracy']:.2f}; {probes['identity_chance']:.2f}")
    )
    return Section(
        "Rendered heads: motion and identity apart",
        (*([f"{cross['pairs']} pairs. {RENDERED_TEXT}"] if cross else []), PROBES_TEXT),
        (*psnr, frame(("read from the codes", "R2"), read)),
    )  # fmt: skip


def _reenactment(report: dict) -> Section:
    rows = [
        (name, number(m["identity_distance"], 3),
         *(number(None if m[e] is None else 100 * m[e], 2) for e in ("identity_error", "motion_error", "cross_error")),
         number(m["pose_error"], 1), f"{number(m['turn_error'], 1)} ({number(m['turn_still'], 1)})",
         number(m["mouth"], 2), number(100 * m["faces"], 0),
         number(None if m["nearer"] is None else 100 * m["nearer"], 0))
        for name, m in report["reenactment"].items()
    ]  # fmt: skip
    published = [(name, *(number(v, 2) for v in errors)) for name, (_, _, *errors) in PUBLISHED_REENACTMENT.items()]
    return Section(
        "Reenactment: one person in another's motion",
        (_text(REENACTMENT_TEXT),),
        (frame(REENACTMENT, rows),
         frame(("published", "identity error x 10", "motion error x 100", "cross error x 100"), published)),
    )  # fmt: skip


def _listed(title: str, entries: list[dict]) -> Section:
    return Section(title, tables=(frame(tuple(entries[0]), [tuple(e.values()) for e in entries]),))
