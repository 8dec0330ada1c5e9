"""The paper's path over an image autoencoder, with a small random one in place of Stable Diffusion's."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from bcdcodec.config import ContentConfig, DecoderConfig, EncoderConfig, LatentConfig
from bcdcodec.errors import ModelError
from bcdcodec.models.latents import open_latents, to_uint8, to_unit
from bcdcodec.presets import LRS3

SMALL = replace(
    LRS3,
    name="lrs3-small",
    latent=LatentConfig("vae", 32, 8, 4, "no/such-model"),
    encoder=EncoderConfig(width=32, ff=64, layers=1, heads=2),
    content=ContentConfig(rows=2, columns=2, dim=8),
    decoder=DecoderConfig(width=32, ff=64, depth=2, heads=2, patch=4, temporal_indices=(0,)),
    diffusion=replace(LRS3.diffusion, steps=2),
    window=replace(LRS3.window, length=4),
    training=replace(LRS3.training, batch=2, frames=4, content_frames=4),
)


@pytest.fixture(scope="module")
def vae(tmp_path_factory):
    """A folder of a small random AutoencoderKL: two halvings instead of three, for speed."""
    from diffusers import AutoencoderKL

    torch.manual_seed(0)
    model = AutoencoderKL(
        block_out_channels=(8, 8, 8),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        latent_channels=4,
        norm_num_groups=4,
    )
    folder = tmp_path_factory.mktemp("vae")
    model.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("within", [False, True], ids=["its own folder", "subfolder of a pipeline"])
def test_an_autoencoder_is_found_in_a_folder(vae, tmp_path, within):
    folder = vae
    if within:
        (tmp_path / "vae").symlink_to(vae)
        folder = tmp_path
    latents = open_latents(SMALL.latent, "cpu", str(folder))
    z = latents.encode(torch.zeros(2, 3, 32, 32))
    assert z.shape == (2, 4, 8, 8) and latents.decode(z).shape == (2, 3, 32, 32)


def test_a_missing_autoencoder_is_one_clear_error(tmp_path):
    with pytest.raises(ModelError, match="--vae"):
        open_latents(SMALL.latent, "cpu", str(tmp_path))


def test_pictures_survive_the_way_to_floats_and_back():
    pictures = np.random.default_rng(0).integers(0, 256, (2, 4, 4, 3), np.uint8)
    assert np.array_equal(to_uint8(to_unit(pictures)), pictures)


def test_a_model_over_latents_trains_exports_and_codes(vae, tmp_path):
    import bcdcodec
    from bcdcodec.training.export import export_run
    from bcdcodec.training.trainer import RunOptions, Trainer

    run = Trainer(SMALL, RunOptions(None, tmp_path / "run", 2, None, False, "cpu", 0, 1, str(vae)))
    run.run()
    export_run(tmp_path / "run", tmp_path / "model", None, None, vae=str(vae))
    codec = bcdcodec.load(tmp_path / "model", vae=str(vae))
    frames = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), np.uint8)
    recording = codec.encode(frames)
    bcdcodec.write(tmp_path / "a.bcd", recording, tmp_path / "model")
    decoded = codec.decode(bcdcodec.read(tmp_path / "a.bcd", tmp_path / "model"))
    assert decoded.shape == frames.shape and decoded.dtype == np.uint8
