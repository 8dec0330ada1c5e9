"""Re-animated portraits: exact flow, what is visible, the mouth; the same whatever the order, resumed after a stop."""

from dataclasses import replace
from pathlib import Path

import click
import numpy as np
import pytest

cv2 = pytest.importorskip("cv2", reason="portraits need opencv-python-headless")

from small_head import NAMES, POSE, landmarks, photograph, small_head  # noqa: E402

from bcdcodec.errors import BcdError  # noqa: E402
from bcdcodec.training.data.portraits import portrait as portrait_file  # noqa: E402
from bcdcodec.training.data.portraits.contour import opening  # noqa: E402
from bcdcodec.training.data.portraits.driving import DriverMotion, smooth_over_time, training_clips  # noqa: E402
from bcdcodec.training.data.portraits.eyes import blink_gains  # noqa: E402
from bcdcodec.training.data.portraits.fit import Pose, fit, fit_expressions  # noqa: E402
from bcdcodec.training.data.portraits.glasses import stiffness  # noqa: E402
from bcdcodec.training.data.portraits.person import prepare  # noqa: E402
from bcdcodec.training.data.portraits.pictures import FIELD, SIDE  # noqa: E402
from bcdcodec.training.data.portraits.raster import rasterise  # noqa: E402
from bcdcodec.training.data.portraits.render import Motion, render, rotation  # noqa: E402
from bcdcodec.training.data.portraits.store import jpegs, picture, write  # noqa: E402

SHARED = Path(__file__).resolve().parents[2] / "shared"  # data beside the checkout, not of the repository


@pytest.fixture(scope="module")
def head():
    return small_head()


@pytest.fixture(scope="module")
def person(head):
    points = landmarks(head, head.vertices, POSE)
    return prepare(head, photograph(), points, np.random.default_rng(0))


def motion(person, turn=(0, 0, 0), gaze=(0, 0), shift=(0, 0), **weights):
    expression = person.fit.expression.copy()
    for name, value in weights.items():
        expression[NAMES.index(name)] = value
    return Motion(expression, np.array(gaze, float), np.array(turn, float), np.array(shift, float), 0.0)


