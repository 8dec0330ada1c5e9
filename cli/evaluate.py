"""`bcd eval`."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

FOLDER = click.Path(path_type=Path)


@click.command(name="eval")
@click.argument("pairs", metavar="PAIRS.csv", type=FOLDER)
@click.option(
    "--networks",
    type=FOLDER,
    required=True,
    help="Folder of networks that are not shipped: face_landmarker.task, ict_facekit.npz, SFace, and TorchScript for "
    "FID and ArcFace; see docs/benchmarks.md.",
)
@click.option("--model", default="faces", show_default=True, help="Makes the clips that PAIRS.csv does not name.")
@click.option("--json", "as_json", is_flag=True, help="All figures, for programs.")
def evaluate(pairs: Path, networks: Path, model: str, as_json: bool) -> None:
    """Measure reenactment as the paper's table 1 does, and print its rows beside.

    PAIRS.csv has columns content and motion (videos, paths from its folder) and, where the clips are made already,
    generated. Errors are of another face model than the paper's. Needs the extra `portraits`.
    """
    from bcdcodec.benchmarks.evaluate_pairs import as_text, evaluate_pairs, read_pairs
    from bcdcodec.cli.progress import progress_bar
    from bcdcodec.errors import BcdError

    with progress_bar("eval", "pair") as progress:
        report = evaluate_pairs(read_pairs(pairs), networks, model, progress)
    for pair, error in report.failed.items():
        click.echo(f"failed: {pair}: {' '.join(error.split())}", err=True)
    click.echo(json.dumps(asdict(report), indent=1) if as_json else f"{report.pairs} pairs\n{as_text(report)}")
    if report.failed:
        raise BcdError(f"{len(report.failed)} of {len(report.failed) + report.pairs} pairs failed")
