"""Configuration of the `heads` model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bcdcodec.config import ContentConfig, ModelConfig


@dataclass(frozen=True)
class HeadsEncoderConfig:
    """T5-style encoder of section 3.1 behind a convolutional stem."""

    width: int
    ff: int
    layers: int
    heads: int
    stem: str  # "overlap": overlapping convolutions with batch norm; "conv": 4x4 patches, then convolutions
    stem_channels: tuple[int, ...]  # on a quarter of the grid, then on each half of that


@dataclass(frozen=True)
class HeadsContentConfig(ContentConfig):
    """The reference image as transform coefficients, and the residual basis; both in the content tokens of a file."""

    reference_motion: ClassVar[bool] = True

    predicted_channels: int = 3  # leading channels coded as spatial differences
    transform_dim: int = 192  # leading channels of `dim` that are transform coefficients of the reference frame
    denoiser: tuple[int, int, int] = (48, 96, 160)  # channels of the denoiser at 1/2, 1/4 and 1/8 of the image
    super_resolution: tuple[
        int, ...
    ] = ()  # likewise of the super-resolution network; (): larger pictures are only enlarged
    residual_components: int = 8  # components of the residual basis; as many channels of motion are their coefficients
    residual_dim: int = 64  # transform coefficients a token of each component

    @property
    def channels(self) -> int:
        """Channels a token in a file: `dim`, then the transform coefficients of the residual basis."""
        return self.dim + self.residual_components * self.residual_dim


@dataclass(frozen=True)
class HeadsDecoderConfig:
    """Diffusion transformer of section 3.3 over a warp of the reference image, and the refiner after it."""

    width: int
    ff: int
    depth: int
    heads: int
    patch: int  # latent pixels
    temporal_indices: tuple[int, ...]  # spatial blocks followed by a temporal one
    motion_patch_rank: int  # rank of the map from motion to an addition of its own in every patch
    flow_grid: int  # flow vectors per patch side
    transform_output: int  # the output starts in this many transform components; 0: plain linear
    refiner: tuple[int, int, int]  # channels of the refiner at 1/2, 1/4 and 1/8 of the picture's side


@dataclass(frozen=True, kw_only=True)
class HeadsConfig(ModelConfig):
    """Every field that weights and files of a `heads` model depend on."""

    model: ClassVar[str] = "heads"
    reenacts: ClassVar[bool] = False  # a code means another movement on another face

    encoder: HeadsEncoderConfig
    content: HeadsContentConfig
    decoder: HeadsDecoderConfig
