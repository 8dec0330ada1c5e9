"""The paper's model: quantiser and rate (equations 1 to 5), diffusion (9 to 12), decoder (13), use in the codec."""

from __future__ import annotations

import math
import os
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch import multiprocessing

from bcdcodec.coding.decoder import noise_of
from bcdcodec.config import ContentConfig, LatentConfig, WindowConfig
from bcdcodec.errors import ModelError
from bcdcodec.models.base import Reference
from bcdcodec.models.bcd.config import BCDConfig, BCDDecoderConfig, BCDEncoderConfig, BCDQuantiserConfig, EDMConfig
from bcdcodec.models.bcd.edm import denoising_loss, guided, predicted_noise, sample, training_sigmas
from bcdcodec.models.bcd.group_vq import GroupVQ, information, model_bits
from bcdcodec.models.bcd.model import BCDModel
from bcdcodec.models.bcd.presets import LRS3, SPRITES, SPRITES_BCD
from bcdcodec.models.edm import preconditioning
from bcdcodec.models.latents import open_latents
from bcdcodec.models.registry import build_model, read_config

TINY = BCDConfig(
    name="tiny-bcd",
    latent=LatentConfig(kind="pixels", picture_size=8, size=8, channels=3),
    encoder=BCDEncoderConfig(width=16, ff=32, layers=1, heads=2),
    quantiser=BCDQuantiserConfig(groups=2, codes=4, dim=4, alpha=1.0, target_bits=2.0),
    content=ContentConfig(rows=2, columns=2, dim=4, frames=3),
    decoder=BCDDecoderConfig(width=16, ff=32, depth=2, heads=2, patch=4, temporal_indices=(0,)),
    diffusion=EDMConfig(sigma_data=1.0, steps=4),
    window=WindowConfig(length=3),
)


@pytest.fixture
def model() -> BCDModel:
    """With no weight at zero, as after training."""
    torch.manual_seed(0)
    model = BCDModel(TINY).eval()
    for p in model.parameters():
        torch.nn.init.normal_(p, std=0.3)
    return model


@pytest.fixture
def inputs():
    """Noisy latents, noise levels, content and motion of two windows."""
    g = torch.Generator().manual_seed(1)
    shapes = (2, 3, 3, 8, 8), (2,), (2, 4, 4), (2, 3, 8)
    x, sigma, content, motion = (torch.randn(shape, generator=g) for shape in shapes)
    return x, sigma.exp(), content, motion


# ---- sections 3.1 and 3.2


def test_code_of_a_file_is_the_nearest():
    vq = GroupVQ(TINY.quantiser)
    assert torch.equal(vq.encode(vq.lookup(torch.tensor([[[3, 0], [1, 2]]]))), torch.tensor([[[3, 0], [1, 2]]]))
    m = torch.randn(1, 5, 8)
    squared = (m.view(1, 5, 2, 1, 4) - vq.codebooks).square().sum(-1)
    assert torch.equal(vq.encode(m), squared.argmin(-1))
    torch.testing.assert_close(vq.distances(m), squared.sqrt())


def test_rate_is_the_entropy_of_the_average_histogram():
    one_hot = torch.eye(4)
    assert model_bits(one_hot[[0, 0]].view(1, 2, 1, 4)).item() == pytest.approx(0, abs=1e-4)
    assert model_bits(one_hot[[0, 1]].view(1, 2, 1, 4)).item() == pytest.approx(1, abs=1e-4)
    assert model_bits(one_hot.view(2, 2, 1, 4)).item() == pytest.approx(2, abs=1e-4)
    assert model_bits(torch.cat([one_hot, one_hot], -1).view(2, 2, 2, 4)).item() == pytest.approx(4, abs=1e-4)


def test_histogram_is_of_the_samples_of_equation_2():
    """An undecided frame has a flat distribution (2 bits a group), but its sample at a low temperature is one code."""
    vq = GroupVQ(TINY.quantiser)
    with torch.no_grad():
        vq.codebooks.copy_(torch.eye(4))  # all at the same distance from 0
    torch.manual_seed(0)
    _, rate = vq(torch.zeros(1, 1, 8), temperature=1e-3)
    assert rate.H_model.item() < 0.1


