"""Configs that survive JSON, those of earlier versions, and the properties of the models' parts."""

import json
from dataclasses import replace

import pytest
import torch

from bcdcodec.config import DiffusionConfig, QuantiserConfig
from bcdcodec.errors import ModelError
from bcdcodec.model_folder import SHIPPED
from bcdcodec.models.content_quantiser import ROUNDING
from bcdcodec.models.edm import karras_sigmas, preconditioning, sample_heun, training_sigmas
from bcdcodec.models.group_vq import GroupVQ, temperature_at
from bcdcodec.models.heads.model import HeadsModel
from bcdcodec.models.heads.reference_image import PatchTransform, ReferenceQuantiser
from bcdcodec.models.heads.refiner import Refiner
from bcdcodec.models.layers import patchify, unpatchify
from bcdcodec.models.registry import read_config
from bcdcodec.models.warp import warp
from bcdcodec.presets import HEADS, PRESETS, SPRITES_SMALL, TINY, preset


@pytest.mark.parametrize("config", PRESETS.values(), ids=PRESETS)
def test_a_preset_survives_json(config):
    assert read_config(config.to_json()) == config


@pytest.mark.parametrize(("name", "config"), [("heads", HEADS), ("sprites", SPRITES_SMALL)])
def test_the_flat_config_of_a_shipped_model_is_read_as_its_preset(name, config):
    flat = (SHIPPED / name / "config.json").read_text()
    assert "model" not in json.loads(flat) and read_config(flat) == replace(config, name=name)


@pytest.mark.parametrize("name", ["heads", "sprites"])
def test_retired_fields_of_a_flat_config_are_passed_over_and_unknown_ones_refused(name):
    flat = json.loads((SHIPPED / name / "config.json").read_text())
    expected = read_config(json.dumps(flat))
    flat["quantiser"]["rank"], flat["training"]["motion_joins"], flat["encoder"]["refine_steps"] = 0, 0.5, 1
    assert read_config(json.dumps(flat)) == expected
    flat["quantiser"]["rang"] = 1
    with pytest.raises(ModelError, match="rang"):
        read_config(json.dumps(flat))


@pytest.mark.parametrize(
    ("name", "part", "field", "value"),
    [
        ("heads", "encoder", "frames_see_queries", True),
        ("sprites", "encoder", "stem", "linear"),
        ("sprites", "decoder", "temporal_indices", [0]),
    ],
)
def test_a_flat_config_that_asks_for_what_no_model_has_is_refused(name, part, field, value):
    flat = json.loads((SHIPPED / name / "config.json").read_text())
    flat[part][field] = value
    with pytest.raises(ModelError, match=f"{part}.{field}"):
        read_config(json.dumps(flat))


def test_a_config_that_is_no_table_of_fields_is_refused():
    for text in ("[]", "7", '{"name": "x", "latent": 3}', '{"model": "heads", "name": "x", "latent": 3}', "{"):
        with pytest.raises(ModelError, match="not readable"):
            read_config(text)
    with pytest.raises(ModelError, match="'mine'.*heads, sprites"):
        read_config('{"model": "mine"}')


def test_an_unknown_preset_is_refused_with_the_known_ones():
    with pytest.raises(Exception, match="'huge'.*heads"):
        preset("huge")


def test_an_untrained_warping_decoder_shows_the_content_picture_in_its_own_motion():
    torch.manual_seed(0)
    model = HeadsModel(TINY).eval()
    pictures = torch.rand(8, 3, 32, 32) * 2 - 1
    model.transform.fit(pictures)
    tokens, motion = model.encode(pictures[None, :4])
    m = model.vq.lookup(model.vq.encode(motion))
    still = m[:, :1].expand(-1, 4, -1)
    noise = torch.randn(1, 1, 3, 32, 32).expand(-1, 4, -1, -1, -1)
    decoded = model.synthesise(model.reference(tokens, m[:, 0]), still, noise, steps=1).latents
    assert torch.allclose(decoded[:, 2], model.image(tokens), atol=0.05)


def test_patches_go_and_come_back():
    x = torch.randn(2, 3, 8, 12)
    assert torch.equal(unpatchify(patchify(x, 4), 4, 2, 3), x)


def test_the_patch_transform_loses_nothing_with_all_components_and_orders_them_by_energy():
    torch.manual_seed(0)
    x = torch.randn(20, 3, 16, 16).cumsum(-1)
    transform = PatchTransform(4, 3, 4, 4, 48)
    transform.fit(x)
    assert torch.allclose(transform.inverse(transform(x)), x, atol=1e-3)
    assert (transform.deviation.diff() <= 1e-6).all()


