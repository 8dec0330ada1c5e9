"""What benchmarks measure on rendered heads: the clips, probes of codes and reenactment."""

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="the report's plots need matplotlib")

from bcdcodec.benchmarks.baseline import render_clips
from bcdcodec.benchmarks.measure.faces import SAMPLES, Face
from bcdcodec.benchmarks.measure.reenactment import cross_driven, probe_codes, ridge


def test_rendered_clips_are_the_same_every_time(tmp_path):
    from bcdcodec.video import read_frames

    first, again = (render_clips(tmp_path / name, 32, clips=1, frames=4) for name in "ab")
    one, two = (np.stack([picture for _, picture in read_frames(paths[0], None, 32)]) for paths in (first, again))
    # The video encoder's threads may differ by a step or two; another person differs by tens.
    assert one.shape == (4, 32, 32, 3) and np.abs(one.astype(int) - two).mean() < 1
    stamp = first[0].stat().st_mtime_ns
    assert render_clips(tmp_path / "a", 32, clips=1, frames=4)[0].stat().st_mtime_ns == stamp


def test_a_ridge_regression_recovers_a_linear_map_in_both_of_its_forms():
    rng = np.random.default_rng(0)
    for rows, inputs in ((400, 5), (40, 60)):
        x = rng.normal(size=(rows, inputs))
        y = x[:, :1] * 2 + 3
        weights = ridge(x, y, penalty=1e-6)
        assert np.allclose(x @ weights[:-1] + weights[-1], y, atol=1e-2)


class SchematicFaces:
    """Stands in for dlib: a face whose mouth is as open as the picture is bright."""

    def face(self, picture):
        marks = np.random.default_rng(0).uniform(0.3, 0.7, (68, 2))
        marks[48:68, 1] += picture.mean() / 1000
        return Face(np.full(128, picture.mean()), marks)

    def faces(self, clip):
        return [self.face(clip[i]) for i in np.linspace(0, len(clip) - 1, SAMPLES).astype(int)]


def test_rendered_heads_are_measured_with_a_small_model(faces_model, tiny_model):
    cross = cross_driven(str(faces_model), pairs=1, frames=8)
    assert cross.pairs == 1 and 5 < cross.own < 40 and 5 < cross.decoded < 60 and cross.errors is None
    probes = probe_codes(str(tiny_model), people=4, frames=8)
    assert set(probes.motion_r2) >= {"yaw", "mouth_open"} and 0 <= probes.identity_accuracy <= 1


def test_reenactment_errors_are_measured_beside_psnr_at_a_given_rate(faces_model):
    cross = cross_driven(str(faces_model), pairs=2, frames=8, meter=SchematicFaces(), kbps=0.1)
    assert set(cross.errors) == {"decoded", "still", "own"}
    assert all(found["pairs"] == 2 and found["faces"] == 1 for found in cross.errors.values())
    assert cross.errors["own"]["identity_distance"] > 0  # A's own video shows A
    assert cross.errors["still"]["motion_error"] > 0
