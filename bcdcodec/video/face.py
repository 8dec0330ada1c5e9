"""Where the face is in a video: a steady square around it, as the default model saw people in training."""

from __future__ import annotations

import numpy as np

from bcdcodec.errors import MissingDetectorError
from bcdcodec.video.geometry import Crop
from bcdcodec.video.pictures import sample_pictures
from bcdcodec.video.source import Source

SAMPLES = 12  # pictures of the clip that are looked at
LEAST_SHARE = 0.25  # of them must show the face
DETECTOR_SIDE = 480  # pixels of the shorter side, in which faces from 80 pixels on are found
FACE_WIDTH = 0.49  # of the square's side, and where its middle is: medians of the faces the default model is trained on
FACE_X, FACE_Y = 0.5, 0.55
MARGIN = 1.5  # widths of the face that stay in the square wherever it moves

Box = tuple[float, float, float]  # x and y of a face's middle and its width, pixels


def face_square(source: Source) -> Crop | None:
    """Returns the square to code, in upright pixels; None where too few pictures show a face.

    It is the same for the whole clip: large enough for where the face goes, and inside the picture.
    MissingDetectorError when the detector is not installed, VideoError as for `read_frames`.
    """
    detector = _detector()
    found, pictures, width, height = [], 0, 0, 0
    for picture in sample_pictures(source, SAMPLES, DETECTOR_SIDE):
        pictures += 1
        width, height = picture.width, picture.height
        faces = detector(picture.image, 0) or detector(picture.image, 1)  # 1: enlarged twofold, for small faces
        if faces:
            largest = max(faces, key=lambda box: box.width())
            scale = picture.width / picture.image.shape[1]
            middle = (largest.left() + largest.right() + 1) / 2, (largest.top() + largest.bottom() + 1) / 2
            found.append((middle[0] * scale, middle[1] * scale, largest.width() * scale))
    steady = _of_one_face(found)
    if not steady or len(steady) < LEAST_SHARE * pictures:
        return None
    return square_around(steady, width, height)


def square_around(faces: list[Box], width: int, height: int) -> Crop:
    """Returns the square inside `width` x `height` pixels for a face that was seen at these places."""
    x, y, w = np.array(faces).T
    spread = max(np.ptp(x), np.ptp(y))
    side = max(np.median(w) / FACE_WIDTH, spread + MARGIN * w.max())
    side = int(min(round(side), width, height))
    left = round((x.min() + x.max()) / 2 - FACE_X * side)
    top = round((y.min() + y.max()) / 2 - FACE_Y * side)
    return Crop(min(max(left, 0), width - side), min(max(top, 0), height - side), side, side)


def _of_one_face(found: list[Box]) -> list[Box]:
    """Returns the detections near the usual place; others are other people or mistakes."""
    if not found:
        return []
    x, y, w = np.median(np.array(found), axis=0)
    return [box for box in found if abs(box[0] - x) < 1.5 * w and abs(box[1] - y) < 1.5 * w and w / 2 < box[2] < 2 * w]


def _detector():
    try:
        import dlib
    except ImportError:
        raise MissingDetectorError("no face detector is installed: pip install 'bcdcodec[face]'") from None
    return dlib.get_frontal_face_detector()
