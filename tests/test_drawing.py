"""The drawing network: what it draws of noise, where, and that files say which noise."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from bcdcodec.models.faces.alignment_frame import head_radii, positions
from bcdcodec.models.faces.config import DrawingConfig
from bcdcodec.models.faces.drawing import DrawingInput, DrawingNetwork, draw, step_levels
from bcdcodec.models.faces.geometry import Geometry
from bcdcodec.training.data.aligned_pairs import Pairs
from bcdcodec.training.recipes.drawing import (
    AGAIN,
    FIRST,
    NOISED,
    Schedule,
    coded,
    first_step,
    losses,
    noise_levels,
    one_step_losses,
    with_noise,
)

SMALL = DrawingConfig(frame=48, patch=8, margin=4, width=32, blocks=1, heads=2)


def inputs(b=2, seed=0):
    random = torch.Generator().manual_seed(seed)
    faces = F.interpolate(torch.randn(2 * b, 3, 6, 6, generator=random), size=(48, 48), mode="bicubic").clamp(-1, 1)
    maps = [torch.randn(b, channels, 24, 24, generator=random) for channels in (2, 1, 1, 3)]
    return DrawingInput(*faces.chunk(2), Geometry(*maps), *torch.randn(2, b, 54, generator=random))


def test_untrained_network_draws_nothing():
    noisy, sigma = torch.randn(2, 3, 48, 48), torch.tensor([1.0, 0.1])
    assert DrawingNetwork(SMALL)(noisy, sigma, inputs()).abs().max() == 0


@torch.no_grad()
def test_nothing_is_drawn_away_from_the_head():
    network = DrawingNetwork(SMALL)
    torch.nn.init.normal_(network.to_window.weight)
    drawn = network(torch.zeros(1, 3, 48, 48), torch.ones(1), inputs(1))
    inside = head_radii(positions(48)[0]) < 1
    assert drawn[..., :3, :3].abs().max() == 0 < drawn[..., inside].abs().min()


def test_a_difference_learned_by_heart_is_drawn_from_noise_in_one_step_and_in_eight():
    torch.manual_seed(0)
    network, known = DrawingNetwork(SMALL), inputs(1)
    inside = (head_radii(positions(48)[0]) < 0.8).float()
    right = SMALL.sigma_data * math.sqrt(2) * torch.sign(known.warped) * inside
    geometry = Geometry(*(x.expand(8, *x.shape[1:]) for x in known.geometry))
    faces, motions = ((x.expand(8, *x.shape[1:]) for x in part) for part in (known[:2], known[3:]))
    eight = DrawingInput(*faces, geometry, *motions)
    optimiser = torch.optim.Adam(network.parameters(), 3e-3)
    for step in range(100):
        sigma, sees = noise_levels(8, SMALL, Schedule(), step)
        noisy = with_noise(right.expand(8, -1, -1, -1), sigma, sees, step)
        said = network(noisy, sigma, eight)
        loss = (inside * (said - right).square() / sigma[:, None, None, None].clamp_min(0.1)).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    noise = torch.randn(1, 3, 48, 48)
    with torch.no_grad():
        error = {
            steps: (inside * (draw(network, known, noise, steps) - known.warped - right)).square().mean().sqrt()
            for steps in (1, 8)
        }
    nothing = (inside * right).square().mean().sqrt()
    assert error[1] < 0.5 * nothing and error[8] < 0.5 * nothing


def test_the_same_noise_draws_the_same_and_other_noise_another_face():
    torch.manual_seed(0)
    network = DrawingNetwork(SMALL)
    torch.nn.init.normal_(network.to_window.weight, std=0.1)
    noise = torch.randn(2, 3, 48, 48)
    with torch.no_grad():
        first, again, other = (draw(network, inputs(), x, 2) for x in (noise, noise, -noise))
    assert torch.equal(first, again) and not torch.allclose(first, other, atol=1e-3)


def test_most_noise_levels_are_the_highest_and_the_rest_within_bounds():
    sigma, sees = noise_levels(16, DrawingConfig(), Schedule(), 3)
    assert (sees == FIRST).sum() == 12 and (sigma[sees == FIRST] == 4.0).all()
    assert sigma.min() >= 0.03 and sigma[sees == NOISED].max() <= 2.0 and len(sigma[sees != FIRST].unique()) == 4
    assert (sees == AGAIN).sum() == 2 and sigma[sees == AGAIN].max() <= 0.1


def test_only_the_denoising_loss_is_shown_the_true_difference():
    right = torch.full((3, 3, 8, 8), 5.0)
    noisy = with_noise(right, torch.full((3,), 0.1), torch.tensor([FIRST, NOISED, AGAIN]), 0)
    assert noisy[[0, 2]].abs().max() < 1 and noisy[1].min() > 4


def test_levels_of_steps_fall_from_noise_alone():
    config = DrawingConfig()
    assert step_levels(config, 1) == [4.0] and step_levels(config, 2) == pytest.approx([4.0, 0.1])
    assert step_levels(config, 4) == pytest.approx([4.0, 0.1, 0.003**0.5, 0.03])


def test_losses_of_a_batch_are_finite_and_those_of_later_steps_see_what_was_drawn():
    torch.manual_seed(0)
    network = DrawingNetwork(SMALL)
    known = inputs(8)
    target, maps = inputs(8, 1).warped, torch.ones(8, 1, 24, 24)
    points = torch.zeros(8, 478, 2)
    pairs = Pairs(known.reference, target, known.motion_reference, known.motion, points, points, maps, maps, maps, maps)
    out = losses(network, known.geometry, pairs, None, Schedule(), 0)
    assert all(bool(value.isfinite()) for value in out.values())
    assert out["picture"].item() == pytest.approx(out["picture_warped"].item())  # nothing is drawn yet
    torch.nn.init.normal_(network.to_window.weight, std=0.1)
    assert first_step(network, known, 3).abs().max() > 0.01


def test_a_lower_quality_of_the_reference_has_a_larger_error():
    if not pytest.importorskip("PIL.features", reason="needs Pillow").check("avif"):
        pytest.skip("this Pillow has no AVIF")
    picture = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    errors = [np.abs(coded(picture, quality).astype(int) - picture).mean() for quality in (20, 90)]
    assert errors[0] > errors[1] > 0


def test_losses_of_one_step_are_zero_for_the_true_face_and_count_more_where_the_weight_is():
    face, target = inputs()[:2]
    weight = torch.ones(2, 1, 48, 48)
    assert all(float(x) == 0 for x in one_step_losses(target, target, weight, None).values())
    left = torch.where(torch.arange(48) < 24, face, target)  # wrong in the left half
    weight[..., :24] = 4
    heavy = one_step_losses(left, target, weight, None)
    light = one_step_losses(left, target, weight.flip(3), None)
    assert all(heavy[name] > 2 * light[name] for name in heavy)
