"""Model presets: the configs that can be trained from scratch, as values."""

from __future__ import annotations

from dataclasses import replace

from bcdcodec.config import ContentConfig, DiffusionConfig, LatentConfig, ModelConfig, QuantiserConfig, WindowConfig
from bcdcodec.errors import ModelError
from bcdcodec.models.heads.config import HeadsConfig, HeadsContentConfig, HeadsDecoderConfig, HeadsEncoderConfig
from bcdcodec.models.sprites.config import SpritesConfig, SpritesDecoderConfig, SpritesEncoderConfig

# The Sprites experiment of the paper for one CPU core in an hour and a half. Departures from table A8, and why
# (those of the training are fields of `training/recipes/sprites.py`):
# - pixels of zero mean and unit deviation: 85 % of them are black, and nothing else is learned for long;
# - most samples at sigma_max: at lower noise the picture itself gives character and motion away;
# - no temporal blocks, and motion from each frame alone: a frame of this dataset needs no neighbours;
# - motion also enters every patch as an addition of its own, looked up rather than computed by the blocks;
# - content queries attend to the frames only: 64 of them would outnumber the 4 frames;
# - normalised motion features and hard samples;
# - dead codes are restarted: each halves a code under which a clip has two different pictures, else two phases of a
#   walk share one. A run from a model's weights begins by splitting codes that motions of different clips share;
# - content masked in part of the samples, a rate term on it, and swap consistency: both halves of a clip show one
#   action, which the content would else carry. For the same reason half of the contents are of frames that the model
#   itself has redrawn in another clip's motion;
# - driving frames recoloured and content frames flipped; the encoder learns to read the codes of swapped decodes and to
#   find the code with which the decoder does best: else codes split by appearance and share poses;
# - the clip's colours are read from the content tokens by a linear map in training: few pixels show skin or trousers;
# - errors at colours that few pixels of a clip have count more: trousers under a robe got a mean colour.
SPRITES_SMALL = SpritesConfig(
    name="sprites-small",
    latent=LatentConfig(kind="pixels", picture_size=64, size=64, channels=3, mean=-0.82, deviation=0.445),
    encoder=SpritesEncoderConfig(width=256, ff=1024, layers=2, heads=4, stem_channels=(64, 128, 256)),
    quantiser=QuantiserConfig(
        groups=1,
        codes=64,
        dim=64,
        alpha=0.125,
        normalise=True,
        hard=True,
        temperature_max=1.0,
        temperature_min=0.1,
        temperature_decay=0.997,
        target_bits=6.0,
    ),
    content=ContentConfig(rows=8, columns=8, dim=8, frames=4, step=0.25, steps=1),
    decoder=SpritesDecoderConfig(width=256, ff=1024, depth=6, heads=4, patch=8),
    diffusion=DiffusionConfig(sigma_data=1.0, sigma_min=0.05, share_at_max=0.85, p_mean=0.0, p_std=1.5, steps=1),
    window=WindowConfig(length=8),
)

