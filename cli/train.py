"""`bcd train` and `bcd export`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    pass

FOLDER = click.Path(path_type=Path)


@click.command()
@click.argument("preset")
@click.option(
    "--data",
    type=FOLDER,
    help="Folder of videos and pictures, of prepared clips, or of sprite sheets. [default: procedural heads only]",
)
@click.option("--codes", type=FOLDER, help="Folder of .bcd files, for gpt2: no video is needed.")
@click.option(
    "--model", help="For gpt2: name or folder of the model of these files. [default: the shipped one they name]"
)
@click.option("--out", type=FOLDER, required=True, help="Folder of the run.")
@click.option("--minutes", type=click.FloatRange(min=0, min_open=True), help="Training time in all, or ...")
@click.option("--steps", type=click.IntRange(min=1), help="... optimiser steps in all.")
@click.option("--epochs", type=click.FloatRange(min=0, min_open=True), help="... passes over the prepared clips.")
@click.option("--batch", type=click.IntRange(min=1), help="Clips a step, over all processes. [default: the preset's]")
@click.option(
    "--accumulate", type=click.IntRange(min=1), default=1, show_default=True, help="Passes that a step is made of."
)
@click.option("--recompute", is_flag=True, help="Activation checkpointing: less memory, a third more time.")
@click.option("--resume", is_flag=True, help="Go on with the run in --out.")
@click.option(
    "--from",
    "from_model",
    help="Begin with the weights of this model, a name or a folder: to train on one's own footage.",
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=0, show_default=True)
@click.option(
    "--procedural-groups",
    type=click.IntRange(min=1),
    default=800,
    show_default=True,
    help="Groups of procedural heads to render once.",
)
@click.option("--vae", help="Hub name or folder of the image autoencoder, for presets over latents.")
@click.option("--shard-mib", type=click.IntRange(min=1), help="Split checkpoints into files of this size.")
def train(
    preset: str,
    data: Path | None,
    codes: Path | None,
    model: str | None,
    out: Path,
    minutes: float | None,
    steps: int | None,
    epochs: float | None,
    batch: int | None,
    accumulate: int,
    recompute: bool,
    resume: bool,
    from_model: str | None,
    device: str,
    seed: int,
    procedural_groups: int,
    vae: str | None,
    shard_mib: int | None,
) -> None:
    """Train a model; PRESET is heads, sprites-small or tiny.

    Or the paper's model, as the paper states it: lrs3, sprites (full size) or sprites-bcd (small).

    PRESET gpt2 (gpt2-heads, gpt2-sprites, gpt2-lrs3 or gpt2-tiny) trains the motion model of `bcd generate`.

    The paper's model also trains from the folder of `bcd data prepare`, and in several processes, which share each
    batch: `accelerate launch $(which bcd) train lrs3 ...`, with --steps or --epochs.
    """
    if [minutes, steps, epochs].count(None) != 2:
        raise click.UsageError("give either --minutes or --steps (or, with prepared clips, --epochs)")
    if (epochs or batch or accumulate > 1 or recompute) and codes is not None:
        raise click.UsageError(f"--epochs, --batch, --accumulate and --recompute are not for {preset}")
    if from_model is not None and (resume or codes is not None):
        raise click.UsageError("--from begins a run with weights: it goes neither with --resume nor with --codes")
    if preset.startswith("gpt2") != (codes is not None):
        raise click.UsageError("--codes and the presets gpt2... go together")
    if codes is not None:
        _train_gpt2(preset, codes, model, out, minutes, steps, resume, device, seed)
        return
    from bcdcodec.device import pick_device
    from bcdcodec.training.data.run_data import RunOptions
    from bcdcodec.training.presets import open_recipe
    from bcdcodec.training.trainer import Trainer

    options = RunOptions(
        data,
        out,
        steps,
        minutes,
        resume,
        pick_device(device),
        seed,
        procedural_groups,
        vae,
        from_model,
        shard_mib=shard_mib,
        epochs=epochs,
        batch=batch,
        accumulate=accumulate,
        recompute=recompute,
    )
    trainer = Trainer(open_recipe(preset), options)
    trainer.run()
    if not trainer.processes.rank:
        click.echo(f"{out / 'checkpoint'}: {preset}, step {trainer.step}, {trainer.elapsed / 60:.1f} minutes")
    trainer.processes.leave()


def _train_gpt2(
    preset: str,
    codes: Path,
    model: str | None,
    out: Path,
    minutes: float | None,
    steps: int | None,
    resume: bool,
    device: str,
    seed: int,
) -> None:
    from bcdcodec.device import pick_device
    from bcdcodec.generation.config import gpt2_preset
    from bcdcodec.training.gpt2 import GPT2Options, GPT2Trainer

    trainer = GPT2Trainer(
        gpt2_preset(preset), GPT2Options(codes, out, steps, minutes, resume, pick_device(device), seed, model)
    )
    trainer.run()
    click.echo(
        f"{out / 'model'}: {preset}, step {trainer.step}, {trainer.elapsed / 60:.1f} minutes, "
        f"{trainer.best:.1f} bits a frame on {len(trainer.clips.val)} clips held out"
    )


@click.command()
@click.argument("run", metavar="RUN|MODEL", type=FOLDER)
@click.argument("target", metavar="OUT_MODEL_DIR", type=FOLDER)
@click.option("--data", type=FOLDER, help="The training data, for the tables. [default: procedural heads]")
@click.option("--card", type=FOLDER, help="Text of the model card. [default: two lines of facts]")
@click.option("--name", help="The model's name, which its files carry. [default: the preset's]")
@click.option("--vae", help="Hub name or folder of the image autoencoder, for presets over latents.")
@click.option("--shard-mib", type=click.IntRange(min=1), help="Split the weights into files of this size.")
def export(
    run: Path,
    target: Path,
    data: Path | None,
    card: Path | None,
    name: str | None,
    vae: str | None,
    shard_mib: int | None,
) -> None:
    """Make a model folder from a training run: entropy tables, weights, config and card.

    Of a MODEL, by name or folder, a copy whose learned content tables are fitted anew; all files of it still open.
    """
    from bcdcodec.model_folder import CONFIG, SHIPPED
    from bcdcodec.training.export import export_run, refit_contents

    if any((folder / CONFIG).is_file() for folder in (run, SHIPPED / run)):
        if card or name or shard_mib:
            raise click.UsageError(
                f"{run} is a model, not a run: only its learned content tables are fitted, so --card, --name and "
                "--shard-mib do not apply"
            )
        learned = refit_contents(str(run), target, data, vae)
        click.echo(f"{target}: learned content tables for {learned.channels} channels")
        return
    report = export_run(run, target, data, card.read_text() if card else None, shard_mib, vae, name)
    context = (
        "" if report.context_bits_per_frame is None else f" ({report.context_bits_per_frame:.1f} in profile context)"
    )
    click.echo(
        f"{target}: {report.bits_per_frame:.1f} bits a frame{context}, content {report.content_bytes:.0f} bytes, "
        f"{report.codes_used:.1f} codes used a group, tables from {report.clips} clips"
    )
