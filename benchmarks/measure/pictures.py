"""Picture measures of decoded clips against their source: PSNR over RGB; SSIM, MS-SSIM and VMAF over luma."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from torch import Tensor

AT_ONCE = 32  # frames
LEAST_SIDE = 161  # pixels, for MS-SSIM's five scales under its window of 11
BLACK, RANGE = 16.0, 219.0  # of luma in video range, which VMAF was fitted on


def psnr(pictures: np.ndarray, truth: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB of uint8 pictures, over all of them. Raises ValueError for other shapes."""
    if pictures.shape != truth.shape:
        raise ValueError(f"decoded frames are {list(pictures.shape)}, the source's {list(truth.shape)}")
    error = np.mean([np.square(a.astype(np.float32) - b).mean() for a, b in zip(pictures, truth)])
    return float(10 * np.log10(255**2 / max(error, 1e-9)))


def ssim_and_ms_ssim(decoded: np.ndarray, source: np.ndarray) -> tuple[float | None, float | None]:
    """SSIM (Wang et al. 2004) and MS-SSIM (2003) of luma [t, h, w] in 0..255 by pytorch-msssim, means over frames.

    None without that package; MS-SSIM is None for pictures of fewer than LEAST_SIDE pixels, too.
    """
    try:
        from pytorch_msssim import ms_ssim, ssim
    except ImportError:
        return None, None
    fine, multi = [], []
    with torch.inference_mode():
        for x, y in zip(_tensor(decoded).split(AT_ONCE), _tensor(source).split(AT_ONCE)):
            fine.append(ssim(x, y, data_range=255, size_average=False))
            if min(decoded.shape[1:]) >= LEAST_SIDE:
                multi.append(ms_ssim(x, y, data_range=255, size_average=False))
    return float(torch.cat(fine).mean()), float(torch.cat(multi).mean()) if multi else None


def vmaf(decoded: np.ndarray, source: np.ndarray) -> float | None:
    """Mean VMAF (0..100, model v0.6.1, by vmaf-torch) of luma [t, h, w] in 0..255; None without the package.

    That model was fitted on pictures of 1080 lines seen from three heights away: on small pictures scores rank codings
    of one picture size and do not compare with published ones.
    """
    metric = _vmaf()
    if metric is None:
        return None
    scores = []
    with torch.inference_mode():
        for start in range(0, len(source), AT_ONCE):
            # One frame more on either side: the motion term looks at neighbours.
            first, end = max(0, start - 1), min(len(source), start + AT_ONCE + 1)
            score = metric(*(BLACK + RANGE / 255 * _tensor(x[first:end]) for x in (source, decoded))).flatten()
            scores.append(score[start - first : start - first + AT_ONCE])
    return float(torch.cat(scores)[: len(source)].clamp(0, 100).mean())


def _tensor(clip: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(clip))[:, None]


@cache
def _vmaf() -> torch.nn.Module | None:
    try:
        from vmaf_torch import VMAF
    except ImportError:
        return None
    return VMAF().eval()
