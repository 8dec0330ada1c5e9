"""From measured rows to the figures of a report: headlines, ablation, rate-distortion curves, break-even, BD-rates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from bcdcodec.benchmarks.measure.faces import SAME_PERSON
from bcdcodec.benchmarks.measure.within_clip import SIGNALS
from bcdcodec.benchmarks.rows import BCD, Row
from bcdcodec.benchmarks.statistics import bd_rate, estimate, median
from bcdcodec.errors import BcdError

Statistic = Callable[[Sequence[Row]], float | None]
# Measure: label, unit, digits, and 1 where more is better, -1 where less is, 0 where neither.
MEASURES = {
    "psnr": ("PSNR", "dB", 2, 1),
    "ssim": ("SSIM", "", 3, 1),
    "ms_ssim": ("MS-SSIM", "", 3, 1),
    "vmaf": ("VMAF", "", 1, 1),
    "feature_distance": ("EfficientNet feature distance", "", 3, -1),
    "lpips": ("LPIPS", "", 3, -1),
    "dists": ("DISTS", "", 3, -1),
    "flicker": ("flicker where the source rests", "levels of 255", 2, 0),
    "flow_error": ("difference of optical flow", "pixels a frame", 3, -1),
    "sface_cosine": ("identity, SFace cosine", "", 3, 1),
    "dlib_distance": ("identity, dlib distance", "", 3, -1),
    "csim": ("identity, ArcFace cosine (CSIM)", "", 3, 1),
    "landmark_error": ("landmark error, MediaPipe", "eye distances", 4, -1),
    "dlib_landmarks": ("landmark error, dlib", "eye distances", 4, -1),
    "dlib_pose": ("head rotation error, dlib", "degrees", 2, -1),
}
BD_MEASURES = ("dists", "lpips", "psnr", "feature_distance", "ms_ssim", "vmaf")
ABLATED = ("psnr", "feature_distance", "lpips", "dists", "sface_cosine", "flow_error", "landmark_error",
           "mouth.slope", "right eye.slope", "left eye.slope", "mouth, dlib.slope", "eyes, dlib.slope")  # fmt: skip


@dataclass(frozen=True)
class Headline:
    """One figure of the codec over clips, and how it is found from its rows."""

    label: str
    unit: str
    digits: int  # after the point
    statistic: Callable[[Sequence[Row], str], float | None]  # of rows, and of their "measures" or "held"
    counted: Callable[[Row], bool] = lambda row: True  # whether a clip counts


def pooled(numerator: str, denominator: str, factor: float = 1.0) -> Statistic:
    """Sum over sum of sizes or fields by name; long clips count more."""

    def of(row: Row, name: str) -> float:
        return row.sizes[name] if name in row.sizes else getattr(row, name)

    def statistic(rows: Sequence[Row]) -> float | None:
        below = sum(of(r, denominator) for r in rows)
        return factor * sum(of(r, numerator) for r in rows) / below if below else None

    return statistic


bits_per_frame = pooled("motion", "frames", 8)
motion_kbps = pooled("motion", "seconds", 8 / 1000)


def whole_file_of(seconds: float) -> Statistic:
    """kbit/s of a file of that length: the pooled motion rate, mean references and container of a clip."""

    def statistic(rows: Sequence[Row]) -> float | None:
        return motion_kbps(rows) + 8 / 1000 / seconds * overhead_bytes(rows) if rows else None

    return statistic


def overhead_bytes(rows: Sequence[Row]) -> float:
    """Bytes of references and container, mean over clips."""
    return float(np.mean([r.sizes["content"] + r.sizes["container"] for r in rows]))


def measure_of(name: str) -> Callable[[Sequence[Row], str], float | None]:
    return lambda rows, side: median([getattr(r, side).get(name) for r in rows])


def moves(signal: str) -> Callable[[Row], bool]:
    """Whether a signal of the clip's source moves enough for a slope to mean something."""
    return lambda row: row.measures.get(f"{signal}.deviation", 0.0) >= SIGNALS[signal].moves


def _rate(label: str, unit: str, digits: int, statistic: Statistic) -> Headline:
    return Headline(label, unit, digits, lambda rows, side: statistic(rows) if side == "measures" and rows else None)


def _same_person(rows: Sequence[Row], side: str) -> float | None:
    known = [getattr(r, side)["dlib_distance"] < SAME_PERSON for r in rows if "dlib_distance" in getattr(r, side)]
    return 100 * sum(known) / len(known) if known else None


def _of_sizes(value: Callable[[Row], float], over: Callable = median) -> Statistic:
    return lambda rows: float(over([value(r) for r in rows]))


