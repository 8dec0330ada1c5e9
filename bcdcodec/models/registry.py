"""The models by name: which config and which network a config.json asks for. A model is imported when it is used."""

from __future__ import annotations

import json
from importlib import import_module
from typing import TYPE_CHECKING

from bcdcodec.config import ModelConfig, build
from bcdcodec.errors import ModelError
from bcdcodec.models.config_limits import check_limits
from bcdcodec.models.flat_config import upgrade

if TYPE_CHECKING:
    from bcdcodec.models.base import VideoModel

# Name -> module and class of the config (needs no torch), module and class of the network.
MODELS = {
    "bcd": ("bcdcodec.models.bcd.config:BCDConfig", "bcdcodec.models.bcd.model:BCDModel"),
    "faces": ("bcdcodec.models.faces.config:FacesConfig", "bcdcodec.models.faces.model:FacesModel"),
    "heads": ("bcdcodec.models.heads.config:HeadsConfig", "bcdcodec.models.heads.model:HeadsModel"),
    "sprites": ("bcdcodec.models.sprites.config:SpritesConfig", "bcdcodec.models.sprites.model:SpritesModel"),
}


def read_config(text: str) -> ModelConfig:
    """The config that `ModelConfig.to_json` wrote, or one of version 0.1. Raises ModelError when it is not one."""
    try:
        raw = json.loads(text)
        if not isinstance(raw, dict):
            raise TypeError(f"it is a {type(raw).__name__}, expected fields by name")
        raw = raw if "model" in raw else upgrade(raw)
        name = raw.pop("model")
        if name not in MODELS:
            raise ModelError(f"config asks for model {name!r}, this version knows {', '.join(MODELS)}")
        config = build(_find(MODELS[name][0]), raw)
    except (ValueError, TypeError, KeyError, AttributeError, ArithmeticError, RecursionError) as error:
        raise ModelError(f"model config is not readable: {error}") from error
    check_limits(config)
    return config


def build_model(config: ModelConfig) -> VideoModel:
    """The untrained network of a config."""
    return _find(MODELS[config.model][1])(config)


def _find(where: str) -> type:
    module, name = where.split(":")
    return getattr(import_module(module), name)