def test_flat_distributions_meet_a_rate_target_and_tell_nothing():
    flat = torch.zeros(1, 6, 1, 4)
    assert model_bits(torch.softmax(flat, -1)).item() == pytest.approx(2, abs=1e-4)
    assert information(flat).item() == pytest.approx(0, abs=1e-4)
    assert information(100 * torch.eye(4).view(1, 4, 1, 4)).item() == pytest.approx(2, abs=1e-4)


def test_sample_tends_to_a_code_as_the_temperature_falls():
    vq = GroupVQ(TINY.quantiser)
    torch.manual_seed(0)
    m = torch.randn(1, 20, 8)
    distance = [vq.distances(vq(m, temperature)[0]).amin(-1).mean() for temperature in (2.0, 0.5, 0.01)]
    assert distance[0] > distance[1] > distance[2] and distance[2] < 0.1


def test_rate_term_reaches_encoder_output_and_codes():
    vq = GroupVQ(TINY.quantiser)
    m = torch.randn(2, 3, 8, requires_grad=True)
    vq(m, 1.0)[1].H_model.backward()
    assert m.grad.abs().sum() > 0 and vq.codebooks.grad.abs().sum() > 0


def _rate_gradient(rank: int, folder: str) -> None:
    """A process of two: the gradient of the squared rate error for its half of a batch."""
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    vq, m = _rate_problem()
    (model_bits(_distributions(vq, m.chunk(2)[rank])) - 2).square().backward()
    torch.distributed.all_reduce(vq.codebooks.grad)
    torch.save(vq.codebooks.grad / 2, f"{folder}/{rank}.pt")  # the mean, as DistributedDataParallel takes
    torch.distributed.barrier()
    os._exit(0)  # gloo's threads may abort the process when they are destroyed


def _rate_problem() -> tuple[GroupVQ, torch.Tensor]:
    torch.manual_seed(0)
    return GroupVQ(TINY.quantiser), torch.randn(4, 3, 8)


def _distributions(vq: GroupVQ, m: torch.Tensor) -> torch.Tensor:
    return torch.softmax(-vq.distances(m), -1)  # without Gumbel noise, of which each process has its own


def test_two_processes_have_the_rate_gradient_of_one_with_the_whole_batch(tmp_path):
    vq, m = _rate_problem()
    (model_bits(_distributions(vq, m)) - 2).square().backward()
    multiprocessing.spawn(_rate_gradient, (str(tmp_path),), nprocs=2)
    for rank in range(2):
        torch.testing.assert_close(torch.load(tmp_path / f"{rank}.pt", weights_only=True), vq.codebooks.grad)


def test_content_has_a_token_a_query_for_any_number_of_frames(model):
    for frames in (1, 3, 5):
        content, motion = model.encode(torch.randn(2, frames, 3, 8, 8))
        assert content.shape == (2, 4, 4) and motion.shape == (2, frames, 8)


def test_standardised_motion_is_spread_over_the_codes():
    """Nearly equal frames are nearest to few codes, until the last layer is scaled by what it gives."""
    torch.manual_seed(0)
    model = BCDModel(replace(TINY, quantiser=replace(TINY.quantiser, alpha=8.0)))
    z = 2 + 0.1 * torch.randn(50, 3, 3, 8, 8)
    told = [information(-8 * model.vq.distances(model.motion(z))).item()]
    model.encoder.standardise(z)
    m = model.motion(z).flatten(0, 1)
    torch.testing.assert_close(m.mean(0), torch.zeros(8), rtol=0, atol=1e-4)
    torch.testing.assert_close(m.std(0), torch.ones(8), rtol=1e-3, atol=0)
    told.append(information(-8 * model.vq.distances(model.motion(z))).item())
    assert told[0] < 1 and told[1] > 2


