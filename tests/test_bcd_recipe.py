"""The training of the paper's model: cross-driven halves, the loss of equation 8, stages, exact resume."""

from __future__ import annotations

import json
import os
import re
import signal
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from test_bcd_model import TINY
from training_runs import check_resume_is_exact

from bcdcodec import load, read, write
from bcdcodec.config import LatentConfig
from bcdcodec.errors import ModelError
from bcdcodec.models import bcd as package
from bcdcodec.models.bcd.config import BCDDecoderConfig
from bcdcodec.models.bcd.group_vq import entropy
from bcdcodec.models.bcd.presets import SPRITES_BCD
from bcdcodec.training import export
from bcdcodec.training.data.clips import ClipStore
from bcdcodec.training.data.halves import ClipHalves, SheetHalves
from bcdcodec.training.data.run_data import RunOptions
from bcdcodec.training.data.sprite_batches import MOTION_OF, SpriteClips
from bcdcodec.training.presets import open_recipe
from bcdcodec.training.recipes import bcd as recipe
from bcdcodec.training.recipes.bcd import SPRITES_BCD_TRAINING, SPRITES_TRAINING, BCDRecipe
from bcdcodec.training.trainer import Trainer

SMALL = replace(
    TINY,
    latent=LatentConfig(kind="pixels", picture_size=64, size=64, channels=3),
    decoder=BCDDecoderConfig(width=16, ff=32, depth=2, heads=2, patch=32, temporal_indices=(0,)),
    content=replace(TINY.content, frames=4),
    quantiser=replace(TINY.quantiser, groups=1, dim=8),
    diffusion=replace(TINY.diffusion, steps=2),
    window=replace(TINY.window, length=4),
)
TRAINING = replace(SPRITES_BCD_TRAINING, batch=3, warmup_encoder=100)


def open_run(sheets, out, steps=6, resume=False, training=TRAINING) -> Trainer:
    return Trainer(BCDRecipe(SMALL, training), RunOptions(sheets, out, steps, None, resume, "cpu", 0, 4))


def numbered(*lengths: int) -> ClipStore:
    """Clips whose pixels all hold the number of the frame, 2 pixels a side."""
    frames = np.concatenate([np.arange(n, dtype=np.uint8) for n in lengths])
    ends = np.cumsum(lengths)
    pictures = np.broadcast_to(frames[:, None, None, None], (len(frames), 2, 2, 3))
    return ClipStore(pictures, ends - lengths, np.array(lengths), tuple(map(str, lengths)))


def numbers(pictures: torch.Tensor) -> list[list[int]]:
    """Frame numbers [b, t] of pictures of `numbered`."""
    return ((pictures[..., 0, 0, 0] + 1) * 127.5).round().int().tolist()


def test_the_second_half_of_a_clip_drives_every_second_frame():
    halves = ClipHalves(numbered(9, 4), numbered(7, 3), frames=2, stride=2, seed=0)
    for step in range(5):
        batch = halves.batch(step, 3)
        for content, driving in zip(numbers(batch.content), numbers(batch.driving)):
            assert content + driving == [content[0] + 2 * i for i in range(4)]
    assert [numbers(h.content) + numbers(h.driving) for h in halves.held_out()] == [[[0, 2], [4, 6]]]


def test_clips_too_short_for_two_halves_are_refused():
    with pytest.raises(ModelError, match="the longest of 2 training clips has 6 frames, a training clip needs 7"):
        ClipHalves(numbered(6, 4), numbered(6), frames=2, stride=2, seed=0)


class NumberedSheets:
    """Frames whose pixels hold motion frame and character."""

    def frames(self, characters: np.ndarray, motions: np.ndarray) -> np.ndarray:
        return np.stack([motions, characters % 256, 0 * motions], axis=-1).astype(np.uint8)[:, None, None]


def test_one_half_of_a_sprite_drives_and_the_other_does_not_tell_its_motion():
    batch = SheetHalves(NumberedSheets(), seed=0).batch(0, 300)
    content, driving = (((x[..., 0, 0] + 1) * 127.5).round().int() for x in (batch.content, batch.driving))
    assert torch.equal(content[..., 1:], driving[..., 1:])  # one character
    motions = torch.cat([content, driving], 1)[..., 0].tolist()
    in_a_row = {(*MOTION_OF[a], *MOTION_OF[b])[i : i + 8] for a in range(9) for b in range(9) for i in range(9)}
    assert {tuple(clip) for clip in motions} <= in_a_row
    following = defaultdict(set)
    for clip in motions:
        following[tuple(clip[:4])].add(tuple(clip[4:]))
    assert max(len(halves) for halves in following.values()) >= 4


def test_the_target_is_below_the_entropy_of_the_motion_in_a_batch():
    """Else only flat distributions reach it."""
    halves = SheetHalves(NumberedSheets(), seed=0)
    for step in range(20):
        motions = ((halves.batch(step, SPRITES_BCD_TRAINING.batch).driving[:, :, 0, 0, 0] + 1) * 127.5).round().int()
        share = motions.flatten().bincount(minlength=63) / motions.numel()
        assert entropy(share) > SPRITES_BCD.quantiser.target_bits


def test_batches_are_a_function_of_seed_and_step(sheets):
    a, b = SheetHalves.open(sheets, seed=1), SheetHalves.open(sheets, seed=2)
    assert torch.equal(a.batch(4, 3).driving, SheetHalves.open(sheets, seed=1).batch(4, 3).driving)
    assert not torch.equal(a.batch(4, 3).driving, b.batch(4, 3).driving)


