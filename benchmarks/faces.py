"""Face measures with dlib: identity distance, landmark error, mouth opening. Needs the extra `eval`.

The 128-number descriptor is dlib's, so its distances are not the ArcFace similarities of the papers;
two halves of one clip are 0.07-0.17 apart, different people usually more than 0.45.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bcdcodec.errors import BcdError

SIDE = 384  # pixels, size at which faces are looked for
SAMPLES = 12  # frames a clip


@dataclass(frozen=True)
class Face:
    """One face found in a picture."""

    descriptor: np.ndarray  # float [128]
    landmarks: np.ndarray  # float [68, 2], fractions of the picture
    mouth: float  # inner lip distance over eye distance


@dataclass(frozen=True)
class FaceComparison:
    """Source against decoded frames, over those where both have a face."""

    identity_distance: float  # between mean descriptors
    landmark_error: float  # mean distance of landmarks, of the eye distance
    mouth: list[tuple[float, float]]  # opening in source and decoded
    found: int  # decoded frames with a face
    frames: int  # frames whose source has a face


class FaceMeter:
    """dlib's frontal detector, 68 landmarks and face descriptor. Raises BcdError when they are not installed."""

    def __init__(self):
        try:
            import dlib
        except ImportError as error:
            raise BcdError("face measures need dlib: pip install 'bcdcodec[eval]'") from error
        spec = importlib.util.find_spec("face_recognition_models")
        if spec is None:
            raise BcdError("face measures need face-recognition-models: pip install 'bcdcodec[eval]'")
        models = Path(spec.submodule_search_locations[0]) / "models"
        self._detector = dlib.get_frontal_face_detector()
        self._landmarks = dlib.shape_predictor(str(models / "shape_predictor_68_face_landmarks.dat"))
        self._descriptor = dlib.face_recognition_model_v1(str(models / "dlib_face_recognition_resnet_model_v1.dat"))

    def face(self, picture: np.ndarray) -> Face | None:
        """The first face of a picture uint8 [h, w, 3], or None."""
        from PIL import Image

        picture = np.ascontiguousarray(Image.fromarray(picture).resize((SIDE, SIDE), Image.BICUBIC))
        boxes = self._detector(picture, 0)
        if not boxes:
            return None
        shape = self._landmarks(picture, boxes[0])
        points = np.array([[p.x, p.y] for p in shape.parts()], float)
        mouth = np.linalg.norm(points[62] - points[66]) / np.linalg.norm(points[36] - points[45])
        return Face(np.array(self._descriptor.compute_face_descriptor(picture, shape)), points / SIDE, float(mouth))

    def compare(self, source: np.ndarray, decoded: np.ndarray) -> FaceComparison | None:
        """Measures over SAMPLES frames of two clips uint8 [t, h, w, 3]; None when no frame of the source has a face."""
        picks = np.linspace(0, min(len(source), len(decoded)) - 1, SAMPLES).astype(int)
        pairs = [(self.face(source[i]), self.face(decoded[i])) for i in picks]
        pairs = [(a, b) for a, b in pairs if a is not None]
        if not pairs:
            return None
        both = [(a, b) for a, b in pairs if b is not None]
        if not both:
            return FaceComparison(float("nan"), float("nan"), [], 0, len(pairs))
        distance = np.linalg.norm(np.mean([a.descriptor for a, _ in both], 0) - np.mean([b.descriptor for _, b in both], 0))
        errors = [np.linalg.norm(a.landmarks - b.landmarks, axis=1).mean()
                  / np.linalg.norm(a.landmarks[36] - a.landmarks[45]) for a, b in both]
        return FaceComparison(float(distance), float(np.mean(errors)), [(a.mouth, b.mouth) for a, b in both],
                              len(both), len(pairs))

    def mean_descriptor(self, clip: np.ndarray) -> np.ndarray | None:
        """Mean descriptor of SAMPLES frames of a clip, or None without a face."""
        picks = np.linspace(0, len(clip) - 1, SAMPLES).astype(int)
        faces = [f for f in (self.face(clip[i]) for i in picks) if f is not None]
        return np.mean([f.descriptor for f in faces], 0) if faces else None
