"""What an error of each number of expression and turn changes in the picture: the metric of `JointChoice`."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from bcdcodec.models.faces.base_motion import BaseMotion
from bcdcodec.models.faces.geometry import GeometryNetwork, compose, warp
from bcdcodec.training.data.aligned_pairs import Pairs, PairSource, aligned
from bcdcodec.training.data.landmarker import BLENDSHAPES

BATCHES, PAIRS = 4, 16
STEP = 0.5  # deviations by which a number is changed
EVEN = 0.3  # share of a metric in which all numbers count alike
# Added to the diagonal: what is small in the picture and not to the eye, by how the names of the numbers begin.
SEEN = {"jawOpen": 4.0, "eyeBlink": 3.0, "eyeLook": 1.5, "mouth": 0.5}


@torch.no_grad()
def expression_metric(geometry: GeometryNetwork, base_motion: BaseMotion, source: PairSource) -> Tensor:
    """Metric [54, 54] of errors in the deviations of each number, over pairs of training pictures.

    J' J of the shown picture's derivative J, where eyes and mouth count more; divided by its mean diagonal. A share
    EVEN of it is even, and SEEN is added.
    """
    scale, total = base_motion.expression_scale, 0.0
    for number in range(BATCHES):
        pairs = aligned(source.raw(number, PAIRS, 0), geometry.config.frame, geometry.config.cells, augment=False)
        motion, weight = pairs.motion[:, : len(scale)], pairs.weight.sqrt()
        shown = _shown(geometry, pairs, motion)
        rows = []
        for i in range(len(scale)):
            changed = motion.clone()
            changed[:, i] += STEP * scale[i]
            rows.append(((_shown(geometry, pairs, changed) - shown) * weight).flatten(1).to(torch.bfloat16))
        rows = torch.stack(rows, 1).float()  # [b, 54, pixels]
        total = total + (rows @ rows.transpose(1, 2)).sum(0)
    metric = total / total.diagonal().mean()
    seen = [sum(more for name, more in SEEN.items() if number.startswith(name)) for number in BLENDSHAPES]
    seen = F.pad(torch.tensor(seen), (0, len(scale) - len(seen)))
    return (1 - EVEN) * metric + torch.diag(EVEN + seen)


def _shown(geometry: GeometryNetwork, pairs: Pairs, motion: Tensor) -> Tensor:
    """The face [b, 3, n, n] in another expression and turn [b, 54], at half the frame's side."""
    with torch.autocast("cpu", torch.bfloat16):
        said = geometry(pairs.reference, pairs.motion_reference[:, : motion.shape[1]], motion)
    return F.avg_pool2d(compose(warp(pairs.reference, said.flow), said), geometry.config.cell)
