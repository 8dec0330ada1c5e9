"""The README's table of measured figures, made from a report, between two markers."""

from __future__ import annotations

import textwrap
from pathlib import Path

from bcdcodec.benchmarks.markdown import table_as_markdown
from bcdcodec.benchmarks.rows import BCD, STILL, write_whole
from bcdcodec.benchmarks.sections import Table, number
from bcdcodec.errors import BcdError

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
FIGURES = (
    "static_bits_per_frame", "bits_per_frame", "motion_kbps", "content_bytes", "content_bytes_max", "contents", "container_bytes",
    "whole_kbps", "whole_kbps_10s", "psnr",
    "psnr_still", "ssim", "ms_ssim", "vmaf", "vmaf_still", "flicker", "flicker_source", "faces_found", "identity_distance", "same_person", "landmark_error", "landmark_error_still",
    "pose_error", "pose_error_still", "mouth_correlation", "eye_correlation", "mouth_within", "eye_within",
)  # fmt: skip
COLUMNS = 118
PROBES = ("yaw", "pitch", "mouth_open")


def block(report: dict) -> str:
    """What stands between the markers: where the figures come from, the table, and the codecs beside."""
    model = report["model"]
    parts = [
        (
            f"Model {model['name']} ({model['fingerprint'][:12]}) at {model['picture_size']}x{model['picture_size']}, measured "
            f"{report['date']} by `bcd bench` (extra `bcdcodec[eval]`) from files as written, on {report['clips']} clips of people "
            f"it was not trained on, {report['seconds'] / 60:.1f} minutes, {report['seconds'] / report['clips']:.1f} s each; motion at {report['setting']} profile. "
            "In brackets 95% intervals by bootstrap over clips."
        ),
        table_as_markdown(_figures(report)),
    ]
    if report["contested_clips"]:
        parts += [
            (
                f"Beside classical codecs, on {report['contested_clips']} of the clips, medians: of ours the whole file, of the "
                "others the bare stream at slow presets with one keyframe, at the setting nearest to our rate and at their floor."
            ),
            table_as_markdown(_beside(report["curves"], report["setting"])),
        ]
    return "\n\n".join(
        p if p.startswith("|") else textwrap.fill(p, COLUMNS, break_long_words=False, break_on_hyphens=False)
        for p in parts
    )


def update_readme(path: Path, report: dict) -> bool:
    """Put the block of a report between the markers of a README; whether that changed it.

    Raises BcdError when the file cannot be read or written, or has not each marker once.
    """
    try:
        text = path.read_text()
    except OSError as error:
        raise BcdError(f"cannot read {path}: {error.strerror}") from error
    before, _, after = _around(path, text)
    new = f"{before}{BEGIN}\n{block(report)}\n{END}{after}"
    if new != text:
        write_whole(path, new)
    return new != text


def block_of(path: Path) -> str:
    """What a README has between the markers. Raises BcdError without them."""
    return _around(path, path.read_text())[1].strip("\n")


def _around(path: Path, text: str) -> tuple[str, str, str]:
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise BcdError(f"{path} has not one line {BEGIN} and after it one line {END}")
    before, rest = text.split(BEGIN)
    inside, after = rest.split(END)
    return before, inside, after


def _moved(moved: dict, rendered: dict | None) -> list[tuple[str, str]]:
    """Rows on one clip's person in another's motion."""
    of = f"another clip's person in the motion, {moved['pairs']} pairs, medians"
    own = ((rendered or {}).get("cross_driven", {}).get("transfer") or {}).get("own", {})
    floor = own.get("pose_error") if own.get("turn_error") is not None else None  # figures of before have none
    same = "" if floor is None else f" (two rendered people in one and the same pose: {number(floor, 1)})"
    rows = [
        (
            f"{of}: pose error, mouth opening against the driver's",
            f"{number(moved['pose_error'], 1)} degrees{same}, correlation {number(moved['mouth'], 2)}",
        )
    ]
    if moved.get("turn_error") is not None:
        rows.append(
            (
                f"{of}: turn from the mean pose, error",
                f"{number(moved['turn_error'], 1)} degrees (a still: {number(moved['turn_still'], 1)})",
            )
        )
    return rows


