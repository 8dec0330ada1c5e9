"""Models over the latents of an image autoencoder, with a small random one in place of Stable Diffusion's."""

import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from sprite_sheets import write_sheets

from bcdcodec.config import LatentConfig
from bcdcodec.errors import ModelError
from bcdcodec.models.latents import open_latents, to_uint8, to_unit
from bcdcodec.presets import SPRITES_SMALL

LATENT = LatentConfig(kind="vae", picture_size=64, size=16, channels=4, vae="no/such-model")


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
    latents = open_latents(LATENT, "cpu", str(folder))
    z = latents.encode(torch.zeros(2, 3, 64, 64))
    assert z.shape == (2, 4, 16, 16) and latents.decode(z).shape == (2, 3, 64, 64)


def test_the_autoencoder_that_the_config_names_is_opened(vae):
    latents = open_latents(replace(LATENT, vae=str(vae)), "cpu")
    assert latents.encode(torch.zeros(1, 3, 64, 64)).shape == (1, 4, 16, 16)
    with pytest.raises(TypeError):  # by name alone: a hub name must not become the mean
        LatentConfig("vae", 256, 32, 4, "a/hub-name")


@pytest.mark.parametrize("given", [True, False], ids=["a folder without one", "a wrong hub name"])
def test_a_missing_autoencoder_is_one_clear_error(tmp_path, monkeypatch, given):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    name = str(tmp_path) if given else LATENT.vae
    with pytest.raises(ModelError, match=f"no autoencoder at '{name}'.*--vae"):
        open_latents(LATENT, "cpu", str(tmp_path) if given else None)


def test_without_diffusers_the_error_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(ModelError, match=r"pip install 'bcdcodec\[vae\]'"):
        open_latents(LATENT, "cpu")


def test_pictures_survive_the_way_to_floats_and_back():
    pictures = np.random.default_rng(0).integers(0, 256, (2, 4, 4, 3), np.uint8)
    assert np.array_equal(to_uint8(to_unit(pictures)), pictures)


def test_a_model_over_latents_trains_exports_and_codes(vae, tmp_path, monkeypatch):
    import bcdcodec
    from bcdcodec.training.data.run_data import RunOptions
    from bcdcodec.training.data.sprite_batches import SpriteBatches
    from bcdcodec.training.export import export_run
    from bcdcodec.training.recipes import sprites
    from bcdcodec.training.trainer import Trainer

    config = replace(
        SPRITES_SMALL,
        latent=LATENT,
        encoder=replace(SPRITES_SMALL.encoder, width=32, ff=64, layers=1, heads=2, stem_channels=(8, 16)),
        decoder=replace(SPRITES_SMALL.decoder, width=32, ff=64, depth=2, heads=2, patch=2),
    )
    sheets = write_sheets(tmp_path / "sheets")
    training = replace(
        sprites.SPRITES_SMALL, batches=SpriteBatches(batch=2), rare_colours=0.0, palette_weight=0.0, swap_from=1.0
    )
    options = RunOptions(sheets, tmp_path / "run", 2, None, False, "cpu", 0, 1, str(vae))
    Trainer(sprites.SpritesRecipe(config, training), options).run()
    # A few clips for the tables, as an autoencoder takes its time.
    monkeypatch.setattr("bcdcodec.training.export.CONTEXT_FRAMES", 200)
    monkeypatch.setattr("bcdcodec.training.export.CONTENT_CLIPS", 8)
    export_run(tmp_path / "run", tmp_path / "model", sheets, None, vae=str(vae))
    codec = bcdcodec.load(tmp_path / "model", vae=str(vae))
    frames = np.random.default_rng(0).integers(0, 256, (6, 64, 64, 3), np.uint8)
    recording = codec.encode(frames)
    bcdcodec.write(tmp_path / "a.bcd", recording, tmp_path / "model")
    decoded = codec.decode(bcdcodec.read(tmp_path / "a.bcd", tmp_path / "model"))
    assert decoded.shape == frames.shape and decoded.dtype == np.uint8
