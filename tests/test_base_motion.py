"""Base motion and geometry: the face-aligned frame, the networks, their training data and exact resume."""

import argparse
from pathlib import Path

import numpy as np
import pytest
import torch
from faces_runs import log_of, options, smooth_picture, write_prepared
from head_clips import head_frames, write_clip
from safetensors.torch import load_file
from torch.nn import functional as F

import bcdcodec
from bcdcodec.errors import BcdError
from bcdcodec.models.faces.alignment_frame import crop, paste, positions, soft_mask, to_frame, to_picture
from bcdcodec.models.faces.base_layer import BaseLayer, move_around
from bcdcodec.models.faces.base_motion import BaseMotion, corrected, correction_between, mirrored_expression
from bcdcodec.models.faces.config import BaseMotionConfig, DrawingConfig, GeometryConfig, SurroundingsConfig
from bcdcodec.models.faces.geometry import Geometry, GeometryNetwork, compose, warp
from bcdcodec.models.faces.overlap import Overlap
from bcdcodec.models.faces.parts import LEFT_RIGHT
from bcdcodec.training import expression_metric
from bcdcodec.training.data.aligned_pairs import _carried_flow, load_clips, mirrored_motion
from bcdcodec.training.data.head_pose import HEAD_CENTRE, head_pose, roll_and_turn
from bcdcodec.training.data.landmarker import BLENDSHAPES
from bcdcodec.training.recipes import (
    base_motion,
    drawing,
    enhancement,
    export_faces,
    geometry,
    run as runs,
    surroundings,
)
from bcdcodec.training.recipes.face_movement import movement

SHARED = next((p / "shared" for p in Path(__file__).resolve().parents if (p / "shared").is_dir()), Path("shared"))
SMALL = GeometryConfig(frame=32, patch=8, margin=2, width=16, blocks=1, heads=2, rank=4)
SMALL_DRAWING = DrawingConfig(frame=32, patch=8, margin=2, width=16, blocks=1, heads=2)
SMALL_MOTION = BaseMotionConfig(
    picture=32, crop=32, width=16, ff=32, layers=1, heads=2, stem=(8, 8, 16), locator_stem=(8, 8, 8), groups=4,
    codes=8, place_fine=8,
)  # fmt: skip
SIMILARITY = torch.tensor([[0.45, 0.55, -0.5, 0.3], [0.5, 0.5, 0.0, 0.0]])


def random_motion(b, m=54, seed=0):
    return torch.randn(b, m, generator=torch.Generator().manual_seed(seed))


def test_positions_of_the_frame_come_back_from_the_picture():
    there = positions(5).expand(2, -1, -1, -1)
    assert torch.allclose(to_frame(SIMILARITY, to_picture(SIMILARITY, there)), there, atol=1e-6)


def test_middle_and_right_border_of_the_frame_lie_where_the_similarity_says():
    where = to_picture(SIMILARITY[:1], torch.tensor([[[0.0, 0.0], [1.0, 0.0]]]))[0]
    side, roll = np.exp(-0.5), 0.3
    assert where[0].tolist() == pytest.approx([2 * 0.45 - 1, 2 * 0.55 - 1], abs=1e-6)
    assert (where[1] - where[0]).tolist() == pytest.approx([side * np.cos(roll), side * np.sin(roll)], abs=1e-6)


def test_crop_of_the_whole_picture_is_the_picture():
    picture = smooth_picture(1, 32)
    assert torch.allclose(crop(picture, SIMILARITY[1:], 32), picture, atol=1e-5)


def test_pasting_a_crop_back_changes_the_picture_little():
    picture = smooth_picture(1, 64)
    back = paste(crop(picture, SIMILARITY[:1], 64), soft_mask(64), SIMILARITY[:1], torch.zeros_like(picture))
    x, y = (int(s * 64) for s in SIMILARITY[0, :2])
    near = back[..., y - 8 : y + 8, x - 8 : x + 8] - picture[..., y - 8 : y + 8, x - 8 : x + 8]
    assert near.abs().max() < 0.02
    assert back[..., 0, 0].abs().max() == 0  # outside the frame nothing is pasted


