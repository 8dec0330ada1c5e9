"""Training on sprite sheets: what batches hold, exact resume, and a model that codes and swaps characters."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from sprite_sheets import TINY_SPRITES as TINY
from training_runs import check_resume_is_exact

from bcdcodec.errors import BcdError
from bcdcodec.models.latents import open_latents
from bcdcodec.models.sprites.model import SpritesModel
from bcdcodec.training.data.batches import to_pictures
from bcdcodec.training.data.run_data import RunOptions
from bcdcodec.training.data.sheets import split
from bcdcodec.training.data.sprite_batches import MOTION_OF, SpriteBatch, SpriteBatches, SpriteSampler
from bcdcodec.training.dead_codes import dead_codes, restart_codes
from bcdcodec.training.export import export_run
from bcdcodec.training.losses import PaletteReader, rarity
from bcdcodec.training.recipes.sprites import (
    SPRITES_SMALL,
    SpritesRecipe,
    code_choice,
    rate_distortion,
    swap_consistency,
)
from bcdcodec.training.redrawing import redrawn_content
from bcdcodec.training.trainer import Trainer

TRAINING = replace(SPRITES_SMALL, batches=SpriteBatches(batch=6), swap_from=0.0, restart_every=2)


def trainer(out, sheets, steps, resume=False, training=TRAINING):
    options = RunOptions(sheets, out, steps, None, resume, "cpu", 3, procedural_groups=1)
    return Trainer(SpritesRecipe(TINY, training), options)


def sampler(sheets, augmentation=True):
    return SpriteSampler.open("tiny", SpriteBatches(batch=6, augmentation=augmentation), 4, sheets, 0)


@pytest.fixture(scope="module")
def run(sheets, tmp_path_factory):
    """The folder of a finished run."""
    out = tmp_path_factory.mktemp("run")
    trainer(out, sheets, 4).run()
    return out


def test_content_and_driving_frames_are_different_frames_of_one_training_clip(sheets):
    drawn = sampler(sheets, augmentation=False)
    batch = drawn.batch(5)
    assert batch.content.shape == (6, 4, 3, 64, 64) and batch.target.shape == (6, 2, 3, 64, 64)
    assert torch.equal(batch.driving, batch.target)
    rng = np.random.default_rng((0, 5))
    characters, actions = rng.choice(drawn.characters, 6), rng.integers(0, 9, 6)
    for i, (character, action) in enumerate(zip(characters, actions)):
        assert character in split()[0]
        clip = {to_pictures(drawn.sheets.frame(int(character), int(m))).numpy().tobytes() for m in MOTION_OF[action]}
        frames = [frame.numpy().tobytes() for frame in (*batch.content[i], *batch.target[i])]
        assert set(frames) <= clip


def test_augmentation_changes_driving_and_content_but_never_the_target(sheets):
    plain, batch = sampler(sheets, augmentation=False).batch(1), sampler(sheets).batch(1)
    assert torch.equal(batch.target, plain.target)
    assert not torch.equal(batch.driving, plain.driving) and not torch.equal(batch.content, plain.content)
    flipped = [torch.equal(a, b.flip(-1)) for a, b in zip(batch.content, plain.content)]
    same = [torch.equal(a, b) for a, b in zip(batch.content, plain.content)]
    assert all(f or s for f, s in zip(flipped, same)) and any(flipped)
    black = (plain.driving == -1).all(2)
    assert (batch.driving.movedim(2, -1)[black] == -1).all()


def test_a_resumed_run_is_bit_for_bit_the_uninterrupted_one(tmp_path, sheets):
    check_resume_is_exact(lambda out, steps, resume: trainer(out, sheets, steps, resume), tmp_path)


def test_a_run_measures_the_four_cases_and_writes_a_picture(run):
    held_out = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()][-1]["held_out"]
    assert {"psnr_self", "psnr_other_action", "psnr_other_character", "psnr_both", "codes_used"} <= set(held_out)
    assert list(run.glob("look-*.png"))


def test_a_code_hardly_used_halves_one_that_two_pictures_of_a_clip_share(tmp_path, sheets):
    run = trainer(tmp_path / "run", sheets, 8)
    run.train_step()
    run.counts[0] = 1.0
    run.counts[0, 5] = 0.0
    with torch.no_grad():  # of one code for everything: the others are far away
        run.model.vq.codebooks[0, 1:] += 100
    before = run.model.vq.codebooks.detach().clone()
    run.recipe.restart(run, dead_codes(run.counts))
    after = run.model.vq.codebooks.detach()
    assert (after != before).any(-1)[0].nonzero().flatten().tolist() == [0, 5]
    assert torch.allclose(after[0, 0] + after[0, 5], 2 * before[0, 0], atol=1e-4) and run.counts[0, 5] > 0
    batch = run.recipe.batch(run)
    codes = run.model.vq.distances(run.model.vq.features(run.model.motion(batch.driving))).argmin(-1)
    assert set(codes.unique().tolist()) == {0, 5}


def test_where_no_clip_shares_a_code_it_becomes_the_worst_frames_feature(tmp_path, sheets):
    vq = trainer(tmp_path / "run", sheets, 8).model.vq
    features, errors = torch.randn(6, 1, 1, vq.config.dim), torch.zeros(6, 1)
    errors[4] = 1.0
    unused = torch.zeros(1, vq.config.codes, dtype=torch.bool)
    unused[0, 5] = True
    assert restart_codes(vq, unused, features, errors).nonzero().tolist() == [[0, 5]]
    assert torch.equal(vq.codebooks[0, 5].detach(), features[4, 0, 0])


def test_motions_of_different_clips_under_one_code_get_two(tmp_path, sheets):
    vq = trainer(tmp_path / "run", sheets, 8).model.vq
    width = vq.config.dim
    torch.manual_seed(1)
    with torch.no_grad():
        vq.codebooks.copy_(10 * torch.randn_like(vq.codebooks))
    one, other = vq.codebooks[0, 3].detach().clone(), vq.codebooks[0, 7].detach().clone()
    apart = 5 * torch.nn.functional.normalize(torch.randn(width), dim=0)
    # Clips of code 7 that differ a little within themselves, and of code 3 that never do, but from clip to clip.
    middles = torch.stack([one + apart] * 4 + [one - apart] * 4 + [other] * 8)[:, None].expand(-1, 2, -1)
    features = middles + 0.05 * torch.randn(16, 2, width)
    unused = torch.zeros(1, vq.config.codes, dtype=torch.bool)
    unused[0, 5] = True
    assert restart_codes(vq, unused, features[:, :, None], torch.zeros(16, 2)).nonzero()[:, 1].tolist() == [3, 5]
    codes = vq.distances(features[:, :, None]).argmin(-1)[:, :, 0]
    assert {frozenset(codes[:4].flatten().tolist()), frozenset(codes[4:8].flatten().tolist())} == {
        frozenset({3}),
        frozenset({5}),
    }


def test_a_code_is_halved_by_what_is_decoded_badly_rather_than_by_looks(tmp_path, sheets):
    vq = trainer(tmp_path / "run", sheets, 8).model.vq
    width = vq.config.dim
    torch.manual_seed(2)
    with torch.no_grad():
        vq.codebooks.copy_(20 * torch.randn_like(vq.codebooks))
    code = vq.codebooks[0, 3].detach().clone()
    motion, looks = torch.linalg.qr(torch.randn(width, 2))[0].T
    # Two motions 2 apart, the second decoded badly; looks, 6 apart, that both have.
    of_motion, of_looks = (
        torch.tensor(x).repeat_interleave(r).repeat(32 // 2 // r) for x, r in (([-1.0, 1.0], 1), ([-3.0, 3.0], 2))
    )
    features = (code + of_motion[:, None] * motion + of_looks[:, None] * looks + 0.05 * torch.randn(32, width))[
        :, None, None
    ]
    errors = torch.where(of_motion > 0, 1.0, 0.01)[:, None]
    unused = torch.zeros(1, vq.config.codes, dtype=torch.bool)
    unused[0, 5] = True
    assert restart_codes(vq, unused, features, errors).nonzero()[:, 1].tolist() == [3, 5]
    codes = vq.distances(features).argmin(-1)[:, 0, 0]
    assert set(codes[of_motion > 0].tolist()) == {5} and set(codes[of_motion < 0].tolist()) == {3}


def test_an_exported_model_has_the_given_name_and_swaps_characters(run, sheets, tmp_path):
    import bcdcodec

    report = export_run(run, tmp_path / "model", sheets, None, name="dolls")
    codec = bcdcodec.load(tmp_path / "model")
    assert codec.config.name == "dolls" and report.clips == 160
    store = sampler(sheets).sheets
    a, b = codec.encode(store.clip(3, 1), 8), codec.encode(store.clip(900, 7), 8)
    assert codec.decode(a, content=b).shape == (8, 64, 64, 3)
    assert a.motions[0].codes.shape == (8, 1)


def test_training_on_sprites_without_sheets_is_refused(tmp_path, run):
    with pytest.raises(BcdError, match="--data"):
        trainer(tmp_path / "run", None, 2)
    with pytest.raises(BcdError, match="--data"):
        export_run(run, tmp_path / "model", None, None)


def test_motion_of_a_frame_read_alone_is_the_same_beside_any_other_frames():
    torch.manual_seed(0)
    model = SpritesModel(TINY).eval()
    z = torch.randn(1, 5, 3, 64, 64)
    alone = torch.cat([model.motion(z[:, i : i + 1]) for i in range(5)], 1)
    assert torch.allclose(model.motion(z), alone, atol=1e-5)
    assert torch.allclose(model.encode(z)[1], alone, atol=1e-5)


def test_masked_content_leaves_no_trace_in_the_decoded_picture():
    torch.manual_seed(0)
    model = SpritesModel(TINY).eval()
    for p in model.decoder.parameters():
        torch.nn.init.normal_(p, std=0.1)
    n, d = TINY.content.tokens, TINY.content.dim
    x, sigma, motion = (torch.randn(1, 2, 3, 64, 64), torch.full((1,), 80.0), torch.randn(1, 2, TINY.motion_channels))
    one, other = (torch.randn(1, n, d) for _ in range(2))

    def picture(content, keep):
        return model.denoise(x, sigma, content, motion, torch.tensor([keep]))

    assert torch.equal(picture(one, 0.0), picture(other, 0.0))
    assert not torch.allclose(picture(one, 1.0), picture(other, 1.0))


def test_normalised_pixels_come_back_as_they_were():
    latents = open_latents(TINY.latent, "cpu")
    pictures = torch.rand(2, 3, 64, 64) * 2 - 1
    z = latents.encode(pictures)
    assert torch.allclose(latents.decode(z), pictures, atol=1e-6) and not torch.allclose(z, pictures)


def test_swap_consistency_asks_for_motion_and_content_back(tmp_path, sheets):
    losses = {}
    for weight in (0.0, 1.0):
        training = replace(TRAINING, swap_content_weight=weight)
        run = trainer(tmp_path / f"run-{weight}", sheets, 4, training=training)
        torch.manual_seed(1)
        batch = run.recipe.batch(run)
        terms, content = rate_distortion(run.model, run.recipe.helpers["palette"], batch, training, 0)
        loss = swap_consistency(run.model, run.ema.eval(), content, terms.codes, training)
        loss.backward()
        losses[weight] = loss.item()
        assert run.model.decoder.to_residual.weight.grad.abs().sum() > 0
    assert losses[1.0] > losses[0.0]


def test_redrawn_content_has_its_own_looks_and_the_motion_of_another_clip(tmp_path, sheets):
    run = trainer(tmp_path / "run", sheets, 4)
    frozen = run.ema.eval()
    batch = run.recipe.batch(run)
    asked = []

    def denoise_at_max(noise, content, motion):
        asked.append((content, motion))
        return torch.full_like(noise, 0.25)

    frozen.denoise_at_max = denoise_at_max
    redrawn = redrawn_content(frozen, batch, 0.5)
    assert (redrawn.content[:3] == 0.25).all() and torch.equal(redrawn.content[3:], batch.content[3:])  # half of six
    assert torch.equal(redrawn.target, batch.target) and torch.equal(redrawn.driving, batch.driving)
    tokens = frozen.encode(batch.content[:3])[0]
    assert (asked[0][0] - tokens).abs().max() < TINY.content.step
    for clip, other in ((0, 2), (1, 0), (2, 1)):
        assert torch.equal(asked[0][1][clip], frozen.vq.quantise(frozen.motion(batch.content[other][None]))[0])


def test_the_choice_of_codes_is_the_one_the_decoder_does_best_with(tmp_path, sheets):
    run = trainer(tmp_path / "run", sheets, 4)
    torch.manual_seed(1)
    batch = run.recipe.batch(run)
    _, content = rate_distortion(run.model, run.recipe.helpers["palette"], batch, TRAINING, 0)
    few = SpriteBatch(*(part[:4, :1] for part in (batch.content, batch.driving, batch.target)))
    best = 7  # a decoder that shows the truth for this code and grey for all others

    def denoise_at_max(noise, content, motion):
        right = (motion == run.ema.vq.lookup(torch.tensor([[[best]]]))).all(-1)[..., None, None, None]
        return torch.where(right, few.target.expand_as(noise), torch.zeros_like(noise))

    run.ema.eval().denoise_at_max = denoise_at_max
    loss = code_choice(run.model, run.ema, content[:4], few, run.log2_p(), TINY.quantiser.codes)
    features = run.ema.vq.features(run.model.motion(batch.driving[:4, :1]))
    log_p = torch.log_softmax(-TINY.quantiser.alpha * run.model.vq.distances(features)[:, 0, 0], -1)
    assert loss.item() == pytest.approx(-log_p[:, best].mean().item(), rel=1e-5)


def test_the_palette_is_read_from_tokens_that_hold_it_and_not_from_constant_ones():
    torch.manual_seed(0)
    reader = PaletteReader(6)
    looks = torch.randint(0, 2, (32, 6)).float()  # six things that have one of two colours each
    red = torch.linspace(-0.9, 0.9, 6).expand(32, 6)
    pictures = torch.stack([red, 1.8 * looks - 0.9, torch.zeros(32, 6)], 1)[:, None, :, :, None].expand(-1, 2, 3, 6, 4)
    errors = []
    for tokens in (looks, torch.ones_like(looks)):
        solver = torch.optim.Adam(reader.parameters(), lr=0.1)
        for _ in range(150):
            solver.zero_grad()
            error = reader.error(tokens[:, :, None], pictures)
            error.backward()
            solver.step()
        errors.append(error.item())
    assert errors[0] < 0.05 and errors[1] > 0.9


def test_errors_at_colours_that_few_pixels_of_a_clip_have_weigh_more():
    pictures = torch.full((2, 2, 3, 8, 8), -1.0)
    pictures[0, :, 0, 2:6, 2:6] = 0.5  # 32 of the clip's 128 pixels
    pictures[0, 0, 1, 3, 3:5] = 0.5  # 2 of them have another colour
    weight = rarity(pictures, 0.5)
    assert weight.shape == (2, 2, 1, 8, 8) and weight.mean((1, 2, 3, 4)).tolist() == pytest.approx([1.0, 1.0])
    black, red, rare = weight[0, 1, 0, 0, 0], weight[0, 1, 0, 2, 2], weight[0, 0, 0, 3, 3]
    assert (red / black).item() == pytest.approx((96 / 30) ** 0.5) and (rare / red).item() == pytest.approx(15**0.5)
    assert torch.allclose(weight[1], torch.ones_like(weight[1]))  # a clip of one colour