def _figures(report: dict) -> Table:
    rows, rates = [], report.get("rates", [])  # figures accepted by an older version have fewer
    for name in FIGURES:
        head = report["headlines"].get(name)
        if head is not None and head["value"] is not None:
            others = (number(rate["headlines"][name]["value"], head["digits"]) for rate in rates)
            rows.append((head["label"], _with_interval(head, head["digits"], head["unit"]), *others))
    moved = report["transfer"]
    if moved and moved["pose_error"] is not None:
        rows += _moved(moved, report["procedural"])
    found = report["procedural"]
    if found:
        cross, probes = found["cross_driven"], found["probes"]
        rows += [
            (
                "another rendered person in the motion, PSNR against exact truth",
                f"{number(cross['decoded'], 1)} dB (that person's still {number(cross['still'], 1)}, the driving video {number(cross['own'], 1)})",
            ),
            (
                "read from the codes of unseen people by a linear probe (R2)",
                ", ".join(f"{name.replace('_', ' ')} {number(probes['motion_r2'][name], 2)}" for name in PROBES),
            ),
            (
                "person read from the codes by a linear probe",
                f"{100 * probes['identity_accuracy']:.0f} % (chance {100 * probes['identity_chance']:.0f} %)",
            ),
        ]
    speed = report["speed"]
    if speed:
        machine = speed["machine"]
        rows += [
            (
                f"times faster than real time on {machine['processor']}{' with bf16' * machine['bf16']}, {machine['threads']} threads: encode, decode",
                f"{speed['encode_times_real_time']:.1f}, {speed['decode_times_real_time']:.1f}",
            ),
            (
                f"the commands from start to end, for {speed['seconds']:.1f} s of {speed['source_size'][0]}x{speed['source_size'][1]}",
                f"{speed['encode_command']:.1f} s, {speed['decode_command']:.1f} s",
            ),
            ("first picture from the start of a process", f"{speed['first_frame_cold']:.1f} s"),
            (
                "peak memory of `bcd encode`, `bcd decode`",
                f"{speed['encode_peak_mib']:.0f}, {speed['decode_peak_mib']:.0f} MiB",
            ),
        ]
    header = ("measure", report["setting"] if rates else "value", *(rate["setting"].split(",")[0] for rate in rates))
    return Table(header, tuple((*row, *[""] * (len(header) - len(row))) for row in rows))


def _beside(points: list[dict], setting: str) -> Table:
    """Ours, and of each classical codec and coded size the setting nearest to our rate at `setting` and the coarsest."""
    rate = next(p["kbps"]["value"] for p in points if p["codec"] == BCD and p["setting"] == setting)
    chosen = [p for p in points if p["codec"] == BCD]
    for codec, side in dict.fromkeys((p["codec"], p["side"]) for p in points if p["codec"] not in (BCD, STILL)):
        ladder = [p for p in points if (p["codec"], p["side"]) == (codec, side)]
        near = min(ladder, key=lambda p: abs(p["kbps"]["value"] - rate))
        floor = min(ladder, key=lambda p: p["kbps"]["value"])
        chosen += [near] if near is floor else [near, floor]
    rows = tuple(
        (
            f"{p['codec']} {p['setting']}, coded at {p['side']}",
            number(p["kbps"]["value"], 2),
            number(p["psnr"]["value"], 1),
            number(p["ms_ssim"]["value"], 3),
            number(p["identity_distance"]["value"], 2),
        )
        for p in chosen
    )
    return Table(("codec", "kbit/s", "PSNR, dB", "MS-SSIM", "identity distance"), rows)


def _with_interval(figure: dict, digits: int, unit: str) -> str:
    interval = (
        "" if figure["low"] is None else f" ({number(figure['low'], digits)} to {number(figure['high'], digits)})"
    )
    return f"{number(figure['value'], digits)}{' ' * bool(unit)}{unit}{interval}"
