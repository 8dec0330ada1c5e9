"""Variants of the paper's model on Sprites: other target rates, not cross-driven (table 3), no rate term (table A6)."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from bcdcodec.benchmarks.sprites.ablations import Study, Variant, with_targets
from bcdcodec.models.bcd.config import BCDConfig
from bcdcodec.models.bcd.presets import SPRITES_BCD
from bcdcodec.training.data.halves import Halves
from bcdcodec.training.recipes.bcd import SPRITES_BCD_TRAINING, BCDRecipe, BCDTraining
from bcdcodec.training.trainer import Trainer

# With the paper's guidance 18 sampling steps are as good as its 50 (docs/notes/bcd.md), in a third of the time.
BASE = replace(SPRITES_BCD, name="paper", diffusion=replace(SPRITES_BCD.diffusion, steps=18))
ANNEALED = 0.9  # share of a run after which the temperature is at its lowest, as in the preset's own run
TARGETS = ((2, 64), (4, 64), (6, 64), (8, 256))  # bits a frame, codes


class SameFrames(BCDRecipe):
    """The recipe with content from the very frames that are to be rebuilt."""

    def batch(self, run: Trainer) -> Halves:
        driving = super().batch(run).driving
        return Halves(driving, driving)


def study(steps: int, base: BCDConfig = BASE, training: BCDTraining = SPRITES_BCD_TRAINING) -> Study:
    """Seven variants, whose temperature falls within `steps` optimiser steps."""
    fall = training.temperature_min / training.temperature_max
    training = replace(training, temperature_decay=fall ** (1 / (ANNEALED * steps)))
    bits = f"{base.quantiser.target_bits:g}"
    variants = (
        Variant("base", f"the paper's recipe, target {bits} bits", partial(BCDRecipe, base, training)),
        Variant(
            "no-rate", "without the rate loss (table A6)", partial(BCDRecipe, base, replace(training, rate_weight=0.0))
        ),
        Variant(
            "no-cross",
            "without cross-driven training (table 3): content from the very frames that are rebuilt",
            partial(SameFrames, base, training),
        ),
        *with_targets(base, TARGETS, lambda config: BCDRecipe(config, training)),
    )
    return Study(variants, people=24, pairs=36)
