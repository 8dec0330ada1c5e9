"""The judge of painted pictures learns to tell them, teaches the refiner, and nothing else learns from it."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from bcdcodec import presets
from bcdcodec.training.data.run_data import RunOptions
from bcdcodec.training.discriminator import Discriminator, balanced
from bcdcodec.training.recipes.heads import TINY, HeadsRecipe
from bcdcodec.training.trainer import Trainer


def pictures(seed=0):
    """True pictures with edges, blurred ones, and stills."""
    torch.manual_seed(seed)
    true = (torch.rand(6, 3, 32, 32) > 0.5).float() * 2 - 1
    return nn.functional.avg_pool2d(true, 5, 1, 2), true, torch.rand(6, 3, 32, 32)


def test_it_learns_to_tell_blurred_pictures_from_true_ones():
    torch.manual_seed(0)
    discriminator = Discriminator(3)
    optimiser = torch.optim.Adam(discriminator.parameters(), lr=2e-3)
    for step in range(60):
        error = discriminator.loss_d(*pictures(step))
        optimiser.zero_grad()
        error.backward()
        optimiser.step()
    blurred, true, still = pictures(1000)
    assert discriminator(true, still)[0].mean() > discriminator(blurred, still)[0].mean() + 0.5
    assert discriminator(true, still)[0].shape == (6, 1, 4, 4)
    assert discriminator.loss_g(true, true, still) < discriminator.loss_g(blurred, true, still)


def test_deceiving_it_teaches_the_pictures_and_not_the_discriminator():
    blurred, true, still = pictures()
    discriminator = Discriminator(3)
    blurred.requires_grad_()
    discriminator.loss_g(blurred, true, still).backward()
    assert blurred.grad.abs().sum() > 0 and all(p.grad is None for p in discriminator.parameters())
    blurred.grad = None
    discriminator.loss_d(blurred, true, still).backward()
    assert blurred.grad is None and all(p.grad is not None for p in discriminator.parameters())


def test_errors_are_balanced_by_their_gradients():
    weight = nn.Parameter(torch.tensor([1.0, 2.0]))
    assert balanced((3 * weight).sum(), (0.5 * weight).sum(), weight) == pytest.approx(6, rel=1e-4)


def test_in_the_end_the_refiner_alone_learns(tmp_path):
    training = replace(TINY, optimiser=replace(TINY.optimiser, warmup_steps=1), adversarial_from=0.7)
    run = Trainer(
        HeadsRecipe(presets.TINY, training),
        RunOptions(
            data=None, out=tmp_path, steps=4, minutes=None, resume=False, device="cpu", seed=3, procedural_groups=2
        ),
    )

    def learned():
        before = {name: v.clone() for name, v in run.model.state_dict().items()}
        judge = [v.clone() for v in run.recipe.helpers["discriminator"].state_dict().values()]
        run.train_step()
        parts = {name.split(".")[0] for name, v in run.model.state_dict().items() if not torch.equal(v, before[name])}
        return parts, not all(map(torch.equal, judge, run.recipe.helpers["discriminator"].state_dict().values()))

    found = [learned() for _ in range(4)]
    assert "decoder" in found[0][0] and "refiner" not in found[0][0] and not found[0][1]
    assert found[3] == ({"refiner"}, True)
