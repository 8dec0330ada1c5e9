"""Facial motion within clips, on signals whose answer is known and on landmarks recorded from a real face."""

import sys
from pathlib import Path

import numpy as np
import pytest

from bcdcodec.benchmarks.measure.faces import MOTION_EVERY, FaceMeter, motion_signals
from bcdcodec.benchmarks.measure.head_pose import head_pose
from bcdcodec.benchmarks.measure.identity import PLACES, align, five_points
from bcdcodec.benchmarks.measure.landmarks import Landmarks, clip_landmarks
from bcdcodec.benchmarks.measure.within_clip import SIGNALS, compare_signal, compare_signals, mean_head, signals_of
from bcdcodec.benchmarks.report.summary import headlines
from bcdcodec.benchmarks.rows import BCD, Row
from bcdcodec.errors import BcdError
from bcdcodec.training.data import landmarker as module
from bcdcodec.training.data.landmarker import BLENDSHAPE_POINTS, Landmarker
from bcdcodec.video.detector import anchors

RECORDED = Path(__file__).parent / "data" / "face_landmarks.npz"


@pytest.fixture(scope="module")
def recorded():
    """48 frames of a talking head: MediaPipe's landmarks in pixels, dlib's in 0..1, of every second frame."""
    with np.load(RECORDED) as kept:
        points = np.full((len(kept["points"]), 478, 3), np.nan, np.float32)
        points[:, kept["places"]] = kept["points"].astype(np.float32) / 10
        # The finder looks at point 0: it must be there in frames with a face.
        return Landmarks(points, kept["blendshapes"].astype(np.float32)), kept["dlib"].astype(float) / 10000


def wave(frames=100, seed=0):
    return np.abs(np.random.default_rng(seed).normal(size=frames)).cumsum() % 1


def test_a_held_picture_scores_zero_by_every_measure(recorded):
    seen, marks = recorded
    source = signals_of(seen) | motion_signals(marks)
    held = Landmarks(seen.points[7:8].repeat(len(seen.points), 0), seen.blendshapes[7:8].repeat(len(seen.points), 0))
    decoded = signals_of(held, mean_head(seen)) | motion_signals(marks[7:8].repeat(len(marks), 0))
    found = compare_signals(decoded, source)
    assert set(found) == set(SIGNALS)
    assert all((r.slope, r.correlation) == (0, 0) for r in found.values())
    assert compare_signal(np.full(100, 0.3), wave()).slope == 0


def test_the_source_itself_scores_one(recorded):
    source = signals_of(recorded[0]) | motion_signals(recorded[1])
    for result in compare_signals(source, source).values():
        assert (result.slope, result.correlation) == pytest.approx((1, 1)) and result.extreme_error in (None, 0)


def test_half_the_motion_has_half_the_slope_wherever_it_lies():
    source = wave()
    assert compare_signal(5 + source / 2, source).slope == pytest.approx(0.5)
    assert compare_signal(5 + source / 2, source).correlation == pytest.approx(1)
    assert compare_signal(-source, source).slope == pytest.approx(-1)


def row(clip, decoded, source):
    found = compare_signal(decoded, source, SIGNALS["mouth"].extreme)
    measures = {
        f"mouth.{part}": getattr(found, part) for part in ("slope", "correlation", "deviation", "extreme_error")
    }
    sizes = dict.fromkeys(
        ("motion", "content", "container", "contents", "content_max", "static_motion_bits", "ideal_motion_bits"), 1
    )
    held = compare_signal(np.full_like(source, source[0]), source, 1)
    kept = {"mouth.slope": held.slope, "mouth.correlation": held.correlation, "mouth.extreme_error": held.extreme_error}
    return Row(
        clip, BCD, "default rate", 256, len(source), 4.0, 100, sizes, measures | {"psnr": 30.0}, kept | {"psnr": 20.0}
    )


def test_clips_that_are_swapped_score_about_zero_however_open_their_mouths_are():
    # Pooled over clips these would correlate with more than 0.9: open mouths against shut ones.
    level, motion = np.linspace(0, 9, 30), [wave(200, i) for i in range(30)]
    source = [base + m for base, m in zip(level, motion)]
    swapped = [base + m for base, m in zip(level, motion[1:] + motion[:1])]
    assert np.corrcoef(np.concatenate(source), np.concatenate(swapped))[0, 1] > 0.9
    found = headlines([row(str(i), *pair) for i, pair in enumerate(zip(swapped, source))])
    assert abs(found["mouth.slope"]["value"]) < 0.05 and abs(found["mouth.correlation"]["value"]) < 0.05
    assert found["mouth.slope"]["held"] == found["mouth.correlation"]["held"] == 0
    assert found["mouth.extreme_error"]["held"] > 0 and found["mouth.slope"]["clips"] == 30


