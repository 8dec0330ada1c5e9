"""Codes of expression and turn that are chosen together."""

import pytest
import torch

from bcdcodec.models.faces.base_motion import BaseMotion
from bcdcodec.models.faces.config import BaseMotionConfig
from bcdcodec.models.faces.joint_choice import CHANGE, JointChoice

CONFIG = BaseMotionConfig(picture=32, crop=32, width=16, ff=32, layers=1, heads=2, stem=(8, 8, 16), groups=6, codes=8)


@pytest.fixture(scope="module")
def parts():
    torch.manual_seed(0)
    motion = BaseMotion(CONFIG).eval().requires_grad_(False)
    torch.nn.init.normal_(motion.to_expression.weight, std=0.3)
    return motion, JointChoice(CONFIG), torch.randn(12, CONFIG.groups * CONFIG.dim)


def costs(motion, choice, features, codes):
    """What each frame's error costs in the metric, [t]."""
    wrong = motion.to_expression(motion.quantiser.lookup(codes[:, None])[:, 0] - motion.continuous(features))
    wrong = wrong - motion.to_expression.bias
    return torch.einsum("tn,nm,tm->t", wrong, choice.expression_metric, wrong)


def test_numbers_are_nearer_than_those_of_the_nearest_codes(parts):
    motion, choice, features = parts
    for i in range(len(features)):  # each as a first frame
        one = features[i : i + 1]
        joint, nearest = (
            costs(motion, choice, one, choice(motion, one)),
            costs(motion, choice, one, motion.nearest(one)),
        )
        assert joint <= nearest
    assert costs(motion, choice, one, choice(motion, one)).sum() < 0.9 * nearest.sum()


def test_no_single_other_code_is_better(parts):
    motion, choice, features = parts
    one = features[:1]
    codes = choice(motion, one)
    least = costs(motion, choice, one, codes)
    for g in range(CONFIG.groups):
        for k in range(CONFIG.codes):
            other = codes.clone()
            other[0, g] = k
            assert costs(motion, choice, one, other) >= least - 1e-5


def test_what_the_metric_weighs_more_is_nearer(parts):
    motion, choice, features = parts
    heavy = JointChoice(CONFIG)
    heavy.expression_metric[53, 53] = 100.0  # yaw

    def yaw_error(choice):
        codes = torch.cat([choice(motion, features[i : i + 1]) for i in range(len(features))])
        wrong = motion.expression(motion.quantiser.lookup(codes[:, None])[:, 0]) - motion.expression(
            motion.continuous(features)
        )
        return wrong[:, 53].square().mean()

    assert yaw_error(heavy) < 0.3 * yaw_error(choice)


def test_codes_rest_where_the_face_rests_and_go_on_from_the_frame_before(parts):
    motion, choice, features = parts
    rest = features[:1] + 0.02 * torch.randn(10, features.shape[1], generator=torch.Generator().manual_seed(1))
    codes = choice(motion, rest)
    assert (codes[1:] == codes[:1]).all()
    assert torch.equal(choice(motion, rest, codes[0]), codes)
    moving = choice(motion, features)
    assert not (moving[1:] == moving[:-1]).all()


def test_codes_of_a_clip_cost_less_together_than_frame_after_frame(parts):
    motion, choice, features = parts
    slow = features[:1] + torch.cumsum(0.15 * torch.randn(40, features.shape[1]), 0)
    before = choice(motion, slow[:1])[0]

    def whole(codes):
        changes = (codes != torch.cat([before[None], codes[:-1]])).sum()
        return costs(motion, choice, slow, codes).sum() + CHANGE * changes

    one_by_one = [before]
    for frame in slow[:, None]:
        one_by_one.append(choice(motion, frame, one_by_one[-1])[0])
    together = choice(motion, slow, before)
    assert whole(together) < whole(torch.stack(one_by_one[1:]))
