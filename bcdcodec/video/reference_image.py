"""From an image to the reference picture of a content: blur around what matters, choice of the size, AV1."""

from __future__ import annotations

import numpy as np

from bcdcodec.container.picture import Picture
from bcdcodec.errors import VideoError
from bcdcodec.video.av1 import MIN_ENCODED_SIDE, PRESET, QUICK_PRESET, decode_picture, encode_key
from bcdcodec.video.scaling import scale

SHARES = (1.0, 0.75, 0.625, 0.5)  # of the image's sides, at which it may be coded: 256, 192, 160, 128 of 256
CLOSE = 1.05  # times the least error at QUICK_PRESET, up to which a size is tried at the preset asked for
EDGE = 0.35  # of an ellipse's radii, over which its weights fall to 0


class ReferenceSearch:
    """The key frames of an image uint8 [h, w, 3] within `budget` bytes at all sizes, made quickly.

    The best size is that with the least squared error after enlargement to the image's own, each pixel counted by
    `weights` [h, w]; None: all alike. Raises as `encode_key`.
    """

    def __init__(self, image: np.ndarray, budget: int, weights: np.ndarray | None = None):
        self._image, self._budget, self._weights = image, budget, weights
        height, width = image.shape[:2]
        sizes = [(_even(share * width), _even(share * height)) for share in SHARES]
        sizes = sizes[:1] + [size for size in sizes[1:] if min(size) >= MIN_ENCODED_SIDE]
        self._scaled = [scale(image, *size) for size in sizes]
        self._rough = [encode_key(x, budget, QUICK_PRESET) for x in self._scaled]
        errors = [self._error(picture) for picture in self._rough]
        self._costs = [self._cost(*found) for found in zip(self._rough, errors)]
        best = int(np.argmin(self._costs))
        self.quickest = self._rough[best]  # the best of the pictures that were made quickly
        self.quickest_error = errors[best]  # its `weighted_error`

    def best(self, preset: int = PRESET) -> Picture:
        """The best at `preset`, of the sizes that looked best when made quickly."""
        if preset >= QUICK_PRESET:
            return self.quickest
        close = [i for i, found in enumerate(self._costs) if found <= CLOSE * min(self._costs)]
        made = (encode_key(self._scaled[i], self._budget, preset, self._rough[i]) for i in close)
        return min(made, key=lambda picture: self._cost(picture, self._error(picture)))

    def _error(self, picture: Picture) -> float:
        return weighted_error(decode_picture(picture), self._image, self._weights)

    def _cost(self, picture: Picture, error: float) -> float:
        """The error; more than any where not even the coarsest quantiser keeps the budget."""
        return error if len(picture.unit) <= self._budget else len(picture.unit) * 255**2


def weighted_error(decoded: np.ndarray, image: np.ndarray, weights: np.ndarray | None) -> float:
    """Return the mean squared error of a decoded picture, enlarged to the size of the image uint8 [h, w, 3]."""
    height, width = image.shape[:2]
    error = (scale(decoded, width, height).astype(np.float64) - image) ** 2
    return float(np.average(error.mean(2), weights=weights))


def ellipse_weights(width: int, height: int, centre: tuple[float, float], radii: tuple[float, float]) -> np.ndarray:
    """Return float64 [h, w]: 1 in an ellipse, 0 away from it. `centre` and `radii`: x and y, pixels."""
    y, x = np.mgrid[0:height, 0:width] + 0.5
    distance = np.hypot((x - centre[0]) / radii[0], (y - centre[1]) / radii[1])
    return np.clip((1 + EDGE - distance) / EDGE, 0, 1)


def soften(image: np.ndarray, weights: np.ndarray, blur: float) -> np.ndarray:
    """Return an image uint8 [h, w, 3], blurred where `weights` [h, w] in 0..1 is 0, as it is where it is 1.

    A blurred background leaves more of the bytes to the face. `blur`: standard deviation of a Gaussian, pixels.
    """
    if weights.shape != image.shape[:2]:
        raise VideoError(f"the weights have shape {list(weights.shape)}, the image {list(image.shape)}")
    reach = int(np.ceil(3 * blur))
    kernel = np.exp(-((np.arange(-reach, reach + 1) / blur) ** 2) / 2)
    kernel /= kernel.sum()
    blurred = image.astype(np.float64)
    for axis in (0, 1):
        size = image.shape[axis]
        padded = np.pad(blurred, [(reach, reach) if a == axis else (0, 0) for a in range(3)], mode="edge")
        blurred = sum(share * np.take(padded, range(i, i + size), axis) for i, share in enumerate(kernel))
    w = weights[..., None]
    return np.rint(w * image + (1 - w) * blurred).astype(np.uint8)


def _even(side: float) -> int:
    return 2 * round(side / 2)
