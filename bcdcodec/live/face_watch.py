"""Tells whether there is a face before the camera, by the detector of `--crop auto` where one is installed."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np

from bcdcodec.errors import MissingDetectorError
from bcdcodec.video.detector import Detect, find_detector

LOOK_SECONDS = 2.0  # from one look to the next: the detector is to take no time from coding
LOOKS = 3  # without a face one after the other, after which it is said: detectors miss turned and dark faces


class FaceWatch:
    """Looks at the newest picture now and then, in a thread of its own. Without a detector it says nothing."""

    def __init__(self, find: Callable[[], Detect] = find_detector, seconds: float = LOOK_SECONDS):
        self._find, self._seconds = find, seconds
        self._picture: np.ndarray | None = None
        self._misses = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def picture(self, picture: np.ndarray) -> None:
        """Take a picture uint8 [h, w, 3]."""
        self._picture = picture

    @property
    def faceless(self) -> bool:
        """Whether the last LOOKS pictures that were looked at show no face."""
        return self._misses >= LOOKS

    def close(self) -> None:
        """Stop the thread."""
        self._stop.set()
        self._thread.join(5)

    def _run(self) -> None:
        try:
            detect = self._find()
        except MissingDetectorError:
            return
        while not self._stop.wait(self._seconds):
            picture, self._picture = self._picture, None
            if picture is not None:
                self._misses = 0 if detect(picture) else self._misses + 1
