"""Fits the head to the landmarks of a photograph: identity, expression, pose, then what is left over, exactly."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain

import numpy as np

from bcdcodec.training.data.portraits.correspondence import EYES, FACE, LIPS
from bcdcodec.training.data.portraits.head import Head

ROUNDS = 8  # pose and shape in turn
LANDMARK_SIGMA = 0.08  # units of the head, of a landmark
EXPRESSION_SIGMA = 0.4  # of the weights, least squares' prior
DRIVER_SIGMA = 0.3  # the same for a clip, where the identity is known
IDENTITIES = 5  # frames of a clip that its identity is the mean of
POSE_ROUNDS = 10  # from nothing; 3 from the frame before
SMOOTHNESS = 1.5  # units of the head, reach of what is left over


@dataclass(frozen=True)
class Pose:
    """A scaled orthographic camera: `scale * R x + shift`, y turned down."""

    rotation: np.ndarray  # [3, 3]
    scale: float  # pixels a unit
    shift: np.ndarray  # [2] pixels

    def project(self, shape: np.ndarray) -> np.ndarray:
        """Pixels x, y (centres at whole numbers) and depth (larger is nearer, pixels) [v, 3] of vertices [v, 3]."""
        seen = shape @ (self.rotation.T * self.scale).astype(np.float32)
        seen[:, 0] += self.shift[0]
        seen[:, 1] = self.shift[1] - seen[:, 1]
        return seen


@dataclass(frozen=True)
class Fit:
    """A person: the shape without expression, and how the photograph shows it."""

    neutral: np.ndarray  # float32 [v, 3]
    expression: np.ndarray  # float32 [57]
    pose: Pose
    error: float  # of the landmarks before the exact correction, in distances between the eyes' outer corners
    identity: np.ndarray  # float32 [m]


def contours(head: Head, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Vertices [k] on lips and lids and where they are [k, 2], by arc length of the landmarker's contours."""
    vertices, places = [], []
    for way, marks in zip(chain(*head.contour_pairs), (*LIPS, *EYES), strict=True):
        at = _arc(head.vertices[way][:, :2])
        target = points[list(marks), :2]
        there = _arc(target)
        chosen = np.abs(at[None] - np.linspace(0, 1, len(marks))[:, None]).argmin(1)
        vertices.append(way[chosen])
        places.append(np.stack([np.interp(at[chosen], there, target[:, k]) for k in range(2)], 1))
    return np.concatenate(vertices), np.concatenate(places)


def _arc(line: np.ndarray) -> np.ndarray:
    """Length along a line [k, 2] as fractions [k], 0 to 1."""
    at = np.r_[0, np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))]
    return at / max(at[-1], 1e-9)


def solve_pose(shape: np.ndarray, seen: np.ndarray, weight: np.ndarray, first: np.ndarray | None = None) -> Pose:
    """The scaled orthographic pose in which vertices [k, 3] come nearest to pixels [k, 2], weights [k]."""
    w, rounds = weight / weight.sum(), POSE_ROUNDS if first is None else 3
    mean, place = w @ shape, w @ seen
    x, y = shape - mean, (seen - place) * (1, -1)
    if first is None:
        rows = np.linalg.lstsq(x * w[:, None] ** 0.5, y * w[:, None] ** 0.5, rcond=None)[0].T
        u, values, vt = np.linalg.svd(rows, full_matrices=False)
        rows, scale = u @ vt, float(values.mean())
        first = np.vstack([rows, np.cross(rows[0], rows[1])])
    else:
        scale = float(np.sqrt((w[:, None] * y**2).sum() / (w[:, None] * (x @ first[:2].T) ** 2).sum()))
    rotation = first
    for _ in range(rounds):
        whole = np.c_[y, scale * x @ rotation[2]]
        u, values, vt = np.linalg.svd((w[:, None] * whole).T @ x)
        sign = np.array([1.0, 1.0, np.linalg.det(u @ vt)])
        rotation = (u * sign) @ vt
        scale = float(values @ sign / (w[:, None] * x**2).sum())
    middle = scale * (rotation @ mean)[:2]
    return Pose(rotation, scale, np.array([place[0] - middle[0], place[1] + middle[1]]))


def fit(head: Head, points: np.ndarray) -> Fit:
    """The head fitted to the landmarker's points [478, 3] of a photograph, pixels."""
    lips, places = contours(head, points)
    vertices, seen, weight = _constraints(head, points, lips, places)
    modes = np.concatenate([head.identity[:, vertices], head.expression[:, vertices]]).astype(np.float64)
    m = len(head.identity)
    prior = np.r_[np.ones(m), np.full(len(head.names), 1 / EXPRESSION_SIGMA**2)]
    mean = head.vertices[vertices].astype(np.float64)
    values, pose = _alternate(modes, mean, seen, weight, prior, m)
    left = seen - pose.project((mean + np.tensordot(values, modes, 1)).astype(np.float32))[:, :2]
    eyes = np.linalg.norm(points[33, :2] - points[263, :2])
    error = float(np.linalg.norm(left, axis=1).mean() / eyes)
    identity, expression = values[:m].astype(np.float32), values[m:].astype(np.float32)
    neutral = head.shape(identity, np.zeros(len(expression), np.float32))
    neutral = neutral + _spread(head, vertices, left * (1, -1) / pose.scale, pose.rotation)
    return Fit(neutral.astype(np.float32), expression, pose, error, identity)


