"""`bcd generate`."""

from __future__ import annotations

import click

from bcdcodec.generation.config import TEMPERATURE, TOP_P


@click.command()
@click.argument("target", metavar="OUT.bcd")
@click.option("--content", required=True, metavar="FILE", help="Whose face: a .bcd file, a picture or a video.")
@click.option("--seconds", type=click.FloatRange(min=0, min_open=True), required=True, help="Of motion to generate.")
@click.option("--prompt", metavar="FILE.bcd", help="Motion to start with.")
@click.option(
    "--temperature",
    type=click.FloatRange(0, 10),
    default=TEMPERATURE,
    show_default=True,
    help="0: always the most probable code.",
)
@click.option(
    "--top-p",
    type=click.FloatRange(0, 1, min_open=True),
    default=TOP_P,
    show_default=True,
    help="Draw from the most probable codes that together have this share.",
)
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), default=0, show_default=True, help="Of the draws.")
@click.option(
    "--gpt2", metavar="FOLDER", help="A GPT-2 that `bcd train gpt2` made. [default: the one shipped with the model]"
)
@click.option("--model", help="Name or folder of the model. [default: the shipped one that FILE names, or heads]")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
def generate(target: str, content: str, seconds: float, **options) -> None:
    """Generate motion for a face: an ordinary .bcd file, marked as generated.

    Do not use it on anyone who has not agreed to it.
    """
    from bcdcodec.cli.progress import progress_bar
    from bcdcodec.files.generate_file import GenerateOptions, generate_file

    with progress_bar("generate") as progress:
        done = generate_file(content, target, seconds, GenerateOptions(**options), progress)
    click.echo(
        f"{target}: {done.frames} frames, {done.duration_s:.3f} s, {done.byte_counts.total} bytes, marked as generated"
    )