def warped(person, frame):
    """The photograph at FIELD x FIELD moved by a frame's flow, and the frame's picture at that size."""
    small = cv2.resize(person.photograph, (FIELD, FIELD), interpolation=cv2.INTER_AREA).astype(np.float32)
    y, x = np.mgrid[:FIELD, :FIELD].astype(np.float32)
    flow = frame.flow.astype(np.float32) * FIELD
    moved = cv2.remap(small, x + flow[..., 0], y + flow[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return moved, cv2.resize(frame.picture, (FIELD, FIELD), interpolation=cv2.INTER_AREA).astype(np.float32)


MOTIONS = [
    {"jawOpen": 0.8},
    {"turn": (0.0, 0.3, 0.0)},
    {"turn": (0.15, -0.2, 0.1), "jawOpen": 0.4, "shift": (0.02, 0.01)},
    {"eyeBlink_L": 1.0, "eyeBlink_R": 1.0},
    {"gaze": (0.4, 0.0)},
]


@pytest.mark.parametrize("asked", MOTIONS)
def test_the_photograph_warped_by_the_flow_is_the_frame_where_visible(head, person, asked):
    frame = render(head, person, motion(person, **asked))
    moved, shown = warped(person, frame)
    seen = frame.visible > 0
    assert seen.mean() > 0.7
    assert np.abs(moved - shown)[seen].mean() < 1.5
    assert np.percentile(np.abs(moved - shown)[seen], 99.5) < 10


def test_the_flow_is_not_zero_where_the_head_turns(head, person):
    frame = render(head, person, motion(person, turn=(0.0, 0.3, 0.0)))
    nose = frame.flow[FIELD // 2, FIELD // 2].astype(float) * SIDE
    assert nose[0] < -10  # turned to the right: comes from the left
    moved, shown = warped(person, replace(frame, flow=np.zeros_like(frame.flow)))
    assert np.abs(moved - shown)[frame.visible > 0].mean() > 5


@pytest.mark.parametrize("asked", MOTIONS[:3])
def test_the_inverse_leads_back(head, person, asked):
    frame = render(head, person, motion(person, **asked))
    y, x = np.mgrid[:FIELD, :FIELD].astype(np.float32)
    flow, inverse = (f.astype(np.float32) * FIELD for f in (frame.flow, frame.inverse))
    back = cv2.remap(inverse, x + flow[..., 0], y + flow[..., 1], cv2.INTER_LINEAR)
    away = np.linalg.norm(back + flow, axis=-1)[frame.visible > 0]
    assert np.median(away) < 0.05
    assert np.percentile(away, 98) < 0.5


def test_nothing_asked_for_gives_the_photograph(head, person):
    frame = render(head, person, motion(person))
    assert np.abs(frame.flow.astype(float)).max() * SIDE < 0.05
    seen = cv2.resize(frame.visible, (SIDE, SIDE), interpolation=cv2.INTER_NEAREST) > 0
    assert np.abs(frame.picture.astype(int) - person.photograph)[seen].mean() < 0.5


def test_the_mouth_covers_the_place_between_the_lips_and_nothing_else(head, person):
    asked = motion(person, jawOpen=1.0)
    frame = render(head, person, asked)
    shape = person.shape + head.expression[NAMES.index("jawOpen")] * (1 - person.fit.expression[NAMES.index("jawOpen")])
    seen = person.fit.pose.project(shape)
    way = np.concatenate([seen[head.upper_lip, :2], seen[head.lower_lip[::-1], :2]])
    between = cv2.fillPoly(np.zeros((SIDE, SIDE), np.uint8), [way.round().astype(np.int32)], 1)
    near = cv2.dilate(between, np.ones((5, 5), np.uint8))[::2, ::2] > 0
    assert (frame.mouth > 0).sum() > 30
    assert not (frame.mouth[~near] > 0).any()
    assert not (frame.visible[frame.mouth > 16] > 0).any()
    assert not (render(head, person, motion(person)).mouth > 0).any()


def test_the_inside_of_the_mouth_is_darker_than_the_face(head, person):
    frame = render(head, person, motion(person, jawOpen=1.0))
    mouth = cv2.resize(frame.mouth, (SIDE, SIDE)) > 250
    assert np.percentile(frame.picture[mouth], 30) < 0.6 * person.light.mean()


def test_a_full_blink_shuts_the_eye(head, person):
    frame = render(head, person, motion(person, eyeBlink_R=1.0))
    weights = np.zeros(len(NAMES), np.float32)
    weights[NAMES.index("eyeBlink_R")] = person.eyes[0].blink_gain
    seen = person.fit.pose.project(person.shape + np.tensordot(weights, head.expression, 1))
    gaps = [
        opening(seen[head.upper_lids[k], :2], seen[head.lower_lids[k], :2], SIDE).gap / person.openings[k].gap
        for k in range(2)
    ]
    assert gaps[0] < 0.15
    assert gaps[1] == pytest.approx(1, abs=0.05)
    # no eyeball is left in the right eye: its place no longer looks as in the photograph
    box = person.openings[0].box
    assert np.abs(frame.picture[box].astype(int) - person.photograph[box])[person.openings[0].cover > 0.9].mean() > 5


def test_gaze_moves_the_iris_alone(head, person):
    straight, aside = (render(head, person, motion(person, gaze=g)) for g in ((0, 0), (0.4, 0)))
    changed = np.abs(straight.picture.astype(int) - aside.picture).max(-1) > 8
    around = np.zeros((SIDE, SIDE), bool)
    for hole in person.openings:
        around[hole.box] = True
    assert changed.any()
    assert not changed[~around].any()


def test_spectacles_stay_while_lids_close(head, person):
    share = stiffness(head)[:, 0]
    lid = head.upper_lids[0][len(head.upper_lids[0]) // 2]
    assert share[lid] == pytest.approx(1, abs=0.01)
    frame = np.linalg.norm(head.vertices[:, :2] - (head.eyes[0, :2] + (2.4, -0.3)), axis=1).argmin()
    assert share[frame] < 0.3
    assert share[head.landmarks[8]] == 1  # the chin


def test_a_fit_recovers_pose_and_expression(head):
    weights = np.array([0.6, 0.6, 0.5, 0.0], np.float32)
    turned = Pose(rotation((0.1, 0.25, -0.05)), 9.0, np.array([150.0, 170.0]))
    points = landmarks(head, head.shape(np.zeros(1, np.float32), weights), turned)
    found = fit(head, points)
    assert np.degrees(np.arccos((np.trace(found.pose.rotation.T @ turned.rotation) - 1) / 2)) < 1.5
    assert found.pose.scale == pytest.approx(9.0, rel=0.02)
    assert found.expression[:3] == pytest.approx(weights[:3], abs=0.12)


def test_a_clip_is_fitted_frame_by_frame(head):
    jaws = np.array([0.1, 0.4, 0.8, 0.3, 0.1])
    shapes = [head.shape(np.zeros(1, np.float32), np.array([0, 0, j, 0], np.float32)) for j in jaws]
    expressions, _, _ = fit_expressions(head, np.stack([landmarks(head, s, POSE) for s in shapes]).astype(float))
    assert np.corrcoef(expressions[:, 2], jaws)[0, 1] > 0.98


def test_gains_make_a_blink_of_one_shut_the_eye(head):
    assert all(1 <= gain <= 1.15 for gain in blink_gains(head, head.vertices))


def test_the_nearest_triangle_is_seen():
    vertices = np.array([(0, 0, 1), (0, 9, 1), (9, 0, 1), (0, 0, 2), (0, 5, 2), (5, 0, 2)], np.float32)
    surface = rasterise(vertices, np.array([(0, 1, 2), (3, 4, 5)]), 10, 10)
    depth = np.zeros(100)
    depth[surface.pixel] = surface.depth
    assert depth.reshape(10, 10)[1, 1] == 2
    assert depth.reshape(10, 10)[6, 1] == 1
    assert depth.reshape(10, 10)[9, 9] == 0
    at = surface.at(vertices[:, :2])
    assert np.allclose(at, np.stack([surface.pixel % 10, surface.pixel // 10], 1), atol=1e-4)


def test_triangles_that_face_away_are_not_seen():
    vertices = np.array([(0, 0, 1), (0, 9, 1), (9, 0, 1)], np.float32)
    assert not len(rasterise(vertices, np.array([(0, 2, 1)]), 10, 10).pixel)
    assert len(rasterise(vertices, np.array([(0, 2, 1)]), 10, 10, front=False).pixel)


@pytest.fixture
def small_portrait(head, monkeypatch, tmp_path):
    """Makes one portrait's arrays from the small head, the landmarker replaced by known points."""
    points = landmarks(head, head.vertices, POSE)
    face = type("Face", (), {"points": points, "blendshapes": np.zeros(52, np.float32)})()
    path = tmp_path / "someone.png"
    cv2.imwrite(str(path), photograph()[..., ::-1])
    rng = np.random.default_rng(1)
    moves = smooth_over_time(rng.uniform(0, 1, (40, len(NAMES))), 2.0).astype(np.float32)
    driver = DriverMotion(
        "driven_by",
        moves,
        moves.min(0),
        np.zeros((40, 2), np.float32),
        np.zeros((40, 3), np.float32),
        np.ones(40, bool),
    )

    def make(seed, frames=10):
        return portrait_file.make_portrait(head, lambda picture, near=None: face, [driver], path, frames, seed)

    return make


def test_a_portrait_is_the_same_for_the_same_seed_and_another_for_another(small_portrait):
    one, again, other = small_portrait(3), small_portrait(3), small_portrait(4)
    assert all(np.array_equal(one[k], again[k]) for k in one)
    assert not np.array_equal(one["expression"], other["expression"])


def test_the_first_picture_is_the_photograph_and_neighbours_are_close(small_portrait):
    arrays = small_portrait(3)
    assert not arrays["flow"][0].any() and not arrays["inverse"][0].any() and (arrays["visible"][0] == 255).all()
    assert arrays["driver"][0] == -1 and len(arrays["jpeg_offset"]) == 11
    assert (np.abs(np.diff(arrays["frame"][1:9].reshape(4, 2), axis=1)) <= 3).all()
    shapes = {"flow": (10, 128, 128, 2), "visible": (10, 128, 128), "landmarks": (10, 478, 3), "pose": (10, 6)}
    assert {k: arrays[k].shape for k in shapes} == shapes
    assert arrays["flow"].dtype == np.float16 and arrays["mouth"].dtype == np.uint8


def test_a_file_is_written_whole_or_not_at_all(tmp_path):
    pictures = [photograph()[:64, :64], photograph()[64:128, 64:128]]
    write(tmp_path / "a.npz", jpegs(pictures))
    with np.load(tmp_path / "a.npz", allow_pickle=False) as arrays:
        assert np.abs(picture(arrays, 1).astype(int) - pictures[1]).mean() < 4

    class Broken:
        def __array__(self, *_, **__):
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write(tmp_path / "b.npz", {"jpeg": Broken()})
    assert [p.name for p in tmp_path.iterdir()] == ["a.npz"]


def test_only_training_clips_drive(tmp_path):
    (tmp_path / "manifest.csv").write_text("file,split\nclips/a.mp4,train\nclips/b.mp4,val\nstills/c.jpg,train\n")
    assert training_clips(tmp_path) == [tmp_path / "clips/a.mp4"]
    (tmp_path / "manifest.csv").write_text("file,split\nclips/b.mp4,val\n")
    with pytest.raises(BcdError, match="no clip of split `train`"):
        training_clips(tmp_path)


@pytest.mark.skipif(
    not (SHARED / "models/ict_facekit.npz").is_file(), reason="needs ../shared: ICT-FaceKit, the landmarker, portraits"
)
def test_a_real_portrait_fits_and_its_flow_is_exact():
    pytest.importorskip("ai_edge_litert")
    from bcdcodec.training.data.landmarker import BLENDSHAPES, Landmarker
    from bcdcodec.training.data.portraits.head import load_head

    head = load_head(SHARED / "models/ict_facekit.npz")
    landmarker = Landmarker(SHARED / "models/face_landmarker.task")
    image = cv2.imread(str(SHARED / "data/portraits/n001_neutral.jpg"))[..., ::-1].copy()
    person = prepare(head, image, landmarker(image).points, np.random.default_rng(0))
    assert person.fit.error < 0.025
    expression = person.fit.expression.copy()
    for name, value in (("jawOpen", 0.7), ("eyeBlink_L", 1.0), ("eyeBlink_R", 1.0)):
        expression[head.names.index(name)] = value
    frame = render(head, person, Motion(expression, np.zeros(2), np.array([0, 0.15, 0]), np.zeros(2), 0.0))
    moved, shown = warped(person, frame)
    assert np.abs(moved - shown)[frame.visible > 0].mean() < 2
    still, moving = (landmarker(p).blendshapes for p in (person.photograph, frame.picture))
    for name, least in (("jawOpen", 0.3), ("eyeBlinkLeft", 0.3), ("eyeBlinkRight", 0.3)):
        assert moving[BLENDSHAPES.index(name)] - still[BLENDSHAPES.index(name)] > least


@pytest.fixture
def command(monkeypatch, tmp_path):
    """Runs the command on a folder of pictures, fitting and drawing replaced by a record of who was asked for."""
    from bcdcodec.training.data.portraits import __main__ as module

    made = []

    def make(head, landmarker, driver_motions, path, frames, seed):
        made.append(path.stem)
        if path.stem == "stopped":
            raise KeyboardInterrupt
        return None if path.stem == "faceless" else jpegs([photograph()[:64, :64]] * 2) | {"found": np.ones(2, bool)}

    for name in ("load_head", "Landmarker", "training_clips"):
        monkeypatch.setattr(module, name, lambda *_: None)
    monkeypatch.setattr(module, "read_drivers", lambda *_: [None])
    monkeypatch.setattr(module, "driver_motion", lambda *_: "moves")
    monkeypatch.setattr(module, "make_portrait", make)
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("anna", "faceless", "stopped", "zoe"):
        (folder / f"{name}.jpg").touch()
    options = ["--portraits", folder, "--head", "h", "--landmarker", "l", "--clips", "c", "--out", tmp_path / "out"]

    def run(*more):
        made.clear()
        try:
            module.main([str(o) for o in (*options, *more)], standalone_mode=False)
        except (KeyboardInterrupt, click.Abort):
            made.append("interrupted")
        return list(made)

    run.made, run.out = made, tmp_path / "out"
    return run


def test_a_stopped_run_is_resumed_and_nothing_is_done_twice(command, monkeypatch):
    first = command()
    assert first[-2:] == ["stopped", "interrupted"]
    done = {p.stem for p in command.out.iterdir()}
    assert done == set(first[:-2])
    assert not [p for p in command.out.iterdir() if p.name.startswith(".")]
    from bcdcodec.training.data.portraits import __main__ as module

    monkeypatch.setattr(module, "make_portrait", lambda *given: command.made.append(given[3].stem))
    assert set(command()) == {"anna", "faceless", "stopped", "zoe"} - done
    assert command() == []


def test_parts_share_the_portraits_out(command):
    whole = {"anna", "faceless", "zoe", "stopped"}
    parts = [set(command("--part", k, 2)) - {"interrupted"} for k in range(2)]
    assert parts[0] | parts[1] == whole and not parts[0] & parts[1]
    with pytest.raises(BcdError, match="K must be 0 to N - 1"):
        command("--part", 2, 2)


def test_a_sheet_shows_what_there_is(command, tmp_path):
    command()
    command("--sheet", 12, tmp_path / "sheet.png", "--limit", 0)
    assert cv2.imread(str(tmp_path / "sheet.png")).shape == (2 * 64, 10 * 64, 3)
