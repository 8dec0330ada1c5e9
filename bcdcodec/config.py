"""Configuration: frozen dataclasses that round-trip through JSON, with the fields that all models have."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Any, ClassVar, get_args, get_type_hints

from bcdcodec.errors import ModelError


@dataclass(frozen=True, kw_only=True)
class LatentConfig:
    """What the networks see of a picture: pixels, or the latents of an image autoencoder."""

    kind: str = "pixels"  # "pixels" or "vae"
    picture_size: int = 128  # pixels, side of the coded square
    size: int = 128  # latent rows = columns
    channels: int = 3
    mean: float = 0.0  # of the pixels in [-1, 1], subtracted before the networks
    deviation: float = 1.0  # of the pixels, divided by before the networks
    vae: str = ""  # hub name of the AutoencoderKL (a local folder may replace it when loading)
    vae_sha256: str = ""  # of its weights, set at export: so they belong to the model's fingerprint

    def __post_init__(self):
        if self.kind == "pixels" and self.picture_size % self.size:
            raise ModelError(
                f"pictures of {self.picture_size} pixels are no multiple of the {self.size} that the networks see"
            )

    @property
    def factor(self) -> int:
        """Picture pixels per latent pixel, along one side, for kind "pixels"."""
        return self.picture_size // self.size if self.kind == "pixels" else 1

    @property
    def small(self) -> LatentConfig:
        """The same with pictures at the size that the networks see: those of training."""
        return dataclasses.replace(self, picture_size=self.size) if self.kind == "pixels" else self


@dataclass(frozen=True)
class QuantiserConfig:
    """Group VQ of section 3.2, equations 1-5."""

    groups: int = 64
    codes: int = 32
    dim: int = 16  # channels per group
    alpha: float = 0.25  # scale of the distances, equation 2
    normalise: bool = True  # motion features have zero mean and unit deviation before the distance
    hard: bool = True  # straight-through hard samples in training
    nearest: bool = False  # training takes the code that a file would hold, straight-through; no samples
    temperature_max: float = 1.5
    temperature_min: float = 0.1
    temperature_decay: float = 0.9999972  # factor per step
    target_bits: float = 160.0  # bits a frame, H_target


@dataclass(frozen=True)
class ContentConfig:
    """Content tokens: one per cell of a grid, quantised with a uniform step."""

    reference_motion: ClassVar[bool] = False  # whether the reference frame's motion codes travel with the content
    predicted_channels: ClassVar[int] = 0  # leading channels coded as spatial differences
    picture: ClassVar[bool] = False  # whether the reference is a picture in AV1, not tokens

    rows: int = 8
    columns: int = 8
    dim: int = 32  # channels a token that the networks see
    frames: int = 2  # frames of a clip that the encoder reads the content from
    step: float = 0.25  # quantiser step at step index 0
    step_ratio: float = 2**0.25  # factor per step index
    steps: int = 16  # number of step indices
    default_step: int = 0  # step index about which a model is trained
    byte_budget: int = 2048  # of one content, bytes; the encoder takes the finest step that fits

    @property
    def tokens(self) -> int:
        return self.rows * self.columns

    @property
    def channels(self) -> int:
        """Channels a token in a file."""
        return self.dim

    def step_size(self, index: int) -> float:
        return self.step * self.step_ratio**index


@dataclass(frozen=True)
class DiffusionConfig:
    """EDM preconditioning, noise distribution and sampling (Karras et al. 2022)."""

    sigma_data: float = 0.5
    sigma_min: float = 0.002
    sigma_max: float = 80.0
    rho: float = 7.0
    p_mean: float = -1.2
    p_std: float = 1.2
    share_at_max: float = 0.0  # share of the training samples with sigma = sigma_max (the one-step regime)
    steps: int = 128  # recommended sampling steps


@dataclass(frozen=True)
class WindowConfig:
    """How a long clip is cut into windows for the transformers."""

    length: int = 16  # frames
    overlap: int = 0  # frames that consecutive windows share; the decoder cross-fades there


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """What files, entropy tables and the codec depend on. Each model's config adds the sizes of its networks."""

    model: ClassVar[str]  # which model, a key of `models/registry.py`
    reenacts: ClassVar[bool] = True  # whether its motion is shown on another person's content

    name: str
    latent: LatentConfig
    quantiser: QuantiserConfig
    content: ContentConfig
    diffusion: DiffusionConfig
    window: WindowConfig
    frame_rate: float = 25.0  # Hz, the rate that the bitrate target refers to

    @property
    def motion_channels(self) -> int:
        """Channels of quantised motion."""
        return self.quantiser.groups * self.quantiser.dim

    def to_json(self) -> str:
        return write_json(self, model=self.model)


def write_json(config: Any, **more: str) -> str:
    """The fields of a config dataclass and `more` as JSON."""
    return json.dumps(dataclasses.asdict(config) | more, indent=1, sort_keys=True)


def build(cls: type, raw: dict) -> Any:
    """An instance of the dataclass `cls` from its fields by name, nested ones as dictionaries.

    Raises TypeError for an unknown or missing field or a table of fields that is none.
    """
    if not isinstance(raw, dict):
        raise TypeError(f"{cls.__name__} is a {type(raw).__name__}, expected fields by name")
    kinds, values = get_type_hints(cls), {}
    for key, value in raw.items():
        choices = get_args(kinds.get(key)) or (kinds.get(key),)  # a part that a model may lack is `Part | None`
        nested = next((kind for kind in choices if dataclasses.is_dataclass(kind)), None)
        if nested and not (value is None and type(None) in choices):
            value = build(nested, value)
        values[key] = tuple(value) if isinstance(value, list) else value
    return cls(**values)
