"""`bcd eval`: the errors of appendix C, the list of pairs, the table. Seconds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("cv2", reason="portraits need opencv-python-headless")

from small_head import NAMES, POSE, landmarks, small_head  # noqa: E402

from bcdcodec.benchmarks.evaluate_pairs import MEASURES, MODEL, PUBLISHED, PairsReport, as_text, read_pairs  # noqa: E402
from bcdcodec.benchmarks.measure.landmarks import Landmarks  # noqa: E402
from bcdcodec.benchmarks.measure.meshes import FittedClip, fit_landmarks, mesh_errors  # noqa: E402
from bcdcodec.errors import BcdError  # noqa: E402
from bcdcodec.training.data.portraits.render import rotation  # noqa: E402

FRAMES = 3


@pytest.fixture(scope="module")
def head():
    return small_head()


@pytest.fixture
def clip(head) -> FittedClip:
    """The mean head, at rest in the middle of the picture."""
    t = FRAMES
    still = np.zeros((t, len(NAMES))), np.tile(np.eye(3), (t, 1, 1)), np.zeros((t, 2)), np.ones(t, bool)
    return FittedClip(head.vertices.astype(float), *still)


def test_the_same_clip_has_no_error(head, clip):
    errors = mesh_errors(head, clip, clip, clip)
    assert (errors.identity_error, errors.motion_error, errors.cross_error) == (0, 0, 0)


def test_another_face_is_an_identity_error_but_no_motion_error(head, clip):
    other = replace(clip, identity=clip.identity + [2.0, 0, 0])
    errors = mesh_errors(head, other, clip, clip)
    assert (errors.identity_error, errors.motion_error, errors.cross_error) == pytest.approx((4, 0, 4))


def test_another_place_or_pose_is_a_motion_error_but_no_identity_error(head, clip):
    moved = mesh_errors(head, replace(clip, places=clip.places + [0, 3.0]), clip, clip)
    assert (moved.identity_error, moved.motion_error, moved.cross_error) == pytest.approx((0, 9, 9))
    turned = mesh_errors(head, replace(clip, rotations=np.tile(rotation((0, 0.3, 0)), (FRAMES, 1, 1))), clip, clip)
    assert (
        turned.identity_error == 0
        and turned.motion_error == pytest.approx(turned.cross_error)
        and turned.motion_error > 0.1
    )


def test_the_truth_is_the_face_of_the_one_in_the_expression_of_the_other(head, clip):
    wider = replace(clip, identity=clip.identity * [1.2, 1, 1])
    speaking = replace(clip, expressions=clip.expressions + np.eye(len(NAMES))[NAMES.index("jawOpen")])
    truth = replace(wider, expressions=speaking.expressions)
    assert mesh_errors(head, truth, wider, speaking).cross_error == pytest.approx(0)
    assert mesh_errors(head, speaking, wider, speaking).identity_error > 0
    assert mesh_errors(head, wider, wider, speaking).motion_error > 0


def test_frames_without_a_face_are_left_out(head, clip):
    expressions = clip.expressions.copy()
    expressions[1] = np.nan
    unseen = replace(clip, expressions=expressions, found=np.array([True, False, True]))
    assert mesh_errors(head, unseen, clip, clip).cross_error == 0
    assert mesh_errors(head, replace(clip, found=np.zeros(FRAMES, bool)), clip, clip) is None


def test_a_head_that_moves_across_the_picture_is_fitted_where_it_is(head):
    places = [POSE, replace(POSE, shift=POSE.shift + [11.0, 22.0])]
    points = np.stack([landmarks(head, head.vertices, pose) for pose in places] + [np.full((478, 3), np.nan)])
    fitted = fit_landmarks(head, Landmarks(points.astype(np.float32), None), size=320)
    assert fitted.found.tolist() == [True, True, False]
    assert fitted.places[1] - fitted.places[0] == pytest.approx([1.0, -2.0], abs=0.05)
    assert fit_landmarks(head, Landmarks(points[2:].astype(np.float32), None), size=320) is None


def test_pairs_are_read_with_paths_from_the_folder_of_the_list(tmp_path):
    (tmp_path / "pairs.csv").write_text("content,motion,generated\na.mp4,b.mp4,c.mp4\nd.mp4,e.mp4,\n")
    first, second = read_pairs(tmp_path / "pairs.csv")
    assert first.generated == tmp_path / "c.mp4" and second.generated is None and second.motion == tmp_path / "e.mp4"
    (tmp_path / "wrong.csv").write_text("a,b\n1,2\n")
    with pytest.raises(BcdError, match="has a, b: columns content and motion are wanted"):
        read_pairs(tmp_path / "wrong.csv")


def test_the_table_has_the_published_rows_and_what_was_not_measured():
    row = dict.fromkeys(("FID", "CSIM", "sface", "motion_error", "cross_error")) | {"identity_error": 0.25}
    lines = as_text(PairsReport({MODEL: row}, 1, ["FID: inception-2015-12-05.pt"])).splitlines()
    assert lines[1].split() == ["this", "-", "-", "-", "0.250", "-", "-"]
    assert [line.split("  ")[0] for line in lines[3:-1]] == list(PUBLISHED)
    assert lines[-1] == "not measured: FID: inception-2015-12-05.pt"


def test_a_pair_that_fails_makes_the_command_fail(bcd, tmp_path, monkeypatch):
    report = PairsReport({MODEL: dict.fromkeys(MEASURES)}, 1, [], {"a.mp4, b.mp4": "cannot open a.mp4"})
    monkeypatch.setattr("bcdcodec.benchmarks.evaluate_pairs.evaluate_pairs", lambda *given: report)
    pairs = tmp_path / "pairs.csv"
    pairs.write_text("content,motion\na.mp4,b.mp4\nc.mp4,d.mp4\n")
    done = bcd("eval", pairs, "--networks", tmp_path)
    assert done.code == 1 and "1 pairs" in done.out
    assert "failed: a.mp4, b.mp4: cannot open a.mp4" in done.err and "1 of 2 pairs failed" in done.err
