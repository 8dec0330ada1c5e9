"""Errors of one person in another's motion, of faces whose errors are known."""

from pathlib import Path

import numpy as np
import pytest

from bcdcodec.benchmarks.measure.faces import Face
from bcdcodec.benchmarks.measure.head_pose import MEAN_HEAD
from bcdcodec.benchmarks.measure.reenactment import medians, pairs_of, reenactment_errors


def faces(shift=0.0, size=1.0, look=0.0, count=6):
    """A schematic face in motion: its mouth opens from frame to frame."""
    rng = np.random.default_rng(3)
    marks = rng.uniform(0.3, 0.7, (68, 2))
    marks[36], marks[45] = (0.35, 0.4), (0.65, 0.4)
    marks[17:27, 1] += look  # another person's brows
    found = []
    for i in range(count):
        moved = marks.copy()
        moved[48:68, 1] += 0.02 * i
        found.append(Face(np.full(128, look), 0.5 + size * (moved - 0.5) + shift))
    return found


def test_a_perfect_reenactment_has_no_error():
    errors = reenactment_errors(faces(), faces(), faces(), faces())
    assert (errors.identity_distance, errors.identity_error, errors.motion_error, errors.cross_error) == pytest.approx(
        (0, 0, 0, 0)
    )
    assert errors.pose_error == pytest.approx(0, abs=1e-4) and errors.faces == 1


def test_place_is_a_cross_error_but_none_of_motion_or_identity():
    errors = reenactment_errors(faces(shift=0.03), faces(), faces(), faces())
    assert errors.cross_error == pytest.approx(2 * (0.03 / 0.3) ** 2)
    assert (errors.identity_error, errors.motion_error) == pytest.approx((0, 0), abs=1e-12)


def test_another_look_is_an_identity_error_and_a_still_mouth_one_of_motion():
    other = reenactment_errors(faces(look=0.05), faces(), faces(), faces())
    assert (
        other.identity_error > 1e-4
        and other.identity_distance > 0.4
        and other.motion_error == pytest.approx(0, abs=1e-12)
    )
    still = reenactment_errors([faces()[2]] * 6, faces(), faces(), faces())
    way = 0.02 * (np.arange(6) - 2.5) / 0.3
    assert still.motion_error == pytest.approx(20 / 68 * np.square(way).mean())


def test_without_truth_motion_is_that_of_the_driving_clip():
    errors = reenactment_errors(faces(look=0.05, size=0.8), faces(look=0.05), faces(), None)
    assert errors.cross_error is None
    assert (errors.motion_error, errors.identity_error) == pytest.approx((0, 0), abs=1e-9)
    assert reenactment_errors([None] * 6, faces(), faces(), None).motion_error is None


def test_what_is_shown_is_told_from_the_person_of_the_motion():
    like_b = reenactment_errors(faces(look=0.05), faces(look=0.05), faces(), None)
    like_a = reenactment_errors(faces(), faces(look=0.05), faces(), None)
    assert like_b.identity_distance == pytest.approx(0) and like_b.driver_distance > 0.4
    assert like_a.driver_distance == pytest.approx(0)
    talking, resting = faces(), faces()
    for i in range(6):
        for clip, opens in ((talking, 0.1), (resting, 0.01)):  # the inner lips' distance grows by so much of itself
            clip[i].landmarks[66] += opens * i * (clip[i].landmarks[66] - clip[i].landmarks[62])
    assert reenactment_errors(talking, faces(), talking, None).mouth == pytest.approx(1)
    assert reenactment_errors(faces(), faces(), talking, None).mouth == 0, "a mouth that does not open"
    assert reenactment_errors(talking, faces(), resting, None).mouth is None, (
        "what correlates with a mouth at rest is noise"
    )
    assert medians([like_a, like_b, like_b])["nearer"] == pytest.approx(2 / 3)
    assert medians([reenactment_errors([None] * 6, faces(), faces(), None)])["nearer"] is None


def turned(yaws, build=0.0):
    """Faces turned to the side by `yaws` degrees, whose landmarks always look tilted by `build` degrees."""

    def turn(axis, degrees):
        c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        i, j = [k for k in range(3) if k != axis]
        r = np.eye(3)
        r[i, i], r[i, j], r[j, i], r[j, j] = c, -s, s, c
        return r

    found = []
    for yaw in yaws:
        marks = 0.5 + 0.1 * (MEAN_HEAD @ (turn(1, yaw) @ turn(0, build)).T)[:, :2]
        found.append(Face(np.zeros(128), marks))
    return found


def test_the_build_of_a_face_is_a_pose_error_but_no_turn():
    yaws = [-10, -5, 0, 5, 10]
    errors = reenactment_errors(turned(yaws, build=12), turned([0] * 5, build=12), turned(yaws), None)
    assert errors.pose_error == pytest.approx(12, abs=0.1) and errors.turn_error == pytest.approx(0, abs=0.2)
    still = reenactment_errors(turned([0] * 5, build=12), turned([0] * 5, build=12), turned(yaws), None)
    assert still.turn_error == pytest.approx(still.turn_still) == pytest.approx(6, abs=0.2)
    exact = reenactment_errors(turned(yaws), turned([0] * 5), turned(yaws), turned(yaws, build=12))
    assert exact.pose_error == pytest.approx(12, abs=0.1), "where there is truth, it is the measure"


def test_medians_and_pairs():
    errors = [reenactment_errors(faces(shift=s), faces(), faces(), faces()) for s in (0.0, 0.03, 0.3)] + [
        reenactment_errors([None] * 6, faces(), faces(), faces())
    ]
    found = medians(errors)
    assert found["pairs"] == 4 and found["cross_error"] == pytest.approx(errors[1].cross_error) and found["faces"] == 1
    clips = [Path(str(i)) for i in range(10)]
    assert list(pairs_of(clips, 3)) == [(clips[0], clips[5]), (clips[1], clips[6]), (clips[3], clips[8])]
    assert list(pairs_of(clips[:1], 3)) == []
