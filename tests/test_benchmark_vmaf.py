"""VMAF falls as pictures get worse, and does not depend on how many frames are taken at once."""

import numpy as np
import pytest
from head_clips import head_frames
from torch.nn.functional import avg_pool2d

from bcdcodec.benchmarks import vmaf as module
from bcdcodec.benchmarks.quality import luma, measure_quality
from bcdcodec.benchmarks.vmaf import vmaf

SOURCE = luma(head_frames(5, 12, 128))


def blurred(size):
    return avg_pool2d(SOURCE, size, 1, size // 2)


def test_scores_fall_with_blur_from_nearly_100_to_nearly_0():
    scores = [vmaf(blurred(size), SOURCE) for size in (1, 3, 5, 9)]
    assert scores[0] > 96 and 60 < scores[1] < 90 and 30 < scores[2] < 60 and scores[3] < 20


def test_scores_do_not_depend_on_how_many_frames_are_taken_at_once(monkeypatch):
    whole = vmaf(blurred(5), SOURCE)
    monkeypatch.setattr(module, "FRAMES_AT_ONCE", 5)
    assert vmaf(blurred(5), SOURCE) == pytest.approx(whole, abs=1e-3)
    assert 0 <= vmaf(SOURCE[:1], SOURCE[:1]) <= 100


def test_without_the_package_it_is_not_measured(monkeypatch):
    monkeypatch.setattr(module, "_metric", lambda: None)
    frames = head_frames(6, 3, 64)
    quality = measure_quality(np.ascontiguousarray(frames[::-1]), frames)
    assert quality.vmaf is None and quality.ssim > 0
