"""Variants of the recipe of `sprites-small`: what is taken from it, added to it or changed in it."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from bcdcodec.benchmarks.sprites.ablations import Study, Variant, with_targets
from bcdcodec.models.sprites.config import SpritesConfig
from bcdcodec.presets import SPRITES_SMALL
from bcdcodec.training.data.sprite_batches import SpriteBatch, SpriteBatches, SpriteSampler
from bcdcodec.training.recipes import sprites
from bcdcodec.training.recipes.sprites import SpritesRecipe, SpritesTraining
from bcdcodec.training.trainer import Trainer

# Small enough that all variants train within half an hour on one core.
BASE = replace(
    SPRITES_SMALL,
    name="ablation",
    encoder=replace(SPRITES_SMALL.encoder, width=128, ff=512, stem_channels=(32, 64, 128)),
    decoder=replace(SPRITES_SMALL.decoder, width=160, ff=640, depth=4),
)
TRAINING = replace(sprites.SPRITES_SMALL, batches=SpriteBatches(batch=32))


class SameFramesSampler(SpriteSampler):
    """Batches whose content frames are the frames to be rebuilt."""

    def batch(self, step: int) -> SpriteBatch:
        batch = super().batch(step)
        return replace(batch, content=batch.target)


class SameFrames(SpritesRecipe):
    """The recipe with content from the very frames that are to be rebuilt."""

    def open(self, run: Trainer) -> None:
        super().open(run)
        sampler, frames = self.sampler, self.config.content.frames
        self.sampler = SameFramesSampler(self.training.batches, frames, sampler.sheets, run.options.seed)


def study(base: SpritesConfig = BASE, training: SpritesTraining = TRAINING) -> Study:
    """Eight variants."""
    same_halves = replace(
        training, swap_weight=0.0, redrawn_content=0.0, batches=replace(training.batches, augmentation=False)
    )
    unmasked = replace(same_halves, content_mask_rate=0.0)
    variants = (
        Variant("base", "the recipe of sprites-small, target 6 bits", partial(SpritesRecipe, base, training)),
        Variant(
            "halves-only",
            "cross-driven by the halves of a clip alone, as in the paper: no swap consistency, no masked "
            "content, no redrawn content, no flip or recolouring",
            partial(SpritesRecipe, base, unmasked),
        ),
        Variant(
            "no-cross",
            "without cross-driven training (table 3): content from the very frames that are rebuilt, "
            "no swap consistency, no redrawn content, no flip or recolouring",
            partial(SameFrames, base, same_halves),
        ),
        Variant("no-cross-unmasked", "the same without masked content either", partial(SameFrames, base, unmasked)),
        Variant(
            "no-rate",
            "without the rate loss (table A6)",
            partial(SpritesRecipe, base, replace(training, rate_weight=0.0)),
        ),
        *with_targets(base, ((2, 64), (4, 64), (8, 256)), lambda config: SpritesRecipe(config, training)),
    )
    return Study(variants, people=24, pairs=72)
