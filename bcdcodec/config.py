"""Configurations: frozen dataclasses, one per part of the model, that round-trip through JSON."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass

from bcdcodec.errors import ModelError


@dataclass(frozen=True)
class LatentConfig:
    """What the diffusion model sees of a picture: pixels, or the latents of an image autoencoder."""

    kind: str = "pixels"  # "pixels" or "vae"
    picture_size: int = 128  # pixels, the coded square
    size: int = 128  # latent rows = columns
    channels: int = 3
    mean: float = 0.0  # of the pixels in [-1, 1], taken off before the networks
    deviation: float = 1.0  # of the pixels, divided by before the networks
    vae: str = ""  # hub name of the AutoencoderKL (a local folder may replace it when loading)

    def __post_init__(self):
        if self.kind == "pixels" and self.picture_size % self.size:
            raise ModelError(
                f"pictures of {self.picture_size} pixels are no multiple of the {self.size} that the networks see"
            )

    @property
    def factor(self) -> int:
        """How many pixels of a picture a side one of the model's is, for kind "pixels"."""
        return self.picture_size // self.size if self.kind == "pixels" else 1

    @property
    def small(self) -> LatentConfig:
        """The same for pictures that are no larger than what the networks see of them: those of training."""
        return dataclasses.replace(self, picture_size=self.size) if self.kind == "pixels" else self


@dataclass(frozen=True)
class EncoderConfig:
    """T5-style encoder of section 3.1."""

    width: int = 512
    ff: int = 2048
    layers: int = 12
    heads: int = 8
    frames_see_frames: bool = True  # the paper's; False: the motion of a frame is read from that frame alone
    frames_see_queries: bool = True  # the paper's: one attention over all; False: motion costs no queries
    queries_see_queries: bool = True  # the paper's; False: so that many queries do not drown few frames
    stem: str = "linear"  # "linear": one projection of the flattened latent; "conv": 4x4 patches, then convolutions; "overlap": convolutions
    stem_channels: tuple[int, ...] = ()  # of a convolutional stem: on a quarter of the grid, then on each half of that


@dataclass(frozen=True)
class QuantiserConfig:
    """Group VQ of section 3.2, equations 1-5."""

    groups: int = 64
    codes: int = 32
    dim: int = 16  # channels per group
    alpha: float = 0.25  # scale of the distances, equation 2
    normalise: bool = True  # zero mean, unit deviation of the motion features before the distance
    hard: bool = True  # straight-through hard samples in training
    nearest: bool = (
        False  # in training the code a file would hold, its gradient passed to code and features; no samples
    )
    temperature_max: float = 1.5
    temperature_min: float = 0.1
    temperature_decay: float = 0.9999972  # factor per step
    target_bits: float = 160.0  # bits a frame, H_target


@dataclass(frozen=True)
class ContentConfig:
    """Content tokens: one per cell of a grid, quantised with a uniform step."""

    rows: int = 8
    columns: int = 8
    dim: int = 32  # channels a token, Cc
    still_dim: int = 0  # leading channels that are transform coefficients of a reference frame, not learned
    reference_motion: bool = False  # the reference frame's own motion codes travel with the content
    step: float = 0.25  # quantiser step at step index 0
    step_ratio: float = 2**0.25  # factor per step index
    steps: int = 16  # number of step indices
    default_step: int = 0  # index at and about which a model learns what contents look like
    byte_budget: int = 2048  # of one content, bytes; the encoder takes the finest quantisation of stills that fits, and more at high rates
    predicted_channels: int = 0  # leading channels coded as spatial differences
    still_filter: tuple[int, int, int] = (
        48,
        96,
        160,
    )  # channels at a half, a quarter and an eighth of the still's size
    detail: tuple[
        int, ...
    ] = ()  # likewise, of the network that guesses what a larger picture shows beyond the still; (): it is only enlarged
    appearance: int = 0  # pictures of what changes beyond the warp, in channels after those `dim`; as many channels of motion are their amounts
    appearance_dim: int = 0  # transform coefficients a token of each

    @property
    def tokens(self) -> int:
        return self.rows * self.columns

    @property
    def channels(self) -> int:
        """Channels a token in a file: `dim` and the coefficients of the pictures of change."""
        return self.dim + self.appearance * self.appearance_dim

    def step_size(self, index: int) -> float:
        return self.step * self.step_ratio**index