def test_motion_of_a_frame_depends_on_the_other_frames(model):
    z = torch.randn(1, 3, 3, 8, 8)
    other = torch.cat([torch.randn(1, 1, 3, 8, 8), z[:, 1:]], 1)
    assert not torch.allclose(model.motion(z)[:, 2], model.motion(other)[:, 2])


# ---- section 3.3


def test_untrained_network_gives_the_preconditioned_input(inputs):
    x, sigma, content, motion = inputs
    c_skip = preconditioning(sigma, 1.0)[0].view(2, 1, 1, 1, 1)
    torch.testing.assert_close(BCDModel(TINY).denoise(x, sigma, content, motion), c_skip * x)


def test_frames_see_each_other_through_temporal_blocks_alone(model, inputs):
    x, sigma, content, motion = inputs
    moved = torch.cat([motion[:, :2], motion[:, 2:] + 1], 1)
    for temporal in (False, True):
        a, b = (model.denoise(x, sigma, content, m, temporal=temporal) for m in (motion, moved))
        assert not torch.allclose(a[:, 2], b[:, 2])
        assert torch.allclose(a[:, :2], b[:, :2]) != temporal


def test_temporal_blocks_know_the_order_of_frames(model, inputs):
    x, sigma, content, motion = inputs
    forward = model.denoise(x, sigma, content, motion)
    backward = model.denoise(x.flip(1), sigma, content, motion.flip(1)).flip(1)
    assert not torch.allclose(forward, backward, atol=1e-4)


def test_masked_clips_depend_on_neither_content_nor_motion(model, inputs):
    x, sigma, content, motion = inputs
    keep = torch.tensor([True, False])
    a, b = (model.denoise(x, sigma, content + i, motion - i, keep) for i in range(2))
    assert torch.equal(a[1], b[1]) and not torch.allclose(a[0], b[0])


def test_more_frames_than_the_temporal_blocks_were_trained_on_are_refused(model):
    x = torch.randn(1, 4, 3, 8, 8)
    with pytest.raises(ModelError, match="4 frames at once, the temporal blocks were trained on 3"):
        model.denoise(x, torch.ones(1), torch.randn(1, 4, 4), torch.randn(1, 4, 8))


def test_content_that_is_not_one_token_a_patch_is_refused():
    raw = TINY.to_json().replace('"rows": 2', '"rows": 3')
    with pytest.raises(ModelError, match="content of 3x2 tokens cannot be concatenated with 2x2 patches"):
        read_config(raw)


# ---- diffusion


def ideal(mean: float, deviation: float):
    """The best denoiser of data N(mean, deviation^2)."""
    return lambda x, sigma: (deviation**2 * x + sigma**2 * mean) / (deviation**2 + sigma**2)


@pytest.mark.parametrize("steps", [50, 128])
def test_sampling_gives_the_distribution_of_the_data(steps):
    noise = torch.randn(4000, generator=torch.Generator().manual_seed(0))
    x = sample(ideal(0.7, 0.5), noise, SPRITES.diffusion, steps)
    assert x.mean().item() == pytest.approx(0.7, abs=0.03) and x.std().item() == pytest.approx(0.5, rel=0.03)


@pytest.mark.parametrize("steps", [50, 128])
def test_guided_sampling_comes_nearer_to_the_truth_than_one_step(steps):
    """Data of unit deviation, which the condition tells but for a deviation of 0.05; guidance as in the paper."""
    truth, config = 0.7, SPRITES.diffusion
    conditional, unconditional = ideal(truth, 0.05), ideal(0.0, 1.0)
    denoise = lambda x, sigma: guided(conditional(x, sigma), unconditional(x, sigma), config.guidance)  # noqa: E731
    noise = torch.randn(500, generator=torch.Generator().manual_seed(0))
    error = {n: (sample(denoise, noise, config, n) - truth).square().mean().sqrt().item() for n in (1, steps)}
    assert error[steps] < 0.1 < error[1]


