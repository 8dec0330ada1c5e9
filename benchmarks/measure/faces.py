"""Faces as dlib sees them: 128-number descriptor and 68 landmarks. Needs the extra `eval`.

It is the second judge beside MediaPipe's landmarks and SFace, so that no network that taught a model judges it alone.
Two halves of one clip are 0.07 to 0.17 apart, different people usually more than 0.45.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from bcdcodec.benchmarks.measure.head_pose import angle_between, head_pose
from bcdcodec.errors import BcdError

SIDE = 384  # pixels, size at which faces are looked for
MODELS = "face_recognition_models"  # the package of dlib's trained models
SAMPLES = 12  # frames a clip
MOTION_EVERY = 2  # of the frames, in which landmarks are found for facial motion
SAME_PERSON = 0.6  # identity distance below which dlib takes two faces for one person


@dataclass(frozen=True)
class Face:
    """One face found in a picture."""

    descriptor: np.ndarray  # float [128]
    landmarks: np.ndarray  # float [68, 2], x and y in 0..1 of the picture


class FaceMeter:
    """dlib's frontal detector, landmarks and face descriptor. Raises BcdError when they are not installed."""

    def __init__(self):
        if not all(importlib.util.find_spec(name) for name in ("dlib", MODELS)):
            raise BcdError("dlib measures need dlib and face-recognition-models: pip install 'bcdcodec[eval]'")
        import dlib

        folder = Path(importlib.util.find_spec(MODELS).submodule_search_locations[0]) / "models"
        self._detector = dlib.get_frontal_face_detector()
        self._predictor = dlib.shape_predictor(str(folder / "shape_predictor_68_face_landmarks.dat"))
        self._descriptor = dlib.face_recognition_model_v1(str(folder / "dlib_face_recognition_resnet_model_v1.dat"))

    def _shape(self, picture: np.ndarray) -> tuple[np.ndarray, object | None]:
        """A picture uint8 [h, w, 3] at the detector's size [SIDE, SIDE, 3], and dlib's shape of its first face."""
        picture = np.ascontiguousarray(Image.fromarray(picture).resize((SIDE, SIDE), Image.BICUBIC))
        boxes = self._detector(picture, 0)
        return picture, self._predictor(picture, boxes[0]) if boxes else None

    def face(self, picture: np.ndarray) -> Face | None:
        """The first face of a picture uint8 [h, w, 3], or None."""
        seen, shape = self._shape(picture)
        if shape is None:
            return None
        return Face(np.array(self._descriptor.compute_face_descriptor(seen, shape)), _points(shape))

    def marks(self, picture: np.ndarray) -> np.ndarray | None:
        """Landmarks [68, 2] of the first face of a picture uint8 [h, w, 3], fractions of it; None without a face."""
        shape = self._shape(picture)[1]
        return None if shape is None else _points(shape)

    def faces(self, clip: np.ndarray, samples: int = SAMPLES) -> list[Face | None]:
        """Faces of so many frames, evenly picked from a clip uint8 [t, h, w, 3]."""
        picked, found = clip[np.linspace(0, len(clip) - 1, samples).astype(int)], []
        for i, picture in enumerate(picked):  # a held picture is looked at once
            found.append(found[-1] if i and np.array_equal(picture, picked[i - 1]) else self.face(picture))
        return found

    def landmarks(self, clip: np.ndarray) -> np.ndarray:
        """Landmarks [t, 68, 2] of a clip uint8 [t, h, w, 3], in 0..1 of the picture.

        NaN in frames without a face, and in all but every MOTION_EVERYth frame.
        """
        found = np.full((len(clip), 68, 2), np.nan)
        for i in range(0, len(clip), MOTION_EVERY):
            if i and np.array_equal(clip[i], clip[i - MOTION_EVERY]):
                found[i] = found[i - MOTION_EVERY]
            elif (marks := self.marks(clip[i])) is not None:
                found[i] = marks
        return found


@cache
def face_meter() -> FaceMeter:
    """The meter of the process, whose models are 120 MB. Raises BcdError when they are not installed."""
    return FaceMeter()


def _points(shape) -> np.ndarray:
    """The landmarks [68, 2] of dlib's shape, fractions of the picture."""
    return np.array([[p.x, p.y] for p in shape.parts()], float) / SIDE


def motion_signals(landmarks: np.ndarray) -> dict[str, np.ndarray]:
    """How far mouth and eyes are open [t] in landmarks [t, 68, 2], by the names of `within_clip.SIGNALS`."""
    return {
        "mouth, dlib": np.array([mouth_opening(marks) for marks in landmarks]),
        "eyes, dlib": np.array([eye_opening(marks) for marks in landmarks]),
    }


def face_measures(decoded: list[Face | None], source: list[Face | None]) -> dict[str, float]:
    """Measures over the same moments of a decoded clip and its source, where both have a face.

    `dlib_faces`: share of the source's faces that are found; `dlib_distance`: of the mean descriptors;
    `dlib_landmarks`: mean distance of landmarks in eye distances; `dlib_pose`: mean angle between heads, degrees.
    """
    pairs = [(a, b) for a, b in zip(decoded, source) if b is not None]
    both = [(a, b) for a, b in pairs if a is not None]
    measures = {"dlib_faces": len(both) / len(pairs)} if pairs else {}
    if both:
        marks = [(a.landmarks, b.landmarks) for a, b in both]
        near = [np.linalg.norm(a - b, axis=1).mean() / eye_distance(b) for a, b in marks]
        turn = [angle_between(head_pose(a).rotation, head_pose(b).rotation) for a, b in marks]
        measures["dlib_distance"] = identity_distance([a for a, _ in both], [b for _, b in both])
        measures |= {"dlib_landmarks": float(np.mean(near)), "dlib_pose": float(np.mean(turn))}
    return measures


def identity_distance(a: list[Face], b: list[Face]) -> float:
    """Distance of the mean descriptors of two lists of faces."""
    return float(np.linalg.norm(np.mean([f.descriptor for f in a], 0) - np.mean([f.descriptor for f in b], 0)))


def eye_distance(marks: np.ndarray) -> float:
    """Between the outer corners of the eyes of landmarks [68, 2]."""
    return float(np.linalg.norm(marks[36] - marks[45]))


def mouth_opening(marks: np.ndarray) -> float:
    """Distance of the inner lips of landmarks [68, 2] over the eye distance."""
    return float(np.linalg.norm(marks[62] - marks[66]) / eye_distance(marks))


def eye_opening(marks: np.ndarray) -> float:
    """Height of the eyes of landmarks [68, 2] over their width, mean of both."""
    heights = [np.linalg.norm(marks[i] - marks[j]) for i, j in ((37, 41), (38, 40), (43, 47), (44, 46))]
    return float(np.sum(heights) / 2 / (np.linalg.norm(marks[36] - marks[39]) + np.linalg.norm(marks[42] - marks[45])))