@dataclass(frozen=True)
class DecoderConfig:
    """Diffusion transformer of section 3.3."""

    width: int = 768
    ff: int = 3072
    depth: int = 12
    heads: int = 12
    patch: int = 4  # latent pixels
    temporal_indices: tuple[int, ...] = (0, 2, 4, 6, 8, 10)  # spatial blocks followed by a temporal one
    mask_rate: float = 0.1  # of the condition, for classifier-free guidance
    guidance: float = 1.5
    motion_in_patches: bool = False  # motion also enters as an addition of its own to every patch
    motion_patch_rank: int = 0  # channels through which it does so; 0: as many as motion has
    flow_basis: bool = False  # a channel of motion is how much of one flow field, fitted to footage, the warp has
    warp_grid: int = 0  # flow vectors per patch side; 0: no warp of the content picture
    klt_output: int = 0  # the output starts in this many transform components; 0: plain linear
    painter: tuple[
        int, ...
    ] = ()  # channels at a half, a quarter and an eighth of the picture's side of a U-Net after the warp


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
    """How a long clip is cut for the transformers: into windows."""

    length: int = 16  # frames
    overlap: int = 0  # frames of a window that the next one shows too, where the decoder fades from one to the other


@dataclass(frozen=True)
class TrainingConfig:
    """Optimisation, section 3.4 and tables A7, A8; a departure is commented in the preset."""

    dataset: str = "heads"  # "heads": a folder of clips and procedural heads; "sprites": a folder of sprite sheets
    batch: int = 32  # clips
    frames: int = 50  # target frames a clip (the second half, which gives the motion)
    content_frames: int = 50  # frames of the first half, which give the content
    temporal_stride: int = 2  # source frames between two training frames
    lr_decoder: float = 2e-4
    lr_encoder: float = 1e-4
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.999)
    warmup_steps: int = 100
    ema_decay: float = 0.9999
    grad_clip: float = 1.0
    rate_weight: float = 0.04  # lambda of equation 8, on squared bits
    conditional_entropy_weight: float = 0.0  # on mean H(mu) in bits a group
    huber: float = 0.0  # error from which the distortion grows linearly (pictures in [-1, 1]); 0: squared, equation 6
    gradient_weight: float = 0.0  # on differences of neighbouring pixels
    warp_weight: float = 0.0  # on the warped content picture, from which alone the flow learns
    flow_weight: float = 0.0  # on the distance to the true flow of procedural heads (1 is half a picture)
    adversarial_weight: float = 0.0  # on painted pictures passing for true ones, over the gradient of all else
    adversarial_from: float = 1.0  # share of the run after which the painter alone learns, that too
    content_weight: float = 0.0  # on the estimated bits of the tokens
    still_steps: int = 0  # steps of the still's filter alone, before all that concerns motion
    detail_steps: int = 0  # then of what larger pictures show beyond it
    motion_steps: int = 0  # steps of the encoder on motion alone, before the first step of the run
    flow_pairs: int = 0  # pairs of frames from whose flow fields the basis is fitted before that
    stage1_split: int = 1  # stage 1 takes so many times more clips, of so many times fewer frames
    motion_emphasis: float = 0.0  # extra weight where the clip moves
    swap_weight: float = 0.0  # swap consistency
    swap_motion_weight: float = 0.0  # within it, on the learning encoder reading the codes back
    swap_content_weight: float = 0.0  # within it, on reading the given content back
    swap_every: int = 4  # steps
    rare_colours: float = 0.0  # power of the number of a clip's pixels of a colour by which their error counts less
    palette_weight: float = 0.0  # on reading the clip's colours from the content tokens
    choice_weight: float = 0.0  # on the encoder finding the code with which the decoder does best, every fourth step
    content_mask_rate: float = 0.0  # of the samples, whose content alone is masked: motion must suffice
    redrawn_content: float = 0.0  # of the samples, whose content frames the model redraws in another clip's motion
    sprite_augmentation: bool = False  # flip the content frames, recolour the driving frames
    reseed_steps: int = (
        0  # steps after which codes that are hardly used are drawn anew (`training/dead_codes.py`); 0: never
    )
    parting_steps: int = (
        0  # first steps of a run from a model, that part motions which share a code (`training/code_splitting.py`)
    )
    swap_from: float = 0.7  # share of the run after which swap consistency acts
    temporal_from: float = 0.667  # share of the run after which temporal blocks act (stage 2)
    procedural_share: float = 0.0  # of the batch: procedural heads, cross-identity pairs with exact truth
    still_share: float = 0.0  # of the batch: single portraits moved by similarity transforms
    shift_from: float = 0.6  # share of the run after which target and content are shifted apart
    shift_max: float = 0.04  # of the picture, at the end of the run


