"""`python -m bcdcodec.benchmarks`: the accepted figures, the README's table, a short run, and the sprites benchmark."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import click

from bcdcodec.errors import BcdError
from bcdcodec.generation.config import TEMPERATURE, TOP_P
from bcdcodec.memory import keep_freed_memory


@click.group()
def benchmarks() -> None:
    """Measurements that anyone can repeat."""


@benchmarks.command()
@click.argument("report", type=click.Path(path_type=Path))
def accept(report: Path) -> None:
    """Keep the figures of REPORT, a report.json of bcd bench, as the accepted ones: baseline.json beside this module."""
    from bcdcodec.benchmarks.baseline import BASELINE, FULL, accept as keep, load_report

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
    from bcdcodec.benchmarks.baseline import SHORT, accept as keep, load_baseline, ratios, short_run
    from bcdcodec.cli.progress import progress_bar

    with progress_bar("short", "clip") as progress:
        report = short_run(out, model, jobs, progress)
    accepted = load_baseline().get(SHORT)
    click.echo(ratios(report, accepted) if accepted else "no accepted figures yet: --accept keeps these")
    if accepting:
        keep(report, SHORT)


@benchmarks.command()
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    required=True,
    help="Folder of clips, of which the held-out ones are taken.",
)
@click.option("--model", default="heads", show_default=True, help="Shipped model or model folder.")
@click.option(
    "--against", default="", metavar="NAMES", help="Classical codecs beside it, such as x264,x265,svtav1,vp9."
)
@click.option(
    "--against-clips", type=click.IntRange(min=1), default=8, show_default=True, help="On so many of the clips."
)
@click.option("--clips", type=click.IntRange(min=1), help="At most so many, evenly picked. [default: all]")
@click.option("--out", type=click.Path(path_type=Path), default=Path("out/heads"), show_default=True)
@click.option("--jobs", type=click.IntRange(min=1), default=1, show_default=True, help="Clips measured at once.")
def heads(data: Path, model: str, against: str, against_clips: int, clips: int | None, out: Path, jobs: int) -> None:
    """Bcd bench at several rates, and what a codec for calls has to reach beside what this one does."""
    from bcdcodec.benchmarks.bench import bench
    from bcdcodec.benchmarks.heads import RATES, targets_table
    from bcdcodec.benchmarks.markdown import table_as_markdown
    from bcdcodec.benchmarks.rows import write_whole
    from bcdcodec.benchmarks.run import Options
    from bcdcodec.cli.progress import progress_bar

    options = Options(model, out, against, None, RATES, clips, against_clips, jobs=jobs)
    with progress_bar("heads", "clip") as progress:
        done = bench([data], options, progress)
    table = table_as_markdown(targets_table(done.report))
    write_whole(out / "targets.md", table + "\n")
    click.echo(table)
    click.echo(f"written: {', '.join(map(str, (*done.files, out / 'targets.md')))}")


@benchmarks.command()
@click.option("--data", type=click.Path(path_type=Path), required=True, help="Folder of sprite sheets.")
@click.option("--model", default="sprites", show_default=True, help="Shipped model or model folder.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("out/sprites"), show_default=True)
@click.option("--clips", type=click.IntRange(min=1), help="Cross-driven clips that are judged. [default: all 2664]")
@click.option(
    "--case-clips",
    type=click.IntRange(min=1),
    default=296,
    show_default=True,
    help="Clips of each easier case: self, other action, other character.",
)
@click.option(
    "--quality-clips", type=click.IntRange(min=1), default=148, show_default=True, help="Clips at 1, 2 and 4 steps."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the pairs.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
def sprites(
    data: Path, model: str, out: Path, clips: int | None, case_clips: int, quality_clips: int, seed: int, device: str
) -> None:
    """Attribute accuracy, cross-driven quality, rate and codes of a sprites model on the test characters."""
    from bcdcodec.benchmarks.sprites.benchmark import Judges, Options, measure_model
    from bcdcodec.benchmarks.sprites.report import write_report
    from bcdcodec.codec import load
    from bcdcodec.device import pick_device
    from bcdcodec.training.data.sheets import Sheets

    options = Options(clips, case_clips, quality_clips, seed=seed)
    codec, sheets = load(model, pick_device(device)), Sheets.load(data)
    out.mkdir(parents=True, exist_ok=True)
    report = measure_model(codec, Judges.of(sheets, options, out, _progress), options, out, _progress)
    click.echo(write_report(report, out))
    click.echo(f"written to {out}")


@benchmarks.command("sprites-ablations")
@click.option("--data", type=click.Path(path_type=Path), required=True, help="Folder of sprite sheets.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("out/sprites-ablations"), show_default=True)
@click.option(
    "--steps", type=click.IntRange(min=1), default=500, show_default=True, help="Optimiser steps of every variant."
)
@click.option("--only", "names", multiple=True, help="A variant's name; may be given several times. [default: all]")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
def sprites_ablations(data: Path, out: Path, steps: int, names: tuple[str, ...], seed: int, device: str) -> None:
    """Train variants of the sprites recipe for equally many steps and measure them; goes on where it was stopped."""
    from bcdcodec.benchmarks.sprites.ablations import run_ablations
    from bcdcodec.benchmarks.sprites.benchmark import Judges, Options
    from bcdcodec.device import pick_device
    from bcdcodec.training.data.sheets import Sheets

    out.mkdir(parents=True, exist_ok=True)
    judges = Judges.of(Sheets.load(data), Options(), out, _progress)
    text = run_ablations(
        data, judges, out, steps, seed, pick_device(device), names, lambda line: click.echo(line, err=True)
    )
    click.echo(text)


def _progress(items: Iterable, label: str) -> Iterable:
    from tqdm import tqdm

    return tqdm(items, desc=label, disable=None, leave=False)


@benchmarks.command()
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    required=True,
    help="Folder of clips, or of sprite sheets for a sprites model.",
)
@click.option("--model", default="heads", show_default=True, help="Shipped model or model folder.")
@click.option("--clips", type=click.IntRange(min=1), help="At most so many, evenly picked.")
@click.option("--gpt2", type=click.Path(path_type=Path), help="Folder of a GPT-2, whose predictions are compared.")
def context(data: Path, model: str, clips: int | None, gpt2: Path | None) -> None:
    """Entropy profile context beside static, on clips the model was not trained on."""
    from bcdcodec.benchmarks.context import held_out_pictures, run
    from bcdcodec.codec import load

    codec = load(model)
    click.echo(run(codec, held_out_pictures(codec, data, clips), gpt2).markdown())


@benchmarks.command("sprites-codes")
@click.option("--data", type=click.Path(path_type=Path), required=True, help="Folder of sprite sheets.")
@click.option("--model", default="sprites", show_default=True, help="Shipped model or model folder.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder for the .bcd files.")
@click.option("--clips", type=click.IntRange(min=2), default=2000, show_default=True)
def sprites_codes(data: Path, model: str, out: Path, clips: int) -> None:
    """Encode clips of training characters, for `bcd train gpt2-sprites --codes`."""
    from bcdcodec.benchmarks.sprites.generation import write_codes
    from bcdcodec.codec import load
    from bcdcodec.training.data.sheets import Sheets

    click.echo(f"{out}: {write_codes(load(model), Sheets.load(data), out, clips, _progress)} files")


@benchmarks.command("sprites-generation")
@click.option("--data", type=click.Path(path_type=Path), required=True, help="Folder of sprite sheets.")
@click.option("--model", default="sprites", show_default=True, help="Shipped model or model folder.")
@click.option("--gpt2", type=click.Path(path_type=Path), required=True, help="Folder of its GPT-2.")
@click.option("--clips", type=click.IntRange(min=1), default=296, show_default=True)
@click.option("--temperature", type=click.FloatRange(0, 10), default=TEMPERATURE, show_default=True)
@click.option("--top-p", type=click.FloatRange(0, 1, min_open=True), default=TOP_P, show_default=True)
def sprites_generation(data: Path, model: str, gpt2: Path, clips: int, temperature: float, top_p: float) -> None:
    """Whether motion invented for stills of test characters is one of the nine actions, and keeps the character."""
    from bcdcodec.benchmarks.sprites.generation import measure_generation
    from bcdcodec.benchmarks.sprites.judge import Judge
    from bcdcodec.codec import load
    from bcdcodec.container.head import MODEL_FINGERPRINT_BYTES
    from bcdcodec.generation.sampling import SamplingOptions
    from bcdcodec.generation.store import load_gpt2, open_gpt2_for
    from bcdcodec.training.data.sheets import Sheets

    codec = load(model)
    path, config = open_gpt2_for(gpt2, codec.folder.name, codec.folder.fingerprint[:MODEL_FINGERPRINT_BYTES])
    options = SamplingOptions(temperature, top_p)
    click.echo(
        measure_generation(
            codec, load_gpt2(path, config), Judge(Sheets.load(data)), clips, options, _progress
        ).markdown()
    )


@benchmarks.command("heads-codes")
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    required=True,
    help="Folder of clips, of which those for training are taken.",
)
@click.option("--model", default="heads", show_default=True, help="Shipped model or model folder.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder for the .bcd files.")
def heads_codes(data: Path, model: str, out: Path) -> None:
    """Encode the training clips of a folder, for `bcd train gpt2-heads --codes`."""
    from bcdcodec.benchmarks.heads_generation import write_head_codes
    from bcdcodec.codec import load

    click.echo(f"{out}: {write_head_codes(load(model), data, out, _progress)} files")


@benchmarks.command("heads-generation")
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    required=True,
    help="Folder of clips, of which the held-out ones are taken.",
)
@click.option(
    "--codes",
    type=click.Path(path_type=Path),
    required=True,
    help="Folder of .bcd files that the GPT-2 was trained on.",
)
@click.option(
    "--gpt2", type=click.Path(path_type=Path), help="Folder of a GPT-2. [default: the one shipped with the model]"
)
@click.option("--model", default="heads", show_default=True, help="Shipped model or model folder.")
@click.option(
    "--clips", type=click.IntRange(min=2), default=24, show_default=True, help="At most so many, evenly picked."
)
@click.option("--seconds", type=click.FloatRange(min=1), default=10.0, show_default=True)
@click.option("--temperature", type=click.FloatRange(0, 10), default=TEMPERATURE, show_default=True)
@click.option("--top-p", type=click.FloatRange(0, 1, min_open=True), default=TOP_P, show_default=True)
def heads_generation(
    data: Path, codes: Path, gpt2: Path | None, model: str, clips: int, seconds: float, temperature: float, top_p: float
) -> None:
    """Motion invented for people not trained on, beside recorded motion: spread, stillness, copies, identity."""
    from bcdcodec.benchmarks.context import held_out_pictures
    from bcdcodec.benchmarks.faces import FaceMeter
    from bcdcodec.benchmarks.heads_generation import measure_heads_generation
    from bcdcodec.codec import load
    from bcdcodec.container.head import MODEL_FINGERPRINT_BYTES
    from bcdcodec.generation.sampling import SamplingOptions
    from bcdcodec.generation.store import load_gpt2, open_gpt2_for
    from bcdcodec.training.gpt2 import load_clips

    codec = load(model)
    path, config = open_gpt2_for(gpt2, codec.folder.name, codec.folder.fingerprint[:MODEL_FINGERPRINT_BYTES])
    trained = [clip.codes for clip in load_clips(codes, model).train]
    recorded = list(held_out_pictures(codec, data, clips))
    found = measure_heads_generation(
        codec,
        load_gpt2(path, config),
        recorded,
        trained,
        FaceMeter().face,
        seconds,
        SamplingOptions(temperature, top_p),
        _progress,
    )
    click.echo(found.markdown())


if __name__ == "__main__":
    keep_freed_memory()
    try:
        benchmarks(standalone_mode=False)
    except BcdError as error:
        raise SystemExit(f"error: {error}") from None
    except click.ClickException as error:
        error.show()
        raise SystemExit(error.exit_code) from None
