"""`python -m bcdcodec.benchmarks`: the accepted figures, the README's table, and a short run."""

from __future__ import annotations

from pathlib import Path

import click

from bcdcodec.errors import BcdError


@click.group()
def benchmarks() -> None:
    """Measurements that anyone can repeat."""


@benchmarks.command()
@click.argument("report", type=click.Path(path_type=Path))
def accept(report: Path) -> None:
    """Keep the figures of REPORT, a report.json of bcd bench, as the accepted ones: baseline.json beside this module."""
    from bcdcodec.benchmarks.baseline import BASELINE, FULL, load_report
    from bcdcodec.benchmarks.baseline import accept as keep

    keep(load_report(report), FULL)
    click.echo(f"written: {BASELINE}")


@benchmarks.command()
@click.argument("report", type=click.Path(path_type=Path))
@click.argument("target", metavar="README.md", type=click.Path(path_type=Path))
def readme(report: Path, target: Path) -> None:
    """Put the table of REPORT, a report.json of bcd bench, between the markers of README.md."""
    from bcdcodec.benchmarks.baseline import load_report
    from bcdcodec.benchmarks.readme import update_readme

    changed = update_readme(target, load_report(report))
    click.echo(f"{target}: {'table written' if changed else 'the table was the same'}")


@benchmarks.command()
@click.option("--model", default="heads", show_default=True, help="Shipped model or model folder.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("out/short"), show_default=True)
@click.option("--jobs", type=click.IntRange(min=1), default=1, show_default=True, help="Clips measured at once.")
@click.option("--accept", "accepting", is_flag=True, help="Keep these figures as the accepted ones.")
def short(model: str, out: Path, jobs: int, accepting: bool) -> None:
    """A few minutes on rendered clips: figures beside the accepted ones, and their ratios."""
    from bcdcodec.benchmarks.baseline import SHORT, load_baseline, ratios, short_run
    from bcdcodec.benchmarks.baseline import accept as keep
    from bcdcodec.cli.progress import progress_bar

    with progress_bar("short", "clip") as progress:
        report = short_run(out, model, jobs, progress)
    accepted = load_baseline().get(SHORT)
    click.echo(ratios(report, accepted) if accepted else "no accepted figures yet")
    if accepting:
        keep(report, SHORT)


@benchmarks.command()
@click.option("--data", type=click.Path(path_type=Path), required=True, help="Folder of clips, or of sprite sheets for a sprites model.")
@click.option("--model", default="heads", show_default=True, help="Shipped model or model folder.")
@click.option("--clips", type=click.IntRange(min=1), help="At most so many, evenly picked.")
def context(data: Path, model: str, clips: int | None) -> None:
    """Entropy profile context beside static, on clips the model was not trained on."""
    from bcdcodec.benchmarks.context import held_out_pictures, run
    from bcdcodec.codec import load

    codec = load(model)
    click.echo(run(codec, held_out_pictures(codec, data, clips)).markdown())


if __name__ == "__main__":
    try:
        benchmarks(standalone_mode=False)
    except BcdError as error:
        raise SystemExit(f"error: {error}") from None
    except click.ClickException as error:
        error.show()
        raise SystemExit(error.exit_code) from None
