"""Identity by SFace: cosine of embeddings of aligned faces, from files of the user's (`--networks FOLDER`).

`sface_layers.json` lists the layers of a plain stack in their order, `sface.safetensors` holds their weights
(OpenCV Zoo, Apache-2.0). Zhong et al. 2021; a cosine above 0.363 is the same person.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from bcdcodec.benchmarks.measure.landmarks import Landmarks
from bcdcodec.benchmarks.statistics import evenly_in_time
from bcdcodec.errors import BcdError

FILES = ("sface_layers.json", "sface.safetensors")
SIDE = 112  # pixels of an aligned face
SAMPLES = 12  # frames a clip
# Where face networks expect eyes, nose tip and corners of the mouth in 112 pixels (ArcFace's template).
PLACES = np.array([[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]])
# The same five in MediaPipe's landmarks: means of each eye's corners, nose tip, corners of the mouth.
FIVE = ((33, 133), (362, 263), (4,), (61,), (291,))
LAYERS = ("Conv2d", "BatchNorm2d", "PReLU", "Flatten", "Linear", "BatchNorm1d")


def has_sface(folder: Path | None) -> bool:
    """Whether a folder of networks holds SFace."""
    return folder is not None and all((folder / name).is_file() for name in FILES)


@torch.inference_mode()
def embedding(clip: np.ndarray, landmarks: Landmarks, folder: Path) -> Tensor | None:
    """Mean unit embedding [128] of SAMPLES frames of a clip uint8 [t, h, w, 3]; None without a face.

    Raises BcdError when the files are not SFace.
    """
    return mean_embedding(clip, landmarks, lambda faces: load_sface(folder)((faces - 127.5) / 128))


def mean_embedding(clip: np.ndarray, landmarks: Landmarks, network: Callable[[Tensor], Tensor]) -> Tensor | None:
    """Mean unit embedding [d] by a network of aligned faces [n, 3, 112, 112] in 0..255; None without a face."""
    places = five_points(landmarks)
    picked = [i for i in evenly_in_time(len(clip), SAMPLES) if landmarks.found[i]]
    if not picked:
        return None
    faces = torch.from_numpy(np.stack([align(clip[i], places[i]) for i in picked]))
    return nn.functional.normalize(network(faces.permute(0, 3, 1, 2).float()), dim=1).mean(0)


def cosine(a: Tensor | None, b: Tensor | None) -> float | None:
    """Cosine of two embeddings."""
    return None if a is None or b is None else float(nn.functional.cosine_similarity(a, b, dim=0))


def five_points(landmarks: Landmarks) -> np.ndarray:
    """Eyes, nose tip and corners of the mouth [t, 5, 2], pixels."""
    return np.stack([landmarks.points[:, list(i), :2].mean(1) for i in FIVE], 1)


def align(picture: np.ndarray, five: np.ndarray) -> np.ndarray:
    """A face of picture uint8 [h, w, 3] with its five points [5, 2] in pixels, brought to PLACES: uint8 [112, 112, 3].

    By the similarity of least squares (Umeyama 1991).
    """
    import cv2

    # As complex numbers: there = p * here + q.
    here, there = five @ (1, 1j), PLACES @ (1, 1j)
    centred = here - here.mean()
    p = np.vdot(centred, there - there.mean()) / np.vdot(centred, centred)
    q = there.mean() - p * here.mean()
    into = np.array([[p.real, -p.imag, q.real], [p.imag, p.real, q.imag]])
    return cv2.warpAffine(picture, into, (SIDE, SIDE), flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REPLICATE)


@cache
def load_sface(folder: Path) -> nn.Sequential:
    """The network, pictures [b, 3, 112, 112] in -1..1 -> [b, 128]. Raises BcdError when the files do not fit."""
    from safetensors.torch import load_file

    try:
        rows = json.loads((folder / FILES[0]).read_text())
        net = nn.Sequential(*(_layer(*row) for row in rows))
        weights = load_file(folder / FILES[1])
        missing = [k for k in net.state_dict() if k not in weights and not k.endswith("num_batches_tracked")]
        if missing:
            raise ValueError(f"{FILES[1]} lacks {missing[0]}")
        net.load_state_dict(weights, strict=False)
    except Exception as error:  # noqa: BLE001 - safetensors raises its own untyped errors
        raise BcdError(f"{folder} holds no SFace that can be read: {str(error).splitlines()[0]}") from error
    return net.eval()


def _layer(kind: str, *sizes) -> nn.Module:
    if kind not in LAYERS:
        raise ValueError(f"unknown layer {kind!r}")
    if kind == "Conv2d":
        before, after, kernel, stride, padding, groups, bias = sizes
        return nn.Conv2d(before, after, tuple(kernel), tuple(stride), tuple(padding), groups=groups, bias=bias)
    if kind.startswith("BatchNorm"):
        return getattr(nn, kind)(sizes[0], eps=sizes[1])
    return getattr(nn, kind)(*sizes)
