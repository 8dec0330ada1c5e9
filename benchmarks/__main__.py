"""`python -m bcdcodec.benchmarks heads`: the measured tables of the README, by one command."""

from __future__ import annotations

from pathlib import Path

import click

from bcdcodec.errors import BcdError


@click.group()
def benchmarks() -> None:
    """Measurements that anyone can repeat."""


@benchmarks.command()
@click.option("--data", type=click.Path(path_type=Path), required=True, help="Folder of clips; its held-out split is measured.")
@click.option("--model", default="heads", show_default=True, help="Shipped model or model folder.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("out/heads"), show_default=True)
@click.option("--clips", type=int, default=None, help="At most so many, evenly picked.")
@click.option("--faces/--no-faces", default=True, show_default=True, help="dlib measures, extra `eval`.")
def heads(data: Path, model: str, out: Path, clips: int | None, faces: bool) -> None:
    """Bytes, faces, PSNR, disentanglement and speed of a heads model on clips it was not trained on."""
    from tqdm import tqdm

    from bcdcodec.benchmarks.faces import FaceMeter
    from bcdcodec.benchmarks.heads import run
    from bcdcodec.codec import load
    from bcdcodec.training.clips import split_of

    paths = split_of(data)["val"]
    if clips:
        paths = paths[:: max(1, len(paths) // clips)][:clips]
    report = run(load(model), paths, out, FaceMeter() if faces else None, lambda items: tqdm(items, disable=None))
    for name, value in report.summary().items():
        click.echo(f"{name:28} {value:.4g}")
    click.echo(f"written to {out}")


if __name__ == "__main__":
    try:
        benchmarks(standalone_mode=False)
    except BcdError as error:
        raise SystemExit(f"error: {error}") from None
    except click.ClickException as error:
        error.show()
        raise SystemExit(error.exit_code) from None
