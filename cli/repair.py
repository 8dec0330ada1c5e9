"""`bcd repair`: it loads neither torch nor PyAV."""

from __future__ import annotations

import click


@click.command()
@click.argument("source", metavar="BROKEN.bcd")
@click.argument("target", metavar="FIXED.bcd")
@click.option("--model", help="Name or folder of the model that made it. [default: the shipped one it names]")
@click.option("--all", "everything", is_flag=True, help="Decode all codes, even of more than 1,000,000 frames.")
def repair(source: str, target: str, model: str | None, everything: bool) -> None:
    """Write what is whole in a damaged .bcd file as a valid one.

    Every whole chunk is kept, and every frame at its time: where frames are lost, the one before them is shown longer.
    What is lost is stated in seconds.
    """
    from bcdcodec.cli.progress import show_notes
    from bcdcodec.files.repair_file import repair_file

    done = repair_file(source, target, model, everything)
    report = done.report
    show_notes(done.notes)
    for loss in report.lines:
        click.echo(loss)
    if not report.losses:
        click.echo(f"{target}: nothing was damaged, {report.frames} frames")
        return
    tail = "" if report.complete else "; without a hash of its codes, for which the model is needed: give --model"
    click.echo(
        f"{target}: {report.frames} frames kept; lost: {report.lost_frames} frames ({report.lost_seconds:.3f} s) and "
        f"{report.lost_sound_seconds:.3f} s of sound{tail}"
    )
