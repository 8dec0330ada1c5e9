"""`bcd bench` and `bcd compare`."""

from __future__ import annotations

from pathlib import Path

import click

FOLDER = click.Path(path_type=Path)
COUNT = click.IntRange(min=1)
NETWORKS = (
    "Folder of networks that are not shipped: face_landmarker.task, SFace, and TorchScript for LPIPS, DISTS, FID, FVD, "
    "ArcFace; see docs/benchmarks.md."
)


def _numbers(kind: type) -> type[click.ParamType]:
    class Numbers(click.ParamType):
        name = "numbers"

        def convert(self, value, param, ctx):
            if isinstance(value, tuple):
                return value
            try:
                return tuple(kind(part) for part in value.split(",") if part)
            except ValueError:
                self.fail(f"{value}: expected numbers with commas between, such as 1,2,4", param, ctx)

    return Numbers


@click.command()
@click.argument("clips", nargs=-1, required=True, type=FOLDER)
@click.option("--model", default="faces", show_default=True, help="A shipped model, or the folder of one.")
@click.option("--against", default="", metavar="NAMES", help="Classical codecs beside it: x264,x265,svtav1,vp9.")
@click.option("--against-clips", type=COUNT, help="Classical codecs on at most so many clips. [default: all]")
@click.option(
    "--anchor-command",
    default="",
    metavar="COMMAND",
    help="Another encoder beside it, such as 'vvencapp --preset slow -i {input} -s {width}x{height} -r {rate} "
    "--qp {quality} -o {output}'. It reads 8-bit YUV 4:2:0; FFmpeg decodes what it writes.",
)
@click.option(
    "--anchor-qualities",
    type=_numbers(int)(),
    default="32,37,42,47",
    show_default=True,
    help="Its {quality}, best first.",
)
@click.option(
    "--kbps", type=_numbers(float)(), default="", metavar="RATES", help="Rates of motion beside the default one: 1,2,4."
)
@click.option("--ahg16", is_flag=True, help="JVET's conditions: 250 frames, four rates, x265 and AV1, BD-rates.")
@click.option(
    "--ablate",
    type=COUNT,
    is_flag=False,
    flag_value=12,
    metavar="[CLIPS]",
    help="Measure so many clips (12) without each network of the model, too, and name those that bring nothing.",
)
@click.option(
    "--profile", type=click.Choice(["static", "context"]), help="Of the entropy coder. [default: that of encode]"
)
@click.option(
    "--out",
    type=FOLDER,
    default=Path("out/bench"),
    show_default=True,
    help="Folder of the report; goes on where it stopped.",
)
@click.option("--clips", "most", type=COUNT, help="At most so many clips, evenly picked; with --ahg16 the longest.")
@click.option("--faces/--no-faces", default=True, show_default=True, help="Facial motion and identity, extra `eval`.")
@click.option(
    "--procedural/--no-procedural", default=True, show_default=True, help="Rendered heads, whose truth is known."
)
@click.option(
    "--speed/--no-speed", default=True, show_default=True, help="Times and memory; run nothing else meanwhile."
)
@click.option("--networks", type=FOLDER, help=NETWORKS)
@click.option("--jobs", type=COUNT, default=1, show_default=True, help="Clips measured at once.")
def bench(clips: tuple[Path, ...], most: int | None, ablate: int | None, **options) -> None:
    """Measure rate, quality and speed, and write report.html, report.md, report.json and rows.csv.

    CLIPS are video files, or folders, of which the clips that training leaves out are taken. What a run
    measured is kept in --out, so that it goes on where it stopped. A clip that fails is listed.
    """
    from bcdcodec.benchmarks.report.summary import HEADLINES
    from bcdcodec.benchmarks.run import Options, bench as measure
    from bcdcodec.cli.progress import progress_bar

    with progress_bar("bench", "clip") as progress:
        done = measure(list(clips), Options(clips=most, ablate=ablate or 0, **options), progress)
    for name, figure in done.report["rates"][0]["headlines"].items():
        h = HEADLINES[name]
        held = "" if figure["held"] is None else f"   held reference {figure['held']:.{h.digits}f}"
        click.echo(f"{h.label:56} {figure['value']:.{h.digits}f} {h.unit.strip()}{held}".rstrip())
    for part in done.report["ablation"]:
        if not part["brings"]:
            click.echo(f"no measurable gain: {part['part']}")
    for failure in done.report["failed"]:
        click.echo(f"failed: {failure['clip']}: {failure['error']}", err=True)
    click.echo(f"{done.report['clips']} clips; written: {', '.join(map(str, done.files))}")


@click.command()
@click.argument("files", nargs=-1, required=True, type=FOLDER)
@click.option("--sheet", type=FOLDER, help="PNG for a contact sheet: a row a file, the same moments.")
@click.option("--model", help="Name or folder of the model of .bcd files. [default: the shipped one they name]")
@click.option("--faces/--no-faces", default=False, show_default=True, help="Facial motion and identity, extra `eval`.")
@click.option("--networks", type=FOLDER, help=NETWORKS)
@click.option("--json", "as_json", is_flag=True, help="All measures, for programs.")
def compare(
    files: tuple[Path, ...], sheet: Path | None, model: str | None, faces: bool, networks: Path | None, as_json: bool
) -> None:
    """Measure FILES (videos, .bcd files, folders of PNGs) against the first of them.

    They are compared at the same moments and at one size: that of the smallest .bcd file or video.
    """
    from bcdcodec.benchmarks.compare import as_table, compare as measure

    results = measure(files, sheet, model, faces, networks)
    click.echo(as_table(results, as_json))
    if sheet:
        click.echo(f"{sheet} shows, from above: {', '.join(map(str, files))}", err=True)
