"""The procedural heads: one motion, many people, and each parameter where it belongs."""

from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest

from bcdcodec.training.data.procedural import MOTION_PARAMETERS, Identity, render, sample_motion

SIZE = 96
STRONG = {
    "yaw": 0.4, "pitch": 0.25, "roll": 0.25, "tx": 0.06, "ty": -0.05, "scale": 1.1, "blink_left": 1.0,
    "blink_right": 1.0, "gaze_x": 0.9, "gaze_y": 0.9, "brow_left": 1.0, "brow_right": 1.0, "mouth_open": 0.9,
    "mouth_width": 1.0, "smile": 1.0,
}  # fmt: skip


def person(seed: int = 0) -> Identity:
    """A sampled person whose hair and glasses leave the face free."""
    identity = Identity.sample(np.random.default_rng(seed))
    return replace(identity, glasses=0.0, hair_front=-0.65, hair_fringe=-1.2, beard=0.0, moustache=0.0)


def motion(**values: float) -> np.ndarray:
    row = [values.get(name, 1.0 if name == "scale" else 0.0) for name in MOTION_PARAMETERS]
    return np.array([row], np.float32)  # [t=1, p]


def picture(identity: Identity, size: int = SIZE, **values: float) -> np.ndarray:
    return render(identity, motion(**values), size)[0].astype(np.float32)  # [h, w, c]


def change(identity: Identity, **values: float) -> np.ndarray:
    return np.abs(picture(identity, **values) - picture(identity)).max(-1)  # [h, w]


def row_of(identity: Identity, y: float) -> int:
    """Picture row of a height on the resting face, in head units."""
    return round((identity.head_y + identity.head_size * y + 1) / 2 * SIZE)


def test_same_seed_gives_the_same_person_motion_and_picture():
    people = [Identity.sample(np.random.default_rng(4)) for _ in range(2)]
    moves = [sample_motion(np.random.default_rng(5), 6) for _ in range(2)]
    assert people[0] == people[1]
    assert np.array_equal(moves[0], moves[1])
    assert np.array_equal(render(people[0], moves[0], 48), render(people[1], moves[1], 48))


def test_a_frame_does_not_depend_on_the_frames_around_it():
    moves = sample_motion(np.random.default_rng(1), 5)
    whole = render(person(), moves, 48)
    assert whole.shape == (5, 48, 48, 3) and whole.dtype == np.uint8
    assert np.array_equal(whole[3:4], render(person(), moves[3:4], 48))


def test_people_differ_under_the_same_motion():
    pictures = [picture(Identity.sample(np.random.default_rng(s)), 48) for s in range(6)]
    for n, a in enumerate(pictures):
        for b in pictures[n + 1 :]:
            assert np.abs(a - b).mean() > 8


@pytest.mark.parametrize("name", MOTION_PARAMETERS)
def test_each_motion_parameter_changes_the_picture(name):
    assert (change(person(), **{name: STRONG[name]}) > 12).sum() >= 6


@pytest.mark.parametrize("name", MOTION_PARAMETERS)
def test_upper_corners_of_the_room_stay_unchanged(name):
    moved = change(person(), **{name: STRONG[name]})
    assert moved[:6, :6].max() == 0 and moved[:6, -6:].max() == 0


def test_mouth_opening_changes_the_lower_face_and_not_the_eyes():
    identity = person()
    moved = change(identity, mouth_open=1.0)
    assert moved[: row_of(identity, identity.eye_y + 0.15)].max() == 0
    assert (moved[row_of(identity, identity.mouth_y) :] > 40).sum() > 30


