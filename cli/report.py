"""`bcd info`, `bcd verify` and `bcd models`: they load neither torch nor PyAV."""

from __future__ import annotations

import json

import click


@click.command()
@click.argument("path", metavar="FILE")
@click.option("--json", "as_json", is_flag=True, help="All facts, for programs.")
def info(path: str, as_json: bool) -> None:
    """Show what a .bcd file holds and how many bytes each part takes."""
    from bcdcodec.files.info import describe_file

    facts = describe_file(path)
    if as_json:
        click.echo(json.dumps(facts, indent=1))
        return
    rate = facts["frame_rate"]
    x, y, w, h = facts["crop"]
    frame_rate = "variable frame rate" if rate == "variable" else f"{rate:.6g} frames/s"
    rows = [
        ("model", f"{facts['model']} ({facts['model_fingerprint'][:12]}), {facts['groups']} x {facts['codes']} codes"),
        (
            "picture",
            f"{facts['width']} x {facts['height']}, from {w} x {h} at ({x}, {y}) of {facts['source_width']} x "
            f"{facts['source_height']}, {100 * facts['coded_share']:.0f} % of its area",
        ),
        (
            "frames",
            "none: a reference image without motion, for decode --content"
            if facts["complete"] and not facts["frames"]
            else f"{facts['frames']}, {facts['duration_s']:.3f} s, {frame_rate}{_between(facts)}",
        ),
    ]
    size, kbps = facts["bytes"], facts["kbps"]
    bits = f", {facts['bits_per_frame']:.1f} bits a frame" if facts["frames"] else ""
    each = ", ".join(str(n) for n in facts["content_bytes_each"][:8])
    rows += [
        ("motion", f"{size['motion']} bytes{_rate(kbps['motion'])}{bits}, profile {facts['entropy_profile']}"),
        (
            "content",
            f"{size['content']} bytes, {facts['contents']} content{'s' * (facts['contents'] != 1)} ({each or '-'}), "
            f"profile {facts['content_profile']}",
        ),
        ("container", f"{size['container']} bytes, with motion{_rate(kbps['motion_container']) or ' -'}"),
        ("audio", f"{size['audio']} bytes{_sound(facts)}"),
        *([("around", f"{size['surroundings']} bytes, a still of the whole picture")] if size["surroundings"] else []),
        *([("metadata", json.dumps(facts["metadata"]))] if facts["metadata"] is not None else []),
        *([("tables", "its own, in the file")] if facts["own_tables"] else []),
        *[("unknown", f"{chunk['name']}, {chunk['bytes']} bytes") for chunk in facts["unknown_chunks"]],
        ("total", f"{size['total']} bytes{_rate(kbps['total'])}"),
    ]
    for name, value in rows:
        click.echo(f"{name:<10} {value}")
    if not facts["complete"]:
        click.echo("INCOMPLETE: the file ends early; the figures are those of its whole chunks")
    if facts["reenacted"]:
        click.echo("SYNTHESISED: the face and the motion come from different recordings")
    if facts["generated"]:
        click.echo("SYNTHESISED: made from generated video")


@click.command()
@click.argument("path", metavar="FILE")
@click.option("--model", help="Name or folder of the model that made it. [default: the shipped one it names]")
@click.option("--strict", is_flag=True, help="Also report what readers accept and no writer of this version writes.")
@click.option("--all", "everything", is_flag=True, help="Check all codes, even of more than 1,000,000 frames.")
def verify(path: str, model: str | None, strict: bool, everything: bool) -> None:
    """Check a .bcd file; exit code 1 unless it is whole and undamaged."""
    from bcdcodec.files.info import check_file

    report = check_file(path, model, strict, everything)
    for finding in report.findings:
        click.echo(f"{finding.severity}: {finding.message}")
    codes = "codes checked" if report.codes_checked else "codes not checked: that needs the model; give --model"
    if report.findings:
        click.echo(f"{path}: not good, {report.frames} frames found")
        raise click.exceptions.Exit(1)
    click.echo(f"{path}: good, {report.frames} frames, {codes}")


@click.command()
def models() -> None:
    """List the models that are shipped."""
    from bcdcodec.files.info import describe_model
    from bcdcodec.model_folder import open_model, shipped_models

    for name in shipped_models():
        m = describe_model(open_model(name))
        click.echo(
            f"{name:<12} {m['picture_size']} x {m['picture_size']} pixels, {m['groups']} x {m['codes']} codes, "
            f"{m['target_bits_per_frame']:g} bits a frame ({m['target_kbps']:.2f} kbit/s), "
            f"{m['bytes_on_disk'] / 2**20:.1f} MiB: {m['card']}"
        )
    if not shipped_models():
        click.echo("no model is shipped with this installation; use --model with a folder that `bcd export` wrote")


def _between(facts: dict) -> str:
    frames, coded = facts["frames"], facts["coded_frames"]
    return "" if coded == frames else f"; {coded} of them are coded, the motion of the others is interpolated"


def _sound(facts: dict) -> str:
    sound = facts["audio"]
    if sound is None:
        return ""
    late = f" from {sound['start_s']:.3f} s on" if sound["start_s"] else ""
    channels = "mono" if sound["channels"] == 1 else "stereo"
    return f"{_rate(facts['kbps']['audio'])}, Opus, {channels}, {sound['duration_s']:.3f} s{late}"


def _rate(kbps: float | None) -> str:
    return "" if kbps is None else f" {kbps:.2f} kbit/s"
