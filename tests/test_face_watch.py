"""Whether pictures show a face: noticed while a stream runs, nothing said without a detector."""

import time

import numpy as np

from bcdcodec.errors import MissingDetectorError
from bcdcodec.live.face_watch import LOOKS, FaceWatch


def test_pictures_without_a_face_are_noticed_and_one_with_a_face_ends_it():
    def wait(condition):
        until = time.monotonic() + 20
        while not condition():
            assert time.monotonic() < until
            faces.picture(np.full((8, 8, 3), shown, np.uint8))
            time.sleep(0.002)

    looked = []

    def detect(picture):
        looked.append(int(picture[0, 0, 0]))
        return ["a face"] * looked[-1]

    shown, faces = 0, FaceWatch(lambda: detect, seconds=0.005)
    wait(lambda: len(looked) == LOOKS - 1)
    assert not faces.faceless or len(looked) >= LOOKS
    wait(lambda: faces.faceless)
    shown = 1
    wait(lambda: not faces.faceless)
    faces.close()


def test_without_a_detector_nothing_is_said():
    def missing():
        raise MissingDetectorError("no face detector is installed")

    faces = FaceWatch(missing, seconds=0.001)
    faces.picture(np.zeros((8, 8, 3), np.uint8))
    faces._thread.join(5)
    assert not faces.faceless
    faces.close()