def test_clips_whose_mouth_rests_do_not_count():
    rows = [row("moves", wave() / 2, wave()), row("rests", np.zeros(100), 0.01 * wave())]
    found = headlines(rows)
    assert found["mouth.slope"]["value"] == pytest.approx(0.5) and found["mouth.slope"]["clips"] == 1
    assert found["psnr"]["clips"] == 2 and found["psnr"]["held"] == 20


def test_the_extreme_error_is_that_of_the_widest_tenth():
    source = np.r_[np.zeros(90), np.ones(10)]
    assert compare_signal(source * 0.25, source, 1).extreme_error == pytest.approx(0.75)
    assert compare_signal(1 - source, 1 - source * 0.5, -1).extreme_error == pytest.approx(0.5)
    assert compare_signal(source, source).extreme_error is None


def test_frames_without_a_face_do_not_count():
    source, decoded = wave(), wave() * 0.5
    decoded[::3] = np.nan
    assert compare_signal(decoded, source).slope == pytest.approx(0.5)
    decoded[5:] = np.nan
    assert compare_signal(decoded, source) is None


def test_dlib_looks_at_some_frames_and_at_a_held_picture_once():
    meter, looked = object.__new__(FaceMeter), []

    def finder(picture):
        looked.append(picture.mean())
        return None if picture.mean() == 9 else np.ones((68, 2))

    meter.marks = finder
    clip = np.zeros((6 * MOTION_EVERY, 4, 4, 3), np.uint8)
    clip[4 * MOTION_EVERY :] = 9
    found = np.isfinite(meter.landmarks(clip)[:, 0, 0])
    assert np.flatnonzero(found).tolist() == [i * MOTION_EVERY for i in range(4)] and looked == [0, 9]


# ---- the recording: a second landmark network saw the same frames


def test_dlibs_signals_are_those_of_the_other_network(recorded):
    seen, marks = recorded
    found, other = motion_signals(marks), signals_of(seen)
    assert np.corrcoef(found["mouth, dlib"], other["mouth"])[0, 1] > 0.85
    assert np.corrcoef(found["eyes, dlib"], other["right eye"] + other["left eye"])[0, 1] > 0.5


def openings(marks):
    """Mouth and eyes of dlib's 68 landmarks [t, 68, 2] by their own places."""
    gap = lambda a, b: np.linalg.norm(marks[:, a] - marks[:, b], axis=1)  # noqa: E731
    return (
        gap(62, 66) / gap(36, 45),
        (gap(37, 41) + gap(38, 40)) / 2 / gap(36, 39),
        (gap(43, 47) + gap(44, 46)) / 2 / gap(45, 42),
    )


def test_signals_agree_with_those_of_another_network(recorded):
    seen, marks = recorded
    found, (mouth, right, left) = signals_of(seen), openings(marks)
    for name, other, least in (("mouth", mouth, 0.85), ("right eye", right, 0.5), ("left eye", left, 0.5)):
        assert np.corrcoef(found[name], other)[0, 1] > least, name
    assert np.corrcoef(found["mouth"], found["jawOpen"])[0, 1] > 0.7
    assert np.corrcoef(found["right eye"], found["eyeBlinkRight"])[0, 1] < -0.5


def test_the_head_turns_as_another_network_sees_it_and_not_with_axes_swapped(recorded):
    seen, marks = recorded

    def agreement(landmarks):
        found, turns = signals_of(landmarks), [head_pose(m).rotation for m in marks]
        yaw, pitch = (
            np.arctan2([r[0, 2] for r in turns], [r[2, 2] for r in turns]),
            np.arcsin([-r[1, 2] for r in turns]),
        )
        roll = np.arctan2([r[1, 0] for r in turns], [r[0, 0] for r in turns])
        return [np.corrcoef(found[n], v)[0, 1] for n, v in (("yaw", yaw), ("pitch", pitch), ("roll", roll))]

    assert min(agreement(seen)) > 0.7
    swapped = Landmarks(seen.points[..., [1, 0, 2]], seen.blendshapes)
    assert min(agreement(swapped)) < 0


def test_the_five_points_of_a_face_lie_where_another_network_has_them(recorded):
    seen, marks = recorded
    other = (
        np.stack([marks[:, 36:42].mean(1), marks[:, 42:48].mean(1), marks[:, 30], marks[:, 48], marks[:, 54]], 1) * 256
    )
    assert np.linalg.norm(five_points(seen) - other, axis=-1).mean() < 5  # pixels of 256


# ---- from the networks' outputs to pixels


def spots(shape, places):
    picture = np.zeros(shape, np.uint8)
    for x, y in np.round(places).astype(int):
        picture[y - 2 : y + 3, x - 2 : x + 3] = 255
    return picture


