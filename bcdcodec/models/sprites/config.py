"""Configuration of the `sprites` model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bcdcodec.config import ModelConfig


@dataclass(frozen=True)
class SpritesEncoderConfig:
    """T5-style encoder of section 3.1 behind a convolutional stem; each frame is read alone."""

    width: int
    ff: int
    layers: int
    heads: int
    stem_channels: tuple[int, ...]  # on a quarter of the grid, then on each half of that


@dataclass(frozen=True)
class SpritesDecoderConfig:
    """Diffusion transformer of section 3.3 without temporal blocks."""

    width: int
    ff: int
    depth: int
    heads: int
    patch: int  # latent pixels


@dataclass(frozen=True, kw_only=True)
class SpritesConfig(ModelConfig):
    """Every field that weights and files of a `sprites` model depend on."""

    model: ClassVar[str] = "sprites"

    encoder: SpritesEncoderConfig
    decoder: SpritesDecoderConfig
