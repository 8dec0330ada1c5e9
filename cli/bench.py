"""`bcd bench` and `bcd compare`."""

from __future__ import annotations

from pathlib import Path

import click

FOLDER = click.Path(path_type=Path)


@click.command()
@click.argument("clips", nargs=-1, required=True, type=FOLDER)
@click.option("--model", default="heads", show_default=True, help="A shipped model, or the folder of one.")
@click.option(
    "--against", default="", metavar="NAMES", help="Classical codecs beside it, such as x264,x265,svtav1,vp9."
)
@click.option(
    "--against-clips", type=click.IntRange(min=1), help="Classical codecs on at most so many clips. [default: all]"
)
@click.option("--kbps", default="", metavar="RATES", help="Rates of motion beside the model's own, such as 1,2,4.")
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
@click.option("--clips", "most", type=click.IntRange(min=1), help="At most so many clips, evenly picked.")
@click.option("--faces/--no-faces", default=True, show_default=True, help="dlib measures, extra `eval`.")
@click.option(
    "--procedural/--no-procedural", default=True, show_default=True, help="Disentanglement, on rendered heads."
)
@click.option(
    "--speed/--no-speed", default=True, show_default=True, help="Times and memory; the machine should do nothing else."
)
@click.option(
    "--networks",
    type=FOLDER,
    help="Folder of TorchScript networks for LPIPS, FID, FVD, ArcFace; see docs/benchmarks.md.",
)
@click.option("--jobs", type=click.IntRange(min=1), default=1, show_default=True, help="Clips measured at once.")
def bench(
    clips: tuple[Path, ...],
    model: str,
    against: str,
    against_clips: int | None,
    kbps: str,
    profile: str | None,
    out: Path,
    most: int | None,
    faces: bool,
    procedural: bool,
    speed: bool,
    networks: Path | None,
    jobs: int,
) -> None:
    """Measure rate, quality and speed, and write report.html, report.md, report.json and rows.csv.

    CLIPS are video files, or folders, of which the clips that training leaves out are taken. What a run
    measured is kept in --out, so that it goes on where it stopped. A clip that fails is listed.
    """
    from bcdcodec.benchmarks.bench import bench as measure
    from bcdcodec.benchmarks.run import Options
    from bcdcodec.cli.progress import progress_bar

    try:
        rates = tuple(float(rate) for rate in kbps.split(",") if rate)
    except ValueError:
        raise click.UsageError(f"--kbps {kbps}: expected numbers with commas between, such as 1,2,4") from None
    options = Options(
        model, out, against, profile, rates, most, against_clips, faces, procedural, speed, jobs, networks
    )
    with progress_bar("bench", "clip") as progress:
        done = measure(list(clips), options, progress)
    for head in done.report["headlines"].values():
        if head["value"] is not None:
            click.echo(f"{head['label']:70} {head['value']:.{head['digits']}f} {head['unit']}".rstrip())
    for failure in done.report["failed"]:
        click.echo(f"failed: {failure['clip']}: {failure['error']}", err=True)
    click.echo(f"{done.report['clips']} clips; written: {', '.join(map(str, done.files))}")


@click.command()
@click.argument("files", nargs=-1, required=True, type=FOLDER)
@click.option("--sheet", type=FOLDER, help="PNG for a contact sheet: a row a file, the same moments.")
@click.option("--model", help="Name or folder of the model of .bcd files. [default: the shipped one they name]")
@click.option("--faces/--no-faces", default=False, show_default=True, help="dlib measures, extra `eval`.")
@click.option("--json", "as_json", is_flag=True, help="All measures, for programs.")
def compare(files: tuple[Path, ...], sheet: Path | None, model: str | None, faces: bool, as_json: bool) -> None:
    """Measure FILES (videos, .bcd files, folders of PNGs) against the first of them.

    They are compared at the same moments and at one size: that of the smallest .bcd file or video.
    """
    from bcdcodec.benchmarks.compare import as_table, compare as measure

    results = measure(files, sheet, model, faces)
    click.echo(as_table(results, as_json))
    if sheet:
        click.echo(f"{sheet} shows, from above: {', '.join(map(str, files))}", err=True)