class Bright:
    """In the networks' place: a detector that knows the face's box, and landmarks where the picture is bright."""

    def __init__(self):
        self.centre, self.eyes, self.score = np.array([0.55, 0.4]), np.array([[100.0, 90.0], [150.0, 110.0]]), 0.98

    def detect(self, square):
        assert square.shape == (128, 128, 3) and square.dtype == np.uint8
        boxes, scores = np.zeros((896, 16)), np.zeros(896)
        best = np.abs(anchors() - self.centre).sum(1).argmin()
        boxes[best, :2] = 128 * (self.centre - anchors()[best])
        boxes[best, 2:4], scores[best] = 128 * 0.4, self.score
        boxes[best, 4:8] = (128 * (self.eyes / 256 - anchors()[best])).ravel()
        return boxes, scores

    def run(self, name, x):
        bright = np.argwhere(x[0, ..., 0] > 0.5)[:, ::-1].mean(0)
        return [np.tile([*bright, 0.0], 468).reshape(1, 1, 1, -1), np.full((1, 1, 1, 1), 9.0)]


def test_landmarks_come_back_to_the_pixels_they_were_seen_at():
    networks, finder = Bright(), object.__new__(Landmarker)
    finder._cv2 = pytest.importorskip("cv2", reason="the extra `eval`")
    finder._run, finder._detector, finder._anchors = networks.run, networks.detect, anchors()
    finder._networks, finder.side, finder.points = {}, 192, 468
    region = finder._detect(np.zeros((256, 256, 3), np.uint8))
    frame = np.zeros((256, 256, 3), np.uint8)
    frame[:, :, 0] = spots((256, 256), [(120, 70)])
    assert finder._landmarks(frame, region).points[0, :2] == pytest.approx((120, 70), abs=1)
    networks.score = 0.02
    found = clip_landmarks(finder, frame[None])
    assert found.points.shape == (1, 468, 3) and found.blendshapes is None and not found.found.any()


def test_frames_that_are_equal_are_looked_at_once_and_the_next_near_the_last():
    looked = []

    class Finder:
        points = 478

        def __call__(self, frame, near=None):
            looked.append(near is not None)
            if frame.mean() == 2 and near is not None:
                return None  # lost
            return module.Face(np.full((478, 3), frame.mean()), np.arange(52.0), 1.0)

    frames = np.repeat(np.array([0, 0, 1, 2], np.uint8), 48).reshape(4, 4, 4, 3)
    found = clip_landmarks(Finder(), frames)
    assert found.points[:, 0, 0].tolist() == [0, 0, 1, 2] and found.blendshapes[0].tolist() == [25, 9, 10]
    assert looked == [False, True, True, False]


def test_a_face_is_turned_and_scaled_to_the_template():
    pytest.importorskip("cv2", reason="the extra `eval`")
    turn = 1.4 * np.array([[np.cos(0.4), -np.sin(0.4)], [np.sin(0.4), np.cos(0.4)]])
    seen = PLACES @ turn.T + (90, 20)
    picture = np.repeat(spots((256, 256), seen)[..., None], 3, 2)
    face = align(picture, seen)
    assert face.shape == (112, 112, 3)
    for x, y in PLACES.round().astype(int):
        assert face[y - 1 : y + 2, x - 1 : x + 2].mean() > 150
    assert face.mean() < 40


def test_without_a_landmarker_it_is_told_what_to_do(tmp_path, monkeypatch):
    assert len(set(BLENDSHAPE_POINTS)) == 146
    pytest.importorskip("ai_edge_litert", reason="the extra `eval`")
    (tmp_path / "face_landmarker.task").write_bytes(b"no zip")
    with pytest.raises(BcdError, match="is no MediaPipe face landmarker"):
        Landmarker(tmp_path / "face_landmarker.task")
    known = module.importlib.util.find_spec
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda n: None if n == "mediapipe" else known(n))
    with pytest.raises(BcdError, match="give a face_landmarker.task, or pip install"):
        Landmarker()


def test_networks_of_an_installed_wheel_serve_without_importing_it(tmp_path, monkeypatch):
    package = tmp_path / "mediapipe"
    for name, file in module.WHEEL_FILES.items():
        (package / file).parent.mkdir(parents=True, exist_ok=True)
        (package / file).write_bytes(name.encode())
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    monkeypatch.delitem(sys.modules, "mediapipe", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    assert module._of_wheel() == {name: name.encode() for name in module.WHEEL_FILES}
    (package / module.WHEEL_FILES["face_detector"]).unlink()  # as in the wheels of mediapipe 1
    with pytest.raises(BcdError, match="no MediaPipe landmarker"):
        module._of_wheel()
