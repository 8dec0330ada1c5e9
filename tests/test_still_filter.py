"""The still's filter: nothing until it has learned, then nearer to what was coded; run once a scene."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from head_clips import head_frames

import bcdcodec
from bcdcodec.models.heads.denoiser import Denoiser
from bcdcodec.models.heads.model import HeadsModel
from bcdcodec.presets import TINY
from bcdcodec.training.data.batches import BatchSampler, ClipBatches, to_pictures
from bcdcodec.training.data.procedural_pairs import load_pairs
from bcdcodec.training.data.run_data import procedural_clips
from bcdcodec.training.pretrain_reference import pretrain_denoiser


@pytest.fixture(scope="module")
def taught(cache):
    """A tiny model whose filter alone has learned, and what its training noted."""
    torch.manual_seed(0)
    model, notes = HeadsModel(replace(TINY, content=replace(TINY.content, denoiser=(16, 24, 32)))), []
    clips = procedural_clips(5, 12, 32, cache)
    pictures = to_pictures(np.concatenate([clips.clip(i)[::4] for i in range(12)]))
    model.transform.fit(pictures)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    sampler = BatchSampler(ClipBatches(4, 4), clips, load_pairs(4, 0, 4, 2, 2, 32, cache), 1)
    pretrain_denoiser(model, sampler, lambda x: x, 300, 16, 0, "cpu", notes.append)
    return model, before, notes


def test_untrained_it_is_the_identity():
    pictures = torch.rand(2, 3, 32, 32)
    assert torch.equal(Denoiser(3, (4, 8, 8))(pictures), pictures)


def test_it_puts_back_what_the_quantiser_took_from_unseen_people(taught, cache):
    model, before, notes = taught
    clips = procedural_clips(900, 6, 32, cache)
    pictures = to_pictures(np.stack([clips.clip(i)[5] for i in range(6)]))
    tokens = model.transform(pictures)[..., : TINY.content.transform_dim]
    index = torch.full((6,), TINY.content.default_step)
    coded = model.transform.inverse(model.content_quantiser(tokens, index))
    with torch.no_grad():
        errors = [(x - pictures).square().mean().item() for x in (coded, model.denoiser(coded))]
    assert errors[1] < 0.95 * errors[0]
    assert len(notes) == 3 and notes[-1]["denoiser_psnr"] > notes[-1]["coded_psnr"]
    changed = {name.split(".")[0] for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"denoiser"}


def test_a_reference_made_once_serves_all_windows(taught):
    model = taught[0].eval()
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randn(1, TINY.content.tokens, TINY.content.channels, generator=generator)
    motion = model.vq.quantise(torch.randn(3, 4, TINY.motion_channels, generator=generator))
    x, sigma = torch.randn(3, 4, 3, 32, 32, generator=generator), torch.full((3,), 20.0)
    with torch.no_grad():
        once = model.reference(tokens, motion[0, :1]).expand(3)
        each = model.reference(tokens.expand(3, -1, -1), motion[0, :1].expand(3, -1))
        anew, before = (model.denoise(x, sigma, reference, motion).latents for reference in (each, once))
    assert torch.allclose(anew, before, atol=1e-5)


def test_a_scene_is_filtered_once_however_many_windows_it_has(tiny_model):
    codec, shown = bcdcodec.load(tiny_model), []
    codec.model.denoiser.register_forward_hook(lambda layer, inputs, out: shown.append(len(out)))
    recording = codec.encode(head_frames(1, 40, 32))
    assert shown == [1]
    assert len(codec.decode(recording)) == 40
    assert shown == [1, 1]