def fit_expressions(head: Head, points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Expressions [t, 57], rotations [t, 3, 3] and the neutral [v, 3] of one person from landmarks [t, 478, 3]."""
    expressions, poses, neutral = fit_clip(head, points)
    return expressions, np.array([pose.rotation for pose in poses]), neutral


def fit_clip(head: Head, points: np.ndarray) -> tuple[np.ndarray, list[Pose], np.ndarray]:
    """Expressions [t, 57], poses and the neutral [v, 3] of one person from landmarks [t, 478, 3].

    The identity is the mean of what IDENTITIES frames give, spread over the clip; then only expression and pose move.
    """
    some = [fit(head, points[t]) for t in np.unique(np.linspace(0, len(points) - 1, IDENTITIES).round().astype(int))]
    neutral = np.mean([f.neutral for f in some], axis=0)
    prior = np.full(len(head.names), 1 / DRIVER_SIGMA**2)
    expressions, poses = [], []
    vertices = _constraints(head, points[0], *contours(head, points[0]))[0]
    modes, mean = head.expression[:, vertices].astype(np.float64), neutral[vertices].astype(np.float64)
    for frame in points:
        _, seen, weight = _constraints(head, frame, *contours(head, frame))
        values, pose = (expressions[-1], poses[-1]) if poses else (None, None)
        values, pose = _alternate(modes, mean, seen, weight, prior, 0, values, pose, 2)
        expressions.append(values)
        poses.append(pose)
    return np.array(expressions, np.float32), poses, neutral


def _constraints(head: Head, points: np.ndarray, lips: np.ndarray, places: np.ndarray):
    """Vertices [k], where they are seen [k, 2], weights [k]."""
    seen = np.concatenate([points[FACE, :2], places]).astype(np.float64)
    return np.r_[head.surface[FACE], lips], seen, np.r_[np.full(len(FACE), 0.25), np.full(len(lips), 1.0)]


def _alternate(
    modes: np.ndarray,
    mean: np.ndarray,
    seen: np.ndarray,
    weight: np.ndarray,
    prior: np.ndarray,
    free: int,
    values: np.ndarray | None = None,
    pose: Pose | None = None,
    rounds: int = ROUNDS,
) -> tuple[np.ndarray, Pose]:
    """Amounts of modes [n, k, 3] over a mean [k, 3] and the pose that show it at `seen`, each for the other in turn."""
    values = np.zeros(len(modes)) if values is None else values
    root = np.repeat(weight, 2) ** 0.5 / LANDMARK_SIGMA
    for _ in range(rounds):
        shape = mean + np.tensordot(values, modes, 1)
        pose = solve_pose(shape, seen, weight, None if pose is None else pose.rotation)
        # what the camera shows, in units of the head
        target = (seen - pose.shift) * (1, -1) / pose.scale - mean @ pose.rotation[:2].T
        a = (modes @ pose.rotation[:2].T).reshape(len(modes), -1).T * root[:, None]
        values = _bounded(a.T @ a + np.diag(prior), a.T @ (target.reshape(-1) * root), free)
    return values, pose


def _bounded(a: np.ndarray, b: np.ndarray, free: int) -> np.ndarray:
    """Least squares of normal equations where all but the first `free` unknowns lie within 0 and 1 (active set)."""
    fixed, values = np.zeros(len(b), bool), np.zeros(len(b))
    for _ in range(12):
        open_ = ~fixed
        values[open_] = np.linalg.solve(a[np.ix_(open_, open_)], b[open_] - a[np.ix_(open_, fixed)] @ values[fixed])
        outside = (values[free:] < 0) | (values[free:] > 1)
        outside &= ~fixed[free:]
        if not outside.any():
            break
        values[free:] = values[free:].clip(0, 1)
        fixed[free:] |= outside
    values[free:] = values[free:].clip(0, 1)
    return values


def _spread(head: Head, vertices: np.ndarray, left: np.ndarray, rotation: np.ndarray) -> np.ndarray:
    """What is left over at some vertices, [k, 2] in the camera's plane, as a smooth move of all vertices [v, 3]."""
    unique, index = np.unique(vertices, return_inverse=True)
    value = np.stack([np.bincount(index, left[:, k]) / np.bincount(index) for k in range(2)], 1)
    at = head.vertices[unique].astype(np.float64)
    # The lips touch in the mean head; upper and lower must be free to move apart.
    kernel = _kernel(at, at)
    kernel[np.diag_indices(len(at))] += 0.02
    amount = np.linalg.solve(kernel, value)
    moved = _kernel(head.vertices, at.astype(np.float32)) @ amount.astype(np.float32)  # [v, 2]
    return moved @ rotation[:2]


def _kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    distance = np.sqrt(np.maximum((a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T, 0))
    return np.exp(-distance / SMOOTHNESS)
