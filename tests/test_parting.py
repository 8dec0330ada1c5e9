"""Code splitting: motions that share a code are found by trial and split in the first steps of a run from a model."""

from dataclasses import replace

import pytest
import torch
from sprite_sheets import TINY_SPRITES
from training_runs import check_resume_is_exact

from bcdcodec.models.sprites.model import SpritesModel
from bcdcodec.training import code_splitting as parting
from bcdcodec.training.code_splitting import clips_of_split_codes, split_codes, with_codes
from bcdcodec.training.data.run_data import RunOptions
from bcdcodec.training.data.sprite_batches import SpriteBatch, SpriteBatches
from bcdcodec.training.export import export_run
from bcdcodec.training.recipes.sprites import SPLIT_FROM, SPRITES_SMALL, SpritesRecipe, rate_distortion
from bcdcodec.training.trainer import Trainer

TINY = replace(TINY_SPRITES, quantiser=replace(TINY_SPRITES.quantiser, codes=16))
TRAINING = replace(SPRITES_SMALL, batches=SpriteBatches(batch=6), swap_from=0.0, restart_every=2, splitting_steps=4)
WIDTH, CODES = TINY.quantiser.dim, TINY.quantiser.codes


@pytest.fixture(scope="module")
def trained(sheets, tmp_path_factory):
    """The folder of a model of two steps."""
    folder = tmp_path_factory.mktemp("trained")
    recipe = SpritesRecipe(TINY, replace(TRAINING, splitting_steps=0))
    Trainer(recipe, RunOptions(sheets, folder / "run", 2, None, False, "cpu", 3, procedural_groups=1)).run()
    export_run(folder / "run", folder / "model", sheets, None)
    return folder / "model"


