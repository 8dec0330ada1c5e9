"""Pictures larger than what the networks see: averaged on the way in, enlarged with guessed detail on the way out."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from head_clips import head_frames

import bcdcodec
from bcdcodec.coding.content import reference_of
from bcdcodec.coding.decoder import noise_of
from bcdcodec.config import LatentConfig
from bcdcodec.errors import ModelError
from bcdcodec.models.heads.model import HeadsModel
from bcdcodec.models.latents import Pixels, enlarged, open_latents, to_unit
from bcdcodec.models.warp import warp, warp_large
from bcdcodec.presets import TINY, preset
from bcdcodec.training.data.batches import to_pictures
from bcdcodec.training.data.run_data import RunOptions, procedural_clips
from bcdcodec.training.export import export_run
from bcdcodec.training.pretrain_reference import pretrain_super_resolution
from bcdcodec.training.recipes.heads import TINY as TINY_TRAINING, HeadsRecipe
from bcdcodec.training.trainer import Trainer

LARGE = replace(
    TINY, latent=LatentConfig(picture_size=64, size=32), content=replace(TINY.content, super_resolution=(8, 16, 16))
)


def options(out, cache, from_model=None):
    out.mkdir()
    (out / "data").symlink_to(cache)
    return RunOptions(None, out, 2, None, False, "cpu", 3, 4, from_model=from_model)


@pytest.fixture(scope="module")
def large_model(tmp_path_factory, cache):
    """A tiny model of pictures of twice the size of what its networks see, and the run it is from."""
    folder = tmp_path_factory.mktemp("large")
    run = Trainer(HeadsRecipe(LARGE, TINY_TRAINING), options(folder / "run", cache))
    run.run()
    export_run(folder / "run", folder / "model", None, None)
    return folder / "model"


def test_networks_see_averages_and_pictures_come_back_in_size():
    latents = open_latents(LARGE.latent, "cpu")
    pictures = to_unit(head_frames(3, 2, 64))
    z = latents.encode(pictures)
    assert z.shape == (2, 3, 32, 32) and torch.allclose(z[0, 0, 0, 0], pictures[0, 0, :2, :2].mean())
    assert latents.decode(z).shape == pictures.shape
    detail = pictures - latents.decode(z)
    assert torch.allclose(latents.decode(z, detail), pictures, atol=1e-6)
    same = Pixels(LARGE.latent.small)
    assert torch.equal(same.decode(same.encode(pictures)), pictures)


def test_a_size_that_is_no_multiple_is_refused():
    with pytest.raises(ModelError, match="96.*64"):
        LatentConfig(picture_size=96, size=64)


def test_detail_is_learned(cache):
    torch.manual_seed(0)
    fine = replace(
        LARGE,
        content=replace(
            LARGE.content, dim=98, transform_dim=96, step=0.02, default_step=2, super_resolution=(16, 24, 32)
        ),
    )
    model, notes = HeadsModel(fine), []
    clips = procedural_clips(0, 16, 64, cache)
    latents = open_latents(LARGE.latent, "cpu")
    pictures = to_pictures(np.concatenate([clips.clip(i)[::4] for i in range(16)]))
    model.transform.fit(latents.encode(pictures))
    model.denoiser.requires_grad_(False)
    pretrain_super_resolution(model, clips, latents, 120, 8, 0, "cpu", notes.append)
    assert notes[-1]["super_resolution_psnr"] > notes[-1]["coded_psnr"]
    pictures = to_pictures(np.stack([clips.clip(i)[5] for i in range(6)]))
    still = model.image(model.transform(latents.encode(pictures))[..., : fine.content.transform_dim])
    with torch.no_grad():
        errors = [
            (latents.decode(still, d) - pictures).square().mean().item() for d in (None, model.super_resolution(still))
        ]
    assert errors[1] < 0.98 * errors[0]


def test_files_of_such_a_model_hold_and_give_pictures_of_full_size(large_model):
    codec, frames = bcdcodec.load(large_model), head_frames(7, 12, 64)
    recording = codec.encode(frames)
    assert (recording.head.coded_width, recording.head.coded_height) == (64, 64)
    assert codec.decode(recording).shape == frames.shape and codec.reference_image(recording).shape == (64, 64, 3)


def test_detail_moves_as_the_still_does(large_model):
    codec = bcdcodec.load(large_model)
    recording = codec.encode(head_frames(7, 12, 64))
    plain = codec.decode(recording).astype(float)
    with torch.no_grad():
        codec.model.super_resolution.draw.bias.fill_(0.5)  # the same everywhere: no flow changes it
    bright = codec.decode(recording).astype(float)
    free = (plain > 5) & (plain < 150)
    assert np.abs((bright - plain)[free] - 0.5 * 127.5).max() < 2


def test_a_still_moved_by_a_pixel_of_the_large_picture_stays_as_sharp():
    """On the networks' grid that is half a pixel, where interpolation would take all fine contrast away."""
    torch.manual_seed(0)
    still, detail = torch.rand(1, 3, 16, 16), torch.rand(1, 3, 32, 32)
    large = enlarged(still, 2) + detail
    flow = torch.zeros(1, 2, 8, 8)
    flow[:, 0] = 2 / 32  # x
    shown = warp_large(still, detail, flow)
    assert torch.allclose(shown[..., 2:-2, 2:-3], large[..., 2:-2, 3:-2], atol=1e-4)
    blurred = enlarged(warp(still, flow), 2) + warp(detail, flow)
    assert (blurred[..., 2:-2, 2:-3] - large[..., 2:-2, 3:-2]).abs().mean() > 0.02


def test_what_is_decoded_is_the_large_still_moved_and_what_networks_add(large_model):
    codec = bcdcodec.load(large_model)
    recording = codec.encode(head_frames(7, 4, 64))
    reference = reference_of(codec.session, recording.contents[0], detailed=True)
    with torch.no_grad():
        m = codec.model.vq.lookup(torch.from_numpy(recording.motions[0].codes.astype(np.int64))[None])
        noise = noise_of(codec.session, 0).expand(1, 4, -1, -1, -1)
        decoded = codec.model.synthesise(reference, m, noise, 1)
        sigma = TINY.diffusion.sigma_max
        found = codec.model.denoise(sigma * noise, torch.full((1,), sigma), reference, m)
    change = m - reference.motion[:, None]
    stills = (reference.image[:, None] + reference.residual_basis.residual(change))[0]
    large = warp(enlarged(stills, 2) + reference.detail, found.flow[0], cubic=True)
    assert torch.allclose(decoded.large[0], large, atol=1e-5)
    assert torch.allclose(decoded.latents[0], (found.latents - found.warped)[0], atol=1e-4)


def test_a_model_without_detail_learns_it_alone_before_its_painter(cache, tiny_model, tmp_path):
    run = Trainer(HeadsRecipe(LARGE, TINY_TRAINING), options(tmp_path / "run", cache, str(tiny_model)))
    assert run.progress == TINY_TRAINING.adversarial_from
    assert run.model.super_resolution.draw.weight.any()
    assert torch.equal(run.model.super_resolution.draw.weight, run.ema.super_resolution.draw.weight)
    kept = run.model.super_resolution.draw.weight.clone()
    run.train_step()
    assert torch.equal(run.model.super_resolution.draw.weight, kept)


def test_heads_gives_pictures_of_256():
    config = preset("heads")
    assert (config.latent.picture_size, config.latent.size, config.latent.factor) == (256, 128, 2)
