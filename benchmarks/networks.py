"""Measures by networks that are not shipped: LPIPS, FID, FVD and ArcFace similarity, from TorchScript files of the user's.

TorchScript, as the usual files come so and need none of the packages that they were made with. The first three are those
of NVIDIA's StyleGAN2-ADA and of StyleGAN-V under their own names; of ArcFace any network does, traced by `torch.jit.trace`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from bcdcodec.benchmarks.faces import Face
from bcdcodec.errors import BcdError

FILES = {
    "LPIPS": "vgg16.pt",  # pictures [n, 3, h, w] in 0..255, resize_images, return_lpips -> [n, d]
    "FID": "inception-2015-12-05.pt",  # pictures [n, 3, h, w] in 0..255, return_features -> [n, 2048]
    "FVD": "i3d_torchscript.pt",  # clips [n, 3, t, h, w] in 0..255, rescale, resize, return_features -> [n, 400]
    "CSIM (ArcFace)": "arcface.pt",  # aligned faces [n, 3, 112, 112] in -1..1 -> [n, d]
}
CLIP_FRAMES = 16  # of FVD
SAMPLED = 12  # pictures of a clip for FID, evenly picked
# Where ArcFace expects eyes, nose tip and corners of the mouth in its 112 pixels (insightface's template).
ARCFACE_PLACES = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)
ARCFACE_SIDE = 112


@dataclass(frozen=True)
class NetworkMeasures:
    """Of one decoded clip against its source; None where the network's file is not there."""

    lpips: float | None = None  # mean over frames
    csim: float | None = None  # cosine of the mean embeddings


def found_in(folder: Path) -> tuple[str, ...]:
    """Names of the measures whose files are in a folder. Raises BcdError when none is."""
    found = tuple(name for name, file in FILES.items() if (folder / file).is_file())
    if not found:
        raise BcdError(f"{folder} has none of {', '.join(FILES.values())}: give the folder of the TorchScript networks")
    return found


@torch.inference_mode()
def measure_networks(
    folder: Path,
    decoded: np.ndarray,
    source: np.ndarray,
    decoded_faces: list[Face | None] | None,
    source_faces: list[Face | None] | None,
) -> NetworkMeasures:
    """What the networks in `folder` say of clips uint8 [t, h, w, 3]; faces at evenly picked moments, as `FaceMeter.faces` gives them.

    Raises BcdError for a file that is no such network.
    """
    names, lpips, csim = found_in(folder), None, None
    if "LPIPS" in names:
        deep = [
            torch.cat(
                [_run("LPIPS", folder, x, resize_images=False, return_lpips=True) for x in _pictures(clip).split(16)]
            )
            for clip in (decoded, source)
        ]
        lpips = float((deep[0] - deep[1]).square().sum(1).mean())
    if "CSIM (ArcFace)" in names and source_faces is not None:
        csim = _similarity(folder, (decoded, decoded_faces), (source, source_faces))
    return NetworkMeasures(lpips, csim)


@torch.inference_mode()
def set_features(folder: Path, clip: np.ndarray) -> dict[str, np.ndarray]:
    """What FID and FVD compare of a clip uint8 [t, h, w, 3], where their networks are there: [n, d] of pictures, of clips.

    Raises BcdError for a file that is no such network.
    """
    names, pictures, features = found_in(folder), _pictures(clip), {}
    if "FID" in names:
        picked = torch.from_numpy(np.linspace(0, len(clip) - 1, min(SAMPLED, len(clip))).astype(int))
        features["FID"] = _run("FID", folder, pictures[picked], return_features=True).numpy()
    if "FVD" in names and len(clip) >= CLIP_FRAMES:
        parts = pictures.unfold(0, CLIP_FRAMES, CLIP_FRAMES).permute(0, 1, 4, 2, 3)  # [m, 3, t, h, w]
        features["FVD"] = torch.cat(
            [_run("FVD", folder, x, rescale=True, resize=True, return_features=True) for x in parts.split(2)]
        ).numpy()
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


def _run(name: str, folder: Path, x: Tensor, **options: bool) -> Tensor:
    """The output [n, d] of a measure's network of x [n, ...]."""
    net = network(folder, name)
    try:
        out = net(x, **options)
    except RuntimeError as error:
        raise BcdError(
            f"{folder / FILES[name]} is not the network that {name} needs: {str(error).strip().splitlines()[-1]}"
        ) from error
    if not isinstance(out, Tensor) or out.ndim != 2 or len(out) != len(x):
        got = list(out.shape) if isinstance(out, Tensor) else type(out).__name__
        raise BcdError(f"{folder / FILES[name]} gives {got} for {len(x)} inputs, {name} needs [{len(x)}, d]")
    return out.float()


def _pictures(clip: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(clip)).permute(0, 3, 1, 2).float()


def _similarity(folder: Path, *clips: tuple[np.ndarray, list[Face | None]]) -> float | None:
    """Cosine of the mean embeddings of two clips; None where one shows no face."""
    means = []
    for frames, faces in clips:
        moments = np.linspace(0, len(frames) - 1, len(faces)).astype(int)
        aligned = [align(frames[i], face.landmarks) for i, face in zip(moments, faces) if face is not None]
        if not aligned:
            return None
        embedded = _run("CSIM (ArcFace)", folder, torch.stack(aligned))
        means.append(functional.normalize(embedded, dim=1).mean(0))
    return float(functional.cosine_similarity(means[0], means[1], dim=0))


def align(picture: np.ndarray, landmarks: np.ndarray) -> Tensor:
    """A face of picture uint8 [h, w, 3], its 68 landmarks in shares of the picture, turned and scaled to ArcFace's
    template: [3, 112, 112] in -1..1.
    """
    five = np.stack([landmarks[36:42].mean(0), landmarks[42:48].mean(0), landmarks[30], landmarks[48], landmarks[54]])
    # The similarity z -> p z + q of least squares from template to picture, both as complex numbers in -1..1.
    there = (2 * ARCFACE_PLACES / ARCFACE_SIDE - 1) @ (1, 1j)
    here = (2 * five - 1) @ (1, 1j)
    p = np.vdot(there - there.mean(), here - here.mean()) / np.vdot(there - there.mean(), there - there.mean())
    q = here.mean() - p * there.mean()
    theta = torch.tensor([[[p.real, -p.imag, q.real], [p.imag, p.real, q.imag]]], dtype=torch.float32)
    grid = functional.affine_grid(theta, [1, 3, ARCFACE_SIDE, ARCFACE_SIDE], align_corners=False)
    face = functional.grid_sample(
        _pictures(picture[None]) / 127.5 - 1, grid, padding_mode="border", align_corners=False
    )
    return face[0]
