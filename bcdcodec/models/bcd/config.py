"""Configuration of the paper's model (tables A7 and A8)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bcdcodec.config import ModelConfig
from bcdcodec.errors import ModelError


@dataclass(frozen=True, kw_only=True)
class BCDEncoderConfig:
    """The T5 encoder of section 3.1."""

    width: int
    ff: int
    layers: int
    heads: int


@dataclass(frozen=True, kw_only=True)
class BCDQuantiserConfig:
    """The group VQ of section 3.2."""

    groups: int  # N
    codes: int  # K, entries of each codebook
    dim: int  # channels of a group
    alpha: float  # scale of the distances, equation 2
    target_bits: float  # H_target, bits a frame


@dataclass(frozen=True, kw_only=True)
class BCDDecoderConfig:
    """The diffusion transformer of section 3.3."""

    width: int
    ff: int
    depth: int  # spatial blocks
    heads: int
    patch: int  # latent pixels
    temporal_indices: tuple[int, ...]  # spatial blocks that a temporal block follows


@dataclass(frozen=True, kw_only=True)
class EDMConfig:
    """Preconditioning, noise levels and sampling (Karras et al. 2022, table 1); the paper states only the last two."""

    sigma_data: float  # deviation of the latents
    sigma_min: float = 0.002
    sigma_max: float = 80.0
    rho: float = 7.0
    p_mean: float = -1.2  # of ln sigma in training
    p_std: float = 1.2
    steps: int  # sampling steps
    guidance: float = 1.5  # classifier-free guidance; 1 is none


@dataclass(frozen=True, kw_only=True)
class BCDConfig(ModelConfig):
    """Every field that weights and files of the paper's model depend on."""

    model: ClassVar[str] = "bcd"

    encoder: BCDEncoderConfig
    quantiser: BCDQuantiserConfig
    decoder: BCDDecoderConfig
    diffusion: EDMConfig

    def __post_init__(self):
        side, content = self.latent.size // self.decoder.patch, self.content
        if (content.rows, content.columns) != (side, side):
            raise ModelError(
                f"content of {content.rows}x{content.columns} tokens cannot be concatenated with {side}x{side} patches"
            )
