"""Face measures with dlib: identity distance, landmarks, mouth, eyes, brows, pose. Needs the extra `eval`.

The 128-number descriptor is dlib's, so its distances are not the ArcFace similarities of the papers;
two halves of one clip are 0.07-0.17 apart, different people usually more than 0.45.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bcdcodec.errors import BcdError
from bcdcodec.reenactment.head_pose import angle_between, head_pose
from bcdcodec.reenactment.landmarks import can_find_landmarks, landmark_finder, models_folder, points

SAMPLES = 12  # frames a clip
SAME_PERSON = 0.6  # identity distance below which dlib takes two faces for one person


@dataclass(frozen=True)
class Face:
    """One face found in a picture."""

    descriptor: np.ndarray  # float [128]
    landmarks: np.ndarray  # float [68, 2], fractions of the picture


@dataclass(frozen=True)
class FaceComparison:
    """Source against decoded frames, over those where both have a face; None where there is none."""

    identity_distance: float | None  # between mean descriptors
    landmark_error: float | None  # mean distance of landmarks, of the eye distance
    pose_error: float | None  # mean angle between the heads' directions, degrees
    mouth: list[tuple[float, float]]  # opening in source and decoded
    eyes: list[tuple[float, float]]
    brows: list[tuple[float, float]]
    found: int  # decoded frames with a face, of those below
    frames: int  # frames whose source has a face


class FaceMeter:
    """dlib's frontal detector, 68 landmarks and face descriptor. Raises BcdError when they are not installed."""

    def __init__(self):
        if not can_find_landmarks():
            raise BcdError("face measures need dlib and face-recognition-models: pip install 'bcdcodec[eval]'")
        import dlib

        self._finder = landmark_finder()
        self._descriptor = dlib.face_recognition_model_v1(
            str(models_folder() / "dlib_face_recognition_resnet_model_v1.dat")
        )

    def face(self, picture: np.ndarray) -> Face | None:
        """The first face of a picture uint8 [h, w, 3], or None."""
        seen, shape = self._finder.shape(picture)
        return (
            None
            if shape is None
            else Face(np.array(self._descriptor.compute_face_descriptor(seen, shape)), points(shape))
        )

    def faces(self, clip: np.ndarray, samples: int = SAMPLES) -> list[Face | None]:
        """Faces of so many frames, evenly picked from a clip uint8 [t, h, w, 3]."""
        picked, found = clip[np.linspace(0, len(clip) - 1, samples).astype(int)], []
        for i, picture in enumerate(picked):  # a held still is looked at once
            found.append(found[-1] if i and np.array_equal(picture, picked[i - 1]) else self.face(picture))
        return found


def compare_faces(source: list[Face | None], decoded: list[Face | None]) -> FaceComparison:
    """Measures over the same moments of a source and of what was decoded from it."""
    pairs = [(a, b) for a, b in zip(source, decoded) if a is not None]
    both = [(a, b) for a, b in pairs if b is not None]
    if not both:
        return FaceComparison(None, None, None, [], [], [], 0, len(pairs))
    marks = [(a.landmarks, b.landmarks) for a, b in both]
    return FaceComparison(
        identity_distance([a for a, _ in both], [b for _, b in both]),
        float(np.mean([np.linalg.norm(a - b, axis=1).mean() / eye_distance(a) for a, b in marks])),
        float(np.mean([angle_between(head_pose(a).rotation, head_pose(b).rotation) for a, b in marks])),
        *([(measure(a), measure(b)) for a, b in marks] for measure in (mouth_opening, eye_opening, brow_height)),
        len(both),
        len(pairs),
    )


def identity_distance(a: list[Face], b: list[Face]) -> float:
    """Distance of the mean descriptors of two lists of faces."""
    return float(np.linalg.norm(np.mean([f.descriptor for f in a], 0) - np.mean([f.descriptor for f in b], 0)))


def eye_distance(marks: np.ndarray) -> float:
    """Between the outer corners of the eyes; the unit of the other measures."""
    return float(np.linalg.norm(marks[36] - marks[45]))


def mouth_opening(marks: np.ndarray) -> float:
    """Distance of the inner lips over the eye distance."""
    return float(np.linalg.norm(marks[62] - marks[66]) / eye_distance(marks))


def eye_opening(marks: np.ndarray) -> float:
    """Height of the eyes over their width, mean of both."""
    heights = [np.linalg.norm(marks[i] - marks[j]) for i, j in ((37, 41), (38, 40), (43, 47), (44, 46))]
    return float(np.sum(heights) / 2 / (np.linalg.norm(marks[36] - marks[39]) + np.linalg.norm(marks[42] - marks[45])))


def brow_height(marks: np.ndarray) -> float:
    """Distance of the brows' middles from the eyes' middles over the eye distance, mean of both."""
    left = marks[17:22].mean(0) - marks[36:42].mean(0)
    right = marks[22:27].mean(0) - marks[42:48].mean(0)
    return float((np.linalg.norm(left) + np.linalg.norm(right)) / 2 / eye_distance(marks))