def test_no_difference_of_motion_gives_no_flow():
    network = GeometryNetwork(SMALL)
    torch.nn.init.normal_(network.to_flow.weight)
    m = random_motion(2)
    out = network(smooth_picture(2, 32), m, m)
    assert out.flow.shape == (2, 2, 16, 16) and out.occlusion.shape == out.mouth.shape == (2, 1, 16, 16)
    assert out.fill.shape == (2, 3, 16, 16)
    assert out.flow.abs().max() == 0
    assert network(smooth_picture(2, 32), m, m + 1).flow.abs().max() > 0


def test_windows_of_equal_value_blend_to_that_value_up_to_the_border():
    out = Overlap(SMALL.grid, 4)(torch.full((1, SMALL.grid**2, 7 * 8**2), 3.0), 7)
    assert out.shape == (1, 7, 4 * SMALL.grid, 4 * SMALL.grid)
    assert torch.allclose(out, torch.full_like(out, 3.0), atol=1e-4)


def test_warp_by_a_shift_moves_the_picture_by_it():
    picture = smooth_picture(1, 32)
    flow = torch.zeros(1, 2, 16, 16)
    flow[:, 0] = 4 / 16  # four pixels of 32
    assert torch.allclose(warp(picture, flow)[..., :28], picture[..., 4:], atol=1e-5)


def test_composition_shows_the_fill_only_where_it_is_occluded():
    picture = smooth_picture(1, 32)
    logit = torch.full((1, 1, 16, 16), -50.0)
    logit[..., 8:] = 50.0
    out = compose(picture, Geometry(torch.zeros(1, 2, 16, 16), logit, logit, torch.full((1, 3, 16, 16), 0.5)))
    assert torch.allclose(out[..., :14], picture[..., :14])
    assert torch.allclose(out[..., 18:], torch.tensor(0.5))


def test_exact_flow_carried_into_the_frames_warps_the_reference_into_the_target():
    """Photograph, reference and target differ by known shifts; so does everything that is made of them."""
    photograph = smooth_picture(1, 256)
    shift_reference, shift_target = torch.tensor([0.02, -0.01]), torch.tensor([-0.03, 0.02])  # of the picture's width

    def shown(shift):  # where a pixel of the frame is in the photograph: its own place plus the shift
        grid = positions(256) + 2 * shift
        return F.grid_sample(photograph, grid, padding_mode="border", align_corners=False)

    tensors = {
        "flow": shift_target.expand(1, 128, 128, 2),
        "inverse": -shift_reference.expand(1, 128, 128, 2),
        "visible": torch.full((1, 2, 128, 128), 255, dtype=torch.uint8),
        "mouth": torch.zeros(1, 128, 128, dtype=torch.uint8),
    }
    similarity = torch.tensor([[[0.5, 0.5, -0.5, 0.1], [0.52, 0.47, -0.6, -0.2]]])
    flow, visible, mouth = _carried_flow(tensors, similarity, 48)
    reference, target = (
        crop(shown(shift_reference), similarity[:, 0], 96),
        crop(shown(shift_target), similarity[:, 1], 96),
    )
    assert visible.min() > 0.99 and mouth.max() == 0
    held, warped = (reference - target).abs().mean(), (warp(reference, flow) - target).abs().mean()
    assert warped < 0.1 * held


def test_mirroring_twice_gives_the_same_motion():
    motion = np.random.default_rng(0).normal(size=(3, 58)).astype(np.float32)
    once = mirrored_motion(motion)
    assert np.allclose(mirrored_motion(once), motion, atol=1e-6)
    assert not np.allclose(once, motion)
    assert np.allclose(once[:, 52], motion[:, 52]) and np.allclose(
        once[:, 53], -motion[:, 53]
    )  # pitch stays, yaw turns


def test_left_and_right_change_places_in_a_mirror():
    names = np.array(BLENDSHAPES)
    left, right = names[np.array(LEFT_RIGHT)].T
    assert [name.replace("Left", "Right") for name in left] == list(right)
    assert sum("Left" in name for name in names) == len(LEFT_RIGHT)


def test_picture_and_mirrored_picture_say_the_same_in_the_mean(monkeypatch):
    torch.manual_seed(0)
    motion = BaseMotion(SMALL_MOTION).eval()
    middle = torch.tensor([[0.5, 0.5, -0.5, 0.0]])
    monkeypatch.setattr(motion, "read", lambda pictures: (motion.reader(motion.view(pictures, middle))[0], middle))
    picture = smooth_picture(1, 64)
    _, _, one = motion.read_both(picture)
    _, _, other = motion.read_both(picture.flip(-1))
    torch.testing.assert_close(mirrored_expression(one), other, atol=1e-4, rtol=0)
    assert not torch.allclose(one, other, atol=1e-3)


