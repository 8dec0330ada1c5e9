"""Measures by the user's own networks, with small TorchScript modules in the place of the real ones."""

import json

import numpy as np
import pytest
import scipy.linalg
import torch
from head_clips import head_frames
from torch import nn

from bcdcodec.benchmarks.bench import bench
from bcdcodec.benchmarks.networks import (
    ARCFACE_PLACES,
    FILES,
    align,
    found_in,
    frechet_distance,
    measure_networks,
    set_features,
)
from bcdcodec.benchmarks.run import Options
from bcdcodec.errors import BcdError


class Deep(nn.Module):
    """Called like StyleGAN2-ADA's VGG."""

    def forward(self, x: torch.Tensor, resize_images: bool = False, return_lpips: bool = False) -> torch.Tensor:
        assert return_lpips and not resize_images
        return nn.functional.adaptive_avg_pool2d(x / 255, 2).flatten(1)


class Inception(nn.Module):
    def forward(self, x: torch.Tensor, return_features: bool = False) -> torch.Tensor:
        assert return_features
        return nn.functional.adaptive_avg_pool2d(x / 255, 2).flatten(1)


class Clips(nn.Module):
    """Called like StyleGAN-V's I3D."""

    def forward(
        self, x: torch.Tensor, rescale: bool = False, resize: bool = False, return_features: bool = False
    ) -> torch.Tensor:
        assert rescale and resize and return_features and x.shape[2] == 16
        return x.mean((2, 3, 4))


@pytest.fixture
def networks(tmp_path):
    folder = tmp_path / "networks"
    folder.mkdir()
    for name, net in (("LPIPS", Deep()), ("FID", Inception()), ("FVD", Clips())):
        torch.jit.script(net).save(folder / FILES[name])
    face = nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten())
    torch.jit.trace(face, torch.zeros(1, 3, 112, 112)).save(folder / FILES["CSIM (ArcFace)"])
    return folder


def test_the_distance_of_gaussians_is_that_of_the_matrix_square_root():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(60, 5)), rng.normal(0.3, 1.5, (40, 5)) @ rng.normal(size=(5, 5))
    s, t = np.cov(a.T), np.cov(b.T)
    expected = np.square(a.mean(0) - b.mean(0)).sum() + np.trace(s + t - 2 * scipy.linalg.sqrtm(s @ t).real)
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-6)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-9) and frechet_distance(a[:1], b) is None
    few = rng.normal(size=(4, 50))  # fewer than channels: no full rank
    assert frechet_distance(few, few + 1) == pytest.approx(50)


def test_a_face_is_turned_and_scaled_to_the_template():
    angle, scale, places = 0.4, 0.7, 2 * ARCFACE_PLACES / 112 - 1
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    seen = (places @ turn.T + (0.1, -0.05) + 1) / 2  # in shares of the picture
    landmarks = np.zeros((68, 2))
    landmarks[36:42], landmarks[42:48], landmarks[30], landmarks[48], landmarks[54] = seen
    picture = np.zeros((256, 256, 3), np.uint8)
    for x, y in (seen * 256).astype(int):
        picture[y - 4 : y + 5, x - 4 : x + 5] = 255
    face = align(picture, landmarks)
    assert face.shape == (3, 112, 112)
    for x, y in ARCFACE_PLACES.astype(int):
        assert face[:, y - 1 : y + 2, x - 1 : x + 2].mean() > 0.8
    assert face.mean() < -0.8


def test_measures_tell_good_clips_from_bad_ones(networks):
    source = head_frames(5, 40, 64)
    rng = np.random.default_rng(1)
    for strength, worse in ((2, 20), (20, 60)):
        good, bad = (
            np.clip(source + rng.normal(s, s, source.shape), 0, 255).astype(np.uint8) for s in (strength, worse)
        )
        a, b = (measure_networks(networks, x, source, None, None) for x in (good, bad))
        assert 0 < a.lpips < b.lpips and a.csim is None
        true, near, far = (set_features(networks, x) for x in (source, good, bad))
        for kind, count in (("FID", 12), ("FVD", 2)):
            assert len(near[kind]) == count
            assert frechet_distance(near[kind], true[kind]) < frechet_distance(far[kind], true[kind])
    assert measure_networks(networks, source, source, None, None).lpips == 0
    assert not {"FID", "FVD"} - set(set_features(networks, source)) and set(set_features(networks, source[:8])) == {
        "FID"
    }


def test_a_report_has_them_and_says_what_is_missing(networks, clip, tiny_model, tmp_path):
    (networks / FILES["FVD"]).unlink()
    options = Options(str(tiny_model), tmp_path / "out", faces=False, procedural=False, speed=False, networks=networks)
    done = bench([clip], options)
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["headlines"]["lpips"]["value"] > 0 and report["headlines"]["csim"]["value"] is None
    assert report["sets"]["FID"]["count"] == 12 and report["sets"]["FID"]["value"] > 0 and "FVD" not in report["sets"]
    missing = {m["measure"]: m["reason"] for m in report["not_measured"]}
    assert "i3d_torchscript.pt" in missing["FVD"] and "faces" in missing["CSIM (ArcFace)"] and "LPIPS" not in missing
    assert "LPIPS, median" in (tmp_path / "out" / "report.md").read_text()
    again = bench([clip], options).report  # from what was kept
    assert again["sets"] == done.report["sets"]


def test_what_is_no_network_is_refused(networks, tmp_path):
    with pytest.raises(BcdError, match="none of vgg16.pt"):
        found_in(tmp_path)
    source = head_frames(5, 3, 64)
    torch.jit.script(nn.Identity()).save(networks / FILES["LPIPS"])
    with pytest.raises(BcdError, match="not the network that LPIPS needs"):
        measure_networks(networks, source, source, None, None)
    torch.jit.trace(nn.Flatten(0), torch.zeros(1, 3, 112, 112)).save(networks / FILES["CSIM (ArcFace)"])
    (networks / FILES["LPIPS"]).write_bytes(b"no zip")
    with pytest.raises(BcdError, match="not readable as TorchScript"):
        measure_networks(tmp_path / "networks" / ".." / "networks", source, source, None, None)
