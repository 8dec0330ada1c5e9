"""How a head is turned, from landmarks; and landmarks of a head that is turned."""

import numpy as np
import pytest

from bcdcodec.reenactment.head_pose import (
    MAX_SHIFT,
    MAX_TURN,
    MEAN_HEAD,
    NECK,
    SKULL,
    HeadPose,
    angle_between,
    head_pose,
    turned_landmarks,
)


def turn(yaw=0.0, pitch=0.0, roll=0.0):
    """Rotation by so many degrees."""
    r = np.eye(3)
    for (i, j), degrees in (((2, 0), yaw), ((1, 2), pitch), ((0, 1), roll)):
        c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        part = np.eye(3)
        part[i, i], part[i, j], part[j, i], part[j, j] = c, -s, s, c
        r = part @ r
    return r


def person(seed):
    """A face that is not the mean one, [68, 3]."""
    return MEAN_HEAD + np.random.default_rng(seed).normal(0, 0.05, (68, 3))


def test_the_mean_head_is_symmetric_and_about_its_middle():
    mirrored = MEAN_HEAD * [-1, 1, 1]
    nearest = np.linalg.norm(mirrored[:, None] - MEAN_HEAD, axis=-1).min(1)
    assert nearest.max() == 0 and np.abs(MEAN_HEAD.mean(0)).max() < 0.01
    assert np.linalg.norm(MEAN_HEAD[36] - MEAN_HEAD[45]) == pytest.approx(2)
    assert MEAN_HEAD[30, 2] == MEAN_HEAD[:, 2].max(), "the tip of the nose is nearest to the viewer"


@pytest.mark.parametrize("asked", [(0, 0, 0), (30, 0, 0), (-20, 10, 5), (0, -25, 0), (10, 15, -30)])
def test_the_pose_of_the_mean_head_is_found(asked):
    true = HeadPose(turn(*asked), 0.08, np.array([0.55, 0.4]))
    found = head_pose(true.project(MEAN_HEAD))
    assert angle_between(found.rotation, true.rotation) < 0.1 and np.linalg.det(found.rotation) == pytest.approx(1)
    assert found.size == pytest.approx(0.08, rel=1e-3) and np.allclose(found.place, true.place, atol=1e-3)


def test_another_build_is_taken_for_a_turn_but_hardly():
    off = [
        angle_between(head_pose(HeadPose(turn(15, -8), 0.1, np.zeros(2)).project(person(seed))).rotation, turn(15, -8))
        for seed in range(20)
    ]
    print(f"poses of 20 people off by {np.mean(off):.1f} degrees in the mean")
    assert np.mean(off) < 3


def test_a_head_is_turned_as_another_and_keeps_its_face_size_and_neck():
    own, other = HeadPose(turn(-5, 4), 0.1, np.array([0.5, 0.5])), HeadPose(turn(15, -6, 3), 0.15, np.array([0.3, 0.6]))
    here, there = turned_landmarks(own.project(person(1)), other.project(person(2)))
    assert here.shape == there.shape == (68 + len(SKULL), 2) and np.allclose(here[:68], own.project(person(1)))
    reached, asked = head_pose(there[:68]), head_pose(other.project(person(2)))
    assert angle_between(reached.rotation, asked.rotation) < 1
    assert reached.size == pytest.approx(own.size, rel=0.02)
    assert np.allclose(reached.project(NECK[None]), head_pose(here[:68]).project(NECK[None]), atol=0.01)
    assert reached.place[0] > 0.52, "a face that turns to the right goes there"
    truth, mean = (HeadPose(reached.rotation, own.size, reached.place).project(head) for head in (person(1), MEAN_HEAD))
    assert np.abs(there[:68] - truth).mean() < 0.5 * np.abs(mean - truth).mean(), "it keeps its own face"
    assert there[68:, 1].min() < there[:68, 1].min() and there[68:, 0].max() > there[:68, 0].max(), (
        "the skull is about the face"
    )


def test_a_head_goes_where_the_other_has_gone_since():
    own, first = HeadPose(np.eye(3), 0.1, np.array([0.5, 0.5])), HeadPose(np.eye(3), 0.05, np.array([0.3, 0.6]))
    since = HeadPose(first.rotation, first.size, first.place + (0.04, -0.02))
    marks, began, now = (pose.project(MEAN_HEAD) for pose in (own, first, since))
    assert np.allclose(turned_landmarks(marks, began, began)[1], turned_landmarks(marks, began)[1])
    there = turned_landmarks(marks, now, began)[1]
    assert np.allclose(head_pose(there[:68]).place, (0.58, 0.46), atol=1e-3), "twice as far, as it is twice as large"
    far = turned_landmarks(marks, first.project(MEAN_HEAD) + 0.5, began)[1]
    assert np.allclose(head_pose(far[:68]).place, 0.5 + MAX_SHIFT, atol=1e-3)


def test_a_head_that_is_turned_already_stays():
    marks = HeadPose(turn(10, 5), 0.1, np.array([0.4, 0.5])).project(person(3))
    here, there = turned_landmarks(marks, 1.5 * marks - 0.2)
    assert np.allclose(here, there, atol=1e-9)


def test_no_head_is_turned_further_than_a_still_allows():
    marks = HeadPose(np.eye(3), 0.1, np.array([0.5, 0.5])).project(MEAN_HEAD)
    _, there = turned_landmarks(marks, HeadPose(turn(yaw=70), 0.2, np.array([0.1, 0.5])).project(MEAN_HEAD))
    assert angle_between(head_pose(there[:68]).rotation, turn(yaw=MAX_TURN)) < 0.5, "about the same axis"