def test_head_pose_gives_back_roll_turn_scale_and_place():
    rng = np.random.default_rng(0)
    face, weights = rng.normal(size=(468, 3)) * 5, np.full(468, 1 / 468)
    roll, pitch, yaw, scale, centre = 0.2, -0.15, 0.3, 7.0, np.array([120.0, 140.0])
    cz, sz, cy, sy, cx, sx = *_turn(roll), *_turn(yaw), *_turn(pitch)
    R = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]]) @ [[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]]
    R = R @ [[1, 0, 0], [0, cx, -sx], [0, sx, cx]]
    points = scale * (face - HEAD_CENTRE) @ R.T
    points[:, :2] += centre
    found, found_scale, found_centre = head_pose(points[None], face, weights)
    found_roll, turn = roll_and_turn(found)
    assert found_roll[0] == pytest.approx(roll) and turn[0].tolist() == pytest.approx([pitch, yaw])
    assert found_scale[0] == pytest.approx(scale) and found_centre[0].tolist() == pytest.approx(centre.tolist())


def _turn(angle):
    return np.cos(angle), np.sin(angle)


def test_correction_leads_from_one_similarity_to_the_other():
    near, right = SIMILARITY, SIMILARITY + torch.tensor([0.03, -0.02, 0.1, 0.2])
    assert torch.allclose(corrected(near, correction_between(near, right)), right, atol=1e-6)


def test_similarity_relative_to_a_window_shows_the_same_crop():
    picture = smooth_picture(1, 128)
    window, similarity = torch.tensor([[0.5, 0.52, -0.2, 0.2]]), torch.tensor([[0.48, 0.5, -0.9, -0.1]])
    direct = crop(picture, similarity, 32)
    through = crop(crop(picture, window, 128), base_motion.relative(similarity, window), 32)
    assert (direct - through).abs().mean() < 0.02 * direct.std()


def test_straight_through_gradients_reach_reader_and_codebook():
    torch.manual_seed(0)
    model = BaseMotion(SMALL_MOTION)
    features, correction = model.reader(smooth_picture(6, 32))
    m_hat, rate = model.quantised(features, 1.0)
    (model.expression(m_hat).square().sum() + rate.H_model + correction.sum()).backward()
    assert model.quantiser.codebooks.grad.abs().sum() > 0
    assert model.reader.stem.layers[0].weight.grad.abs().sum() > 0


def test_place_stays_until_another_is_clearly_nearer():
    model = BaseMotion(SMALL_MOTION).eval()
    step = (model.place_high - model.place_low) / (SMALL_MOTION.codes * SMALL_MOTION.place_fine)
    at = model.place_low + step * torch.tensor([[3.5], [4.9], [5.1]])  # of step 3 the middle, and beyond it
    codes = model.place_codes(at)
    assert torch.equal(codes[0], codes[1]) and not torch.equal(codes[0], codes[2])
    assert torch.equal(model.place_codes(at[1:], codes[0]), codes[1:])


def test_codes_hold_the_similarity_within_half_a_step():
    model = BaseMotion(SMALL_MOTION).eval()
    features, similarity = model.read(smooth_picture(3, 64))
    place = torch.cat([model.place_codes(frame) for frame in similarity.split(1)])  # each as a first frame
    codes = torch.cat([model.nearest(features), place], 1)
    assert codes.shape == (3, 4 + 8) and codes.min() >= 0
    assert codes[:, :8].max() < SMALL_MOTION.codes and codes[:, 8:].max() < SMALL_MOTION.place_fine
    step = (model.place_high - model.place_low) / (SMALL_MOTION.codes * SMALL_MOTION.place_fine)
    assert ((model.decode(codes)[:, 54:] - similarity).abs() <= step / 2 + 1e-5).all()


def test_held_frames_have_no_slope_and_right_ones_have_one():
    rng = np.random.default_rng(0)
    clips = [[(tuple(o), tuple(o)) for o in rng.random((10, 2))] for _ in range(3)]
    assert movement(clips).mouth_slope == pytest.approx(1) and movement(clips).eyes_correlation == pytest.approx(1)
    held = [[(source, (0.3, 0.3)) for source, _ in clip] for clip in clips]
    assert movement(held).mouth_slope == pytest.approx(0) and movement(held).mouth_correlation == 0


