"""The paper's ablations (tables 3, A5, A6) on Sprites: variants of one recipe, trained for equally many steps."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from bcdcodec.benchmarks.report.render import as_markdown
from bcdcodec.benchmarks.report.tables import frame
from bcdcodec.benchmarks.sprites.benchmark import Judges, information_of
from bcdcodec.benchmarks.sprites.coding import code_clips, measure_rate
from bcdcodec.benchmarks.sprites.judge import COLUMNS
from bcdcodec.benchmarks.sprites.pairs import BOTH, OTHER_CHARACTER, SELF, ClipSet, draw_pairs, spread
from bcdcodec.benchmarks.sprites.transfer import Accuracy, Quality, decode_pairs, judge_pairs, measure_quality
from bcdcodec.codec import load
from bcdcodec.models.sprites.config import SpritesConfig
from bcdcodec.presets import SPRITES_SMALL
from bcdcodec.training.data.run_data import RunOptions
from bcdcodec.training.data.sheets import split
from bcdcodec.training.data.sprite_batches import SpriteBatch, SpriteBatches, SpriteClips, SpriteSampler
from bcdcodec.training.export import export_model
from bcdcodec.training.recipes import sprites
from bcdcodec.training.recipes.sprites import SpritesRecipe, SpritesTraining
from bcdcodec.training.trainer import Trainer

TABLE_CHARACTERS = 24  # training characters whose clips the entropy tables are fitted on
PEOPLE, PAIRS = 24, 72  # test characters whose clips are coded; pairs decoded and judged, of each case
JUDGED = (SELF, OTHER_CHARACTER, BOTH)
ROW = "row.json"

# Small enough that all variants train within half an hour on one core.
BASE = replace(
    SPRITES_SMALL,
    name="ablation",
    encoder=replace(SPRITES_SMALL.encoder, width=128, ff=512, stem_channels=(32, 64, 128)),
    decoder=replace(SPRITES_SMALL.decoder, width=160, ff=640, depth=4),
)
TRAINING = replace(sprites.SPRITES_SMALL, batches=SpriteBatches(batch=32))


@dataclass(frozen=True)
class Variant:
    """One way to train."""

    name: str
    about: str  # what differs from the base, and the paper's row it answers
    config: SpritesConfig
    training: SpritesTraining
    same_frames: bool = False  # content is taken from the very frames that are to be rebuilt


@dataclass(frozen=True)
class AblationRow:
    """What one variant reached."""

    name: str
    about: str
    steps: int  # optimiser steps
    minutes: float  # of training, on the machine and under the load that it had
    bits_per_frame: float  # hard codes of test clips under static tables
    codes_used: int
    motion_information: float  # bits
    attribute_information: float  # bits on skin, pants, top and hair, corrected
    accuracies: tuple[Accuracy, ...]  # JUDGED
    qualities: tuple[Quality, ...]


def variants(base: SpritesConfig, training: SpritesTraining) -> tuple[Variant, ...]:
    """The base and what is taken from it, added to it or changed in it."""
    same_halves = replace(
        training, swap_weight=0.0, redrawn_content=0.0, batches=replace(training.batches, augmentation=False)
    )
    unmasked = replace(same_halves, content_mask_rate=0.0)
    return (
        Variant("base", "the recipe of sprites-small, target 6 bits", base, training),
        Variant(
            "halves-only",
            "cross-driven by the halves of a clip alone, as in the paper: no swap consistency, no masked "
            "content, no redrawn content, no flip or recolouring",
            base,
            unmasked,
        ),
        Variant(
            "no-cross",
            "without cross-driven training (table 3): content from the very frames that are rebuilt, "
            "no swap consistency, no redrawn content, no flip or recolouring",
            base,
            same_halves,
            same_frames=True,
        ),
        Variant("no-cross-unmasked", "the same without masked content either", base, unmasked, same_frames=True),
        Variant("no-rate", "without the rate loss (table A6)", base, replace(training, rate_weight=0.0)),
        *(
            Variant(
                f"{bits}-bits",
                f"target {bits} bits a frame (table 3)" + (f", {codes} codes" if codes != 64 else ""),
                with_target(base, bits, codes),
                training,
            )
            for bits, codes in ((2, 64), (4, 64), (8, 256))
        ),
    )


def with_target(config: SpritesConfig, bits: int, codes: int) -> SpritesConfig:
    """The config with another target rate and codebook."""
    return replace(config, quantiser=replace(config.quantiser, target_bits=float(bits), codes=codes))


class SameFramesSampler(SpriteSampler):
    """Batches whose content frames are the frames to be rebuilt."""

    def batch(self, step: int) -> SpriteBatch:
        batch = super().batch(step)
        return replace(batch, content=batch.target)


def train_variant(variant: Variant, data: Path, run: Path, steps: int, seed: int, device: str) -> float:
    """Train a variant to `steps` optimiser steps, going on where an earlier call was stopped; minutes spent in all."""
    resume = (run / "checkpoint").exists()
    options = RunOptions(
        data, run, steps, None, resume, device, seed, procedural_groups=1, checkpoint_minutes=2, evaluate_minutes=1e9
    )
    recipe = SpritesRecipe(variant.config, variant.training)
    trainer = Trainer(recipe, options)
    if variant.same_frames:
        frames = variant.config.content.frames
        recipe.sampler = SameFramesSampler(variant.training.batches, frames, recipe.sampler.sheets, seed)
    trainer.run()
    return trainer.elapsed / 60


def measure_variant(
    variant: Variant, model: Path, judges: Judges, steps: int, minutes: float, seed: int
) -> AblationRow:
    """Code and decode test clips with an exported variant."""
    codec = load(model)
    clips = ClipSet(judges.clips.characters[:PEOPLE], judges.clips.frames[: PEOPLE * 9])
    coded = code_clips(codec, clips.frames)
    information = information_of(coded, clips)
    accuracies, qualities = [], []
    for case in JUDGED:
        pairs = draw_pairs(clips, case, spread(len(clips), PAIRS), seed)
        decoded = decode_pairs(codec, coded, pairs)
        accuracies.append(judge_pairs(decoded, clips, pairs, judges.judge, judges.classifier)[0])
        qualities.append(measure_quality(decoded, clips, pairs, codec.config.diffusion.steps))
    return AblationRow(
        variant.name,
        variant.about,
        steps,
        minutes,
        measure_rate(codec, coded).bits_per_frame,
        information.codes_used,
        information.motion,
        information.attributes_corrected,
        tuple(accuracies),
        tuple(qualities),
    )


def run_ablations(
    data: Path,
    judges: Judges,
    out: Path,
    steps: int,
    seed: int,
    device: str,
    names: tuple[str, ...],
    say: Callable[[str], None],
) -> str:
    """Train and measure the variants called `names` (none: all) one after another; the text of ablations.md.

    What a stopped call had finished is not done again.
    """
    table_clips = SpriteClips(judges.sheets, split()[0][:TABLE_CHARACTERS])
    rows = []
    for variant in variants(BASE, TRAINING):
        run = out / f"{variant.name}-{steps}"
        if (run / ROW).exists():
            rows.append(json.loads((run / ROW).read_text()))
            continue
        if names and variant.name not in names:
            continue
        say(f"{variant.name}: {variant.about}")
        minutes = train_variant(variant, data, run, steps, seed, device)
        export_model(run / "checkpoint", run / "model", [table_clips], f"# {variant.name}\n\nAn ablation.\n")
        row = asdict(measure_variant(variant, run / "model", judges, steps, minutes, seed))
        (run / ROW).write_text(json.dumps(row, indent=1))
        rows.append(row)
    text = ablations_as_markdown(rows, steps)
    (out / "ablations.json").write_text(json.dumps(rows, indent=1))
    (out / "ablations.md").write_text(text)
    return text


def ablations_as_markdown(rows: list[dict], steps: int) -> str:
    """The table of rows as `asdict` and JSON give them."""
    columns = (
        "variant",
        "bits a frame",
        "codes",
        "on motion",
        "on attributes",
        "self, dB",
        "other character, dB",
        "both, dB",
        *(f"{name}, %" for name in COLUMNS),
    )
    lines = [
        (
            r["name"],
            f"{r['bits_per_frame']:.2f}",
            str(r["codes_used"]),
            f"{r['motion_information']:.2f}",
            f"{r['attribute_information']:.2f}",
            *(f"{q['psnr']:.1f}" for q in r["qualities"]),
            *(f"{100 * share:.0f}" for share in r["accuracies"][-1]["clip"]),
        )
        for r in rows
    ]
    e, d = BASE.encoder, BASE.decoder
    about = (
        f"Every variant: {steps} optimiser steps of {TRAINING.batches.batch} clips, the same small network (encoder "
        f"{e.width} wide, decoder {d.width} wide and {d.depth} deep), the same seed. Bits, codes and information "
        "(bits, of the codes on the motion frame and on skin, pants, top and hair) over the clips of "
        f"{PEOPLE} test characters; PSNR against the rendered truth and the exact judge's accuracy by clip over "
        f"{PAIRS} pairs, where both character and action differ."
    )
    variants = "\n".join(f"- {r['name']}: {r['about']}." for r in rows)
    return f"# Sprites, ablations\n\n{about}\n\n{as_markdown(frame(columns, lines))}\n\n{variants}\n"
