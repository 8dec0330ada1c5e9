"""Measures by networks that are not shipped: LPIPS, DISTS, FID, FVD and ArcFace similarity, from TorchScript files.

TorchScript, as the usual files come so and need none of the packages that they were made with. LPIPS, FID and FVD are
those of NVIDIA's StyleGAN2-ADA and of StyleGAN-V under their own names; DISTS and ArcFace are any, scripted or traced.
"""

from __future__ import annotations

from functools import cache, partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from bcdcodec.benchmarks.measure.identity import mean_embedding
from bcdcodec.benchmarks.measure.landmarks import Landmarks
from bcdcodec.benchmarks.statistics import evenly_in_time
from bcdcodec.errors import BcdError

FILES = {
    "LPIPS": "vgg16.pt",  # pictures [n, 3, h, w] in 0..255, resize_images, return_lpips -> [n, d]
    "DISTS": "dists.pt",  # two times pictures [n, 3, h, w] in 0..1 -> [n]
    "FID": "inception-2015-12-05.pt",  # pictures [n, 3, h, w] in 0..255, return_features -> [n, 2048]
    "FVD": "i3d_torchscript.pt",  # clips [n, 3, t, h, w] in 0..255, rescale, resize, return_features -> [n, 400]
    "CSIM": "arcface.pt",  # aligned faces [n, 3, 112, 112] in -1..1 -> [n, d]
}
CLIP_FRAMES = 16  # of FVD
SAMPLED = 12  # frames of a clip for FID
AT_ONCE = 16


def found_in(folder: Path | None) -> tuple[str, ...]:
    """Names of the measures whose files are in a folder."""
    return () if folder is None else tuple(name for name, file in FILES.items() if (folder / file).is_file())


@torch.inference_mode()
def measure_networks(
    folder: Path,
    decoded: np.ndarray,
    source: np.ndarray,
    decoded_points: Landmarks | None = None,
    source_points: Landmarks | None = None,
    wanted: tuple[str, ...] = tuple(FILES),
) -> dict[str, float]:
    """`lpips` and `dists` (means over frames) and `csim` of clips uint8 [t, h, w, 3], by the networks in `folder`.

    Of the `wanted` ones; LPIPS and DISTS want clips of one length. Raises BcdError for a file that is no such network.
    """
    names, found = [name for name in found_in(folder) if name in wanted], {}
    pairs = list(zip(_pictures(decoded).split(AT_ONCE), _pictures(source).split(AT_ONCE)))
    if "LPIPS" in names:
        options = {"resize_images": False, "return_lpips": True}
        deep = [[_run("LPIPS", folder, x, **options) for x in pair] for pair in pairs]
        found["lpips"] = float(torch.cat([(a - b).square().sum(1) for a, b in deep]).mean())
    if "DISTS" in names:
        found["dists"] = float(torch.cat([_run("DISTS", folder, a / 255, b / 255)[:, 0] for a, b in pairs]).mean())
    if "CSIM" in names and decoded_points is not None and source_points is not None:
        arcface = partial(_run, "CSIM", folder)
        means = [
            mean_embedding(*side, lambda faces: arcface(faces / 127.5 - 1))
            for side in ((decoded, decoded_points), (source, source_points))
        ]
        if all(m is not None for m in means):
            found["csim"] = float(functional.cosine_similarity(*means, dim=0))
    return found


@torch.inference_mode()
def set_features(folder: Path, clip: np.ndarray, wanted: tuple[str, ...] = ("FID", "FVD")) -> dict[str, np.ndarray]:
    """What FID and FVD compare of a clip uint8 [t, h, w, 3], where their networks are: [n, d] of pictures, of clips.

    Raises BcdError for a file that is no such network.
    """
    names, pictures, features = [name for name in found_in(folder) if name in wanted], _pictures(clip), {}
    if "FID" in names:
        features["FID"] = _run(
            "FID", folder, pictures[evenly_in_time(len(clip), SAMPLED)], return_features=True
        ).numpy()
    if "FVD" in names and len(clip) >= CLIP_FRAMES:
        parts = pictures.unfold(0, CLIP_FRAMES, CLIP_FRAMES).permute(0, 1, 4, 2, 3)  # [m, 3, t, h, w]
        options = {"rescale": True, "resize": True, "return_features": True}
        features["FVD"] = torch.cat([_run("FVD", folder, x, **options) for x in parts.split(2)]).numpy()
    return features


def frechet_distance(a: np.ndarray, b: np.ndarray) -> float | None:
    """Frechet distance of the Gaussians through two sets of features [n, d]; None for fewer than two of either.

    Sets smaller than d give covariances without full rank: distances then compare runs on the same clips alone.
    """
    if min(len(a), len(b)) < 2:
        return None
    a, b = a.astype(np.float64), b.astype(np.float64)
    root_a, root_b = ((x - x.mean(0)) / np.sqrt(len(x) - 1) for x in (a, b))  # covariance is root.T @ root
    # The trace of (S_a S_b)^(1/2) is the sum of the singular values of root_a @ root_b.T.
    cross = np.linalg.svd(root_a @ root_b.T, compute_uv=False).sum()
    return float(np.square(a.mean(0) - b.mean(0)).sum() + np.square(root_a).sum() + np.square(root_b).sum() - 2 * cross)


@cache
def network(folder: Path, name: str) -> torch.jit.ScriptModule:
    """The network of a measure, loaded once a process. Raises BcdError when its file is not TorchScript."""
    path = folder / FILES[name]
    try:
        return torch.jit.load(path, map_location="cpu").eval()
    except RuntimeError as error:
        raise BcdError(f"{path} is not readable as TorchScript: {str(error).strip().splitlines()[0]}") from error


def _run(name: str, folder: Path, *x: Tensor, **options: bool) -> Tensor:
    """The output [n, d] of a measure's network of inputs [n, ...]."""
    path = folder / FILES[name]
    try:
        out = network(folder, name)(*x, **options)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise BcdError(f"{path} is not the network that {name} needs: {reason}") from error
    if not isinstance(out, Tensor) or out.ndim not in (1, 2) or len(out) != len(x[0]):
        got = list(out.shape) if isinstance(out, Tensor) else type(out).__name__
        raise BcdError(f"{path} gives {got} for {len(x[0])} inputs, {name} needs [{len(x[0])}, d]")
    return out.float().reshape(len(out), -1)


def _pictures(clip: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(clip)).permute(0, 3, 1, 2).float()
