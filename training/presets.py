"""The recipes that `bcd train` knows, by preset. A recipe is imported when it is asked for."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from bcdcodec.errors import ModelError

if TYPE_CHECKING:
    from bcdcodec.training.trainer import Recipe

# Preset -> module of its recipe, whose PRESETS give the configs of model and training, and the recipe's class.
RECIPES = {
    "heads": ("bcdcodec.training.recipes.heads", "HeadsRecipe"),
    "tiny": ("bcdcodec.training.recipes.heads", "HeadsRecipe"),
    "lrs3": ("bcdcodec.training.recipes.bcd", "BCDRecipe"),
    "sprites": ("bcdcodec.training.recipes.bcd", "BCDRecipe"),
    "sprites-bcd": ("bcdcodec.training.recipes.bcd", "BCDRecipe"),
    "sprites-small": ("bcdcodec.training.recipes.sprites", "SpritesRecipe"),
}


def open_recipe(preset: str) -> Recipe:
    """The recipe of a preset. Raises ModelError that lists the known ones."""
    if preset not in RECIPES:
        raise ModelError(f"no preset named {preset!r}; known presets: {', '.join(sorted(RECIPES))}")
    module, name = RECIPES[preset]
    recipes = import_module(module)
    return getattr(recipes, name)(*recipes.PRESETS[preset])