def parted(
    monkeypatch, codes: list[int], beside: list[int], truth: torch.Tensor, unused: list[int]
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Choices [k, 2], codebook [k, d] before and after.

    Of clips of one driving frame with these `codes`, one content frame with the codes `beside`, and a decoder that
    draws the frame right in the motion `truth` [n, d].
    """
    torch.manual_seed(0)
    frozen = SpritesModel(TINY).eval()
    with torch.no_grad():
        frozen.vq.codebooks.copy_(20 * torch.randn_like(frozen.vq.codebooks))
        for k in set(codes):  # a code is the middle of what it stands for
            frozen.vq.codebooks[0, k] = truth[[i for i, code in enumerate(codes) if code == k]].mean(0)
    before = frozen.vq.codebooks[0].detach().clone()

    class Drawing:
        def __init__(self, model, batches):
            pass

        def errors(self, frames, m_hat):
            return (m_hat - truth[frames]).square().sum(-1)

    monkeypatch.setattr(parting, "RedrawnFrames", Drawing)
    monkeypatch.setattr(parting, "_codes", lambda model, pictures: pictures[..., 0, 0, 0].long())
    pictures = lambda values: torch.tensor(values).float()[:, None, None, None, None]  # noqa: E731
    batch = SpriteBatch(pictures(beside), pictures(codes), pictures(codes))
    free = torch.zeros(CODES, dtype=torch.bool)
    free[unused] = True
    return split_codes(frozen, [batch], free), before, frozen.vq.codebooks[0].detach()


def two_kinds(share: int, of: int) -> torch.Tensor:
    """Motions [of, d], `share` of them of one kind and the others of another, 4 apart."""
    torch.manual_seed(1)
    middle, way = torch.randn(WIDTH), torch.nn.functional.normalize(torch.randn(WIDTH), dim=0)
    kind = torch.where(torch.arange(of) < share, 3.0, -1.0)
    return middle + kind[:, None] * way + 0.1 * torch.randn(of, WIDTH)


def test_two_motions_of_different_clips_are_told_from_two_looks_of_one(monkeypatch):
    truth = torch.cat([two_kinds(10, 40), 30 + two_kinds(10, 40)])
    codes = [3] * 40 + [7] * 40
    beside = [1] * 10 + [2] * 30 + [1, 2] * 20  # of code 7, both kinds are in clips alike
    choices, before, after = parted(monkeypatch, codes, beside, truth, [5, 9])
    in_question = (choices[:, 0] != choices[:, 1]).nonzero().flatten().tolist()
    assert in_question == [3, 5] and choices[3].tolist() == choices[5].tolist() == [3, 5]
    assert (after[5] - truth[:10].mean(0)).norm() < (before[3] - truth[:10].mean(0)).norm() / 2
    assert torch.equal(after[[3, 7, 9]], before[[3, 7, 9]])


def test_a_code_that_some_frame_has_is_not_free(monkeypatch):
    choices, before, after = parted(
        monkeypatch,
        [3] * 40 + [5],
        [1] * 10 + [2] * 30 + [1],
        torch.cat([two_kinds(10, 40), torch.zeros(1, WIDTH)]),
        [5],
    )
    assert torch.equal(choices, torch.arange(CODES)[:, None].repeat(1, 2)) and torch.equal(after, before)


def test_two_codes_of_the_same_two_motions_become_one_of_each(monkeypatch):
    truth = two_kinds(20, 60)
    looks = torch.randn(WIDTH, generator=torch.Generator().manual_seed(2))
    truth[::2] += 0.5 * looks  # of which each of the two codes has one
    choices, _, after = parted(monkeypatch, [3, 4] * 30, [1] * 20 + [2] * 40, truth, [])
    kept, new = choices[3].tolist()
    assert {kept, new} == {3, 4} and choices[4].tolist() == [kept, new]
    assert (choices[:, 0] != choices[:, 1]).sum() == 2
    assert (after[new] - truth[:20].mean(0)).norm() < (after[new] - truth[20:].mean(0)).norm()


def question(sheets, tmp_path):
    """A run, its batch, codes [b, t] of that, and choices in which one of these may also be code 15."""
    options = RunOptions(sheets, tmp_path / "run", 4, None, False, "cpu", 3, procedural_groups=1)
    run = Trainer(SpritesRecipe(TINY, TRAINING), options)
    frozen = run.ema.eval()
    batch = run.recipe.batch(run)
    codes = frozen.vq.distances(frozen.vq.features(frozen.motion(batch.driving))).argmin(-1)[..., 0]
    choices = torch.arange(CODES)[:, None].repeat(1, 2)
    asked = int(codes[2, 1])
    choices[asked] = choices[15] = torch.tensor([asked, 15])
    return run, frozen, batch, codes, choices


def test_clips_in_question_come_first_and_fill_a_half_at_most(sheets, tmp_path):
    _, frozen, batch, codes, choices = question(sheets, tmp_path)
    asked = (choices[codes][..., 0] != choices[codes][..., 1]).any(1)
    mixed = clips_of_split_codes(frozen, [batch, batch], choices)
    assert len(mixed.target) == len(batch.target)
    rows = torch.cat([asked.nonzero().flatten(), asked.nonzero().flatten()])[:3]
    assert torch.equal(mixed.target[: len(rows)], batch.target[rows])
    others = (~asked).nonzero().flatten()
    if len(others):
        assert torch.equal(mixed.content[len(rows)], batch.content[others[0]])


def test_frames_in_question_get_the_code_that_draws_them_better(sheets, tmp_path):
    run, frozen, batch, codes, choices = question(sheets, tmp_path)
    asked = (choices[codes][..., 0] != choices[codes][..., 1]).any(1)

    def denoise_at_max(noise, content, motion):  # the truth under code 15, grey under others
        right = (motion == frozen.vq.lookup(torch.tensor([[[15]]]))).all(-1)[..., None, None, None]
        return torch.where(right, batch.target[asked], torch.zeros_like(noise))

    frozen.denoise_at_max = denoise_at_max
    expected = torch.where(choices[codes][..., 0] != choices[codes][..., 1], 15, codes)
    given = with_codes(frozen, batch, choices)
    assert torch.equal(given.codes[..., 0], expected) and (expected != codes).any()

    # The decoder sees them, and the encoder is to find them.
    seen, denoise = [], run.model.denoise
    run.model.denoise = lambda *given: seen.append(given[3]) or denoise(*given)
    terms, _ = rate_distortion(run.model, run.recipe.helpers["palette"], given, TRAINING, 0)
    assert torch.equal(seen[0], run.model.vq.lookup(given.codes)) and torch.equal(terms.codes, given.codes)
    terms.total.backward()
    assert run.model.vq.codebooks.grad[0, 15].abs().sum() > 0


def test_a_run_from_a_model_parts_first_and_resumes_exactly(sheets, trained, tmp_path, monkeypatch):
    choices = torch.arange(CODES)[:, None].repeat(1, 2)
    choices[2] = choices[5] = torch.tensor([2, 5])
    monkeypatch.setattr("bcdcodec.training.recipes.sprites.SPLIT_BATCHES", 1)
    monkeypatch.setattr("bcdcodec.training.recipes.sprites.split_codes", lambda ema, batches, unused: choices)
    started = []

    def begin(out, steps, resume):
        options = RunOptions(
            sheets, out, steps, None, resume, "cpu", 3, procedural_groups=1, from_model=None if resume else trained
        )
        run = Trainer(SpritesRecipe(TINY, TRAINING), options)
        started.append((run.begin, run.recipe.splitting(run), run.recipe.choices.tolist()))
        return run

    check_resume_is_exact(begin, tmp_path)
    assert [begun for begun, _, _ in started] == [SPLIT_FROM] * len(started)
    assert all(parting for _, parting, _ in started) and all(kept == choices.tolist() for _, _, kept in started)
    assert '"split": [[2, 5]]' in next(tmp_path.glob("*/log.jsonl")).read_text()
