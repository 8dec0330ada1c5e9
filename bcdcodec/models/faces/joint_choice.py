"""The base layer's codes of expression and turn, chosen together by what they show.

The nearest code of each group by itself leaves errors of all groups in one and the same number, such as yaw. Here the
codes of all groups are chosen so that the numbers that they give together are near, in a metric of what an error of
each number changes in the picture; a code that changes from the frame before costs something. By coordinate descent.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from bcdcodec.models.faces.base_motion import BaseMotion
from bcdcodec.models.faces.config import BaseMotionConfig

SWEEPS = 2  # over the groups; each code is chosen again, given the others
CHANGE = 0.2  # what another code than that of the frame before costs, in the unit of the metric: about an error of
# a fifth of the squared deviation of a number


class JointChoice(nn.Module):
    """Holds the metric, and chooses codes by it."""

    def __init__(self, config: BaseMotionConfig):
        super().__init__()
        # e' M e is what an error e of expression and turn costs, in their deviations. Its mean diagonal is 1.
        self.register_buffer("expression_metric", torch.eye(config.expression))

    def forward(self, base_motion: BaseMotion, features: Tensor, before: Tensor | None = None) -> Tensor:
        """Codes int64 [t, groups] of consecutive frames' features [t, g * d]; `before` [groups]: of the frame before.

        Codes are for `BaseMotion.lookup`.
        """
        c = base_motion.config
        root = torch.linalg.cholesky(self.expression_metric.double()).T
        weights = root @ base_motion.to_expression.weight.double()  # [n, g * d]
        codebooks = base_motion.quantiser.codebooks.double()  # [g, k, d]
        given = torch.einsum("ngd,gkd->gkn", weights.unflatten(1, (c.groups, c.dim)), codebooks).cpu().numpy()
        wanted = (base_motion.continuous(features).double() @ weights.T).cpu().numpy()  # [t, n]
        squares = np.square(given).sum(-1)  # [g, k]
        nearest = base_motion.nearest(features).cpu().numpy()  # [t, g]
        chosen, held = [], None if before is None else before.cpu().numpy()
        for goal, start in zip(wanted, nearest, strict=True):
            starts = (start,) if held is None else (start, held)
            held = min((_descend(given, squares, goal, codes, held) for codes in starts), key=lambda found: found[0])[1]
            chosen.append(held)
        return torch.from_numpy(np.stack(chosen)).to(features.device)


def _descend(
    given: np.ndarray, squares: np.ndarray, goal: np.ndarray, codes: np.ndarray, held: np.ndarray | None
) -> tuple[float, np.ndarray]:
    """Cost, and codes [g] at a minimum near `codes`: what `given` [g, k, n] sums up to is near the `goal` [n].

    `squares` [g, k]: squared lengths of `given`. `held` [g]: codes that cost nothing.
    """
    groups = np.arange(len(codes))
    prices = np.full(given.shape[:2], 0.0 if held is None else CHANGE)
    if held is not None:
        prices[groups, held] = 0.0
    alone = squares + prices
    codes, error = codes.copy(), given[groups, codes].sum(0) - goal
    for _ in range(SWEEPS):
        for g in groups:
            others = error - given[g, codes[g]]
            codes[g] = (alone[g] + 2 * given[g] @ others).argmin()
            error = others + given[g, codes[g]]
    return np.square(error).sum() + prices[groups, codes].sum(), codes