def test_quantised_content_is_within_the_dead_zones_two_thirds_of_a_step():
    quantiser = ReferenceQuantiser(HEADS.content)
    tokens = torch.randn(1, 64, 196)
    for index in (0, 5, 15):
        values = quantiser.quantise(tokens, index)
        error = (quantiser.dequantise(values, index) - tokens).abs().max()
        assert error <= HEADS.content.step_size(index) * (1 - ROUNDING) + 1e-5


def test_a_code_far_from_all_others_is_found_and_looked_up():
    vq = GroupVQ(TINY.quantiser).eval()
    codes = torch.randint(0, 8, (2, 5, 8))
    with torch.no_grad():
        vq.codebooks.mul_(10)
    features = vq.lookup(codes)
    vq.norm = torch.nn.Identity()
    assert torch.equal(vq.encode(features), codes)


def test_a_higher_lambda_never_costs_more_bits():
    torch.manual_seed(0)
    vq = GroupVQ(HEADS.quantiser).eval()
    vq.log2_p.copy_(torch.log_softmax(torch.randn(64, 32) * 2, -1) / 0.6931)
    m = torch.randn(1, 40, HEADS.motion_channels)
    bits = []
    for lambda_ in (0.0, 0.3, 3.0, 30.0):
        vq.rate_lambda.fill_(lambda_)
        codes = vq.encode(m)[0]
        bits.append(-vq.log2_p[torch.arange(64), codes].sum(-1).mean().item())
    assert bits == sorted(bits, reverse=True) and bits[0] > bits[-1] + 10


def test_mutual_information_is_zero_when_every_frame_is_undecided_and_full_when_decided():
    from bcdcodec.models.group_vq import RateTerms, _entropy

    flat = torch.full((1, 16, 1, 4), 0.25)
    decided = torch.eye(4).repeat(4, 1)[None, :, None]
    for mu, expected in ((flat, 0.0), (decided, 2.0)):
        rate = RateTerms(_entropy(mu.mean((0, 1))).sum(), _entropy(mu).mean((0, 1)).sum())
        assert rate.mutual_information.item() == pytest.approx(expected, abs=1e-4)


def test_temperature_falls_to_its_minimum():
    q = QuantiserConfig()
    assert temperature_at(q, 0) == 1.5 and temperature_at(q, 10**7) == 0.1
    assert temperature_at(q, 1000) == pytest.approx(1.5 * 0.9999972**1000)


def test_preconditioning_has_unit_variance_and_its_limits():
    sigma = torch.tensor([0.002, 0.5, 80.0])
    c_skip, c_out, c_in, _ = preconditioning(sigma, 0.5)
    assert torch.allclose(c_in**2 * (sigma**2 + 0.25), torch.ones(3))
    assert c_skip[0] > 0.999 and c_skip[2] < 1e-4 and c_out[2] == pytest.approx(0.5, abs=1e-3)


def test_heun_recovers_a_gaussian_with_the_ideal_denoiser():
    config = DiffusionConfig()
    mean, deviation = 3.0, 0.5
    denoise = lambda x, s: (x * deviation**2 + mean * s**2) / (deviation**2 + s**2)  # noqa: E731
    samples = sample_heun(denoise, torch.randn(20000, generator=torch.Generator().manual_seed(0)), config, 32)
    assert samples.mean() == pytest.approx(mean, abs=0.05) and samples.std() == pytest.approx(deviation, abs=0.05)


@pytest.mark.parametrize("steps", [2, 3, 4, 8])
def test_few_steps_do_not_blow_up_what_the_denoiser_gets_wrong(steps):
    config = replace(HEADS.diffusion, sigma_min=0.05)
    truth = torch.linspace(-1, 1, 1000)
    wrong = 0.02 * torch.sin(torch.arange(1000.0))
    denoise = lambda x, s: torch.lerp(truth, x, 1e-3 / (1e-3 + s * s)) + wrong * s / (1 + s)  # noqa: E731
    sample = sample_heun(denoise, torch.randn(1000, generator=torch.Generator().manual_seed(0)), config, steps)
    assert (sample - truth).square().mean().sqrt() < 0.018


def test_one_step_is_the_denoiser_at_the_highest_noise():
    seen = []
    sample_heun(lambda x, s: seen.append(s) or x, torch.zeros(1), HEADS.diffusion, 1)
    assert seen == [pytest.approx(HEADS.diffusion.sigma_max)]
    assert len(karras_sigmas(5, HEADS.diffusion)) == 6


