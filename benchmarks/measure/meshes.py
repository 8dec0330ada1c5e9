"""Identity, motion and cross transfer error of the paper's appendix C, between meshes of a face fitted to clips.

The paper fits a model that is not public (Wood et al. 2022). Here it is ICT-FaceKit (MIT) on MediaPipe's landmarks,
under a scaled orthographic camera; so figures compare methods measured here, and not with the paper's.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bcdcodec.benchmarks.measure.landmarks import Landmarks
from bcdcodec.training.data.portraits.fit import fit_clip
from bcdcodec.training.data.portraits.head import Head, load_head

HEAD_FILE = "ict_facekit.npz"


@dataclass(frozen=True)
class FittedClip:
    """Coefficients of one person in a clip. One unit is about 1 cm."""

    identity: np.ndarray  # [v, 3] neutral shape: M(beta, 0, 0, 0)
    expressions: np.ndarray  # [t, 57] psi
    rotations: np.ndarray  # [t, 3, 3] theta
    places: np.ndarray  # [t, 2] translation in the picture's plane; depth is not seen by this camera
    found: np.ndarray  # bool [t]; coefficients of frames without a face are NaN


@dataclass(frozen=True)
class MeshErrors:
    """Mean squared vertex distances, cm^2."""

    identity_error: float  # equations 14 and 15: neutral shapes, to the content's
    motion_error: float  # equations 16 and 17: expression and pose on the mean head, to the motion's
    cross_error: float  # equations 18 and 19: to the content's shape in the motion's expression and pose


def find_head(folder: Path | None) -> Head | None:
    """The face model in a folder of networks; None where it is not. Raises BcdError for a file that is none."""
    return load_head(folder / HEAD_FILE) if folder is not None and (folder / HEAD_FILE).is_file() else None


def fit_landmarks(head: Head, landmarks: Landmarks, size: int) -> FittedClip | None:
    """The face model fitted to a clip with pictures of `size` pixels; None without a face."""
    found = landmarks.found
    if not found.any():
        return None
    expressions, poses, neutral = fit_clip(head, landmarks.points[found].astype(np.float64))
    t = len(found)
    fitted = FittedClip(
        neutral, np.full((t, expressions.shape[1]), np.nan), np.full((t, 3, 3), np.nan), np.full((t, 2), np.nan), found
    )
    fitted.expressions[found] = expressions
    fitted.rotations[found] = [pose.rotation for pose in poses]
    fitted.places[found] = [(pose.shift - size / 2) * (1, -1) / pose.scale for pose in poses]
    return fitted


def mesh_errors(head: Head, shown: FittedClip, content: FittedClip, motion: FittedClip) -> MeshErrors | None:
    """Errors of a clip that should show the person of `content` as `motion` moves, at the frames of `motion`.

    None where the two never show a face at once.
    """
    face = np.unique(head.face)
    moments = np.flatnonzero(shown.found & motion.found)
    if not len(moments):
        return None

    def square(a: np.ndarray, b: np.ndarray) -> float:
        return float(np.square(a - b).sum(-1).mean())

    def mesh(identity: np.ndarray, clip: FittedClip, t: int) -> np.ndarray:
        """M(beta, psi, theta, t), [v, 3]."""
        shape = identity[face] + np.tensordot(clip.expressions[t], head.expression[:, face], 1)
        return shape @ clip.rotations[t].T + np.append(clip.places[t], 0)

    mean = head.vertices
    return MeshErrors(
        square(shown.identity[face], content.identity[face]),
        float(np.mean([square(mesh(mean, shown, t), mesh(mean, motion, t)) for t in moments])),
        float(np.mean([square(mesh(shown.identity, shown, t), mesh(content.identity, motion, t)) for t in moments])),
    )
