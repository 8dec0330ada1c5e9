"""The Sprites measurements on cases whose answer is known, with made-up sheets."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sprite_sheets import TINY_SPRITES, write_sheets

from bcdcodec.benchmarks.sprites import ablations as module, paper_variants, variants
from bcdcodec.benchmarks.sprites.benchmark import Judges, Options, measure_model
from bcdcodec.benchmarks.sprites.classifier import classified_right, kept_classifier, labels, to_unit, train_classifier
from bcdcodec.benchmarks.sprites.information import entropy, expected_by_chance, measure_information, mutual_information
from bcdcodec.benchmarks.sprites.judge import ACTION_OF, ATTRIBUTES_OF, MOTION_OF, Judge, orthonormal
from bcdcodec.benchmarks.sprites.pairs import (
    BOTH,
    CASES,
    OTHER_ACTION,
    OTHER_CHARACTER,
    SELF,
    ClipSet,
    Pairs,
    draw_pairs,
    spread,
)
from bcdcodec.benchmarks.sprites.report import percent, write_report
from bcdcodec.benchmarks.sprites.transfer import decode_pairs
from bcdcodec.codec import load
from bcdcodec.errors import ModelError
from bcdcodec.training.data.halves import Halves
from bcdcodec.training.data.sheets import ACTIONS, CHARACTERS, MOTIONS, Sheets

PEOPLE = np.array([0, 7, 215, 1000, 1295])


@pytest.fixture(scope="module")
def sheets(sheets):
    return Sheets.load(sheets)


@pytest.fixture(scope="module")
def clips(sheets):
    return ClipSet.render(sheets, PEOPLE)


@pytest.fixture(scope="module")
def judge(sheets):
    return Judge(sheets)


# ---- pairs


def test_pairs_differ_in_what_their_case_says_and_in_nothing_else(clips):
    for case in CASES:
        pairs = draw_pairs(clips, case, np.arange(len(clips)), seed=3)
        same_person = clips.character(pairs.driving) == clips.character(pairs.content)
        same_action = clips.action(pairs.driving) == clips.action(pairs.content)
        assert np.all(same_person == (case in (SELF, OTHER_ACTION)))
        assert np.all(same_action == (case in (SELF, OTHER_CHARACTER)))


def test_the_truth_is_the_contents_character_in_the_driving_action(clips, sheets):
    pairs = draw_pairs(clips, BOTH, np.arange(len(clips)), seed=0)
    for driving, content, truth in zip(pairs.driving, pairs.content, pairs.truth):
        rendered = sheets.clip(int(PEOPLE[content // 9]), int(driving % 9))
        np.testing.assert_array_equal(clips.frames[truth], rendered)


def test_a_subset_is_spread_over_all():
    assert spread(10, None).tolist() == spread(10, 99).tolist() == list(range(10))
    assert spread(9, 3).tolist() == [0, 4, 8]


# ---- the exact judge


def test_true_clips_are_judged_right_in_everything(judge, clips):
    every = np.arange(len(clips))
    verdict = judge.judge(clips.frames, clips.character(every), clips.action(every))
    assert verdict.frames_right.all() and verdict.clips_right.all() and verdict.motions_right.all()
    for accuracy in (verdict.clip_accuracy, verdict.frame_accuracy, verdict.all_frames_accuracy):
        assert accuracy.tolist() == [1.0] * 5


def test_a_swapped_attribute_is_the_one_that_is_missed(judge, sheets):
    character = 3 * 216 + 2 * 36 + 4 * 6 + 1
    for column, step in enumerate((216, 36, 6, 1), start=1):
        shown = sheets.clip(character + step, 5)[None]
        verdict = judge.judge(shown, np.array([character]), np.array([5]))
        expected = [i != column for i in range(5)]
        assert verdict.clips_right[0].tolist() == expected
        assert verdict.frames_right[0].tolist() == [expected] * 8
        assert verdict.motions_right.all()


def test_a_swapped_action_is_missed_and_named(judge, sheets):
    verdict = judge.judge(sheets.clip(40, 7)[None], np.array([40]), np.array([2]))
    assert verdict.clips_right[0].tolist() == [False, True, True, True, True]
    assert verdict.clip_actions.tolist() == [7] and not verdict.motions_right.any()


def test_frames_that_differ_by_a_pixel_are_alike_and_others_are_not(judge, sheets, monkeypatch):
    clip = sheets.clip(40, 0)
    shown = clip.copy()
    shown[2] = sheets.frame(40, int(MOTION_OF[7, 3]))
    verdict = judge.judge(shown[None], np.array([40]), np.array([0]))
    assert not verdict.motions_right[0, 2] and np.array_equal(verdict.motions_alike, verdict.motions_right)
    one = clip[2].copy()
    one[30, 30] ^= 64  # 40 dB are some five such pixels
    monkeypatch.setattr(judge, "sheets", SimpleNamespace(frame=lambda c, m: one if m == MOTION_OF[7, 3] else clip[2]))
    wrong = MOTION_OF[[0]].copy()
    wrong[0, 2] = MOTION_OF[7, 3]
    assert judge._alike(wrong, MOTION_OF[[0]], np.array([40])).all()


def test_one_wrong_frame_is_seen_though_the_clip_is_right(judge, sheets):
    clip = sheets.clip(40, 0)
    clip[3] = sheets.clip(41, 0)[3]
    verdict = judge.judge(clip[None], np.array([40]), np.array([0]))
    assert verdict.clips_right.all()
    assert verdict.frames_right[0, :, 4].tolist() == [True] * 3 + [False] + [True] * 4
    assert verdict.all_frames_accuracy.tolist() == [1, 1, 1, 1, 0] and verdict.frame_accuracy[4] == 7 / 8


def test_what_lies_exactly_between_two_choices_counts_for_the_truth(judge, sheets):
    first, second = sheets.clip(0, 4).astype(int), sheets.clip(1, 4).astype(int)  # hair 0, hair 1
    between = ((first + second) // 2).astype(np.uint8)[None]
    for hair in range(6):
        verdict = judge.judge(between, np.array([hair]), np.array([4]))
        assert verdict.clips_right[0, 4] == (hair < 2) and verdict.frames_right[0, :, 4].all() == (hair < 2)


def test_the_judge_agrees_with_comparing_every_frame_on_arbitrary_pictures(judge, sheets):
    pictures = np.random.default_rng(0).integers(0, 256, (1, 8, 64, 64, 3), dtype=np.uint8)
    verdict = judge.judge(pictures, np.array([0]), np.array([0]))
    lowest = np.iinfo(np.int64).max
    for motion in range(MOTIONS):
        frames = sheets.everyone(motion)
        varies = (frames != frames[0]).any((0, 3))  # elsewhere all have the same error
        same = np.square(frames[0].astype(np.int64) - pictures[0, 5])[~varies].sum()
        errors = np.square(frames[:, varies].astype(np.int32) - pictures[0, 5][varies]).sum((1, 2), dtype=np.int64)
        lowest = min(lowest, same + errors.min())
    found = sheets.frame(int(verdict.characters[0, 5]), int(verdict.motions[0, 5])).astype(np.int64)
    assert np.square(found - pictures[0, 5]).sum() == lowest


def test_a_span_holds_rows_that_its_first_sample_misses():
    rng = np.random.default_rng(0)
    rows = np.zeros((1296, 50), np.float32)
    rows[:, :5] = rng.normal(0, 100, (1296, 5))
    rows[700, 40] = 90  # a direction of one row alone
    basis, coefficients = orthonormal(rows)
    np.testing.assert_allclose(coefficients @ basis, rows, atol=0.1)
    np.testing.assert_allclose(basis @ basis.T, np.eye(len(basis)), atol=1e-4)
    assert len(basis) == 6


def test_motions_belong_to_one_action():
    for action in range(len(ACTIONS)):
        assert set(ACTION_OF[MOTION_OF[action]]) == {action}


# ---- what codes tell


def test_mutual_information_of_known_distributions():
    rng = np.random.default_rng(0)
    x = np.arange(64).repeat(100)
    assert entropy(x) == pytest.approx(6) and mutual_information(x, x) == pytest.approx(6)
    assert mutual_information(x, x // 2) == pytest.approx(5)
    assert mutual_information(np.tile([0, 1], 50), np.arange(100) // 50) == pytest.approx(0, abs=1e-9)
    # A binary channel that errs one time in ten: 1 - H(0.1) bits.
    sent = np.arange(200_000) % 2
    received = sent ^ (rng.random(200_000) < 0.1)
    assert mutual_information(sent, received) == pytest.approx(1 + 0.1 * np.log2(0.1) + 0.9 * np.log2(0.9), abs=0.01)


@pytest.fixture
def frames():
    """Motion frames and characters of all frames of 50 characters, as the measurement has them."""
    return np.tile(MOTION_OF.reshape(-1), 50), (np.arange(50) * 17).repeat(72)


def information(codes, frames):
    return measure_information(codes, *frames, ATTRIBUTES_OF[frames[1]])


def test_codes_that_follow_the_motion_alone_tell_nothing_of_the_character(frames):
    found = information(frames[0][:, None], frames)
    assert found.codes_used == 63 and found.motion == pytest.approx(found.motion_entropy)
    for value in (found.character, found.character_by_chance, *found.attributes):
        assert value == pytest.approx(0, abs=1e-9)


def test_noise_in_codes_looks_like_information_on_the_character_and_is_taken_off(frames):
    rng = np.random.default_rng(0)
    noisy = np.where(rng.random(3600) < 0.3, rng.integers(0, 63, 3600), frames[0])
    found = information(noisy[:, None], frames)
    assert found.character > 0.1 and found.character_corrected < 0.03 and found.attributes_corrected < 0.02


def test_a_leak_of_the_character_lies_between_what_is_corrected_and_what_is_counted(frames):
    motions, characters = frames
    skin = ATTRIBUTES_OF[characters][:, 0] % 2  # one bit, or nearly, of the character
    found = information(np.stack([motions // 2, skin], 1), frames)
    assert found.character == pytest.approx(entropy(skin), abs=1e-6)
    assert 0.3 < found.character_corrected < found.character
    assert found.attributes[0] == pytest.approx(entropy(skin), abs=1e-6)
    assert found.attributes_corrected == pytest.approx(entropy(skin), abs=0.25)
    assert expected_by_chance(motions, characters, motions) == pytest.approx(0, abs=1e-9)


# ---- the classifier


def test_labels_are_the_judges_columns():
    assert labels(np.array([1 * 216 + 2 * 36 + 3 * 6 + 4]), np.array([8])).tolist() == [[8, 1, 2, 3, 4]]


def test_the_classifier_learns_the_made_up_clips(sheets, clips):
    model = train_classifier(sheets, np.arange(0, CHARACTERS, 2), steps=60)
    every = np.arange(len(clips))
    right = classified_right(model, clips.frames, clips.character(every), clips.action(every)).mean(0)
    chance = np.array([1 / 9, 1 / 6, 1 / 6, 1 / 6, 1 / 6])
    assert np.all(right[1:] > 2 * chance[1:])


def test_a_classifier_is_trained_once_and_kept(sheets, clips, tmp_path):
    first = kept_classifier(tmp_path, sheets, PEOPLE, steps=1)
    (path,) = tmp_path.iterdir()
    written = path.stat().st_mtime_ns
    again = kept_classifier(tmp_path, sheets, PEOPLE, steps=1)
    assert path.stat().st_mtime_ns == written
    frames = to_unit(clips.frames[:1])
    assert all(torch.equal(a, b) for a, b in zip(first(frames), again(frames)))
    kept_classifier(tmp_path, sheets, PEOPLE[:3], steps=1)
    assert len(list(tmp_path.iterdir())) == 2


# ---- the whole of it, with a model that has learned nothing


@pytest.fixture(scope="module")
def tiny_config():
    return replace(TINY_SPRITES, name="tiny-sprites")


TRAINING = replace(variants.TRAINING, batches=replace(variants.TRAINING.batches, batch=4))


@pytest.fixture(scope="module")
def judges(sheets, clips, judge):
    classifier = train_classifier(sheets, PEOPLE, steps=1)
    return Judges(sheets, clips, judge, classifier, (0.5,) * 5)


@pytest.fixture(scope="module")
def ablations(tiny_config, judges, tmp_path_factory):
    """The folder of two variants, trained for a step each."""
    out, data = tmp_path_factory.mktemp("ablations"), write_sheets(tmp_path_factory.mktemp("data"))
    study = replace(variants.study(tiny_config, TRAINING), pairs=6, table_people=2)
    for names in (("base",), ("base", "no-cross")):
        text = module.run_ablations(study, data, judges, out, 1, 0, "cpu", names, lambda line: None)
    return out, text


@pytest.mark.parametrize("study", [variants.study(), paper_variants.study(700)])
def test_files_can_carry_the_names_of_all_variants(study):
    names = [variant.recipe().config.name for variant in study.variants]
    assert len(names) >= 7 and all(len(name.encode("ascii")) <= 16 for name in names)


def test_ablations_are_listed_and_what_was_done_stays(ablations):
    out, text = ablations
    rows = json.loads((out / "ablations.json").read_text())
    assert [row["name"] for row in rows] == ["base", "no-cross"] and all(row["steps"] == 1 for row in rows)
    assert text == (out / "ablations.md").read_text() and "| no-cross |" in text
    before = (out / "base-1" / "row.json").stat().st_mtime
    assert before < (out / "no-cross-1" / "row.json").stat().st_mtime


def test_variants_differ_from_the_base_in_what_they_say():
    found = {variant.name: variant.recipe() for variant in variants.study().variants}
    base = found["base"].config
    assert found["no-rate"].training == replace(variants.TRAINING, rate_weight=0.0)
    assert found["no-rate"].config == found["halves-only"].config == base
    assert found["8-bits"].config.quantiser == replace(base.quantiser, target_bits=8.0, codes=256)
    same_frames = [name for name, recipe in found.items() if isinstance(recipe, variants.SameFrames)]
    assert same_frames == ["no-cross", "no-cross-unmasked"]


def test_variants_of_the_papers_model_differ_in_one_thing_and_anneal_within_the_run():
    found = {variant.name: variant.recipe() for variant in paper_variants.study(200).variants}
    base = found.pop("base")
    assert base.training.temperature(180) == pytest.approx(base.training.temperature_min)
    assert base.training.temperature(90) == pytest.approx(1.0)
    assert found["no-rate"].training == replace(base.training, rate_weight=0.0)
    assert found["no-cross"].training == base.training
    assert {name: (r.config.quantiser.target_bits, r.config.quantiser.codes) for name, r in found.items()} == {
        "no-rate": (5.0, 64),
        "no-cross": (5.0, 64),
        "2-bits": (2.0, 64),
        "4-bits": (4.0, 64),
        "6-bits": (6.0, 64),
        "8-bits": (8.0, 256),
    }
    assert all(replace(r.config, quantiser=base.config.quantiser) == base.config for r in found.values())


def test_without_cross_driving_the_papers_content_is_what_is_rebuilt(monkeypatch):
    first, second = object(), object()
    monkeypatch.setattr(paper_variants.BCDRecipe, "batch", lambda self, run: Halves(first, second))
    recipe = next(v.recipe() for v in paper_variants.study(10).variants if v.name == "no-cross")
    assert recipe.batch(None) == Halves(second, second)


def test_without_cross_driving_the_content_is_the_target(sheets):
    batch = variants.SameFramesSampler(TRAINING.batches, 4, sheets, 0).batch(0)
    assert batch.content is batch.target


def test_a_model_is_measured_from_files_to_report(ablations, judges, tmp_path):
    codec = load(ablations[0] / "base-1" / "model")
    options = Options(clips=9, case_clips=3, quality_clips=2, many_steps_clips=1)
    report = measure_model(codec, judges, options, tmp_path, lambda items, label: items)
    assert [a.case for a in report.accuracies] == list(CASES)
    assert [(q.steps, q.clips) for q in report.step_quality] == [(1, 2), (2, 2), (4, 2), (50, 1)]
    assert [c.frames for c in report.content_results] == [1, 2, 4]
    # A model that has learned nothing misses nearly all clips; each is named and drawn.
    assert len(report.misses) == len(report.miss_pictures) >= 5
    assert all((tmp_path / name).stat().st_size for name in (*report.miss_pictures, "figure-5.png"))
    codes = np.concatenate([codec.encode(clip).motions[0].codes[:, 0] for clip in judges.clips.frames])
    assert report.information.codes_used == len(np.unique(codes))
    p = codec.folder.tables.motion.frequencies[0] / 65536
    assert report.rate.bits_per_frame == pytest.approx(-np.log2(p[codes]).mean())
    text = write_report(report, tmp_path)
    assert "| BCD, published | 100.00 | 100.00 | 100.00 | 100.00 | 100.00 |" in text
    assert "tiny-sprites, exact judge, clips" in text and "CC-BY-SA 3.0" in text
    assert json.loads((tmp_path / "report.json").read_text())["rate"]["clips"] == len(judges.clips)


def test_a_model_for_other_pictures_is_refused(tiny_model, judges, tmp_path):
    refused = (
        "'tiny' is for 32 pixels and windows of 4 frames, which overlap by [0-9]; sprites have 64 pixels and 8 frames"
    )
    with pytest.raises(ModelError, match=refused):
        measure_model(load(tiny_model), judges, Options(), tmp_path, lambda items, label: items)


def test_clips_are_decoded_in_windows_of_the_models_length_each_with_its_content():
    given = []

    def decode_windows(codes, contents, seed, steps):
        given.append((codes.shape, contents))
        return np.broadcast_to(codes[..., None, None], (*codes.shape[:2], 2, 2, 3))

    codec = SimpleNamespace(config=SimpleNamespace(window=SimpleNamespace(length=4)), decode_windows=decode_windows)
    coded = SimpleNamespace(
        codes=np.arange(24).reshape(3, 8, 1), contents=["a", "b", "c"], head=SimpleNamespace(sampler_seed=0)
    )
    found = decode_pairs(codec, coded, Pairs("both", np.array([2, 0]), np.array([1, 2])))
    assert given == [((4, 4, 1), ["b", "b", "c", "c"])]
    assert found.shape == (2, 8, 2, 2, 3)
    assert found[..., 0, 0, 0].tolist() == [list(range(16, 24)), list(range(8))]


def test_a_share_below_all_is_never_shown_as_all():
    assert percent(1.0) == "100.00" and percent(0.99999) == "99.99" and percent(0.5) == "50.00"
