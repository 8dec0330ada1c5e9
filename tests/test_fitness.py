"""Black frames, fades, dissolves and damaged frames are never the reference."""

import numpy as np
import pytest
from head_clips import head_frames

from bcdcodec.coding.fitness import detail_of, fit_frames


@pytest.fixture(scope="module")
def heads():
    return head_frames(3, 30, 64)


def mixed(pictures, other, shares):
    return np.rint(pictures + (other - pictures.astype(float)) * np.reshape(shares, (-1, 1, 1, 1))).astype(np.uint8)


def test_every_frame_of_a_talk_is_fit(heads):
    assert fit_frames(heads).all()


def test_a_fade_from_white_is_not_fit_until_it_is_nearly_over(heads):
    shares = np.maximum(0, 1 - np.arange(30) / 20)
    fit = fit_frames(mixed(heads, 255.0, shares))
    assert not fit[shares > 0.5].any() and fit[shares < 0.2].all()


def test_black_frames_at_the_beginning_are_not_fit(heads):
    clip = heads.copy()
    clip[:5] = 0
    fit = fit_frames(clip)
    assert not fit[:5].any() and fit[5:].all()


def test_a_shot_of_little_detail_is_fit_beside_one_of_much(heads):
    """Half the contrast in the second shot, as of a face before a plain wall; a black shot is not fit."""
    plain = mixed(heads, 200.0, 0.5)
    fit = fit_frames(np.concatenate([heads, plain, np.zeros_like(heads)]))
    assert fit[:60].all() and not fit[60:].any()


def test_damaged_frames_are_not_fit_unless_all_are(heads):
    damaged = np.arange(30) < 29
    assert fit_frames(heads, damaged).tolist() == [False] * 29 + [True]
    assert fit_frames(heads, np.ones(30, bool)).any()


def test_a_clip_of_one_colour_still_has_a_reference():
    assert fit_frames(np.zeros((3, 64, 64, 3), np.uint8)).any()


def test_detail_counts_edges_and_not_brightness():
    picture = np.zeros((64, 64, 3), np.uint8)
    picture[:, 32:] = 100
    assert detail_of(picture) == pytest.approx(100 / 63, rel=0.01)
    assert detail_of(picture + np.uint8(50)) == pytest.approx(detail_of(picture), rel=0.01)