@dataclass(frozen=True)
class ModelConfig:
    """A whole model: every field that the weights, the file and the training depend on."""

    name: str
    latent: LatentConfig
    encoder: EncoderConfig
    quantiser: QuantiserConfig
    content: ContentConfig
    decoder: DecoderConfig
    diffusion: DiffusionConfig
    window: WindowConfig
    training: TrainingConfig
    frame_rate: float = 25.0  # Hz, the rate the bitrate target refers to

    @property
    def motion_channels(self) -> int:
        """Channels of quantised motion."""
        return self.quantiser.groups * self.quantiser.dim

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), indent=1, sort_keys=True)

    @staticmethod
    def from_json(text: str) -> ModelConfig:
        """The config that `to_json` wrote. Raises ModelError when it is not one."""
        try:
            raw = json.loads(text)
            return _build(ModelConfig, raw)
        except (ValueError, TypeError, KeyError) as error:
            raise ModelError(f"model config is not readable: {error}") from error


@dataclass(frozen=True)
class PoserConfig:
    """Sizes of the network that turns a still as another is turned, and its training."""

    name: str
    size: int  # pixels a side of what it sees
    channels: int = 3
    pose: int = 64  # numbers that it reads of a head
    reader: tuple[int, ...] = (32, 64, 128, 256)  # channels of the stem
    flow: tuple[int, int, int] = (32, 64, 128)
    width: int = 256
    fill: tuple[int, ...] = ()  # channels of the levels of what paints where a turned head was; () for none
    fill_share: float = 0.4  # of a run, at its end, on that alone
    batch: int = 24  # clips
    frames: int = 3  # of each
    lr: float = 8e-4
    weight_decay: float = 1e-4
    ema_decay: float = 0.995
    procedural_share: float = 0.6
    still_share: float = 0.08
    flow_weight: float = 6.0
    reader_steps: int = 3000  # on the reader alone, before the first
    model_name: str = ""  # of the codec whose stills it turns, and
    model_fingerprint: str = ""  # 8 bytes, in hexadecimal

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), indent=1, sort_keys=True)

    @staticmethod
    def from_json(text: str) -> PoserConfig:
        """The config that `to_json` wrote. Raises ModelError when it is not one."""
        try:
            return _build(PoserConfig, json.loads(text))
        except (ValueError, TypeError, KeyError) as error:
            raise ModelError(f"poser config is not readable: {error}") from error


_PARTS = {
    "latent": LatentConfig,
    "encoder": EncoderConfig,
    "quantiser": QuantiserConfig,
    "content": ContentConfig,
    "decoder": DecoderConfig,
    "diffusion": DiffusionConfig,
    "window": WindowConfig,
    "training": TrainingConfig,
}


# Fields that models of earlier versions carry and that nothing reads any more, each at the value that changes nothing.
_RETIRED: dict[type, frozenset[str]] = {
    EncoderConfig: frozenset({"refine_steps"}),
    QuantiserConfig: frozenset({"rank"}),
    TrainingConfig: frozenset(
        {"commitment_weight", "motion_joins", "motion_weight", "rate_anneal", "rate_start_bits", "still_weight"}
    ),
}


def _build(cls: type, raw: dict):
    if not isinstance(raw, dict):
        raise TypeError(f"{cls.__name__} is a {type(raw).__name__}, expected fields by name")
    values = {}
    for key, value in raw.items():
        if key in _RETIRED.get(cls, ()):
            continue
        if cls is ModelConfig and key in _PARTS:
            value = _build(_PARTS[key], value)
        elif isinstance(value, list):
            value = tuple(value)
        values[key] = value
    return cls(**values)
