"""The true flow between two pictures of a procedural head: known displacements, and what a warp by it gains."""

import numpy as np
import pytest
import torch
from test_procedural import motion, person

from bcdcodec.models.warp import warp
from bcdcodec.training.data.procedural import Identity, flow_between, render, sample_motion
from bcdcodec.training.losses import flow_error

GRID = 32


def test_the_flow_to_the_same_motion_is_nought():
    pose = motion(yaw=0.3, pitch=-0.1, mouth_open=0.8)
    flow = flow_between(person(), pose, pose, GRID)
    assert flow.shape == (1, 1, 4, GRID, GRID)
    assert np.abs(flow[0, 0, :2]).max() < 0.02


def test_a_shifted_head_flows_by_the_shift_and_the_room_stays():
    flow = flow_between(person(), motion(tx=0.05), motion(), GRID)[0, 0]
    head = flow[:2, GRID // 2 - 3, GRID // 2]
    assert head == pytest.approx([-0.1, 0.0], abs=1e-4)  # a twentieth of the width is a tenth of half a picture
    assert flow[:2, 0, 0] == pytest.approx([0.0, 0.0], abs=1e-6)


def test_mouth_and_eyes_weigh_more_and_what_is_hidden_weighs_nothing():
    flow = flow_between(person(), motion(yaw=0.5), motion(yaw=-0.5), GRID)[0, 0]
    assert flow[3].min() == 1 and 3 <= flow[3].max() <= 6
    assert 0.02 < (flow[2] == 0).mean() < 0.4


@pytest.mark.parametrize("seed", range(3))
def test_warping_by_the_true_flow_comes_nearer_to_the_truth(seed):
    rng = np.random.default_rng((9, seed))
    who, target, content = Identity.sample(rng), sample_motion(rng, 60)[::30], sample_motion(rng, 60)[30:31]
    truth, still = render(who, target), render(who, content)
    flow = torch.from_numpy(flow_between(who, target, content, GRID)[:, 0, :2])
    warped = warp(torch.from_numpy(still).movedim(-1, 1).float().expand(2, -1, -1, -1), flow).movedim(1, -1).numpy()
    assert np.square(warped - truth).mean() < 0.6 * np.square(still.astype(float) - truth).mean()


def test_the_flow_error_is_nought_at_the_truth_and_grows_with_the_distance():
    truth = torch.from_numpy(flow_between(person(), motion(yaw=0.2), motion(), GRID))
    error = [flow_error(truth[:, :, :2] + offset, truth).item() for offset in (0.0, 0.05, 0.1)]
    assert error[0] == pytest.approx(0, abs=1e-6) and 0.05 < error[1] < 0.08 and error[2] > 1.8 * error[1]