@pytest.mark.parametrize("name, side", [("blink_left", 0), ("blink_right", 1), ("brow_left", 0), ("brow_right", 1)])
def test_one_eye_or_brow_changes_only_its_side(name, side):
    identity = replace(person(), head_x=0.0)
    moved = change(identity, **{name: 1.0})
    halves = [moved[:, : SIZE // 2], moved[:, SIZE // 2 :]]
    assert halves[side].max() > 20 and halves[1 - side].max() == 0
    assert moved[row_of(identity, identity.eye_y + 0.25) :].max() == 0


def test_mouth_opening_shows_dark_inside():
    identity = person()
    mouth = slice(row_of(identity, identity.mouth_y), row_of(identity, identity.mouth_y + 0.2))
    dark = [(picture(identity, mouth_open=opening)[mouth, 30:66].max(-1) < 80).sum() for opening in (0.0, 1.0)]
    assert dark[1] > dark[0] + 10


def test_yaw_moves_the_nose_with_parallax_before_the_head_outline():
    identity = replace(person(), hair=0.0)
    moved = change(identity, yaw=0.2)
    tip = row_of(identity, identity.eye_y + identity.nose_length)
    centre = round((identity.head_x + 1) / 2 * SIZE)
    assert moved[tip - 4 : tip + 4, centre - 3 : centre + 10].mean() > moved[tip - 4 : tip + 4, :10].mean() + 5


@pytest.mark.parametrize("seed", range(4))
def test_sizes_show_the_same_picture(seed):
    identity, move = Identity.sample(np.random.default_rng(seed)), sample_motion(np.random.default_rng(seed), 3)
    large = render(identity, move, 256).astype(np.float32)
    small = render(identity, move, 128).astype(np.float32)
    shrunk = large.reshape(3, 128, 2, 128, 2, 3).mean((2, 4))
    assert np.abs(shrunk - small).mean() < 2.0


def test_motion_keeps_its_limits_and_moves_smoothly():
    index = {name: n for n, name in enumerate(MOTION_PARAMETERS)}
    limit = {"yaw": 0.6, "pitch": 0.35, "roll": 0.3, "tx": 0.08, "ty": 0.08}
    for seed in range(10):
        moves = sample_motion(np.random.default_rng(seed), 200)
        assert moves.shape == (200, len(MOTION_PARAMETERS)) and moves.dtype == np.float32
        for name, most in limit.items():
            assert np.abs(moves[:, index[name]]).max() <= most + 1e-6
            assert np.abs(np.diff(moves[:, index[name]])).max() < 0.35 * most
        assert 0.9 - 1e-6 <= moves[:, index["scale"]].min() and moves[:, index["scale"]].max() <= 1.1 + 1e-6
        for name in ("blink_left", "blink_right", "mouth_open"):
            assert 0 <= moves[:, index[name]].min() and moves[:, index[name]].max() <= 1


def test_clips_talk_and_blink():
    index = {name: n for n, name in enumerate(MOTION_PARAMETERS)}
    clips = np.stack([sample_motion(np.random.default_rng(seed), 250) for seed in range(10)])  # [b, t, p]
    assert (clips[..., index["mouth_open"]].max(1) > 0.25).mean() > 0.8
    assert (clips[..., index["blink_left"]].max(1) > 0.9).all()


def test_motion_of_another_width_is_refused_with_both_widths():
    with pytest.raises(ValueError, match=rf"\(2, 3\).*{len(MOTION_PARAMETERS)}"):
        render(person(), np.zeros((2, 3), np.float32))


@pytest.mark.skipif(
    not (find_spec("dlib") and find_spec("face_recognition_models")), reason="needs dlib and face_recognition_models"
)
def test_a_face_detector_finds_faces_with_plausible_landmarks():
    import dlib

    models = find_spec("face_recognition_models").submodule_search_locations[0] + "/models/"
    detect = dlib.get_frontal_face_detector()
    landmarks = dlib.shape_predictor(models + "shape_predictor_68_face_landmarks.dat")
    found, errors = 0, []
    for seed in range(12):
        identity = Identity.sample(np.random.default_rng(seed))
        frame = render(identity, motion(yaw=0.3 * (-1) ** seed, mouth_open=0.3), 256)[0]
        boxes = detect(frame, 0)
        found += bool(boxes)
        if boxes:
            points = np.array([(p.x, p.y) for p in landmarks(frame, boxes[0]).parts()]) / 128 - 1
            eyes, mouth = points[36:48, 1].mean(), points[48:60, 1].mean()
            errors += [eyes - identity.head_y - identity.head_size * identity.eye_y]
            errors += [mouth - identity.head_y - identity.head_size * (identity.mouth_y + 0.03)]
    assert found >= 11
    assert np.median(np.abs(errors)) < 0.05
