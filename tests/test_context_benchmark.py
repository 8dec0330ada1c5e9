"""The benchmark of profile context measures files as written, of both profiles."""

import numpy as np
import pytest
from head_clips import head_frames

from bcdcodec.benchmarks.context import ContextReport, ProfileResult, run
from bcdcodec.codec import load


def test_both_profiles_are_measured_on_the_same_codes(tiny_model):
    report = run(load(tiny_model), [head_frames(21, 40, 32), head_frames(22, 25, 32)])
    static, context = report.profiles
    assert (report.clips, report.frames, static.name, context.name) == (2, 65, "static", "context")
    assert 0 < context.bits_per_frame < static.bits_per_frame
    assert report.saved == pytest.approx(1 - context.bits_per_frame / static.bits_per_frame)
    assert static.kbps == pytest.approx(static.bits_per_frame * 25 / 1000)
    assert report.bits_by_chunk[256] == pytest.approx(context.bits_per_frame)
    assert report.bits_by_chunk[32] > report.bits_by_chunk[64] >= report.bits_by_chunk[4096]
    assert min(static.decode_fps, context.decode_fps, context.encode_fps) > 0


def test_the_table_has_both_profiles_and_what_is_saved():
    profiles = (ProfileResult("static", 160.0, 4.0, 1e5, 1e5), ProfileResult("context", 40.0, 1.0, 9000.0, 8000.0))
    text = ContextReport("heads", 25.0, 3, 600, profiles, {32: 50.0, 256: 40.0}, 36.0).markdown()
    assert "saves 75.0 %" in text and "| context | 40.00 | 1.000 | 9000, 8000 |" in text and "| 50.00 | 40.00 |" in text
    assert "| ideal under the GPT-2 | 36.00 | 0.900 |" in text
    assert np.unique([line.count("|") for line in text.splitlines() if line.startswith("| bits")]).tolist() == [4]
