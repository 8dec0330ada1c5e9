"""How a head is turned, from landmarks."""

import numpy as np
import pytest

from bcdcodec.benchmarks.measure.head_pose import MEAN_HEAD, HeadPose, angle_between, head_pose


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