# The default: works in pixels, with no downloaded weights, and decodes in one step.
# Departures from table A7, and why:
# - pixels, x-prediction, 16x16 patches: no VAE is needed, and 64 tokens a frame run in real time on a CPU;
# - most channels of the content tokens are transform (KLT) coefficients of one reference frame's patches, so that an
#   unseen person is described at once; the header is a rate-controlled image of at most 1.5 kB, denoised once after
#   decoding by a U-Net. The reference frame's own motion codes travel with it (about 20 bytes);
# - the decoder's output is a warp of the reference image plus a correction: copying need not be learned;
# - motion is the coefficients of 56 flow fields, the principal components of the flows between frames of training
#   clips: learned ones took hours to describe less of a head's motion;
# - a warp opens no mouth: eight more channels of motion are coefficients of a residual basis, shared components and a
#   clip's own difference from them, as in active appearance models, fitted where footage differs most from warps;
# - the encoder gives motion across people; then the reference image is aligned with each frame (Gauss-Newton steps),
#   which on unseen people finds what no network of this size and training does;
# - one code a coefficient: scalar quantisers fitted to a rate by Lloyd's algorithm. Encoder, codes, flow basis and
#   denoiser are frozen while the decoder learns;
# - the decoder's own flow, learned from the true one of procedural heads, adapts these fields to another face;
# - a convolutional U-Net refines the estimate: a transformer of large patches hardly learns to open a mouth. At the end
#   of a run it learns alone, against a discriminator: squared errors blur what the flow does not place exactly;
# - frames do not attend to the content queries: 64 queries would cost eight times the 8 frames of a window;
# - convolutional stem, whose transformer blocks begin as the identity: a linear map of all pixels does not generalise;
# - motion also enters every patch as an addition of its own: the flow is found in fewer steps;
# - no swap consistency: cross-identity pairs of procedural heads have the exact truth of what it asks for;
# - networks see 128x128 of pictures of 256x256; super-resolution of the reference image, once a scene, adds the rest;
# - windows overlap by two frames: else every eighth frame jumps by a third more than the others.
HEADS = HeadsConfig(
    name="heads",
    latent=LatentConfig(kind="pixels", picture_size=256, size=128, channels=3),
    encoder=HeadsEncoderConfig(width=256, ff=1024, layers=4, heads=4, stem="overlap", stem_channels=(32, 64, 128, 256)),
    quantiser=QuantiserConfig(
        groups=64, codes=32, dim=1, alpha=3000.0, normalise=False, nearest=True, target_bits=160.0
    ),
    content=HeadsContentConfig(
        rows=8,
        columns=8,
        dim=196,
        frames=2,
        step=0.15,
        default_step=5,
        byte_budget=1500,
        predicted_channels=3,
        transform_dim=192,
        denoiser=(48, 96, 160),
        super_resolution=(48, 96, 160),
        residual_components=8,
        residual_dim=64,
    ),
    decoder=HeadsDecoderConfig(
        width=256,
        ff=1024,
        depth=8,
        heads=4,
        patch=16,
        temporal_indices=(3, 5, 7),
        motion_patch_rank=32,
        flow_grid=4,
        transform_output=256,
        refiner=(32, 96, 160),
    ),
    diffusion=DiffusionConfig(sigma_data=0.25, sigma_max=20.0, share_at_max=0.85, p_mean=-1.0, steps=1),
    window=WindowConfig(length=8, overlap=2),
)

# For tests and for a first look at the format: untrained quality, a second a clip.
TINY = replace(
    HEADS,
    name="tiny",
    latent=LatentConfig(kind="pixels", picture_size=32, size=32, channels=3),
    encoder=HeadsEncoderConfig(width=32, ff=64, layers=2, heads=2, stem="conv", stem_channels=(8, 16)),
    quantiser=replace(HEADS.quantiser, groups=8, codes=8, target_bits=16.0),
    content=replace(
        HEADS.content,
        rows=4,
        columns=4,
        dim=26,
        transform_dim=24,
        byte_budget=400,
        denoiser=(4, 8, 8),
        super_resolution=(),
        residual_components=2,
        residual_dim=12,
    ),
    decoder=replace(
        HEADS.decoder,
        width=32,
        ff=64,
        depth=2,
        heads=2,
        patch=8,
        temporal_indices=(1,),
        transform_output=0,
        refiner=(4, 8, 8),
    ),
    window=WindowConfig(length=4, overlap=1),
)

PRESETS = {config.name: config for config in (SPRITES_SMALL, HEADS, TINY)}


def preset(name: str) -> ModelConfig:
    """The preset of that name. Raises ModelError that lists the known ones."""
    if name not in PRESETS:
        raise ModelError(f"no preset named {name!r}; known presets: {', '.join(sorted(PRESETS))}")
    return PRESETS[name]
