"""Times and memory of a tiny model: all there, and in their order."""

import numpy as np
import pytest

from bcdcodec.benchmarks.speed import COMMAND, _run, machine, measure_speed
from bcdcodec.errors import BcdError


def test_the_machine_is_named():
    found = machine()
    assert found.processor and found.cores >= 1 and found.memory_gib > 0.5
    assert set(found.versions) == {"python", "torch", "numpy", "av"}


def test_every_stage_is_timed_and_adds_up(clip, tiny_model):
    speed = measure_speed(str(tiny_model), clip, "context", repeats=1)
    assert (speed.frames, speed.seconds, speed.source_size) == (62, pytest.approx(62 / 25), (64, 48))
    assert set(speed.encode_stages) == {"read", "crop and scale", "reference, motion and alignment", "entropy coding"}
    assert set(speed.decode_stages) == {"entropy decoding", "pictures", "write mp4"}
    assert all(seconds >= 0 for seconds in (*speed.encode_stages.values(), *speed.decode_stages.values()))
    assert speed.encode_fps == pytest.approx(62 / sum(speed.encode_stages.values()))
    assert speed.encode_times_real_time == pytest.approx(speed.encode_fps / 25)
    # A process of its own has torch to load before its first picture.
    assert 0 < speed.first_frame_warm < speed.first_frame_cold < 300
    assert speed.encode_command > speed.encode_stages["entropy coding"]
    assert 100 < speed.encode_peak_mib < 8000 and 100 < speed.decode_peak_mib < 8000


def test_peak_memory_is_that_of_the_process_and_not_of_the_one_that_starts_it():
    held = np.ones(200 << 20, np.uint8)
    assert _run([COMMAND, "--version"])[1] < 100 < held.nbytes / 2**20


def test_a_clip_that_is_none_is_an_error(tiny_model, tmp_path):
    (tmp_path / "clip.mp4").write_bytes(b"no video")
    with pytest.raises(BcdError, match="not a video"):
        measure_speed(str(tiny_model), tmp_path / "clip.mp4", "static", repeats=1)
