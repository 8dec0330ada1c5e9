"""dlib's 68 facial landmarks. Needs the extra `eval`."""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path

import numpy as np

from bcdcodec.errors import MissingDetectorError

SIDE = 384  # pixels, size at which faces are looked for
MODULES = ("dlib", "face_recognition_models")


def can_find_landmarks() -> bool:
    """Whether dlib and its trained models are installed."""
    return all(importlib.util.find_spec(name) for name in MODULES)


class LandmarkFinder:
    """dlib's frontal detector and its shape predictor. Raises MissingDetectorError when they are not installed."""

    def __init__(self):
        if not can_find_landmarks():
            raise MissingDetectorError("landmarks need dlib and its models: pip install 'bcdcodec[eval]'")
        import dlib

        self._detector = dlib.get_frontal_face_detector()
        self._predictor = dlib.shape_predictor(str(models_folder() / "shape_predictor_68_face_landmarks.dat"))

    def shape(self, picture: np.ndarray) -> tuple[np.ndarray, object | None]:
        """A picture uint8 [h, w, 3] at the detector's size [SIDE, SIDE, 3], and dlib's shape of its first face."""
        from PIL import Image

        picture = np.ascontiguousarray(Image.fromarray(picture).resize((SIDE, SIDE), Image.BICUBIC))
        boxes = self._detector(picture, 0)
        return picture, self._predictor(picture, boxes[0]) if boxes else None

    def __call__(self, picture: np.ndarray) -> np.ndarray | None:
        """Landmarks [68, 2] of the first face of a picture uint8 [h, w, 3], fractions of it; None without a face."""
        _, shape = self.shape(picture)
        return None if shape is None else points(shape)


@cache
def landmark_finder() -> LandmarkFinder:
    """The finder of the process, whose models are 100 MB. Raises MissingDetectorError."""
    return LandmarkFinder()


def points(shape) -> np.ndarray:
    """The landmarks [68, 2] of a shape that `LandmarkFinder.shape` found, fractions of the picture."""
    return np.array([[p.x, p.y] for p in shape.parts()], float) / SIDE


def models_folder() -> Path:
    """The folder of dlib's trained models."""
    spec = importlib.util.find_spec("face_recognition_models")
    return Path(spec.submodule_search_locations[0]) / "models"