@pytest.fixture
def prepared(tmp_path):
    return write_prepared(tmp_path / "frames")


def trained_geometry(prepared, run):
    """Options with a geometry run of one step."""
    geometry.train(options(prepared, run, 1), geometry.Schedule(batch=4), SMALL)
    return {"geometry": run, "sface": None}


@pytest.mark.parametrize("recipe", ["geometry", "base_motion", "reader", "drawing"])
def test_resumed_training_gives_the_same_log_as_one_without_a_stop(prepared, tmp_path, recipe):
    if recipe == "geometry":
        pytest.importorskip("cv2", reason="inner lips are filled by opencv")
        train = lambda o: geometry.train(o, geometry.Schedule(batch=4), SMALL)  # noqa: E731
    elif recipe == "drawing":
        pytest.importorskip("cv2", reason="inner lips are filled by opencv")
        more = trained_geometry(prepared, tmp_path / "geometry")
        train = lambda o: drawing.train(  # noqa: E731
            argparse.Namespace(**vars(o), **more), drawing.Schedule(batch=4, critic_from=1), SMALL_DRAWING
        )
    else:
        schedule = base_motion.Schedule(batch=4, quantise_from=2, rate_from=3, keep_codes=recipe == "reader")
        train = lambda o: base_motion.train(o, schedule, SMALL_MOTION)  # noqa: E731
    train(options(prepared, tmp_path / "whole", 4))
    train(options(prepared, tmp_path / "parts", 2))
    train(options(prepared, tmp_path / "parts", 4))
    assert log_of(tmp_path / "whole") == log_of(tmp_path / "parts")
    whole, parts = (runs.averaged(tmp_path / name) for name in ("whole", "parts"))
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_a_reader_trained_alone_keeps_what_codes_mean(prepared, tmp_path):
    run = tmp_path / "run"
    base_motion.train(options(prepared, run, 3), base_motion.Schedule(batch=4, quantise_from=1), SMALL_MOTION)
    before = load_file(run / "checkpoint.safetensors")
    base_motion.train(options(prepared, run, 6), base_motion.Schedule(batch=4, keep_codes=True), SMALL_MOTION)
    after = load_file(run / "checkpoint.safetensors")
    kept = ("network.quantiser.codebooks", "network.quantiser.norm.running_var", "network.to_expression.weight")
    assert all(torch.equal(before[name], after[name]) for name in kept)
    name = "network.reader.to_features.weight"
    assert not torch.equal(before[name], after[name])


def test_weights_are_taken_between_two_runs(prepared, tmp_path):
    trained_geometry(prepared, tmp_path / "geometry")
    for name, steps in (("base", 1), ("reader", 3)):
        base_motion.train(options(prepared, tmp_path / name, steps), base_motion.Schedule(batch=4), SMALL_MOTION)
    model = export_faces.load_runs(tmp_path / "geometry", tmp_path / "base", reader=tmp_path / "reader", share=0.25)
    before, after = (runs.averaged(tmp_path / name)["reader.to_features.weight"] for name in ("base", "reader"))
    between = (0.75 * before + 0.25 * after).half().float()
    assert torch.equal(model.base.base_motion.reader.to_features.weight, between) and not torch.equal(before, after)