def _least_faces(rows: Sequence[Row], side: str) -> float | None:
    return min((100 * getattr(r, side)["faces"] for r in rows if "faces" in getattr(r, side)), default=None)


BITS, BYTES, KBPS = "bits a frame", "bytes", "kbit/s"
RATES = {
    name: _rate(*of)
    for name, of in {
        "motion_bits": ("coded motion", BITS, 1, bits_per_frame),
        "static_bits": ("information of the codes, one table a group", BITS, 1, pooled("static_motion_bits", "frames")),
        "ideal_bits": ("information of the codes, file's profile", BITS, 1, pooled("ideal_motion_bits", "frames")),
        "motion_kbps": ("coded motion", KBPS, 2, motion_kbps),
        "reference_bytes": (
            "reference image, median", BYTES, 0, _of_sizes(lambda r: r.sizes["content"] / r.sizes["contents"])
        ),
        "reference_bytes_max": ("reference image, largest", BYTES, 0, _of_sizes(lambda r: r.sizes["content_max"], max)),
        "references": ("reference images a clip, mean", "", 2, _of_sizes(lambda r: r.sizes["contents"], np.mean)),
        "container_bytes": ("container, median", BYTES, 0, _of_sizes(lambda r: r.sizes["container"])),
        "whole_kbps": ("whole files as written, median", KBPS, 2, _of_sizes(lambda r: r.kbps)),
        "whole_kbps_10s": ("whole file of 10 s, computed", KBPS, 2, whole_file_of(10)),
    }.items()
}  # fmt: skip
QUALITY = {name: Headline(*of[:3], measure_of(name)) for name, of in MEASURES.items()} | {
    "same_person": Headline("dlib distance under 0.6", "% of clips", 0, _same_person),
    "faces": Headline("faces found, of the source's, least of a clip", "%", 0, _least_faces),
}
WITHIN = {
    f"{s.name}.{part}": Headline(
        f"{s.name}: {label}", unit or s.unit, digits, measure_of(f"{s.name}.{part}"), moves(s.name)
    )
    for s in SIGNALS.values()
    for part, label, unit, digits in (
        ("slope", "slope within clips", " ", 2),
        ("correlation", "correlation within clips", " ", 2),
        ("extreme_error", "error where it is most closed" if s.extreme < 0 else "error where it is largest", "", 3),
    )
    if part != "extreme_error" or s.extreme
}
HEADLINES = RATES | QUALITY | WITHIN


def headlines(rows: Sequence[Row]) -> dict[str, dict]:
    """Figures by name of rows at one setting: value, low and high, that of the held reference, number of clips."""
    found = {}
    for name, h in HEADLINES.items():
        counted = [r for r in rows if h.counted(r)]
        value = estimate(counted, lambda some, h=h: h.statistic(some, "measures"))
        if value.value is not None:
            held = h.statistic(counted, "held")
            found[name] = {
                "value": value.value,
                "low": value.low,
                "high": value.high,
                "held": held,
                "clips": len(counted),
            }
    return found


def settings_of(rows: Sequence[Row]) -> list[str]:
    """Settings of BCD, the default rate first."""
    return list(dict.fromkeys(r.setting for r in rows if r.codec == BCD and not r.without))


def ablation(rows: Sequence[Row]) -> list[dict]:
    """What each network of the model brings: per measure the median over clips of with minus without, and its interval.

    Turned so that more is better. `brings`: whether any interval lies above 0; else the part does nothing measurable.
    """
    whole = {(r.clip, r.setting): r for r in rows if r.codec == BCD and not r.without}
    found = []
    for part in dict.fromkeys(r.without for r in rows if r.without):
        pairs = [(whole[r.clip, r.setting], r) for r in rows if r.without == part]
        gains = {}
        for name in ABLATED:
            signal, _, is_slope = name.partition(".")
            sign = 1 if is_slope else MEASURES[name][3]
            some = [
                sign * (a.measures[name] - b.measures[name])
                for a, b in pairs
                if name in a.measures and name in b.measures and (not is_slope or moves(signal)(a))
            ]
            gain = estimate(some, median)
            if gain.value is not None:
                gains[name] = {"gain": gain.value, "low": gain.low, "high": gain.high, "clips": len(some)}
        saved = estimate([8 / 1000 * (b.total_bytes - a.total_bytes) / a.seconds for a, b in pairs], median)
        gains["whole_kbps"] = {"gain": saved.value, "low": saved.low, "high": saved.high, "clips": len(pairs)}
        brings = any(g["low"] is not None and g["low"] > 0 for g in gains.values())
        found.append({"part": part, "gains": gains, "brings": brings, "clips": len(pairs)})
    return found