def test_loss_is_distortion_and_the_squared_error_of_the_rate(sheets, tmp_path):
    run = open_run(sheets, tmp_path)
    torch.manual_seed(0)
    losses = run.recipe.losses(run, run.recipe.batch(run))
    missed = losses.rate.H_model - SMALL.quantiser.target_bits
    torch.testing.assert_close(losses.total, losses.distortion + 0.04 * missed**2)


def test_the_encoder_reaches_its_rate_later_than_the_decoder(sheets, tmp_path):
    """Else the rate term, which alone drives the encoder at first, flattens the distributions over the codes."""
    run = open_run(sheets, tmp_path, training=replace(TRAINING, warmup_encoder=1000))
    run.step = 99
    assert [run.recipe.learning_rate(run, part) for part in ("decoder", "encoder")] == [1.0, 0.1]


def test_a_run_begins_with_motion_that_is_spread_over_the_codes(sheets, tmp_path):
    run = open_run(sheets, tmp_path)
    m = run.model.motion(run.recipe.batch(run).driving).flatten(0, 1)
    assert torch.equal(run.ema.encoder.to_motion.weight, run.model.encoder.to_motion.weight)
    assert 0.5 < m.std(0).mean() < 1.5 and m.mean(0).abs().mean() < 0.5


def test_every_equation_is_found_by_its_number():
    files = [*Path(package.__file__).parent.glob("*.py"), Path(recipe.__file__)]
    found = set()
    for match in re.finditer(r"(?<!EDM's )[Ee]quation (\d+)", "".join(file.read_text() for file in files)):
        found.add(int(match.group(1)))
    assert found >= set(range(1, 14))
    assert sum(len(file.read_text().splitlines()) for file in files) <= 900


def test_everything_learns_but_for_temporal_blocks_in_the_first_stage(sheets, tmp_path):
    run = open_run(sheets, tmp_path, steps=4, training=replace(TRAINING, temporal_from=0.5))
    before = {name: p.clone() for name, p in run.model.named_parameters()}

    def resting():
        return {name for name, p in run.model.named_parameters() if torch.equal(p, before[name])}

    run.train_step()
    run.train_step()
    assert {name for name in before if "temporal" in name} <= resting()
    assert run.recipe.learning_rate(run, "encoder") == 0.5 * run.recipe.learning_rate(run, "decoder")
    for _ in range(2):
        run.train_step()
    assert {name for name in resting() if "null" not in name} == set()


def test_temperature_falls_to_its_minimum():
    assert SPRITES_TRAINING.temperature(0) == 2.0
    assert SPRITES_TRAINING.temperature(100_000) == pytest.approx(2.0 * np.exp(-0.28), rel=1e-3)
    assert SPRITES_TRAINING.temperature(10**6) == 0.5


def test_a_run_continues_exactly(sheets, tmp_path):
    check_resume_is_exact(lambda out, steps, resume: open_run(sheets, out, steps, resume), tmp_path)


def test_a_terminated_run_goes_on_where_it_was(sheets, tmp_path):
    run = open_run(sheets, tmp_path)
    step = run.train_step

    def terminated_step():
        if run.step == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return step()

    run.train_step = terminated_step
    run.run()
    assert run.step == 3 and open_run(sheets, tmp_path, resume=True).step == 3


def test_a_run_logs_soft_and_hard_bits_information_and_held_out_measures(sheets, tmp_path):
    run = open_run(sheets, tmp_path, steps=10)
    run.run()
    step, held_out = map(json.loads, (tmp_path / "log.jsonl").read_text().splitlines())
    assert {"distortion", "H_model", "hard_bits", "mutual_information", "temperature"} <= step.keys()
    found = held_out["held_out"]
    assert 0 <= found["hard_bits"] <= 8 and 0 <= found["action_accuracy"] <= 1 and 1 <= found["codes_used"] <= 4
    assert 0 < min(found["psnr"], found["psnr_one_step"], found["cross"], found["cross_one_step"])


def test_an_exported_model_codes_and_decodes_a_clip(sheets, tmp_path, monkeypatch):
    monkeypatch.setattr(export, "CONTENT_CLIPS", 4)
    run = open_run(sheets, tmp_path / "run", steps=2)
    run.save()
    few = SpriteClips(run.recipe.halves.sheets, np.arange(2))
    export.export_model(tmp_path / "run" / "checkpoint", tmp_path / "model", [few], "# mine\n", 8, name="mine")
    codec = load(tmp_path / "model")
    recording = codec.encode(run.recipe.halves.sheets.clip(3, 2))
    write(tmp_path / "a.bcd", recording, tmp_path / "model")
    decoded = codec.decode(read(tmp_path / "a.bcd", tmp_path / "model"))
    assert codec.config.name == "mine" and decoded.shape == (8, 64, 64, 3)
    assert np.array_equal(decoded, codec.decode(recording))
    other = codec.encode(run.recipe.halves.sheets.clip(77, 5))
    assert codec.decode(recording, content=other, steps=1).shape == (8, 64, 64, 3)


@pytest.mark.parametrize("name", ["lrs3", "sprites", "sprites-bcd"])
def test_presets_of_the_paper_can_be_trained(name):
    assert open_recipe(name).config.name == name


def test_a_run_without_data_is_refused(bcd, tmp_path):
    result = bcd("train", "sprites-bcd", "--out", tmp_path / "run", "--steps", 1)
    assert result.code and "preset 'sprites-bcd' trains on sheets: give their folder with --data" in result.err
