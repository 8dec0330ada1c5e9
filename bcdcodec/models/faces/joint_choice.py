"""The base layer's codes of expression and turn, chosen together by what they show.

The nearest code of each group by itself leaves errors of all groups in one and the same number, such as yaw. Here the
codes of all groups are chosen so that the numbers that they give together are near, in a metric of what an error of
each number changes in the picture and to the eye. A code that changes from the frame before costs something. By
coordinate descent over the groups: frame after frame, then again with the codes of both neighbours known.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from bcdcodec.models.faces.base_motion import BaseMotion
from bcdcodec.models.faces.config import BaseMotionConfig

SWEEPS = 2  # over the groups; each code is chosen again, given the others
CHANGE = 0.42  # what another code than that of the frame before costs, in the unit of the metric


class JointChoice(nn.Module):
    """Holds the metric, and chooses codes by it."""

    def __init__(self, config: BaseMotionConfig):
        super().__init__()
        # e' M e is what an error e of expression and turn costs, in their deviations.
        self.register_buffer("expression_metric", torch.eye(config.expression))

    def forward(
        self, base_motion: BaseMotion, features: Tensor, before: Tensor | None = None, wanted: Tensor | None = None
    ) -> Tensor:
        """Codes int64 [t, groups] of consecutive frames' features [t, g * d], for `BaseMotion.lookup`.

        `before` [groups]: codes of the frame before these. `wanted` [t, n]: expression and turn that the codes are to
        give; None: those that the features say.
        """
        c = base_motion.config
        root = torch.linalg.cholesky(self.expression_metric.double()).T
        weights = root @ base_motion.to_expression.weight.double()  # [n, g * d]
        codebooks = base_motion.quantiser.codebooks.double()  # [g, k, d]
        given = torch.einsum("ngd,gkd->gkn", weights.unflatten(1, (c.groups, c.dim)), codebooks).cpu().numpy()
        wanted = base_motion.expression(base_motion.continuous(features)) if wanted is None else wanted
        wanted = (wanted - base_motion.expression_mean) / base_motion.expression_scale - base_motion.to_expression.bias
        goals = (wanted.double() @ root.T).cpu().numpy()  # [t, n]
        descent = _Descent(given, np.square(given).sum(-1))
        held = None if before is None else before.cpu().numpy()
        codes = descent.in_order(goals, base_motion.nearest(features).cpu().numpy(), held)
        for frames in (slice(1, None, 2), slice(0, None, 2)) * 2:  # whose neighbours stay meanwhile
            descent.between(goals, codes, held, frames)
        return torch.from_numpy(codes).to(features.device)


@dataclass(frozen=True)
class _Descent:
    """Coordinate descent on the squared distance of what the codes sum up to from a goal, and their prices."""

    given: np.ndarray  # [g, k, n] what each code adds
    squares: np.ndarray  # [g, k] its squared length

    def in_order(self, goals: np.ndarray, nearest: np.ndarray, held: np.ndarray | None) -> np.ndarray:
        """Codes [t, g] of `goals` [t, n], one frame after another; tried from those before it and the `nearest`."""
        found = []
        for goal, start in zip(goals[:, None], nearest[:, None], strict=True):
            prices = self._prices(None if held is None else held[None])
            starts = [start] if held is None else [start, held[None]]
            held = self._best(goal, starts, prices)[0]
            found.append(held)
        return np.stack(found)

    def between(self, goals: np.ndarray, codes: np.ndarray, held: np.ndarray | None, frames: slice) -> None:
        """Choose the codes [t, g] of `frames` again, given those before and after each; `held` [g]: before all."""
        at = np.arange(len(codes))[frames]
        if not len(at):
            return
        starts, prices = [codes[at]], 0.0
        for beside, outside in ((at - 1, held), (at + 1, None)):
            there = (beside >= 0) & (beside < len(codes))
            neighbours = codes[beside.clip(0, len(codes) - 1)]
            if outside is not None:
                neighbours[~there], there[:] = outside, True
            prices = prices + there[:, None, None] * self._prices(neighbours)
            starts.append(neighbours)
        codes[at] = self._best(goals[at], starts, prices)

    def _prices(self, held: np.ndarray | None) -> np.ndarray:
        """[n, g, k] of codes beside those `held` [n, g], which cost nothing; all cost nothing beside None."""
        if held is None:
            return np.zeros((1, *self.squares.shape))
        prices = np.full((len(held), *self.squares.shape), CHANGE)
        np.put_along_axis(prices, held[:, :, None], 0.0, 2)
        return prices

    def _best(self, goals: np.ndarray, starts: list[np.ndarray], prices: np.ndarray) -> np.ndarray:
        """The best codes [n, g] that are found from the `starts` [n, g], for goals [n, n] and prices [n, g, k]."""
        n, count = len(goals), len(starts)
        costs, found = self._descend(np.tile(goals, (count, 1)), np.concatenate(starts), np.tile(prices, (count, 1, 1)))
        return found.reshape(count, n, -1)[costs.reshape(count, n).argmin(0), np.arange(n)]

    def _descend(self, goals: np.ndarray, codes: np.ndarray, prices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Costs [n], and codes [n, g] at a minimum near `codes`."""
        groups, alone = np.arange(codes.shape[1]), self.squares + prices
        codes, error = codes.copy(), self.given[groups, codes].sum(1) - goals
        for _ in range(SWEEPS):
            for g in groups:
                others = error - self.given[g, codes[:, g]]
                codes[:, g] = (alone[:, g] + 2 * others @ self.given[g].T).argmin(1)
                error = others + self.given[g, codes[:, g]]
        paid = np.take_along_axis(prices, codes[:, :, None], 2).sum((1, 2))
        return np.square(error).sum(1) + paid, codes
