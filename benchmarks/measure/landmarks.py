"""MediaPipe's landmarks and blendshapes of all frames of a clip."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bcdcodec.training.data.landmarker import BLENDSHAPES as ALL_BLENDSHAPES, Landmarker

TASK = "face_landmarker.task"
BLENDSHAPES = ("jawOpen", "eyeBlinkLeft", "eyeBlinkRight")
_PLACES = [ALL_BLENDSHAPES.index(name) for name in BLENDSHAPES]


@dataclass(frozen=True)
class Landmarks:
    """Of the frames of a clip; NaN where no face was found."""

    points: np.ndarray  # float32 [t, 478 or 468, 3]: x right, y down, z away from the viewer, pixels
    blendshapes: np.ndarray | None  # float32 [t, len(BLENDSHAPES)] in 0..1; None without irises

    @property
    def found(self) -> np.ndarray:
        """Whether there is a face, bool [t]."""
        return np.isfinite(self.points[:, 0, 0])


def find_task(folder: Path | None) -> Path | None:
    """The landmarker's file in a folder of networks; None where it is not: then an installed wheel serves."""
    return folder / TASK if folder is not None and (folder / TASK).is_file() else None


def clip_landmarks(landmarker: Landmarker, frames: np.ndarray) -> Landmarks:
    """Landmarks of a clip uint8 [t, h, w, 3], each frame searched near the face of the one before, else as a whole.

    A frame equal to the one before is looked at once.
    """
    points = np.full((len(frames), landmarker.points, 3), np.nan, np.float32)
    shapes = np.full((len(frames), len(BLENDSHAPES)), np.nan, np.float32)
    face = None
    for i, frame in enumerate(frames):
        if i == 0 or not np.array_equal(frame, frames[i - 1]):
            near = None if face is None else landmarker(frame, face.points)
            face = near or landmarker(frame)
        if face is not None:
            points[i] = face.points
            if face.blendshapes is not None:
                shapes[i] = face.blendshapes[_PLACES]
    return Landmarks(points, shapes if landmarker.points > 468 else None)