def test_the_stated_share_of_training_noise_is_at_the_maximum():
    sigma = training_sigmas(4000, HEADS.diffusion, torch.Generator().manual_seed(0))
    share = (sigma == HEADS.diffusion.sigma_max).float().mean().item()
    assert share == pytest.approx(HEADS.diffusion.share_at_max, abs=0.03)


def test_a_constant_flow_moves_the_picture():
    picture = torch.rand(1, 3, 32, 32)
    moved = warp(picture, torch.full((1, 2, 4, 4), 2 * 4 / 32))  # 4 pixels in both directions
    assert torch.allclose(moved[..., :-4, :-4], picture[..., 4:, 4:], atol=1e-4)


def test_the_overlapping_stem_passes_through_an_untrained_transformer():
    encoder = HeadsModel(HEADS).eval().encoder
    z = torch.randn(1, 2, 3, 128, 128)
    with torch.no_grad():
        expected = encoder.to_motion(encoder.norm(encoder.stem(z[0])))[None]
        assert torch.allclose(encoder.motion(z), expected, atol=1e-5)


def test_motion_of_the_reference_adds_nothing_to_the_patches():
    torch.manual_seed(0)
    model = HeadsModel(TINY).eval()
    decoder = model.decoder
    for block in decoder.blocks:
        torch.nn.init.normal_(block.modulation.weight, std=0.1)
    first, last = decoder.motion_patches
    torch.nn.init.zeros_(first.bias)
    torch.nn.init.zeros_(last.bias)
    m = torch.randn(1, 1, TINY.motion_channels)
    x, content = torch.randn(1, 1, 3, 32, 32), torch.randn(1, 16, TINY.content.dim)

    def flow(motion):
        return decoder(x, torch.zeros(1), content, motion, m[:, 0], model.transform).flow

    with torch.no_grad():
        own, other = flow(m), flow(-m)
        torch.nn.init.zeros_(last.weight)
        assert torch.allclose(flow(m), own, atol=1e-6) and not torch.allclose(flow(-m), other, atol=1e-4)


def test_the_nearest_code_is_what_a_file_says_and_its_gradient_reaches_codes_and_features():
    vq = GroupVQ(QuantiserConfig(groups=3, codes=5, dim=4, nearest=True, normalise=False))
    m = torch.randn(2, 6, 12, requires_grad=True)
    m_hat, _, _ = vq(m, 0.2)
    assert torch.allclose(m_hat, vq.lookup(vq.encode(m)), atol=1e-5)
    m_hat.sum().backward()
    assert torch.equal(m.grad, torch.ones_like(m))
    assert vq.codebooks.grad.sum() == pytest.approx(2 * 6 * 12)


def test_the_refiner_begins_as_the_identity_and_follows_the_motion():
    torch.manual_seed(0)
    refiner = Refiner(3, (8, 8, 16), side=4, width=12)
    pictures, still, warped = torch.rand(3, 2, 3, 32, 32)
    flow, tokens, motion = torch.randn(2, 2, 16, 16), torch.randn(2, 16, 12), torch.randn(2, 12)
    assert torch.equal(refiner(pictures, still, warped, flow, tokens, motion), pictures)
    for parameter in refiner.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    drawn = refiner(pictures, still, warped, flow, tokens, motion)
    assert drawn.shape == pictures.shape
    assert not torch.allclose(drawn, refiner(pictures, still, warped, flow, tokens, -motion), atol=1e-3)
    assert not torch.allclose(drawn, refiner(pictures, still, warped, flow, -tokens, motion), atol=1e-3)


def test_the_refined_estimate_teaches_neither_the_warp_nor_the_reference_image():
    torch.manual_seed(0)
    model = HeadsModel(TINY)
    torch.nn.init.normal_(model.refiner.unet.draw.weight, std=0.1)
    content, motion = model.encode(torch.rand(2, 4, 3, 32, 32))
    m_hat = model.vq.lookup(model.vq.encode(motion))
    tokens = model.content_quantiser.dequantise(model.content_quantiser.quantise(content, 0), 0)
    reference = model.reference(tokens, m_hat[:, 0])
    out = model.denoise(torch.randn(2, 4, 3, 32, 32), torch.full((2,), 20.0), reference, m_hat)
    out.latents.square().mean().backward()
    learns = {name for name, p in model.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    assert "refiner.unet.draw.weight" in learns and "decoder.to_residual.weight" in learns
    assert not any(name.startswith("denoiser") or name.startswith("decoder.to_flow") for name in learns)
