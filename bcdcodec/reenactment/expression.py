"""Another person's pose and expression on a face, by facial landmarks of both.

After expression ratio images (Liu, Shan and Zhang 2001): an opening mouth darkens any face in much the same way, so
the driver's residual basis is warped to the place where the landmarks put that mouth.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from bcdcodec.models.heads.reference import HeadsReference
from bcdcodec.models.heads.residual_basis import ResidualBasis
from bcdcodec.models.warp import centres, warp, warped_detail
from bcdcodec.reenactment.head_pose import head_pose

GRID = 32  # cells a side of the flow
BORDER = 5  # points a side of the picture's border, where nothing moves ...
APART = 0.3  # ... except nearer to the head than this, halves of a picture: a head that is cut off is not stretched
MAX_SIZE_RATIO = 2.0  # between two faces: a larger one comes from a wrong detection
SMOOTHING = 1e-3  # of the spline, so that landmarks a pixel off do not fold it


def turned(reference: HeadsReference, here: np.ndarray, there: np.ndarray) -> HeadsReference:
    """A reference whose head's points `here` [n, 2] are moved to `there`: x and y as fractions of the picture."""
    flow = transport_flow(there, here).to(reference.image)
    detail = None if reference.detail is None else warped_detail(reference.image, reference.detail, flow)
    return replace(reference, image=warp(reference.image, flow), detail=detail)


def retargeted(
    reference: HeadsReference, marks: np.ndarray, basis: ResidualBasis, driver: np.ndarray, now: np.ndarray
) -> HeadsReference:
    """A reference that a driver's motion moves in the same places, with the driver's residual `basis` [1, k, c, h, w].

    `marks`, `driver` [68, 2]: landmarks of both reference images, x and y as fractions of the picture; `now` [68, 2]:
    the driver's in the picture that motion is counted from.
    """
    flow = transport_flow(marks, driver).to(reference.image)
    components = basis.components[0]
    components = warp(components, flow.expand(len(components), -1, -1, -1))[None]
    scale = head_pose(marks).size / head_pose(driver).size
    return replace(
        reference,
        residual_basis=ResidualBasis(components, warp(basis.salience, flow)),
        transport_flow=transport_flow(marks, now).to(reference.image),
        scale=min(max(scale, 1 / MAX_SIZE_RATIO), MAX_SIZE_RATIO),
    )


def landmarks_moved(marks: np.ndarray, flow: Tensor) -> np.ndarray:
    """Landmarks [n, 2] of a reference image in the picture that the flow [1, 2, gh, gw] warps from it: [n, 2]."""
    places = torch.from_numpy(2 * marks - 1).to(flow)[None, None]  # [1, 1, n, 2]
    way = F.grid_sample(flow, places, padding_mode="border", align_corners=False)[0, :, 0].T  # [n, 2] half pictures
    return marks - way.cpu().numpy() / 2


def transport_flow(here: np.ndarray, there: np.ndarray) -> Tensor:
    """Flow [1, 2, GRID, GRID] that takes points `here` [n, 2] to `there`, zero at the border unless they are near it.

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
    plane = torch.cat([torch.ones(len(places), 1, dtype=torch.float64), places], 1)
    flow = _bending(places, knots) @ weights[:-3] + plane @ weights[-3:]
    return flow.T.reshape(1, 2, GRID, GRID).float()


def _bending(a: Tensor, b: Tensor) -> Tensor:
    """r^2 log r of the distances of points a [p, 2] from b [q, 2], [p, q]."""
    square = (a[:, None] - b).square().sum(-1)
    return 0.5 * square * square.clamp_min(1e-18).log()
