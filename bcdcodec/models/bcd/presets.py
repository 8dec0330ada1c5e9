"""The paper's two models, tables A7 and A8, and the second at a size that two CPU cores can train.

The paper leaves open, and we choose:
- the number of content tokens and their channels: one token of 32 channels a patch of the decoder (8x8), so that the
  content can be concatenated with the noisy input;
- alpha of equation 2: for Sprites by short runs of `sprites-bcd`, for `lrs3` by an untrained network
  (docs/notes/bcd.md);
- EDM's noise levels. Its defaults suit data of deviation 0.5; ours have deviation 1, so sigma_data is 1 and P_mean is
  larger by ln 2. For Sprites they are higher: below sigma 10 the noisy picture itself tells the motion;
- how the content gets into a file: rounded to a fine step after training. Training sees it unrounded, as in the paper.
A window is as long as the half of a clip that training decodes: the temporal blocks know no other positions.
"""

from __future__ import annotations

from dataclasses import replace

from bcdcodec.config import ContentConfig, LatentConfig, WindowConfig
from bcdcodec.models.bcd.config import BCDConfig, BCDDecoderConfig, BCDEncoderConfig, BCDQuantiserConfig, EDMConfig

EVERY_SECOND = (0, 2, 4, 6, 8, 10)

# Table A7. Latents of Stable Diffusion 2's autoencoder, scaled to unit deviation; 4 kbit/s at 25 frames a second.
LRS3 = BCDConfig(
    name="lrs3",
    latent=LatentConfig(kind="vae", picture_size=256, size=32, channels=4, vae="stabilityai/stable-diffusion-2-base"),
    encoder=BCDEncoderConfig(width=512, ff=2048, layers=12, heads=8),
    quantiser=BCDQuantiserConfig(groups=64, codes=32, dim=16, alpha=8.0, target_bits=160.0),
    content=ContentConfig(rows=8, columns=8, dim=32, frames=25, step=0.05),
    decoder=BCDDecoderConfig(width=768, ff=3072, depth=12, heads=12, patch=4, temporal_indices=EVERY_SECOND),
    diffusion=EDMConfig(sigma_data=1.0, p_mean=-0.5, steps=128),
    window=WindowConfig(length=25, overlap=5),
)

# Table A8. Pixels, here of zero mean and unit deviation, which EDM's preconditioning presupposes: most are black.
SPRITES = BCDConfig(
    name="sprites",
    latent=LatentConfig(kind="pixels", picture_size=64, size=64, channels=3, mean=-0.82, deviation=0.445),
    encoder=BCDEncoderConfig(width=384, ff=1536, layers=12, heads=6),
    quantiser=BCDQuantiserConfig(groups=1, codes=64, dim=384, alpha=16.0, target_bits=6.0),
    content=ContentConfig(rows=8, columns=8, dim=32, frames=4, step=0.05),
    decoder=BCDDecoderConfig(width=384, ff=1536, depth=12, heads=6, patch=8, temporal_indices=EVERY_SECOND),
    diffusion=EDMConfig(sigma_data=1.0, p_mean=1.5, p_std=1.8, steps=50),
    window=WindowConfig(length=4),
)

# The same objective in a network of 10 M parameters. A patch has 192 values of noise to remove, so the decoder is wider
# than that; it is a quarter as deep as the paper's, the encoder half as wide and a quarter as deep. The
# target is below the entropy of the motion frames in a batch: 5.48 bits for 32 clips, 5.92 in all of the data.
SPRITES_BCD = replace(
    SPRITES,
    name="sprites-bcd",
    encoder=BCDEncoderConfig(width=192, ff=768, layers=3, heads=3),
    quantiser=replace(SPRITES.quantiser, dim=192, target_bits=5.0),
    decoder=BCDDecoderConfig(width=256, ff=1024, depth=3, heads=4, patch=8, temporal_indices=(0,)),
)
