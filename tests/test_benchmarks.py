"""The benchmark's own measures, on cases whose answer is known."""

import numpy as np
import pytest

from bcdcodec.benchmarks.demo import psnr
from bcdcodec.benchmarks.disentanglement import _ridge, cross_driven, probe_codes
from bcdcodec.benchmarks.faces import SAMPLES, Face
from bcdcodec.codec import load


def test_psnr_of_a_known_error():
    black = np.zeros((2, 4, 4, 3), np.uint8)
    assert psnr(black + 255, black) == pytest.approx(0, abs=1e-6)
    assert psnr(black + 10, black) == pytest.approx(20 * np.log10(25.5), abs=1e-4)


def test_a_ridge_regression_recovers_a_linear_map_in_both_of_its_forms():
    rng = np.random.default_rng(0)
    for rows, inputs in ((400, 5), (40, 60)):
        x = rng.normal(size=(rows, inputs))
        y = x[:, :1] * 2 + 3
        weights = _ridge(x, y, penalty=1e-6)
        assert np.allclose(x @ weights[:-1] + weights[-1], y, atol=1e-2)


def test_disentanglement_is_measured_with_a_tiny_model(tiny_model):
    codec = load(tiny_model)
    cross = cross_driven(codec, pairs=1, frames=8)
    assert cross.pairs == 1 and 5 < cross.own < 40 and 5 < cross.decoded < 60
    assert cross.transfer is None
    probes = probe_codes(codec, people=4, frames=8)
    assert set(probes.motion_r2) >= {"yaw", "mouth_open"} and 0 <= probes.identity_accuracy <= 1


class SchematicFaces:
    """Stands in for dlib: a face whose mouth is as open as the picture is bright."""

    def face(self, picture):
        marks = np.random.default_rng(0).uniform(0.3, 0.7, (68, 2))
        marks[48:68, 1] += picture.mean() / 1000
        return Face(np.full(128, picture.mean()), marks)

    def faces(self, clip):
        return [self.face(clip[i]) for i in np.linspace(0, len(clip) - 1, SAMPLES).astype(int)]


def test_transfer_errors_are_measured_beside_psnr_at_a_given_rate(tiny_model):
    cross = cross_driven(load(tiny_model), pairs=2, frames=8, meter=SchematicFaces(), kbps=0.1)
    assert set(cross.transfer) == {"decoded", "still", "own"}
    assert all(found["pairs"] == 2 and found["faces"] == 1 for found in cross.transfer.values())
    assert cross.transfer["own"]["identity_distance"] > 0  # A's own video shows A
    assert cross.transfer["still"]["motion_error"] > 0
