"""From raw rows to the figures of a report: headline figures, rate-distortion curves, break-even lengths, BD-rates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from bcdcodec.benchmarks.faces import SAME_PERSON
from bcdcodec.benchmarks.rows import BCD, STILL, Row, correlation
from bcdcodec.benchmarks.statistics import bd_rate, estimate, median
from bcdcodec.errors import BcdError

Statistic = Callable[[Sequence[Row]], float | None]
CURVED = ("psnr", "ssim", "ms_ssim", "vmaf")  # of which BD-rates are taken
QUALITIES = {
    "psnr": "PSNR, dB",
    "ssim": "SSIM",
    "ms_ssim": "MS-SSIM",
    "vmaf": "VMAF",
    "lpips": "LPIPS",
    "identity_distance": "identity distance (dlib)",
}


@dataclass(frozen=True)
class Headline:
    """One figure of the codec over clips."""

    name: str
    label: str
    unit: str
    digits: int  # after the point
    codec: str  # whose rows
    statistic: Statistic


def pooled(numerator: Callable[[Row], float | None], denominator: Callable[[Row], float]) -> Statistic:
    """Sum over sum, of rows that have the numerator; long clips count more."""

    def statistic(rows: Sequence[Row]) -> float | None:
        known = [(n, denominator(r)) for r in rows if (n := numerator(r)) is not None]
        below = sum(d for _, d in known)
        return sum(n for n, _ in known) / below if below else None

    return statistic


def median_of(value: Callable[[Row], float | None]) -> Statistic:
    return lambda rows: median([value(r) for r in rows])


def correlation_of(name: str) -> Statistic:
    """Of all frames of all clips pooled: as much between clips as within them."""
    return lambda rows: correlation([pair for r in rows for pair in getattr(r, name)])


def correlation_within(name: str) -> Statistic:
    """Of the frames of each clip, median over clips: how open a mouth is on average says nothing here."""
    return lambda rows: median([correlation(getattr(r, name)) for r in rows])


bits_per_frame = pooled(lambda r: r.motion_bytes * 8, lambda r: r.frames)


def whole_file_of(seconds: float) -> Statistic:
    """kbit/s of a file of that length at the pooled motion rate with the contents and the container of a clip, mean."""
    motion = pooled(lambda r: r.motion_bytes, lambda r: r.seconds)
    rest = pooled(lambda r: r.content_bytes + r.container_bytes, lambda r: 1)
    return lambda rows: (motion(rows) * seconds + rest(rows)) * 8 / 1000 / seconds


def _same_person(rows: Sequence[Row]) -> float | None:
    known = [r.identity_distance < SAME_PERSON for r in rows if r.identity_distance is not None]
    return 100 * sum(known) / len(known) if known else None


def largest_content(rows: Sequence[Row]) -> float | None:
    return float(max(r.content_bytes_max for r in rows)) if rows else None


HEADLINES = (
    Headline("static_bits_per_frame", "information of the codes, each for itself", "bits a frame", 1, BCD,
             pooled(lambda r: r.static_motion_bits, lambda r: r.frames)),
    Headline("ideal_bits_per_frame", "information of the codes in the files' entropy profile", "bits a frame", 1, BCD,
             pooled(lambda r: r.ideal_motion_bits, lambda r: r.frames)),
    Headline("bits_per_frame", "coded motion", "bits a frame", 1, BCD, bits_per_frame),
    Headline("motion_kbps", "coded motion", "kbit/s", 2, BCD, pooled(lambda r: r.motion_bytes * 8 / 1000, lambda r: r.seconds)),
    Headline("coder_overhead", "coded motion above that information", "%", 2, BCD,
             pooled(lambda r: 100 * (r.motion_bytes * 8 - r.ideal_motion_bits), lambda r: r.ideal_motion_bits)),
    Headline("content_bytes", "content header, median", "bytes", 0, BCD, median_of(lambda r: r.content_bytes / r.contents)),
    Headline("content_bytes_max", "content header, largest", "bytes", 0, BCD, largest_content),
    Headline("contents", "content headers a clip, mean", "", 2, BCD, pooled(lambda r: r.contents, lambda r: 1)),
    Headline("container_bytes", "container, median of files", "bytes", 0, BCD, median_of(lambda r: r.container_bytes)),
    Headline("audio_kbps", "sound", "kbit/s", 2, BCD, pooled(lambda r: r.audio_bytes * 8 / 1000, lambda r: r.seconds)),
    Headline("whole_kbps", "whole files as written, without sound, median of clips", "kbit/s", 2, BCD, median_of(lambda r: r.kbps)),
    Headline("whole_kbps_10s", "whole file of 10 s, computed from these figures", "kbit/s", 2, BCD, whole_file_of(10)),
    Headline("psnr", "PSNR, median", "dB", 2, BCD, median_of(lambda r: r.psnr)),
    Headline("psnr_still", "PSNR of the still alone, held, median", "dB", 2, STILL, median_of(lambda r: r.psnr)),
    Headline("ssim", "SSIM, median", "", 3, BCD, median_of(lambda r: r.ssim)),
    Headline("ms_ssim", "MS-SSIM, median", "", 3, BCD, median_of(lambda r: r.ms_ssim)),
    Headline("vmaf", "VMAF, median", "", 1, BCD, median_of(lambda r: r.vmaf)),
    Headline("vmaf_still", "VMAF of the still alone, held, median", "", 1, STILL, median_of(lambda r: r.vmaf)),
    Headline("lpips", "LPIPS, median", "", 3, BCD, median_of(lambda r: r.lpips)),
    Headline("csim", "identity, cosine of ArcFace embeddings (CSIM), median", "", 3, BCD, median_of(lambda r: r.csim)),
    Headline("flicker", "flicker where the source rests, median", "levels of 255", 2, BCD, median_of(lambda r: r.flicker)),
    Headline("flicker_source", "the same in the source, median", "levels of 255", 2, BCD, median_of(lambda r: r.source_flicker)),
    Headline("faces_found", "dlib finds a face, of the frames where it finds one in the source", "%", 1, BCD,
             pooled(lambda r: None if r.faces_found is None else 100.0 * r.faces_found, lambda r: r.faces_expected)),
    Headline("identity_distance", "identity distance to the source (dlib), median", "", 3, BCD,
             median_of(lambda r: r.identity_distance)),
    Headline("same_person", f"identity distance under {SAME_PERSON}", "% of clips", 0, BCD, _same_person),
    Headline("landmark_error", "landmark error, of the eye distance, median", "", 3, BCD, median_of(lambda r: r.landmark_error)),
    Headline("landmark_error_still", "landmark error of the still alone, held, median", "", 3, STILL, median_of(lambda r: r.landmark_error)),
    Headline("pose_error", "pose error, median", "degrees", 1, BCD, median_of(lambda r: r.pose_error)),
    Headline("pose_error_still", "pose error of the still alone, held, median", "degrees", 1, STILL, median_of(lambda r: r.pose_error)),
    Headline("mouth_correlation", "mouth opening, correlation with the source, frames of all clips pooled", "", 2, BCD,
             correlation_of("mouth")),
    Headline("eye_correlation", "eye opening, likewise", "", 2, BCD, correlation_of("eyes")),
    Headline("brow_correlation", "brow height, likewise", "", 2, BCD, correlation_of("brows")),
    Headline("mouth_within", "mouth opening, correlation within a clip, median", "", 2, BCD, correlation_within("mouth")),
    Headline("eye_within", "eye opening, likewise", "", 2, BCD, correlation_within("eyes")),
)  # fmt: skip


def headlines(rows: list[Row], setting: str) -> dict[str, dict]:
    """The figures of HEADLINES at one setting by name: value, low and high (None where not measured), label, unit, digits."""
    rows = [r for r in rows if r.codec != BCD or r.setting == setting]
    found = {}
    for h in HEADLINES:
        figure = estimate([r for r in rows if r.codec == h.codec], h.statistic)
        found[h.name] = {**asdict(figure), "label": h.label, "unit": h.unit, "digits": h.digits}
    return found


def own_rate(rows: list[Row]) -> str:
    """The setting at which the model codes by itself."""
    return next(r.setting for r in rows if r.codec == BCD)


def curves(rows: list[Row]) -> list[dict]:
    """One point for every codec, coded size and setting: medians over clips with intervals, best quality first."""
    points = []
    for codec in dict.fromkeys(r.codec for r in rows):
        for side in sorted({r.side for r in rows if r.codec == codec}, reverse=True):
            for setting in _settings_of([r for r in rows if r.side == side], codec):
                chosen = [r for r in rows if (r.codec, r.side, r.setting) == (codec, side, setting)]
                measures = {
                    name: asdict(estimate(chosen, median_of(lambda r, name=name: getattr(r, name))))
                    for name in ("kbps", *QUALITIES, "flicker", "landmark_error", "pose_error")
                }
                found = pooled(lambda r: r.faces_found, lambda r: r.faces_expected)
                points.append(
                    {
                        "codec": codec,
                        "side": side,
                        "setting": setting,
                        "clips": len(chosen),
                        **measures,
                        "faces_found": asdict(estimate(chosen, found)),
                        "mouth_correlation": asdict(estimate(chosen, correlation_of("mouth"))),
                    }
                )
    return points


def break_even(rows: list[Row]) -> list[dict]:
    """From how many seconds on content and container have paid for themselves, against each classical codec.

    The codec's rate is the median of a setting on these clips, whose own keyframe is in it: of its smallest, and of the
    smallest whose median PSNR is not below ours. `seconds` is None where the motion alone costs more.
    """
    own = own_rate(rows)
    ours = [r for r in rows if r.codec == BCD and r.setting == own]
    motion = pooled(lambda r: r.motion_bytes * 8 / 1000, lambda r: r.seconds)(ours)
    header = pooled(lambda r: r.content_bytes + r.container_bytes, lambda r: 1)(ours)
    found = [
        {
            "against": "the motion itself: content and container cost as much as it",
            "kbps": 2 * motion,
            "seconds": break_even_seconds(header, motion, 2 * motion),
        }
    ]
    psnr = median([r.psnr for r in ours])
    for codec in dict.fromkeys(r.codec for r in rows if r.codec not in (BCD, STILL)):
        points: dict[tuple[int, str], list[Row]] = {}
        for r in rows:
            if r.codec == codec:
                points.setdefault((r.side, r.setting), []).append(r)
        rates = {point: median([r.kbps for r in at]) for point, at in points.items()}
        good = [point for point, at in points.items() if median([r.psnr for r in at]) >= psnr]
        for which, among in (("its smallest", list(points)), ("its smallest of no lower PSNR", good)):
            if among:
                side, setting = min(among, key=rates.get)
                found.append(
                    {
                        "against": f"{codec}, {which}: {setting}, coded at {side} x {side}",
                        "kbps": rates[side, setting],
                        "seconds": break_even_seconds(header, motion, rates[side, setting]),
                    }
                )
    return found


def break_even_seconds(header_bytes: float, motion_kbps: float, other_kbps: float) -> float | None:
    """Length from which header and motion together cost less than another codec at its rate; None: never."""
    return header_bytes * 8 / 1000 / (other_kbps - motion_kbps) if other_kbps > motion_kbps else None


def bd_rates(points: list[dict], anchor: str) -> list[dict]:
    """BD-rate in per cent of every other codec and coded size against `anchor` at the model's size, or why there is none."""
    side = max((p["side"] for p in points), default=0)
    base = _curve(points, anchor, side)
    found = []
    for codec, at in dict.fromkeys((p["codec"], p["side"]) for p in points if p["codec"] != STILL):
        if (codec, at) == (anchor, side):
            continue
        entry = {"codec": codec, "side": at, "anchor": anchor, "rates": {}, "missing": {}}
        for measure in CURVED:
            if any(p[measure]["value"] is None for p in points):
                continue
            try:
                entry["rates"][measure] = bd_rate(base[measure], _curve(points, codec, at)[measure])
            except BcdError as error:
                entry["missing"][measure] = str(error)
        found.append(entry)
    return found


def _curve(points: list[dict], codec: str, side: int) -> dict[str, list[tuple[float, float]]]:
    chosen = [p for p in points if (p["codec"], p["side"]) == (codec, side)]
    return {m: [(p["kbps"]["value"], p[m]["value"]) for p in chosen] for m in CURVED}


def _settings_of(rows: list[Row], codec: str) -> list[str]:
    """Settings of a codec, highest rate first."""
    rates: dict[str, list[float]] = {}
    for r in rows:
        if r.codec == codec:
            rates.setdefault(r.setting, []).append(r.kbps)
    return sorted(rates, key=lambda setting: -float(np.median(rates[setting])))
