"""Picture measures of decoded clips against their source: PSNR, SSIM, MS-SSIM, VMAF and temporal flicker.

Clips are uint8 [t, h, w, 3]. PSNR is over RGB, the others over luma (BT.601).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from bcdcodec.benchmarks.demo import psnr
from bcdcodec.benchmarks.vmaf import vmaf

WINDOW, DEVIATION = 11, 1.5  # pixels, of SSIM's Gaussian window
C1, C2 = 0.01**2, 0.03**2  # of SSIM, for values in 0..1
SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # of MS-SSIM, finest first (Wang et al. 2003)
STILL_LEVELS = 2.0  # of 255: a pixel of the source that changes less from one frame to the next rests
FRAMES_AT_ONCE = 64


@dataclass(frozen=True)
class Quality:
    """One decoded clip against its source, means over frames."""

    psnr: float  # dB, of the squared error over all frames
    ssim: float
    ms_ssim: float  # over as many scales as `scales` says
    flicker: float  # levels of 255, see `flicker`
    vmaf: float | None  # 0..100; None without vmaf-torch


def measure_quality(decoded: np.ndarray, source: np.ndarray) -> Quality:
    """All measures of a clip uint8 [t, h, w, 3]. Raises ValueError when the shapes differ."""
    if decoded.shape != source.shape:
        raise ValueError(f"decoded frames are {list(decoded.shape)}, the source's {list(source.shape)}")
    a, b = luma(decoded), luma(source)
    fine, multi = ssim_and_ms_ssim(a, b)
    return Quality(psnr(decoded, source), fine, multi, flicker(a, b), vmaf(a, b))


def luma(clip: np.ndarray) -> Tensor:
    """BT.601 luma in 0..1 of uint8 [t, h, w, 3]: [t, 1, h, w]."""
    weights = torch.tensor([0.299, 0.587, 0.114]) / 255
    return (torch.from_numpy(np.ascontiguousarray(clip)).float() @ weights)[:, None]


def scales(height: int, width: int) -> int:
    """How many of MS-SSIM's five scales have room for the window: 4 at 128 pixels, 5 from 176 on."""
    count = 1
    while count < len(SCALE_WEIGHTS) and min(height, width) >> count >= WINDOW:
        count += 1
    return count


def ssim_and_ms_ssim(a: Tensor, b: Tensor) -> tuple[float, float]:
    """SSIM (Wang et al. 2004) and MS-SSIM of luma [t, 1, h, w] in 0..1, means over frames.

    Gaussian window of 11 pixels, no padding. Pictures too small for five scales use the finest ones
    with their weights scaled to a sum of 1, so figures of different picture sizes do not compare.
    """
    count = scales(*a.shape[2:])
    weights = torch.tensor(SCALE_WEIGHTS[:count]) / sum(SCALE_WEIGHTS[:count])
    fine, multi = [], []
    for start in range(0, len(a), FRAMES_AT_ONCE):
        x, y = a[start : start + FRAMES_AT_ONCE], b[start : start + FRAMES_AT_ONCE]
        terms = []  # contrast-structure of each scale, of the last one with luminance: [t]
        for scale in range(count):
            ssim, contrast = _ssim_terms(x, y)
            if scale == 0:
                fine.append(ssim)
            terms.append(ssim if scale == count - 1 else contrast)
            x, y = functional.avg_pool2d(x, 2), functional.avg_pool2d(y, 2)
        # Negative contrast terms have no real power; they count as no similarity, as is usual.
        multi.append(torch.stack(terms, -1).clamp(min=0).pow(weights).prod(-1))
    return float(torch.cat(fine).mean()), float(torch.cat(multi).mean())


def flicker(a: Tensor, b: Tensor) -> float:
    """Mean change of luma `a` [t, 1, h, w] between frames where the source `b` rests, levels of 255; 0 for one frame."""
    change, still = (a[1:] - a[:-1]).abs() * 255, (b[1:] - b[:-1]).abs() * 255 < STILL_LEVELS
    return float(change[still].mean()) if still.any() else 0.0


def _ssim_terms(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Mean SSIM and mean contrast-structure term of each frame, [t] both."""
    down, across = (_blur_matrix(side) for side in x.shape[2:])

    def blur(v: Tensor) -> Tensor:
        return down @ v @ across.T

    mu_x, mu_y = blur(x), blur(y)
    var_x, var_y, cov = blur(x * x) - mu_x**2, blur(y * y) - mu_y**2, blur(x * y) - mu_x * mu_y
    contrast = (2 * cov + C2) / (var_x + var_y + C2)
    luminance = (2 * mu_x * mu_y + C1) / (mu_x**2 + mu_y**2 + C1)
    return (luminance * contrast).mean((1, 2, 3)), contrast.mean((1, 2, 3))


@cache
def _blur_matrix(side: int) -> Tensor:
    """The Gaussian window at every place where it fits, [side - WINDOW + 1, side]; products beat convolutions."""
    window = torch.exp(-((torch.arange(WINDOW) - WINDOW // 2) ** 2) / (2 * DEVIATION**2))
    matrix = torch.zeros(side - WINDOW + 1, side)
    for place, row in enumerate(matrix):
        row[place : place + WINDOW] = window / window.sum()
    return matrix