def test_loss_is_the_squared_error_of_the_noise_where_that_is_low():
    z, epsilon = torch.randn(2, 5), torch.randn(2, 5)
    sigma = torch.tensor([1e-3, 1e-3])
    x, denoised = z + 1e-3 * epsilon, z + 1e-4
    noise_error = (predicted_noise(x, denoised, 1e-3) - epsilon).square().mean()
    torch.testing.assert_close(denoising_loss(z, denoised, sigma, 1.0), noise_error, rtol=2e-3, atol=0)


def test_loss_of_the_highest_noise_does_not_vanish():
    z = torch.zeros(1, 5)
    assert denoising_loss(z, z + 1, torch.tensor([80.0]), 1.0).item() == pytest.approx(1, rel=1e-3)


# ---- in the codec


def test_every_frame_of_a_window_has_noise_of_its_own(model):
    noise = noise_of(SimpleNamespace(config=TINY, model=model, device="cpu"), seed=3)
    assert noise.shape == (1, 3, 3, 8, 8) and not torch.equal(noise[:, 0], noise[:, 1])


def test_synthesis_follows_the_guidance_of_its_config(model, inputs):
    x, _, content, motion = inputs
    sigma = torch.full((2,), TINY.diffusion.sigma_max)
    keep = torch.tensor([False, False])
    found = model.synthesise(Reference(content, None), motion, x, 1).latents
    with torch.no_grad():
        unconditional = model.denoise(80 * x, sigma, content, motion, keep)
        conditional = model.denoise(80 * x, sigma, content, motion)
    torch.testing.assert_close(found, 1.5 * conditional - 0.5 * unconditional, rtol=1e-3, atol=1e-3)


def test_zero_steps_are_refused(model, inputs):
    x, _, content, motion = inputs
    with pytest.raises(ModelError, match="give 1 step or more"):
        model.synthesise(Reference(content, None), motion, x, 0)


def test_content_is_read_from_frames_all_over_the_clip(model):
    asked = []

    def frames(numbers):
        asked.extend(numbers.tolist())
        return torch.randn(len(numbers), 3, 8, 8)

    tokens, motion = model.content(frames, torch.zeros(9, 8))
    assert asked == [0, 4, 8] and tokens.shape == (1, 4, 4) and motion is None


@pytest.mark.parametrize("config", [LRS3, SPRITES, SPRITES_BCD], ids=lambda config: config.name)
def test_presets_survive_json_and_decode_a_window(config):
    """On the meta device: shapes alone, no arithmetic."""
    assert read_config(config.to_json()) == config
    t, latent, side = config.window.length, config.latent, config.content.rows
    with torch.device("meta"):
        model = build_model(config)
        z = torch.empty(1, t, latent.channels, latent.size, latent.size)
        content, motion = model.encode(z)
        assert content.shape == (1, side**2, 32) and motion.shape == (1, t, config.motion_channels)
        assert model.denoise(z, torch.ones(1), content, motion).shape == z.shape


def test_the_rate_of_a_preset_is_below_what_its_codes_can_hold():
    for config in (LRS3, SPRITES, SPRITES_BCD):
        q = config.quantiser
        assert 0 < q.target_bits <= q.groups * math.log2(q.codes)


def test_much_of_the_training_noise_hides_the_motion_of_sprites():
    """Below sigma 10 the noisy picture tells the motion, so that no code is needed to denoise it."""
    for config in (SPRITES, SPRITES_BCD):
        torch.manual_seed(0)
        hidden = (training_sigmas(10_000, config.diffusion) > 10).float().mean()
        assert 0.25 < hidden < 0.5


def test_another_autoencoder_than_the_models_is_refused(monkeypatch):
    class Fake:
        def __init__(self, name, device):
            pass

        def sha256(self):
            return "ab" * 32

    monkeypatch.setattr("bcdcodec.models.latents.VaeLatents", Fake)
    latent = LatentConfig(kind="vae", vae="somewhere", vae_sha256="ab" * 32)
    assert isinstance(open_latents(latent, "cpu"), Fake)
    with pytest.raises(ModelError, match="has weights abababababab, the model was trained with cdcdcdcdcdcd"):
        open_latents(LatentConfig(kind="vae", vae="somewhere", vae_sha256="cd" * 32), "cpu")
