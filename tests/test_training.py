"""Training: batches are functions of the step, a resumed run is the same run, and the objective does what it says."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from training_runs import check_resume_is_exact

from bcdcodec.errors import BcdError
from bcdcodec.models.heads.model import HeadsModel
from bcdcodec.models.latents import open_latents
from bcdcodec.models.warp import warp
from bcdcodec.presets import TINY
from bcdcodec.training.checkpoint import load_sharded, save_sharded
from bcdcodec.training.data.batches import BatchSampler, ClipBatches, mirrored_flow, to_pictures
from bcdcodec.training.data.clips import load_store, split_of
from bcdcodec.training.data.procedural_pairs import load_pairs
from bcdcodec.training.data.run_data import RunOptions, procedural_clips
from bcdcodec.training.evaluate import evaluate
from bcdcodec.training.recipes.heads import AGAIN_FROM, TINY as TRAINING, HeadsRecipe
from bcdcodec.training.trainer import Trainer

FAST = replace(TRAINING, optimiser=replace(TRAINING.optimiser, warmup_steps=1))


def options(out, steps, resume=False):
    return RunOptions(
        data=None, out=out, steps=steps, minutes=None, resume=resume, device="cpu", seed=3, procedural_groups=4
    )


def trainer(out, cache, steps, resume=False, training=TRAINING):
    out.mkdir(parents=True, exist_ok=True)
    if not (out / "data").exists():
        (out / "data").symlink_to(cache)
    return Trainer(HeadsRecipe(TINY, training), options(out, steps, resume))


def test_a_resumed_run_is_bit_for_bit_the_uninterrupted_one(tmp_path, cache):
    check_resume_is_exact(lambda out, steps, resume: trainer(out, cache, steps, resume), tmp_path)


def test_a_run_is_not_overwritten_without_resume(tmp_path, cache):
    run = trainer(tmp_path / "run", cache, 2)
    run.train_step()
    run.save()
    with pytest.raises(BcdError, match="--resume"):
        trainer(tmp_path / "run", cache, 2)


def test_training_lowers_the_distortion_and_logs_hard_and_soft_bits(tmp_path, cache):
    run = trainer(tmp_path / "run", cache, 60, training=replace(FAST, lr=3e-3))
    batch = run.recipe.sampler.batch(0, 0.0, temporal=False)
    run.recipe.sampler.batch = lambda step, progress, temporal: batch
    records = [run.train_step() for _ in range(40)]
    assert np.mean([r["distortion"] for r in records[-8:]]) < 0.95 * np.mean([r["distortion"] for r in records[:8]])
    assert {"H_model", "hard_bits", "mutual_information", "psnr_at_max"} <= set(records[0])
    # 8 groups of 8 codes carry at most 24 bits; under tables of other frames hard codes may cost a little more.
    assert 0 < records[-1]["H_model"] <= 24.01 and 0 < records[-1]["hard_bits"] < 40


def test_a_whole_run_leaves_checkpoint_log_and_picture(tmp_path, cache):
    run = trainer(tmp_path / "run", cache, 3)
    run.run()
    held_out = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()][-1]["held_out"]
    assert {"psnr_self", "psnr_cross", "psnr_cross_still", "hard_bits", "codes_used"} <= set(held_out)
    assert list((tmp_path / "run").glob("look-*.png")) and (tmp_path / "run" / "checkpoint" / "state.json").exists()


@pytest.mark.parametrize("frames", [7, 1], ids=["clips shorter than two windows", "photos"])
def test_short_validation_clips_are_measured_as_far_as_they_go(cache, frames):
    clips, pairs = procedural_clips(5, 3, 32, cache), load_pairs(4, 0, 4, 2, 2, 32, cache)
    short = replace(clips, lengths=np.full(3, frames))
    torch.manual_seed(0)
    model, log2_p = HeadsModel(TINY), torch.full((8, 8), -3.0)
    latents = open_latents(TINY.latent, "cpu")
    measures, picture = evaluate(model, latents, short, pairs, log2_p, False)
    assert np.isfinite(measures.psnr_cross) and np.isfinite(measures.psnr_self) == (frames > 1)
    assert picture.shape == ((6 if frames > 1 else 3) * 32, 7 * 32, 3)
    nothing, picture = evaluate(model, latents, replace(clips, lengths=np.ones(3, int)), None, log2_p, False)
    assert np.isnan(nothing.hard_bits) and picture.shape == (32, 32, 3)


def test_batches_depend_on_seed_and_step_alone(cache):
    clips = procedural_clips(5, 3, 32, cache)
    pairs = load_pairs(4, 0, 4, 2, 2, 32, cache)
    a, b = (BatchSampler(ClipBatches(4, 4), clips, pairs, 1) for _ in range(2))
    a.batch(0, 0.0)
    assert torch.equal(a.batch(7, 0.2).target, b.batch(7, 0.2).target)
    assert not torch.equal(a.batch(8, 0.2).target, b.batch(7, 0.2).target)


def test_stage_one_has_more_clips_of_fewer_frames(cache):
    sampler = BatchSampler(
        ClipBatches(4, 4), procedural_clips(5, 3, 32, cache), load_pairs(4, 0, 4, 2, 2, 32, cache), 1
    )
    one, two = sampler.batch(0, 0.0, temporal=False), sampler.batch(0, 0.9, temporal=True)
    assert one.target.shape[:2] == (8, 2) and two.target.shape[:2] == (4, 4)


def test_a_procedural_pair_shows_another_person_in_the_driving_motion(cache):
    pairs = load_pairs(4, 0, 4, 2, 2, 32, cache)
    same_people = pairs.driven[0, 0].astype(int) - pairs.driven[0, 1].astype(int)
    assert np.abs(same_people).mean() > 5
    assert pairs.flow.shape == (4, 3, 4, 2, 4, 8, 8)


def test_encoder_codes_flow_fields_and_the_stills_filter_rest_while_the_decoder_learns(tmp_path, cache):
    run = trainer(tmp_path / "run", cache, 4, training=FAST)

    def parts():
        names = {
            "encoder": run.model.encoder,
            "codes": run.model.vq,
            "flow": run.model.flow_basis,
            "still": run.model.denoiser,
            "decoder": run.model.decoder,
        }
        return {name: [v.clone() for v in part.state_dict().values()] for name, part in names.items()}

    before = parts()
    run.train_step()
    assert {name for name, after in parts().items() if not all(map(torch.equal, before[name], after))} == {"decoder"}


def test_a_run_begins_with_the_weights_of_a_model(tmp_path, cache, tiny_model):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "data").symlink_to(cache)
    begun = replace(options(tmp_path / "run", 4), from_model=str(tiny_model))
    run = Trainer(HeadsRecipe(TINY, TRAINING), begun)
    theirs = load_sharded(tiny_model, "weights")
    assert all(torch.equal(v.float(), theirs[k].float()) for k, v in run.model.state_dict().items())
    assert run.progress == AGAIN_FROM
    run.train_step()
    assert run.progress == AGAIN_FROM + (1 - AGAIN_FROM) / 4
    assert any(
        not torch.equal(v.float(), theirs[k].float())
        for k, v in run.model.decoder.state_dict(prefix="decoder.").items()
    )
    run.save()
    on = Trainer(HeadsRecipe(TINY, TRAINING), replace(begun, resume=True, from_model=None))
    assert on.progress == run.progress and on.origin == run.origin and on.origin.startswith("tiny ")


def test_parts_that_a_model_lacks_begin_anew_and_another_shape_is_refused(tmp_path, cache, tiny_model):
    older = tmp_path / "older"
    shutil.copytree(tiny_model, older)
    weights = {k: v for k, v in load_sharded(older, "weights").items() if not k.startswith("refiner.")}
    save_sharded(weights, older, "weights", None)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "data").symlink_to(cache)
    run = Trainer(HeadsRecipe(TINY, TRAINING), replace(options(tmp_path / "run", 4), from_model=str(older)))
    assert run.progress == TRAINING.adversarial_from, "the refiner learns alone"
    assert not run.model.refiner.unet.draw.weight.any() and run.ema.refiner.unet.draw.weight.shape == (16, 4, 3, 3)
    weights = {k: v for k, v in weights.items() if not k.startswith("denoiser.")}
    for file in older.glob("weights-*"):
        file.unlink()
    save_sharded(weights, older, "weights", None)
    with pytest.raises(BcdError, match="preset tiny: it has no weights of denoiser, no weights of refiner"):
        Trainer(HeadsRecipe(TINY, TRAINING), replace(options(tmp_path / "run", 4), from_model=str(older)))
    wide = replace(TINY, decoder=replace(TINY.decoder, width=64))
    with pytest.raises(BcdError, match=r"no model of preset tiny: size mismatch for decoder"):
        Trainer(HeadsRecipe(wide, TRAINING), replace(options(tmp_path / "run", 4), from_model=str(older)))


def test_a_mirrored_pair_is_as_true_as_the_other(cache):
    pairs = load_pairs(4, 0, 4, 2, 2, 32, cache)
    content, driven = (to_pictures(part[1, 0]).flip(-1) for part in (pairs.content, pairs.driven))
    flow = mirrored_flow(torch.from_numpy(pairs.flow[1, 0, :, 0].astype(np.float32)))  # [t, 4, gh, gw]

    def error(shift):
        return (warp(content[:1].expand(4, -1, -1, -1), shift) - driven).square().mean()

    assert error(flow[:, :2]) < 0.8 * error(-flow[:, :2])


def test_what_drives_a_clip_is_aligned_and_decoded_with_the_content_of_another(cache):
    """A procedural head drives through another picture of itself; footage through the still that its tokens hold."""
    sampler = BatchSampler(
        ClipBatches(4, 4), procedural_clips(5, 3, 32, cache), load_pairs(4, 0, 4, 2, 2, 32, cache), 1
    )
    batch = sampler.batch(0, 0.0)
    assert batch.own.shape == (2, 3, 32, 32) and len(batch.target) == 4
    pairs = [sampler.pairs.content[g, p, 0] for g in range(4) for p in range(3)]
    for own, driving in zip(batch.own, batch.driving):
        near = [np.square(driving[0].movedim(0, -1).numpy() - x / 127.5 + 1).mean() for x in pairs]
        best = to_pictures(pairs[int(np.argmin(near))])
        assert min((own - x).abs().mean() for x in (best, best.flip(-1))) < 0.5


def test_a_manifest_keeps_validation_files_out_of_training(tmp_path):
    (tmp_path / "manifest.csv").write_text("file,split\na.mp4,train\nb.mp4,val\nc.mp4,raw\n")
    files = split_of(tmp_path)
    assert [p.name for p in files["train"]] == ["a.mp4"] and [p.name for p in files["val"]] == ["b.mp4"]


def test_without_a_manifest_some_files_are_held_out_and_none_is_in_both(tmp_path):
    for i in range(40):
        (tmp_path / f"{i}.mp4").touch()
    files = split_of(tmp_path)
    assert files["val"] and not set(files["train"]) & set(files["val"])
    assert len(files["train"]) + len(files["val"]) == 40


@pytest.mark.parametrize("name", [f"{i}.mp4" for i in range(30)])
def test_one_file_alone_is_in_both(tmp_path, name):
    (tmp_path / name).touch()
    assert split_of(tmp_path)["train"] == split_of(tmp_path)["val"] == [tmp_path / name]


@pytest.mark.parametrize("make", [lambda p: p / "none", lambda p: p], ids=["missing folder", "empty folder"])
def test_a_folder_without_video_is_refused(tmp_path, make):
    with pytest.raises(BcdError, match="folder|no video"):
        split_of(make(tmp_path))


def test_an_unreadable_file_is_left_out_and_named(tmp_path):
    from bcdcodec.video import encode_png

    (tmp_path / "bad.mp4").write_bytes(b"no video")
    (tmp_path / "good.png").write_bytes(encode_png(np.zeros((40, 40, 3), np.uint8)))
    (tmp_path / "manifest.csv").write_text("file,split\nbad.mp4,train\ngood.png,train\n")
    store = load_store(tmp_path, "train", 32, tmp_path / "cache")
    assert store.names == ("good.png",) and store.clip(0).shape == (1, 32, 32, 3)
    assert "bad.mp4" in next((tmp_path / "cache").glob("*.json")).read_text()


def test_shards_hold_every_tensor_and_respect_the_limit(tmp_path):
    tensors = {f"t{i}": torch.randn(300_000) for i in range(4)}  # 1.14 MiB each
    save_sharded(tensors, tmp_path, "model", 2)
    assert len(list(tmp_path.glob("model-*.safetensors"))) == 4
    loaded = load_sharded(tmp_path, "model")
    assert all(torch.equal(loaded[k], v) for k, v in tensors.items())
