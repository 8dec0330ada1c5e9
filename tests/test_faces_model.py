"""The `faces` model through the codec, with a small untrained network: files, layers, rate, reenactment."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from head_clips import head_frames, write_clip
from small_faces import CODES, GROUPS, SIDE, SMALL

import bcdcodec
from bcdcodec.coding import picture_content
from bcdcodec.coding.motion import motion_of
from bcdcodec.coding.picture_content import choose_picture, make_picture_content
from bcdcodec.config import QuantiserConfig
from bcdcodec.container import Motion, Recording
from bcdcodec.errors import FormatError, ModelError
from bcdcodec.models.faces import model as faces_model_module
from bcdcodec.models.faces.alignment import align
from bcdcodec.models.faces.config import FacesConfig
from bcdcodec.models.faces.reference import PARTS, Transfer, transferred
from bcdcodec.models.flow_basis import smooth_basis
from bcdcodec.models.registry import read_config
from bcdcodec.models.warp import warp


@pytest.fixture(scope="module")
def codec(faces_model):
    return bcdcodec.load(faces_model)


@pytest.fixture(scope="module")
def frames():
    return head_frames(4, 20, SIDE)


@pytest.fixture(scope="module")
def recording(codec, frames):
    return codec.encode(frames)


def test_config_comes_back_from_its_json():
    assert read_config(SMALL.to_json()) == SMALL
    without = replace(SMALL, drawing=None, surroundings=None)
    assert read_config(without.to_json()) == without


def test_config_written_before_there_was_a_drawing_network_draws_nothing():
    fields = json.loads(SMALL.to_json())
    del fields["drawing"]
    assert read_config(json.dumps(fields)).drawing is None


def test_steps_of_drawing_change_the_picture_and_noise_is_a_function_of_the_seed(codec, recording):
    network = codec.model.base.drawing
    before = network.to_window.bias.clone()
    torch.nn.init.normal_(network.to_window.weight, std=0.3)
    try:
        one, again, four = (codec.decode(recording, steps=steps) for steps in (1, 1, 4))
        other = codec.decode(recording, steps=1, seed=5)
    finally:
        torch.nn.init.zeros_(network.to_window.weight)
        network.to_window.bias.copy_(before)
    assert np.array_equal(one, again)
    assert not np.array_equal(one, four) and not np.array_equal(one, other)


def test_base_layer_with_all_groups_is_refused():
    with pytest.raises(ModelError, match="12 groups of 12"):
        FacesConfig(**{**vars(SMALL), "quantiser": QuantiserConfig(groups=12, codes=CODES, dim=1)})


def test_a_file_holds_a_picture_within_the_budget_and_codes_of_all_groups(recording, frames):
    (content,) = recording.contents[:1]
    assert content.picture is not None and content.rows == 0 and content.reference_codes.shape == (GROUPS,)
    assert len(content.picture.unit) <= SMALL.content.byte_budget
    assert sum(motion.frames for motion in recording.motions) == len(frames)


def test_enhancement_layer_follows_a_picture_that_shifts(codec, frames):
    shifted = np.stack([np.roll(frames[0], i // 2, 1) for i in range(12)])
    recording = codec.encode(shifted)

    def error(part):
        return np.abs(codec.decode(part).astype(float) - shifted)[:, 8:-8, 8:-8].mean()

    motion = recording.motions[0]
    zeros = codec.model.vq.entries.abs().argmin(1).numpy()
    codes = motion.codes.copy()
    codes[:, SMALL.base_groups :] = zeros
    assert error(recording) < error(replace(recording, motions=(replace(motion, codes=codes),)))


def test_bits_are_spent_on_the_enhancement_layer_where_the_rate_allows_it(codec, frames):
    low, high = (codec.encode(frames, kbps=kbps).motions[0] for kbps in (0.4, 30.0))
    assert low.stride > high.stride == 1
    changes = np.diff(high.codes[:, SMALL.base_groups :].astype(int), axis=0) != 0
    assert changes.sum() > (np.diff(low.codes[:, SMALL.base_groups :].astype(int), axis=0) != 0).sum()


def test_a_file_without_the_picture_is_refused(codec, recording):
    bare = replace(recording.contents[0], picture=None)
    with pytest.raises(FormatError, match="no reference picture"):
        codec.decode(replace(recording, contents=(bare,)))


def test_zero_steps_leave_the_geometry_network_out(codec, recording, monkeypatch):
    monkeypatch.setattr(codec.model.base.geometry, "forward", lambda *_: pytest.fail("the network ran"))
    assert codec.decode(recording, steps=0).shape == (20, SIDE, SIDE, 3)


def test_reenactment_shows_the_other_face_and_its_own_motion_brings_it_back(codec, recording, frames):
    other = codec.encode(head_frames(9, 8, SIDE))
    shown, own = codec.decode(recording, content=other).astype(float), codec.reference_image(other).astype(float)
    assert np.abs(shown - own).mean() < np.abs(shown - frames).mean()


@pytest.mark.parametrize(
    "options, expected",
    [
        ((), (False, tuple(PARTS), 1)),
        (("--no-landmarks",), (False, tuple(PARTS), 1)),  # of earlier versions
        (("--relative",), (True, tuple(PARTS), 1)),
        (("--drive", "eyes,mouth", "--strength", 0.5), (False, ("mouth", "eyes"), 0.5)),
    ],
)
def test_options_of_the_command_say_what_is_shown_of_another(
    faces, faces_recording, other_person, tmp_path, monkeypatch, options, expected
):
    seen = []
    monkeypatch.setattr(faces_model_module, "transferred", lambda transfer, own, m: seen.append(transfer) or m)
    done = faces("decode", faces_recording, tmp_path / "out.mp4", "--content", other_person, *options)
    assert done.code == 0 and seen
    assert {(t.relative, t.parts, t.strength) for t in seen} == {expected} and seen[0].driver is not None
    done = faces("decode", faces_recording, tmp_path / "out.bcd", "--content", other_person, *options)
    assert done.code == (expected[1:] != (tuple(PARTS), 1) or expected[0])
    assert (tmp_path / "out.bcd").exists() or "leave it out" in done.err


@pytest.mark.parametrize("options", [("--drive", "nose"), ("--strength", "0.5"), ("--strength", "7")])
def test_wrong_use_of_drive_and_strength(bcd, tmp_path, options):
    done = bcd("decode", tmp_path / "a.bcd", tmp_path / "a.mkv", *options)
    assert done.code == 2 and options[0] in done.err


@pytest.mark.parametrize("options", [("--drive", "mouth"), ("--strength", "0.5"), ("--relative",)])
def test_parts_are_driven_by_models_whose_codes_tell_them_apart(bcd, tmp_path, options):
    pictures = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), np.uint8)
    write_clip(tmp_path / "a.mkv", pictures)
    bcd("encode", tmp_path / "a.mkv", tmp_path / "a.bcd", "--model", "sprites")
    done = bcd("decode", tmp_path / "a.bcd", tmp_path / "r.mkv", "--content", tmp_path / "a.bcd", *options)
    assert done.code == 1 and options[0] in done.err and "'sprites' does not, faces does" in done.err


# ---- motion of another recording


def numbers(seed):
    return torch.rand(58, generator=torch.Generator().manual_seed(seed)) * 0.5


def test_expression_is_taken_over_and_place_moves_as_the_driver_does():
    own, began, now = numbers(0), numbers(1), numbers(2)
    shown = transferred(Transfer(began), own, now)
    torch.testing.assert_close(shown[:52], now[:52])
    assert shown[57] == now[57]
    size = (own[56] - began[56]).exp()
    torch.testing.assert_close(shown[54:56], own[54:56] + size * (now[54:56] - began[54:56]))
    torch.testing.assert_close(transferred(Transfer(began), own, began)[54:57], own[54:57])


def test_relative_motion_of_an_unmoved_driver_keeps_expression_and_pose():
    own, began = numbers(0), numbers(1)
    torch.testing.assert_close(transferred(Transfer(began, relative=True), own, began), own)


def test_unknown_driver_leaves_the_place():
    own, now = numbers(0), numbers(2)
    torch.testing.assert_close(transferred(Transfer(None), own, now)[54:57], own[54:57])


@pytest.mark.parametrize("part", PARTS)
def test_only_what_is_driven_moves(part):
    own, began, now = numbers(0), numbers(1), numbers(2)
    shown = transferred(Transfer(began, parts=(part,)), own, now)
    moved = (shown != own).nonzero()[:, 0].tolist()
    assert moved and set(moved) <= set(PARTS[part])


def test_strength_goes_from_the_own_to_the_others():
    own, began, now = numbers(0), numbers(1), numbers(2)
    half = transferred(Transfer(began, strength=0.5), own, now)
    torch.testing.assert_close(half, (own + transferred(Transfer(began), own, now)) / 2)


# ---- a second reference


def test_a_second_picture_is_an_inter_frame_of_the_first_in_fewer_bytes(codec, frames, recording):
    session = codec.session

    def chosen(picture):
        return choose_picture(session, picture[None], motion_of(session, picture[None]))

    first, second = chosen(frames[0]), chosen(frames[12])
    key = make_picture_content(session, first, None)
    inter = replace(make_picture_content(session, second, None, (first, key)), number=1, first_frame=10)
    alone = make_picture_content(session, second, None)
    assert inter.picture.base == 0 and len(inter.picture.unit) < 0.8 * len(alone.picture.unit)
    codes = recording.motions[0].codes
    motions = Motion(0, 0, codes[:10], None), Motion(10, 1, codes[10:], None)
    both = Recording(recording.head, (key, inter), motions)
    assert codec.decode(both).shape == frames.shape
    errors = [np.square(codec.reference_image(both, i).astype(float) - second.image).mean() for i in (0, 1)]
    assert errors[1] < 0.5 * errors[0]
    with pytest.raises(FormatError, match="content 1 is an inter frame of content 0, which is not at hand"):
        codec.decode(replace(both, contents=(inter,)))


def test_a_later_picture_is_a_key_frame_where_the_encoder_uses_what_the_format_does_not_hold(
    codec, frames, monkeypatch
):
    session = codec.session
    first, second = (choose_picture(session, frames[at], motion_of(session, frames[at])) for at in ([0], [10]))
    key = make_picture_content(session, first, None)
    assert make_picture_content(session, second, None, (first, key)).picture.base == 0

    def refused(*_, **__):
        raise FormatError("AV1 frame header: is_global is 1, expected 0")

    monkeypatch.setattr(picture_content, "encode_inter", refused)
    assert make_picture_content(session, second, None, (first, key)).picture.base is None


def test_a_picture_that_the_scene_has_is_not_sent_again(codec, frames):
    rest = np.concatenate([frames[:1].repeat(30, 0), frames[10:11].repeat(30, 0), frames[:1].repeat(30, 0)])
    units = [content.picture.unit for content in codec.encode(rest).contents]
    assert len(units) == len(set(units)) <= 2


# ---- alignment


def test_alignment_finds_a_flow_and_its_hessian_tells_what_errors_cost():
    basis = smooth_basis(8)
    picture = torch.from_numpy(head_frames(4, 1, 64)).permute(0, 3, 1, 2).float() / 127.5 - 1
    true = torch.zeros(1, len(basis.deviation))
    true[0, :6] = torch.tensor([0.3, -0.2, 0.2, 0.1, -0.1, 0.2])
    target = warp(picture, basis(true))
    change, hessian = align(basis, picture, target, torch.zeros_like(true))

    def error(change):
        return (warp(picture, basis(change)) - target).square().mean().item()

    assert error(change) < 0.1 * error(torch.zeros_like(true))
    # What costs more by the Hessian changes the picture more.
    costs, errors = [], []
    for i in range(4):
        step = torch.zeros_like(true)
        step[0, i] = 0.3
        costs.append((step @ hessian[0] @ step.T).item())
        errors.append(error(true + step))
    assert np.corrcoef(costs, errors)[0, 1] > 0.8
