"""The paper's ablations (tables 3, A5, A6) on Sprites: variants of one recipe, trained for equally many steps."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from bcdcodec.benchmarks.report.render import as_markdown
from bcdcodec.benchmarks.report.tables import frame
from bcdcodec.benchmarks.sprites.benchmark import Judges, information_of
from bcdcodec.benchmarks.sprites.coding import code_clips, measure_rate
from bcdcodec.benchmarks.sprites.judge import COLUMNS
from bcdcodec.benchmarks.sprites.pairs import BOTH, OTHER_CHARACTER, SELF, ClipSet, draw_pairs, spread
from bcdcodec.benchmarks.sprites.transfer import Accuracy, Quality, decode_pairs, judge_pairs, measure_quality
from bcdcodec.codec import load
from bcdcodec.config import ModelConfig
from bcdcodec.training.data.run_data import RunOptions
from bcdcodec.training.data.sheets import ACTIONS, split
from bcdcodec.training.data.sprite_batches import SpriteClips
from bcdcodec.training.export import export_model
from bcdcodec.training.trainer import Recipe, Trainer

Config = TypeVar("Config", bound=ModelConfig)
JUDGED = (SELF, OTHER_CHARACTER, BOTH)
ROW = "row.json"


@dataclass(frozen=True)
class Variant:
    """One way to train."""

    name: str
    about: str  # what differs from the base, and the paper's row it answers
    recipe: Callable[[], Recipe]


@dataclass(frozen=True)
class Study:
    """Variants that are trained and measured alike; the first is the base."""

    variants: tuple[Variant, ...]
    people: int  # test characters whose clips are coded
    pairs: int  # decoded and judged, of each case
    table_people: int = 24  # training characters whose clips the entropy tables are fitted on


def with_targets(
    base: Config, targets: tuple[tuple[int, int], ...], recipe: Callable[[Config], Recipe]
) -> Iterator[Variant]:
    """Variants of other target rates, bits a frame, and numbers of codes; `recipe`: of a config."""
    for bits, codes in targets:
        config = replace(base, quantiser=replace(base.quantiser, target_bits=float(bits), codes=codes))
        about = f"target {bits} bits a frame (table 3)" + (f", {codes} codes" if codes != base.quantiser.codes else "")
        yield Variant(f"{bits}-bits", about, partial(recipe, config))


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


def train_variant(variant: Variant, data: Path, run: Path, steps: int, seed: int, device: str) -> float:
    """Train a variant to `steps` optimiser steps, going on where an earlier call was stopped; minutes spent in all."""
    resume = (run / "checkpoint").exists()
    options = RunOptions(
        data, run, steps, None, resume, device, seed, procedural_groups=1, checkpoint_minutes=2, evaluate_minutes=1e9
    )
    trainer = Trainer(variant.recipe(), options)
    trainer.run()
    return trainer.elapsed / 60


def measure_variant(
    study: Study, variant: Variant, model: Path, judges: Judges, steps: int, minutes: float, seed: int
) -> AblationRow:
    """Code and decode test clips with an exported variant."""
    codec = load(model)
    clips = ClipSet(judges.clips.characters[: study.people], judges.clips.frames[: study.people * len(ACTIONS)])
    coded = code_clips(codec, clips.frames)
    information = information_of(coded, clips)
    accuracies, qualities = [], []
    for case in JUDGED:
        pairs = draw_pairs(clips, case, spread(len(clips), study.pairs), seed)
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
    study: Study,
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
    table_clips = SpriteClips(judges.sheets, split()[0][: study.table_people])
    rows = []
    for variant in study.variants:
        run = out / f"{variant.name}-{steps}"
        if (run / ROW).exists():
            rows.append(json.loads((run / ROW).read_text()))
            continue
        if names and variant.name not in names:
            continue
        say(f"{variant.name}: {variant.about}")
        minutes = train_variant(variant, data, run, steps, seed, device)
        export_model(run / "checkpoint", run / "model", [table_clips], f"# {variant.name}\n\nAn ablation.\n")
        row = asdict(measure_variant(study, variant, run / "model", judges, steps, minutes, seed))
        (run / ROW).write_text(json.dumps(row, indent=1))
        rows.append(row)
    text = ablations_as_markdown(study, rows, steps)
    (out / "ablations.json").write_text(json.dumps(rows, indent=1))
    (out / "ablations.md").write_text(text)
    return text


def ablations_as_markdown(study: Study, rows: list[dict], steps: int) -> str:
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
    base = study.variants[0].recipe().config
    e, d = base.encoder, base.decoder
    about = (
        f"Every variant: {steps} optimiser steps, the same network (encoder {e.width} wide, decoder {d.width} wide and "
        f"{d.depth} deep), the same seed; {base.diffusion.steps} sampling steps. Bits, codes and information (bits, of "
        f"the codes on the motion frame and on skin, pants, top and hair) over the clips of {study.people} test "
        "characters; PSNR against the rendered truth and the exact judge's accuracy by clip over "
        f"{study.pairs} pairs, where both character and action differ."
    )
    variants = "\n".join(f"- {r['name']}: {r['about']}." for r in rows)
    return f"# Sprites, ablations\n\n{about}\n\n{as_markdown(frame(columns, lines))}\n\n{variants}\n"