def test_export_writes_a_model_that_codes(prepared, tmp_path, monkeypatch):
    pytest.importorskip("cv2", reason="inner lips are filled by opencv")
    geometry.train(options(prepared, tmp_path / "geometry", 1), geometry.Schedule(batch=4), SMALL)
    schedule = base_motion.Schedule(batch=4, quantise_from=1, rate_from=2)
    base_motion.train(options(prepared, tmp_path / "base", 2), schedule, SMALL_MOTION)
    drawn = argparse.Namespace(
        **vars(options(prepared, tmp_path / "drawing", 1)), geometry=tmp_path / "geometry", sface=None
    )
    drawing.train(drawn, drawing.Schedule(batch=4), SMALL_DRAWING)
    around = SurroundingsConfig(picture=32, patch=8, margin=2, width=16, blocks=1, heads=2)
    surroundings.train(options(prepared, tmp_path / "around", 1), surroundings.Schedule(batch=2), around)
    monkeypatch.setattr(expression_metric, "BATCHES", 1)
    monkeypatch.setattr(expression_metric, "PAIRS", 2)
    (tmp_path / "clips").mkdir()
    for seed in (0, 1):
        write_clip(tmp_path / f"clips/{seed}.mp4", head_frames(seed, 12, 256))
    rows = [f"clips/{seed}.mp4,train" for seed in (0, 1)]
    (tmp_path / "manifest.csv").write_text("\n".join(["file,split", *rows]) + "\n")
    monkeypatch.setattr(enhancement, "FITTED_FRAMES", 2)
    monkeypatch.setattr(enhancement, "ROUNDS", 1)
    monkeypatch.setattr(enhancement, "FIRST_BITS", 400.0)  # so few frames tell no code from another
    arguments = {
        "geometry": "geometry", "surroundings": "around", "drawing": "drawing", "base-motion": "base",
        "frames": "frames", "clips": "clips",
        "out": "model",
    }  # fmt: skip
    export_faces.main([text for name, path in arguments.items() for text in (f"--{name}", str(tmp_path / path))])
    codec = bcdcodec.load(tmp_path / "model")
    frames = head_frames(0, 9, 256)
    recording = codec.encode(frames)
    assert codec.model.base.drawing is not None and codec.model.base.surroundings is not None
    metric = codec.model.choice.expression_metric
    assert metric.diagonal().mean() == pytest.approx(1 + 33.5 / 54, abs=1e-4)  # of it 33.5 for jaw, lids, gaze, mouth
    assert torch.linalg.eigvalsh(metric).min() > 0
    assert recording.motions[0].codes.shape == (9, 64) and codec.decode(recording).shape == frames.shape
    fields = codec.model.flow_basis.fields.flatten(1)
    torch.testing.assert_close(fields @ fields.T, torch.eye(len(fields)), atol=1e-3, rtol=0)


def test_checkpoint_of_another_network_is_refused_with_both_shapes(tmp_path):
    network = torch.nn.Linear(2, 3)
    runs.Run(tmp_path, network, [], 0.9).save()
    with pytest.raises(BcdError, match=r"weight is \[3, 2\], the network has \[5, 2\]"):
        runs.Run(tmp_path, torch.nn.Linear(2, 5), [], 0.9).resume()


def test_folder_without_clips_is_refused(tmp_path):
    with pytest.raises(BcdError, match="no clips"):
        load_clips(tmp_path)


@pytest.mark.skipif(
    not (SHARED / "models/face_landmarker.task").exists(), reason="needs the landmarker of shared/models"
)
def test_teacher_finds_a_frontal_head_upright(tmp_path):
    pytest.importorskip("ai_edge_litert")
    pytest.importorskip("cv2")
    from bcdcodec.training.data.head_pose import canonical_face

    face, weights = canonical_face(SHARED / "models/face_landmarker.task")
    R, scale, _ = head_pose(face[None] * 10 + 100, face, weights)
    roll, turn = roll_and_turn(R)
    assert np.abs([roll[0], *turn[0]]).max() < 1e-6 and scale[0] == pytest.approx(10)
    assert weights.sum() == pytest.approx(1) and (weights > 0).sum() == 25


def test_base_layer_with_unchanged_motion_returns_the_reference():
    layer = BaseLayer(SMALL_MOTION, SMALL).eval()
    torch.nn.init.constant_(layer.geometry.to_rest.bias, -30.0)  # nothing is occluded
    reference = smooth_picture(1, 64)
    motion = torch.cat([torch.zeros(1, 54), SIMILARITY[:1]], 1)
    out = layer.synthesise(reference, motion, motion[None].expand(1, 2, -1))
    assert out.shape == (1, 2, 3, 64, 64)
    assert (out - reference[:, None]).abs().mean() < 0.03


def test_head_moves_and_far_corners_rest():
    reference = smooth_picture(1, 64)[0]
    before, after = torch.tensor([[0.4, 0.4, -1.2, 0.0]]), torch.tensor([[0.45, 0.4, -1.2, 0.0]])
    out = move_around(reference[None], before, after)[0]
    y, x = int(0.4 * 64), int(0.45 * 64)
    shift = int(round(0.05 * 64))
    assert (out[:, y, x] - reference[:, y, x - shift]).abs().max() < 0.1
    assert torch.allclose(out[:, -1, -1], reference[:, -1, -1])
