"""Measures by the user's own networks, with small TorchScript modules in the place of the real ones."""

import json

import numpy as np
import pytest
import scipy.linalg
import torch
from head_clips import head_frames
from torch import nn

from bcdcodec.benchmarks.measure.identity import PLACES, cosine, embedding, has_sface, load_sface
from bcdcodec.benchmarks.measure.landmarks import Landmarks
from bcdcodec.benchmarks.measure.networks import FILES, found_in, frechet_distance, measure_networks, set_features
from bcdcodec.benchmarks.run import Options, bench
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


class Likeness(nn.Module):
    """Called like DISTS."""

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return (x - y).abs().mean((1, 2, 3))


def seen(frames):
    """Landmarks with a face's five points where ArcFace's template has them."""
    points = np.zeros((frames, 478, 3), np.float32)
    for places, at in zip(((33, 133), (362, 263), (4,), (61,), (291,)), PLACES):
        points[:, list(places), :2] = at * 64 / 112
    return Landmarks(points, None)


@pytest.fixture
def networks(tmp_path):
    folder = tmp_path / "networks"
    folder.mkdir()
    for name, net in (("LPIPS", Deep()), ("DISTS", Likeness()), ("FID", Inception()), ("FVD", Clips())):
        torch.jit.script(net).save(folder / FILES[name])
    face = nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten())
    torch.jit.trace(face, torch.zeros(1, 3, 112, 112)).save(folder / FILES["CSIM"])
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


def test_measures_tell_good_clips_from_bad_ones(networks):
    source = head_frames(5, 40, 64)
    rng = np.random.default_rng(1)
    for strength, worse in ((2, 20), (20, 60)):
        good, bad = (
            np.clip(source + rng.normal(s, s, source.shape), 0, 255).astype(np.uint8) for s in (strength, worse)
        )
        a, b = (measure_networks(networks, x, source) for x in (good, bad))
        assert 0 < a["lpips"] < b["lpips"] and 0 < a["dists"] < b["dists"] and "csim" not in a
        true, near, far = (set_features(networks, x) for x in (source, good, bad))
        for kind, count in (("FID", 12), ("FVD", 2)):
            assert len(near[kind]) == count
            assert frechet_distance(near[kind], true[kind]) < frechet_distance(far[kind], true[kind])
    same = measure_networks(networks, source, source, seen(40), seen(40))
    assert same["lpips"] == same["dists"] == 0 and same["csim"] == pytest.approx(1)
    assert "csim" not in measure_networks(networks, source, source, Landmarks(seen(40).points * np.nan, None), seen(40))
    assert not {"FID", "FVD"} - set(set_features(networks, source)) and set(set_features(networks, source[:8])) == {
        "FID"
    }


def test_a_report_has_them_and_says_what_is_missing(networks, clip, tiny_model, tmp_path):
    (networks / FILES["FVD"]).unlink()
    options = Options(str(tiny_model), tmp_path / "out", faces=False, procedural=False, speed=False, networks=networks)
    done = bench([clip], options)
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    found = report["rates"][0]["headlines"]
    assert 0 < found["lpips"]["value"] and 0 < found["lpips"]["held"] and "csim" not in found
    assert report["sets"]["FID"]["count"] == 12 and report["sets"]["FID"]["value"] > 0 and "FVD" not in report["sets"]
    missing = {m["measure"]: m["reason"] for m in report["not_measured"]}
    assert "i3d_torchscript.pt" in missing["FVD"] and "LPIPS" not in missing and "DISTS" not in missing
    assert "| LPIPS |" in (tmp_path / "out" / "report.md").read_text()
    again = bench([clip], options).report  # from what was kept
    assert again["sets"] == done.report["sets"]


def test_what_is_no_network_is_refused(networks, tmp_path):
    assert found_in(tmp_path) == () and set(found_in(networks)) == set(FILES)
    source = head_frames(5, 3, 64)
    torch.jit.script(nn.Identity()).save(networks / FILES["LPIPS"])
    with pytest.raises(BcdError, match="not the network that LPIPS needs"):
        measure_networks(networks, source, source)
    (networks / FILES["LPIPS"]).write_bytes(b"no zip")
    with pytest.raises(BcdError, match="not readable as TorchScript"):
        measure_networks(tmp_path / "networks" / ".." / "networks", source, source)


# ---- SFace: a plain stack from a list of layers

LAYERS = [
    ["Conv2d", 3, 4, [3, 3], [4, 4], [1, 1], 1, False],
    ["BatchNorm2d", 4, 0.001],
    ["PReLU", 4],
    ["Flatten"],
    ["Linear", 3136, 128],
    ["BatchNorm1d", 128, 2e-5],
]


@pytest.fixture
def sface(tmp_path):
    from safetensors.torch import save_file

    net = nn.Sequential(
        nn.Conv2d(3, 4, 3, 4, 1, bias=False), nn.BatchNorm2d(4), nn.PReLU(4), nn.Flatten(), nn.Linear(3136, 128),
        nn.BatchNorm1d(128),
    )  # fmt: skip
    (tmp_path / "sface_layers.json").write_text(json.dumps(LAYERS))
    save_file({k: v for k, v in net.state_dict().items() if v.ndim}, tmp_path / "sface.safetensors")
    return tmp_path


def test_identity_is_the_cosine_of_embeddings_of_aligned_faces(sface):
    pytest.importorskip("cv2", reason="the extra `eval`")
    one, other = head_frames(5, 14, 64), head_frames(6, 14, 64)
    same, brighter, different = (
        cosine(embedding(one, seen(14), sface), embedding(clip, seen(14), sface))
        for clip in (one, np.clip(one + 3.0, 0, 255).astype(np.uint8), other)
    )
    assert same == pytest.approx(1) and same > brighter > different
    assert embedding(one, Landmarks(seen(14).points * np.nan, None), sface) is None and cosine(None, None) is None


def test_files_that_are_no_sface_are_refused(sface, tmp_path):
    assert has_sface(sface) and not has_sface(tmp_path / "nowhere") and not has_sface(None)
    for layers in ([["Conv3d", 1]], LAYERS[:-1] + [["Linear", 128, 9]], 7):
        (sface / "sface_layers.json").write_text(json.dumps(layers))
        load_sface.cache_clear()
        with pytest.raises(BcdError, match="holds no SFace that can be read"):
            load_sface(sface)
