"""Another person's pose and expression on a face, by landmarks of both: it is turned as that one, and moves in the same places.

Expression images (Liu, Shan and Zhang 2001): a mouth that opens adds much the same dark to any face; what counts is the place,
which landmarks of both tell.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from bcdcodec.models.heads.residual_basis import Appearance, Portrait
from bcdcodec.models.warp import centres, warp, warped_detail
from bcdcodec.reenactment.head_pose import head_pose

GRID = 32  # cells a side of the flow
BORDER = 5  # points a side of the picture's border, where nothing moves ...
APART = 0.3  # ... but where the head is nearer, halves of a picture: a head that is cut off is not to be stretched
LARGER_MOST = 2.0  # times one face may be as large as the other: more is no face
SMOOTHING = 1e-3  # of the spline, so that landmarks a pixel off fold nothing


def portrait_turned(portrait: Portrait, here: np.ndarray, there: np.ndarray) -> Portrait:
    """A portrait in which points of the head `here` [n, 2] are `there`: x and y as fractions of the picture."""
    flow = joining_flow(there, here).to(portrait.still)
    detail = None if portrait.detail is None else warped_detail(portrait.still, portrait.detail, flow)
    return replace(portrait, still=warp(portrait.still, flow), detail=detail)


def moving_as(
    portrait: Portrait, marks: np.ndarray, appearance: Appearance, driver: np.ndarray, now: np.ndarray
) -> Portrait:
    """A portrait that another's motion moves in the same places, with that one's pictures of change, [1, k, c, h, w], in their place.

    `marks`, `driver` [68, 2]: landmarks of both stills, x and y as fractions of the picture; `now` [68, 2]: the driver's in the picture that
    motion is counted from.
    """
    flow = joining_flow(marks, driver).to(portrait.still)
    components = appearance.components[0]
    carried = Appearance(
        warp(components, flow.expand(len(components), -1, -1, -1))[None], warp(appearance.salience, flow)
    )
    larger = head_pose(marks).size / head_pose(driver).size
    return replace(
        portrait,
        appearance=carried,
        joined=joining_flow(marks, now).to(portrait.still),
        larger=min(max(larger, 1 / LARGER_MOST), LARGER_MOST),
    )


def landmarks_moved(marks: np.ndarray, flow: Tensor) -> np.ndarray:
    """Where landmarks [n, 2] of a still are in a picture that takes it through the flow [1, 2, gh, gw]: [n, 2]."""
    places = torch.from_numpy(2 * marks - 1).to(flow)[None, None]  # [1, 1, n, 2]
    way = F.grid_sample(flow, places, padding_mode="border", align_corners=False)[
        0, :, 0
    ].T  # [n, 2], halves of a picture
    return marks - way.cpu().numpy() / 2


def joining_flow(here: np.ndarray, there: np.ndarray) -> Tensor:
    """Flow [1, 2, GRID, GRID] that takes points `here` [n, 2] to those `there`, and is nothing at the picture's border, if they are not near it.

    A thin-plate spline (Bookstein 1989) in halves of a picture.
    """
    side = torch.linspace(-1, 1, BORDER, dtype=torch.float64)
    x, y = torch.meshgrid(side, side, indexing="xy")
    frame = torch.stack([x, y], -1)[(x.abs() == 1) | (y.abs() == 1)]
    marks, goals = (2 * torch.from_numpy(np.asarray(p, float)) - 1 for p in (here, there))
    frame = frame[torch.cdist(frame, torch.cat([marks, goals])).amin(1) > APART]
    knots = torch.cat([marks, frame])  # [p, 2]
    values = torch.cat([goals - marks, torch.zeros_like(frame)])
    plane = torch.cat([torch.ones(len(knots), 1, dtype=torch.float64), knots], 1)  # [p, 3]
    bend = _bending(knots, knots) + SMOOTHING * torch.eye(len(knots), dtype=torch.float64)
    system = torch.cat([torch.cat([bend, plane], 1), torch.cat([plane.T, torch.zeros(3, 3, dtype=torch.float64)], 1)])
    weights = torch.linalg.solve(system, torch.cat([values, torch.zeros(3, 2, dtype=torch.float64)]))
    cells = centres(GRID).double()
    x, y = torch.meshgrid(cells, cells, indexing="xy")
    places = torch.stack([x, y], -1).view(-1, 2)
    flow = (
        _bending(places, knots) @ weights[:-3]
        + torch.cat([torch.ones(len(places), 1, dtype=torch.float64), places], 1) @ weights[-3:]
    )
    return flow.T.reshape(1, 2, GRID, GRID).float()


def _bending(a: Tensor, b: Tensor) -> Tensor:
    """r^2 log r of the distances of points a [p, 2] from b [q, 2], [p, q]."""
    square = (a[:, None] - b).square().sum(-1)
    return 0.5 * square * square.clamp_min(1e-18).log()