def curves(rows: Sequence[Row]) -> list[dict]:
    """One point for every codec, coded size and setting: medians over clips and those of the held picture.

    Rates from high to low.
    """
    groups: dict[tuple, list[Row]] = {}
    for r in rows:
        if not r.without:
            groups.setdefault((r.codec, -r.side, r.setting), []).append(r)
    points = []
    for (codec, side, setting), some in groups.items():
        found = {}
        for name in (*MEASURES, *WITHIN):
            counted = [r for r in some if name not in WITHIN or WITHIN[name].counted(r)]
            values = {side: measure_of(name)(counted, side) for side in ("measures", "held")}
            if values["measures"] is not None:
                found[name] = {"value": values["measures"], "held": values["held"]}
        kbps = median([r.kbps for r in some])
        points.append({"codec": codec, "side": -side, "setting": setting, "clips": len(some), "kbps": kbps} | found)
    order = {c: i for i, c in enumerate(dict.fromkeys(p["codec"] for p in points))}
    return sorted(points, key=lambda p: (order[p["codec"]], -p["side"], -p["kbps"]))


def break_even(rows: Sequence[Row]) -> list[dict]:
    """From how many seconds on references and container have paid for themselves, against each anchor.

    An anchor's rate is the median of a setting on these clips, whose own keyframe is in it: of its smallest, and of the
    smallest whose median PSNR is not below ours. `seconds` is None where the motion alone costs more.
    """
    points = curves(rows)
    default = settings_of(rows)[0]
    ours = [r for r in rows if r.codec == BCD and r.setting == default and not r.without]
    quality = median([r.measures["psnr"] for r in ours])
    found = []
    for codec in dict.fromkeys(p["codec"] for p in points if p["codec"] != BCD):
        ladder = [p for p in points if p["codec"] == codec]
        good = [p for p in ladder if p["psnr"]["value"] >= quality]
        for which, among in (("its smallest", ladder), ("its smallest of no lower PSNR", good)):
            if among:
                point = min(among, key=lambda p: p["kbps"])
                name = f"{codec}, {which}: {point['setting']}, coded at {point['side']} x {point['side']}"
                seconds = break_even_seconds(overhead_bytes(ours), motion_kbps(ours), point["kbps"])
                found.append({"against": name, "kbps": point["kbps"], "seconds": seconds})
    return found


def break_even_seconds(header_bytes: float, motion_kbps: float, other_kbps: float) -> float | None:
    """Length from which header and motion together cost less than another codec at its rate; None: never."""
    return header_bytes * 8 / 1000 / (other_kbps - motion_kbps) if other_kbps > motion_kbps else None


def bd_rates(rows: Sequence[Row], anchor: str) -> list[dict]:
    """BD-rate in % of every other codec and coded size against `anchor` at the model's size.

    Of each clip by itself, as JVET does of each sequence: the median over the clips where it exists, their number, and
    the median share of the anchor's range of quality that both have; where it exists for none, the reason in the first.
    """
    clips: dict[str, list[Row]] = {}
    for r in rows:
        if not r.without:
            clips.setdefault(r.clip, []).append(r)
    whole = [r for some in clips.values() for r in some]
    side = max((r.side for r in whole), default=0)

    def curve(some: Sequence[Row], codec: str, at: int, measure: str) -> list[tuple[float, float]]:
        sign = MEASURES[measure][3]
        return [(r.kbps, sign * r.measures[measure]) for r in some if (r.codec, r.side) == (codec, at)]

    found = []
    for codec, at in dict.fromkeys((r.codec, r.side) for r in whole):
        if (codec, at) == (anchor, side):
            continue
        entry = {"codec": codec, "side": at, "anchor": anchor, "rates": {}, "clips": {}, "shared": {}, "missing": {}}
        for measure in BD_MEASURES:
            if not all(measure in r.measures for r in whole):
                continue
            rates, reasons = [], []
            for some in clips.values():
                try:
                    rates.append(bd_rate(curve(some, anchor, side, measure), curve(some, codec, at, measure)))
                except BcdError as error:
                    reasons.append(str(error))
            entry["clips"][measure] = len(rates)
            if rates:
                entry["rates"][measure] = median([rate.percent for rate in rates])
                entry["shared"][measure] = median([rate.shared for rate in rates])
            else:
                entry["missing"][measure] = reasons[0]
        found.append(entry)
    return found
