"""How a head is turned and placed, read from the landmarks of its face; and where they are when it is turned as another."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

ITERATIONS = 30  # of the fit; it has settled to a hundredth of a degree
TURN_MOST = 30.0  # degrees that a still is turned: beyond, its far side, which nobody has seen, would show

# dlib's 68 landmarks on the mean head: x right, y down, z to the viewer, in halves of the distance between the outer
# corners of the eyes, about their mean. Found by factorisation (Tomasi and Kanade 1992): the shape that, turned and
# scaled for each, comes nearest to the landmarks of 873 pictures of 175 training clips and portraits; then made symmetric.
MEAN_HEAD = np.array([
    (-1.64, -0.75, -0.87), (-1.62, -0.32, -0.81), (-1.57, 0.11, -0.76), (-1.49, 0.53, -0.71), (-1.35, 0.92, -0.6), (-1.1, 1.26, -0.44),
    (-0.78, 1.54, -0.26), (-0.42, 1.76, -0.07), (0, 1.83, -0.01), (0.42, 1.76, -0.07), (0.78, 1.54, -0.26), (1.1, 1.26, -0.44),
    (1.35, 0.92, -0.6), (1.49, 0.53, -0.71), (1.57, 0.11, -0.76), (1.62, -0.32, -0.81), (1.64, -0.75, -0.87), (-1.34, -1.17, -0.16),
    (-1.14, -1.38, -0.01), (-0.85, -1.46, 0.12), (-0.55, -1.44, 0.23), (-0.27, -1.33, 0.3), (0.27, -1.33, 0.3), (0.55, -1.44, 0.23),
    (0.85, -1.46, 0.12), (1.14, -1.38, -0.01), (1.34, -1.17, -0.16), (0, -0.98, 0.29), (0, -0.72, 0.44), (0, -0.45, 0.6),
    (0, -0.18, 0.75), (-0.32, 0.07, 0.37), (-0.16, 0.12, 0.44), (0, 0.16, 0.49), (0.16, 0.12, 0.44), (0.32, 0.07, 0.37),
    (-1, -0.88, -0.09), (-0.83, -0.99, -0.02), (-0.62, -1, 0.01), (-0.43, -0.86, 0.02), (-0.63, -0.83, 0.01), (-0.83, -0.82, -0.02),
    (0.43, -0.86, 0.02), (0.62, -1, 0.01), (0.83, -0.99, -0.02), (1, -0.88, -0.09), (0.83, -0.82, -0.02), (0.63, -0.83, 0.01),
    (-0.62, 0.69, -0.06), (-0.4, 0.54, 0.23), (-0.17, 0.46, 0.39), (0, 0.5, 0.4), (0.17, 0.46, 0.39), (0.4, 0.54, 0.23),
    (0.62, 0.69, -0.06), (0.41, 0.89, 0.11), (0.18, 0.99, 0.2), (0, 1, 0.22), (-0.18, 0.99, 0.2), (-0.41, 0.89, 0.11),
    (-0.52, 0.69, -0.01), (-0.17, 0.62, 0.31), (0, 0.63, 0.34), (0.17, 0.62, 0.31), (0.52, 0.69, -0.01), (0.17, 0.76, 0.24),
    (0, 0.78, 0.26), (-0.17, 0.76, 0.24)])  # fmt: skip
MEAN_HEAD[:, 1:] -= MEAN_HEAD[:, 1:].mean(0)  # which rounding has moved

# Of the skull about it, where there are no landmarks: ears, temples and crown of common proportions go with the face.
SKULL = np.array(
    [
        (-1.95, -0.6, -1.5),
        (-1.9, -1.8, -1.3),
        (-1.2, -2.8, -1.2),
        (0, -3.1, -1.2),
        (1.2, -2.8, -1.2),
        (1.9, -1.8, -1.3),
        (1.95, -0.6, -1.5),
    ]
)
SHIFT_MOST = 0.15  # of the picture, either way
NECK = np.array([0.0, 0.7, -1.6])  # where it turns


@dataclass(frozen=True)
class HeadPose:
    """A head under scaled orthography."""

    rotation: np.ndarray  # [3, 3] of the mean head, which looks at the viewer
    size: float  # of its unit, fraction of the picture
    place: np.ndarray  # [2] mean of the landmarks, fractions of the picture

    def shown(self, head: np.ndarray) -> np.ndarray:
        """Where points of a head [n, 3] are in the picture, [n, 2]."""
        return self.size * head @ self.rotation[:2].T + self.place


def head_pose(marks: np.ndarray) -> HeadPose:
    """The pose in which the mean head comes nearest to landmarks [68, 2], fractions of the picture.

    Least squares under scaled orthography: depths that the pose implies are filled in, and the rotation found anew
    (Procrustes), until both agree. Two people in one and the same pose differ, as their faces do: rendered ones by 6.5
    degrees in the median, where six landmarks alone, a common choice, leave 12.3.
    """
    place = marks.mean(0)
    seen = marks - place
    u, values, vt = np.linalg.svd(np.linalg.lstsq(MEAN_HEAD, seen, rcond=None)[0].T, full_matrices=False)
    rows, size = u @ vt, float(values.mean())
    rotation = np.vstack([rows, np.cross(rows[0], rows[1])])
    for _ in range(ITERATIONS):
        whole = np.c_[seen, size * MEAN_HEAD @ rotation[2]]  # [68, 3]
        u, values, vt = np.linalg.svd(whole.T @ MEAN_HEAD)
        sign = np.array([1.0, 1.0, np.linalg.det(u @ vt)])
        rotation, size = (u * sign) @ vt, float(values @ sign / np.square(MEAN_HEAD).sum())
    return HeadPose(rotation, size, place)


def turned_landmarks(
    marks: np.ndarray, towards: np.ndarray, first: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Points of a head with landmarks `marks` [68, 2], and where they are when it is turned as that of `towards` [68, 2], by TURN_MOST at most.

    Both [68 + s, 2], landmarks first, then the skull's. It keeps its own face: what that has beside the mean head turns with
    it; and its size and its place, as its body does: it turns about the neck. `first` [68, 2]: landmarks of the other in the picture where
    this one stood in its place; by so much as the other's neck has moved since, this one's moves too, by SHIFT_MOST at most.
    """
    own, other = head_pose(marks), head_pose(towards)
    beside = (marks - own.shown(MEAN_HEAD)) / own.size  # [68, 2]
    head = np.concatenate([MEAN_HEAD + beside @ own.rotation[:2], SKULL])
    rotation = _part_of_turn(other.rotation @ own.rotation.T) @ own.rotation
    place = own.place + own.size * (own.rotation - rotation)[:2] @ NECK
    if first is not None:
        began = head_pose(first)
        way = (other.shown(NECK[None]) - began.shown(NECK[None]))[0] * own.size / began.size
        place = place + way.clip(-SHIFT_MOST, SHIFT_MOST)
    return own.shown(head), HeadPose(rotation, own.size, place).shown(head)


def angle_between(a: np.ndarray, b: np.ndarray) -> float:
    """Angle in degrees of the rotation from a [3, 3] to b [3, 3]."""
    return float(np.degrees(np.arccos(np.clip((np.trace(a.T @ b) - 1) / 2, -1, 1))))


def _part_of_turn(rotation: np.ndarray) -> np.ndarray:
    """A rotation [3, 3], about the same axis but by TURN_MOST at most."""
    if angle_between(np.eye(3), rotation) <= TURN_MOST:
        return rotation
    most = np.radians(TURN_MOST)
    axis = np.array([rotation[2, 1] - rotation[1, 2], rotation[0, 2] - rotation[2, 0], rotation[1, 0] - rotation[0, 1]])
    axis = axis / max(np.linalg.norm(axis), 1e-9)
    cross = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    return np.eye(3) + np.sin(most) * cross + (1 - np.cos(most)) * cross @ cross  # Rodrigues
