"""`python -m bcdcodec.benchmarks`: accepted figures, tables of documents, a short run, single parts."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import click

from bcdcodec.errors import BcdError
from bcdcodec.generation.config import TEMPERATURE, TOP_P
from bcdcodec.memory import keep_freed_memory

PATH = click.Path(path_type=Path)
COUNT = click.IntRange(min=1)


def _model(default: str = "heads") -> Callable:
    return click.option("--model", default=default, show_default=True, help="Shipped model or model folder.")


def _data(what: str) -> Callable:
    return click.option("--data", type=PATH, required=True, help=f"Folder of {what}.")


def _out(default: str | None) -> Callable:
    return click.option("--out", type=PATH, default=default, required=default is None, show_default=default is not None)


_sampling = (
    click.option("--temperature", type=click.FloatRange(0, 10), default=TEMPERATURE, show_default=True),
    click.option("--top-p", type=click.FloatRange(0, 1, min_open=True), default=TOP_P, show_default=True),
)


def _with_sampling(command: Callable) -> Callable:
    for option in _sampling:
        command = option(command)
    return command


def _progress(items: Iterable, label: str) -> Iterable:
    from tqdm import tqdm

    return tqdm(items, desc=label, disable=None, leave=False)


def _gpt2_of(codec, path: Path | None):
    """The GPT-2 in a folder, or the one shipped with the model."""
    from bcdcodec.container.head import MODEL_FINGERPRINT_BYTES
    from bcdcodec.generation.store import load_gpt2, open_gpt2_for

    return load_gpt2(*open_gpt2_for(path, codec.folder.name, codec.folder.fingerprint[:MODEL_FINGERPRINT_BYTES]))


@click.group()
def benchmarks() -> None:
    """Measurements that anyone can repeat."""


@benchmarks.command()
@click.argument("report", type=PATH)
def accept(report: Path) -> None:
    """Keep the figures of REPORT, a report.json of bcd bench, in baseline.json beside this module."""
    from bcdcodec.benchmarks.baseline import BASELINE, FULL, accept as keep, load_report

    keep(load_report(report), FULL)
    click.echo(f"written: {BASELINE}")


@benchmarks.command()
@click.argument("clips", type=PATH, nargs=-1, required=True)
@click.option("--seconds", type=click.FloatRange(1), default=8.0, show_default=True, help="Of each clip.")
@click.option("--no-pictures", is_flag=True, help="Decode no pictures: all but PSNR, in a tenth of the time.")
@click.option("--wire", is_flag=True, help="Count the bytes at the socket instead, sent as by bcd call.")
@click.option("--sound", type=PATH, help="With --wire: a file whose sound is spoken; the default is silence.")
@click.option("--quality", is_flag=True, help="Compare a stream without loss with a file of the same rate instead.")
@click.option("--networks", type=PATH, help="With --quality: the folder of face_landmarker.task.")
@click.option("--delay", is_flag=True, help="Delay and CPU time on a machine with a core for each thread instead.")
@click.option("--hours", type=float, help="Instead, memory and delay over so many simulated hours, without networks.")
def live(
    clips: tuple[Path, ...],
    seconds: float,
    no_pictures: bool,
    wire: bool,
    sound: Path | None,
    quality: bool,
    networks: Path | None,
    delay: bool,
    hours: float | None,
) -> None:
    """Streams of CLIPS over a simulated network: loss, delay and what a viewer sees, as a Markdown table."""
    from bcdcodec.benchmarks import live as network, live_delay, live_hours, live_quality, live_wire

    if wire:
        lines = live_wire.wire_table(clips, seconds, sound)
    elif quality:
        lines = live_quality.quality_table(clips, seconds, networks)
    elif delay:
        lines = live_delay.delay_table(clips, seconds)
    elif hours is not None:
        lines = live_hours.hours_table(clips[0], hours)
    else:
        lines = network.table(clips, seconds, drawn=not no_pictures)
    for line in lines:
        click.echo(line)


@benchmarks.command()
@click.argument("report", type=PATH)
@click.argument("document", type=PATH)
@click.option(
    "--block",
    type=click.Choice(["figures", "ahg16", "parts"]),
    default="figures",
    show_default=True,
    help="Between which markers: all tables, those of JVET's conditions, or what each part brings.",
)
def tables(report: Path, document: Path, block: str) -> None:
    """Put tables of REPORT, a report.json of bcd bench, between markers of DOCUMENT (docs/benchmarks.md)."""
    from bcdcodec.benchmarks.baseline import load_report
    from bcdcodec.benchmarks.report.documents import update

    changed = update(document, load_report(report), block)
    click.echo(f"{document}: {'tables written' if changed else 'the tables were the same'}")


@benchmarks.command()
@_model()
@_out("out/short")
@click.option("--jobs", type=COUNT, default=1, show_default=True, help="Clips measured at once.")
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
@_data("clips, or of sprite sheets for a sprites model")
@_model()
@click.option("--clips", type=COUNT, help="At most so many, evenly picked.")
@click.option("--gpt2", type=PATH, help="Folder of a GPT-2, whose predictions are compared.")
def context(data: Path, model: str, clips: int | None, gpt2: Path | None) -> None:
    """Entropy profile context beside static, on clips the model was not trained on."""
    from bcdcodec.benchmarks.context import held_out_pictures, run
    from bcdcodec.codec import load

    codec = load(model)
    click.echo(run(codec, held_out_pictures(codec, data, clips), gpt2).markdown())


@benchmarks.command()
@_data("sprite sheets")
@_model("sprites")
@_out("out/sprites")
@click.option("--clips", type=COUNT, help="Cross-driven clips that are judged. [default: all 2664]")
@click.option("--case-clips", type=COUNT, default=296, show_default=True, help="Clips of each easier case.")
@click.option("--quality-clips", type=COUNT, default=148, show_default=True, help="Clips at 1, 2 and 4 steps.")
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
@_data("sprite sheets")
@_out("out/sprites-ablations")
@click.option(
    "--recipe",
    type=click.Choice(["sprites-small", "sprites-bcd"]),
    default="sprites-small",
    show_default=True,
    help="Whose variants: of our recipe, or of the paper's model as written.",
)
@click.option("--steps", type=COUNT, default=500, show_default=True, help="Optimiser steps of every variant.")
@click.option("--only", "names", multiple=True, help="A variant's name; may be given several times. [default: all]")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
def sprites_ablations(
    data: Path, out: Path, recipe: str, steps: int, names: tuple[str, ...], seed: int, device: str
) -> None:
    """Train variants of a recipe for equally many steps and measure them; goes on where it was stopped."""
    from bcdcodec.benchmarks.sprites import paper_variants, variants
    from bcdcodec.benchmarks.sprites.ablations import run_ablations
    from bcdcodec.benchmarks.sprites.benchmark import Judges, Options
    from bcdcodec.device import pick_device
    from bcdcodec.training.data.sheets import Sheets

    out.mkdir(parents=True, exist_ok=True)
    judges = Judges.of(Sheets.load(data), Options(), out, _progress)
    say = lambda line: click.echo(line, err=True)  # noqa: E731
    study = paper_variants.study(steps) if recipe == "sprites-bcd" else variants.study()
    click.echo(run_ablations(study, data, judges, out, steps, seed, pick_device(device), names, say))


@benchmarks.command("sprites-generation")
@_data("sprite sheets")
@_model("sprites")
@click.option("--gpt2", type=PATH, required=True, help="Folder of its GPT-2.")
@click.option("--clips", type=COUNT, default=296, show_default=True)
@_with_sampling
def sprites_generation(data: Path, model: str, gpt2: Path, clips: int, temperature: float, top_p: float) -> None:
    """Whether motion generated from single frames of test characters is one of the nine actions."""
    from bcdcodec.benchmarks.sprites.generation import measure_generation
    from bcdcodec.benchmarks.sprites.judge import Judge
    from bcdcodec.codec import load
    from bcdcodec.generation.sampling import SamplingOptions
    from bcdcodec.training.data.sheets import Sheets

    codec, options = load(model), SamplingOptions(temperature, top_p)
    judge = Judge(Sheets.load(data))
    click.echo(measure_generation(codec, _gpt2_of(codec, gpt2), judge, clips, options, _progress).markdown())


@benchmarks.command("heads-generation")
@_data("clips, of which the held-out ones are taken")
@click.option("--codes", type=PATH, required=True, help="Folder of .bcd files that the GPT-2 was trained on.")
@click.option("--gpt2", type=PATH, help="Folder of a GPT-2. [default: the one shipped with the model]")
@_model()
@click.option("--clips", type=click.IntRange(min=2), default=24, show_default=True, help="At most, evenly picked.")
@click.option("--seconds", type=click.FloatRange(min=1), default=10.0, show_default=True)
@_with_sampling
def heads_generation(
    data: Path, codes: Path, gpt2: Path | None, model: str, clips: int, seconds: float, temperature: float, top_p: float
) -> None:
    """Generated motion of people not trained on beside recorded motion: spread, stillness, copies, identity."""
    from bcdcodec.benchmarks.context import held_out_pictures
    from bcdcodec.benchmarks.generation import measure_heads_generation
    from bcdcodec.benchmarks.measure.faces import face_meter
    from bcdcodec.codec import load
    from bcdcodec.generation.sampling import SamplingOptions
    from bcdcodec.training.gpt2 import load_clips

    codec = load(model)
    trained = [clip.codes for clip in load_clips(codes, model).train]
    recorded = list(held_out_pictures(codec, data, clips))
    options, face = SamplingOptions(temperature, top_p), face_meter().face
    found = measure_heads_generation(codec, _gpt2_of(codec, gpt2), recorded, trained, face, seconds, options, _progress)
    click.echo(found.markdown())


@benchmarks.command("reference-images")
@click.argument("folder", type=PATH)
@click.option("--people", type=COUNT, default=20, show_default=True, help="Pictures, one a person.")
@click.option("--budget", type=click.IntRange(min=100), default=1470, show_default=True, help="Bytes of a picture.")
@click.option("--model", default="heads", show_default=True, help="Whose own coder is compared; empty: none.")
@click.option("--second", is_flag=True, help="Also second pictures, as inter frames.")
def reference_images(folder: Path, people: int, budget: int, model: str, second: bool) -> None:
    """Code pictures of held-out people of FOLDER as reference images, and print what AV1, WebP and the model lose."""
    from bcdcodec.benchmarks.reference_images import compare_coders

    click.echo(compare_coders(folder, people, budget, model, second, _progress))


@benchmarks.command()
@click.argument("folder", type=PATH)
@click.option("--workers", "counts", default="2", show_default=True, help="Numbers of workers, beside one: 2,4,8.")
@click.option("--repeats", type=COUNT, default=3, show_default=True, help="Rounds; in each all numbers take turns.")
@_model("faces")
def workers(folder: Path, counts: str, repeats: int, model: str) -> None:
    """Throughput of bulk encoding (bcd encode --workers) by the number of workers; the machine should be idle."""
    from bcdcodec.benchmarks.workers import workers_table

    if not all(count.strip().isdecimal() and int(count) for count in counts.split(",")):
        raise click.UsageError(f"--workers is {counts!r}, expected numbers such as 2,4")
    for line in workers_table(folder, [int(count) for count in counts.split(",")], repeats, model):
        click.echo(line)


if __name__ == "__main__":
    keep_freed_memory()
    try:
        benchmarks(standalone_mode=False)
    except BcdError as error:
        raise SystemExit(f"error: {error}") from None
    except click.ClickException as error:
        error.show()
        raise SystemExit(error.exit_code) from None
