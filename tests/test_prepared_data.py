"""Prepared training data: layouts, frame rate, cuts, tars, resume, and the order in which clips are read. Seconds."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from head_clips import head_frames, write_clip
from test_latents import vae  # noqa: F401  a fixture

from bcdcodec.config import LatentConfig
from bcdcodec.errors import BcdError, ModelError
from bcdcodec.models.latents import VaeLatents, to_unit
from bcdcodec.training.data import prepare as preparing
from bcdcodec.training.data.layouts import find_layout, videos_of
from bcdcodec.training.data.prepare import PrepareOptions, prepare
from bcdcodec.training.data.run_data import RunOptions
from bcdcodec.training.data.shard_halves import ShardHalves, ShardPictures
from bcdcodec.training.data.shards import (
    ShardClips,
    ShardRecord,
    ShardSettings,
    is_prepared,
    journal_records,
    latents_of,
)
from bcdcodec.training.data.steady import at_rate, steady_clips

OPTIONS = PrepareOptions(size=16, frames=6, crop="centre", layout="plain", shard_mib=1)


def numbered(count: int) -> list[np.ndarray]:
    """Pictures that hold their numbers."""
    return [np.full((8, 8, 3), i, np.uint8) for i in range(count)]


def shown(frames) -> list[tuple[int, int]]:
    return [(tick, int(picture[0, 0, 0])) for tick, picture in frames]


# ---- frame rate and cuts


def test_each_tick_has_the_picture_that_is_shown_then():
    same = at_rate(enumerate(numbered(4)), Fraction(1, 25), 25)
    assert shown(same) == [(0, 0), (1, 1), (2, 2), (3, 3)]
    half = at_rate(enumerate(numbered(4)), Fraction(1, 50), 25)
    assert shown(half) == [(0, 0), (1, 2)]
    twice = at_rate([(2 * i + 7, picture) for i, picture in enumerate(numbered(3))], Fraction(1, 25), 25)
    assert shown(twice) == [(0, 0), (1, 0), (2, 1), (3, 1), (4, 2), (5, 2)]


def test_thirty_frames_a_second_become_twenty_five():
    ticks = shown(at_rate(enumerate(numbered(30)), Fraction(1, 30), 25))
    assert [tick for tick, _ in ticks] == list(range(25))
    assert set(range(30)) - {number for _, number in ticks} == {5, 11, 17, 23, 29}


def test_a_picture_that_stands_still_ends_a_clip():
    frames = [(pts, picture) for pts, picture in zip([0, 1, 2, 50, 51, 52], numbered(6))]
    ticks = at_rate(frames, Fraction(1, 25), 25)
    clips = list(steady_clips(ticks, 3))
    assert [first for first, _ in clips] == [0, 3, 6, 50]  # six ticks more of the third picture, then nothing
    assert clips[-1][1][:, 0, 0, 0].tolist() == [3, 4, 5]


def test_a_clip_ends_at_a_cut():
    dark, light = (np.full((8, 8, 3), value, np.uint8) for value in (10, 200))
    clips = list(steady_clips(enumerate([dark] * 17 + [light] * 16), 5))
    assert [first for first, _ in clips] == [0, 5, 10, 17, 22, 27]
    assert all(clip.min() == clip.max() for _, clip in clips)


# ---- layouts


def touched(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


@pytest.mark.parametrize(
    "layout, train, val, person",
    [
        ("lrs3", ["pretrain/ab1/50001.mp4", "trainval/cd2/50001.mp4"], ["test/ef3/00001.mp4"], "ab1"),
        ("voxceleb", ["dev/mp4/id1/abc/00001.mp4", "dev/mp4/id2/xyz/00001.mp4"], ["test/mp4/id3/abc/1.mp4"], "id1"),
    ],
)
def test_published_layouts_give_split_and_person(tmp_path, layout, train, val, person):
    touched(tmp_path, *train, *val, train[0].replace(".mp4", ".txt"))
    assert find_layout(tmp_path) == layout
    found = videos_of(tmp_path, "auto")
    assert [video.name for video in found["train"]] == train and [video.name for video in found["val"]] == val
    assert found["train"][0].person == person


def test_a_plain_folder_is_split_by_its_manifest(tmp_path):
    touched(tmp_path, "a.mp4", "b.mp4", "c.jpg")
    (tmp_path / "manifest.csv").write_text("file,split\na.mp4,train\nb.mp4,val\nc.jpg,train\n")
    found = videos_of(tmp_path, "auto")
    assert [v.name for v in found["train"]] == ["a.mp4"] and [v.name for v in found["val"]] == ["b.mp4"]


# ---- tars


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    """Three videos for training (two clips, one clip, too short), one that is none, and one for validation."""
    folder = tmp_path_factory.mktemp("raw")
    for i, (name, frames) in enumerate([("a", 14), ("b", 7), ("short", 4), ("v", 8)]):
        write_clip(folder / f"{name}.mp4", head_frames(i, frames, 32))
    (folder / "bad.mp4").write_bytes(b"no video")
    rows = ["a.mp4,train", "b.mp4,train", "bad.mp4,train", "short.mp4,train", "v.mp4,val"]
    (folder / "manifest.csv").write_text("\n".join(["file,split", *rows]))
    return folder


@pytest.fixture(scope="module")
def shards(raw, tmp_path_factory):
    pytest.importorskip("webdataset")
    out = tmp_path_factory.mktemp("shards")
    prepare(raw, out, OPTIONS)
    return out


def test_every_video_becomes_clips_or_a_reason(raw, tmp_path):
    pytest.importorskip("webdataset")
    report = prepare(raw, tmp_path, OPTIONS)
    assert (report.videos, report.clips, report.shards) == (5, 4, 2)
    assert set(report.skipped) == {"bad.mp4", "short.mp4"}
    assert report.skipped["short.mp4"] == "no 0.24 s without a cut or a picture that stands still"
    assert is_prepared(tmp_path) and not is_prepared(raw)
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("*.tar")}
    assert prepare(raw, tmp_path, OPTIONS) == report
    assert before == {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("*.tar")}
    with pytest.raises(ModelError, match="size=16.*asked for are .*size=32.*another --out"):
        prepare(raw, tmp_path, PrepareOptions(size=32, frames=6, crop="centre"))


def test_any_webdataset_reader_reads_the_tars(shards):
    import webdataset

    clips = list(webdataset.WebDataset(str(shards / "train-000-000000.tar"), shardshuffle=False))
    assert [json.loads(clip["json"])["source"] for clip in clips] == ["a.mp4", "a.mp4", "b.mp4"]
    assert [json.loads(clip["json"])["start_s"] for clip in clips] == [0, 0.24, 0]


def test_pictures_of_a_clip_are_those_of_the_video(shards, raw):
    clips = ShardClips(shards, "train", seed=0)
    store = ShardPictures(clips, most=2)
    assert len(clips) == 3 and len(store.lengths) == 2
    truth = head_frames(0, 14, 32).reshape(14, 16, 2, 16, 2, 3).mean((2, 4))
    assert np.abs(store.clip(1).astype(float) - truth[6:12]).mean() < 6


def test_a_killed_process_leaves_no_clip_twice(raw, tmp_path, monkeypatch):
    pytest.importorskip("webdataset")
    real, seen = preparing.read_frames, []

    def read_frames(path, *more, **options):
        seen.append(path.name)
        if path.name == "b.mp4" and seen.count("b.mp4") == 1:
            raise KeyboardInterrupt
        return real(path, *more, **options)

    monkeypatch.setattr(preparing, "read_frames", read_frames)
    with pytest.raises(KeyboardInterrupt):
        prepare(raw, tmp_path, OPTIONS)
    (tmp_path / "train-000.jsonl").write_text('{"shard": "trai')  # as after a power cut
    report = prepare(raw, tmp_path, OPTIONS)
    assert (report.videos, report.clips) == (5, 4)
    assert not list(tmp_path.glob(".*"))


def test_two_processes_share_the_videos(raw, tmp_path, shards):
    reports = [prepare(raw, tmp_path, replace(OPTIONS, part=i, parts=2)) for i in range(2)]
    assert sum(report.videos for report in reports) == 5 and sum(report.clips for report in reports) == 4
    assert len(ShardClips(tmp_path, "train", 0)) == len(ShardClips(shards, "train", 0)) == 3


def test_latents_are_kept_for_training_and_pictures_for_validation(raw, tmp_path, vae):  # noqa: F811
    pytest.importorskip("webdataset")
    options = replace(OPTIONS, size=64, vae=str(vae))
    prepare(raw, tmp_path, options)
    clips = ShardClips(tmp_path, "train", 0)
    latents = VaeLatents(str(vae), "cpu")
    assert clips.settings.vae_sha256 == latents.sha256()
    assert {name for shard, clip in [(0, 0), (0, 1)] for name in clips.read(shard, clip)} >= {"json", "safetensors"}
    assert sorted(ShardClips(tmp_path, "val", 0).read(0, 0)) == ["json", "mkv", "safetensors"]
    halves = ShardHalves.open(tmp_path, 64, frames=2, stride=1, seed=0)
    batch = halves.batch(0, 3)
    assert halves.latents and batch.content.shape == (3, 2, 4, 16, 16) and batch.content.dtype == torch.float32
    (held_out,) = halves.held_out()
    assert held_out.driving.shape == (1, 2, 3, 64, 64)
    own = latents.encode(to_unit(ShardPictures(ShardClips(tmp_path, "val", 0), 1).clip(0)))
    kept = latents_of(ShardClips(tmp_path, "val", 0).read(0, 0)).float()
    assert (kept - own).abs().mean() < 0.1 * own.abs().mean()


def test_face_crop_without_a_detector_is_refused_before_any_work(raw, tmp_path, monkeypatch):
    def missing():
        raise BcdError("no face detector is installed")

    monkeypatch.setattr(preparing, "find_detector", missing)
    with pytest.raises(BcdError, match="no face detector"):
        prepare(raw, tmp_path / "out", PrepareOptions())
    assert not (tmp_path / "out").exists()


# ---- order


@pytest.fixture
def many(tmp_path):
    """The journal of 40 tars of three to seven clips each; no tars."""
    (tmp_path / "shards.json").write_text(ShardSettings(16, 100, 25, "centre").text())
    records = [ShardRecord(f"{i}.tar", [(n, n + 1) for n in range(3 + i % 5)], [], [], {}) for i in range(40)]
    (tmp_path / "train-000.jsonl").write_text("".join(record.line() for record in records))
    (tmp_path / "val-000.jsonl").write_text(records[0].line())
    return tmp_path


def test_an_epoch_has_every_clip_once_and_the_next_another_order(many):
    clips = ShardClips(many, "train", seed=3)
    n = len(clips)
    assert n == 40 * 5
    first, second = ([clips.place(i + epoch * n) for i in range(n)] for epoch in (0, 1))
    assert max(Counter(first).values()) == max(Counter(second).values()) == 1
    assert first != second and first != [ShardClips(many, "train", seed=4).place(i) for i in range(n)]
    assert [ShardClips(many, "train", seed=3).place(i) for i in (150, 20, 399)] == [first[150], first[20], second[199]]
    assert len({shard for shard, _ in first[:16]}) > 4  # neighbours are of many tars


def test_the_clips_of_a_step_are_the_same_for_any_number_of_processes(many, monkeypatch):
    read = []
    monkeypatch.setattr(ShardHalves, "_read", lambda self, n: torch.full((100, 1), float(n)))
    for processes in (1, 2, 4):
        each = 8 // processes
        shares = [slice(i * each, (i + 1) * each) for i in range(processes)]
        parts = [ShardHalves.open(many, 16, 25, 2, seed=0) for _ in range(processes)]
        for step in (0, 1, 7):
            batches = [part.batch(step, 8, share).content[:, 0, 0] for part, share in zip(parts, shares)]
            read.append(torch.cat(batches).tolist())
    assert read[:3] == read[3:6] == read[6:] and read[2] == list(range(56, 64))


def test_clips_that_are_too_short_or_of_another_size_are_refused(many):
    with pytest.raises(ModelError, match="200 training clips of 100 frames, a training clip needs 119"):
        ShardHalves.open(many, 16, 30, 2, seed=0)
    with pytest.raises(ModelError, match="pictures of 16 pixels, the model takes 256"):
        ShardHalves.open(many, 256, 25, 2, seed=0)


def test_half_a_line_of_a_journal_is_passed_over():
    whole = ShardRecord("a.tar", [(0, 1)], [0], ["a"], {}).line()
    assert [record.shard for record in journal_records(whole + whole[:9])] == ["a.tar"]


def test_the_command_prepares_and_lists_what_it_left_out(bcd, raw, tmp_path):
    pytest.importorskip("webdataset")
    command = ("data", "prepare", raw, "--out", tmp_path, "--size", 16, "--frames", 6, "--crop", "centre")
    done = bcd(*command)
    assert done.code == 0 and "4 clips of 3 videos in 2 tars" in done.out and "left out: bad.mp4: " in done.err
    assert "--part is '2/2'" in bcd(*command, "--part", "2/2").err


def test_a_run_trains_on_prepared_clips_for_some_epochs(shards, sheets, tmp_path):
    from test_bcd_recipe import SMALL, TRAINING

    from bcdcodec.training.export import _stores
    from bcdcodec.training.recipes.bcd import BCDRecipe
    from bcdcodec.training.trainer import Trainer

    config = replace(
        SMALL,
        latent=LatentConfig(kind="pixels", picture_size=16, size=16, channels=3),
        decoder=replace(SMALL.decoder, patch=8),
        window=replace(SMALL.window, length=3),
    )
    training = replace(TRAINING, data="clips", batch=3)
    options = RunOptions(shards, tmp_path / "run", None, None, False, "cpu", 0, 4, epochs=2)
    run = Trainer(BCDRecipe(config, training), options)
    run.run()
    assert run.step == 2
    held_out = json.loads((tmp_path / "run/log.jsonl").read_text().splitlines()[-1])["held_out"]
    assert held_out["psnr_still"] > 0 and held_out["codes_used"] >= 1
    (store,) = _stores(config, shards, tmp_path)
    assert len(store.lengths) == 3 and store.clip(0).shape == (6, 16, 16, 3)
    sprites = RunOptions(sheets, tmp_path / "sprites", None, None, False, "cpu", 0, 4, epochs=2)
    with pytest.raises(ModelError, match="--epochs counts prepared clips"):
        Trainer(BCDRecipe(SMALL, TRAINING), sprites)
