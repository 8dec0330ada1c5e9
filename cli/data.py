"""`bcd data prepare`."""

from __future__ import annotations

from pathlib import Path

import click

FOLDER = click.Path(path_type=Path)


@click.group()
def data() -> None:
    """Prepare footage for training at full size."""


@data.command()
@click.argument("raw", type=FOLDER)
@click.option("--out", type=FOLDER, required=True, help="Folder of the tars; goes on where it stopped.")
@click.option(
    "--layout",
    type=click.Choice(["auto", "plain", "lrs3", "voxceleb"]),
    default="auto",
    show_default=True,
    help="What RAW is: LRS3 (pretrain, trainval, test), VoxCeleb2 (dev/mp4, test/mp4), or any folder of videos.",
)
@click.option("--size", type=click.IntRange(16, 1024), default=256, show_default=True, help="Side, in pixels.")
@click.option("--frames", type=click.IntRange(min=2), default=100, show_default=True, help="Frames of a clip.")
@click.option(
    "--crop",
    type=click.Choice(["auto", "centre"]),
    default="auto",
    show_default=True,
    help="auto: the square around the face, extra `face`. centre: for footage that is cropped already.",
)
@click.option("--vae", help="Hub name or folder of an image autoencoder, whose latents are kept instead of pictures.")
@click.option("--device", default="auto", show_default=True, help="Of the autoencoder: auto, cpu, cuda or cuda:N.")
@click.option("--shard-mib", type=click.IntRange(min=1), default=512, show_default=True, help="Size of a tar.")
@click.option(
    "--part",
    default="0/1",
    show_default=True,
    metavar="I/N",
    help="Prepare every N-th video from the I-th: N processes can share the work.",
)
def prepare(raw: Path, out: Path, part: str, device: str, **options) -> None:
    """Make WebDataset tars of clips from the videos of RAW: 25 frames a second, cut at scene changes.

    A video that cannot be read, shows no face or has no clip is listed and left out. Needs the extra `scale`.
    """
    from bcdcodec.cli.progress import progress_bar
    from bcdcodec.device import pick_device
    from bcdcodec.training.data.prepare import PrepareOptions, prepare as make

    number, _, parts = part.partition("/")
    if not (number.isdecimal() and parts.isdecimal() and int(number) < int(parts)):
        raise click.UsageError(f"--part is {part!r}, expected I/N with I from 0 to N - 1")
    given = PrepareOptions(device=pick_device(device), part=int(number), parts=int(parts), **options)
    with progress_bar("prepare", "video") as progress:
        report = make(raw, out, given, progress)
    for name, why in report.skipped.items():
        click.echo(f"left out: {name}: {' '.join(why.split())}", err=True)
    click.echo(f"{out}: {report.clips} clips of {report.videos - len(report.skipped)} videos in {report.shards} tars")
