"""A still of what lies around the coded square, and decoded squares put back into it."""

from __future__ import annotations

import io

import numpy as np

from bcdcodec.errors import VideoError
from bcdcodec.video.scaling import LANCZOS, scale

STILL_SIDE = 512  # pixels at most of the still's longer side
STILL_QUALITY = 40  # of WebP, 0 to 100
MAX_STILL_SIDE = 8192  # pixels
FEATHER = 0.08  # of the square's side, over which it passes into the still

Square = tuple[int, int, int, int]  # x, y, width, height


def encode_still(image: np.ndarray) -> bytes:
    """Returns a WebP file of an image, uint8 [h, w, 3]."""
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(image).save(out, "WEBP", quality=STILL_QUALITY, method=6)
    return out.getvalue()


def decode_still(webp: bytes) -> np.ndarray:
    """Returns the image in a WebP file, uint8 [h, w, 3]; VideoError for anything else, or above MAX_STILL_SIDE."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(webp), formats=["WEBP"]) as picture:
            if max(picture.size) > MAX_STILL_SIDE:
                raise VideoError(
                    f"the still has {picture.width}x{picture.height} pixels, the limit is {MAX_STILL_SIDE} a side"
                )
            return np.array(picture.convert("RGB"))
    except (UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError) as error:
        raise VideoError(f"the still of the surroundings is no WebP picture: {error}") from None


class PasteBack:
    """Puts squares into a still, at the size of the source."""

    def __init__(self, still: np.ndarray, square: Square, source_width: int, source_height: int):
        """`square`: in pixels of a source of `source_width` x `source_height`, of which the still shows all."""
        x, y, w, h = square
        self._at = (slice(y, y + h), slice(x, x + w))
        self._still = scale(np.ascontiguousarray(still), source_width, source_height, method=LANCZOS)
        self._around = self._still[self._at].astype(np.float32)
        # At an edge of the picture there is nothing to pass into.
        across = _ramp(w, x > 0, x + w < source_width)
        down = _ramp(h, y > 0, y + h < source_height)
        self._share = (down[:, None] * across[None])[..., None]

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of what it returns, pixels."""
        return self._still.shape[1], self._still.shape[0]

    def __call__(self, picture: np.ndarray) -> np.ndarray:
        """Returns the still, uint8 [h, w, 3], with a decoded picture in its square."""
        height, width = self._around.shape[:2]
        face = scale(np.ascontiguousarray(picture), width, height, method=LANCZOS).astype(np.float32)
        out = self._still.copy()
        out[self._at] = np.rint(self._around + self._share * (face - self._around)).astype(np.uint8)
        return out


def _ramp(size: int, low: bool, high: bool) -> np.ndarray:
    """Returns float32 [size]: 1, and towards the ends that are asked for down to near 0."""
    distance = np.arange(size) + 0.5
    width = max(1.0, FEATHER * size)
    ramp = np.ones(size, np.float32)
    if low:
        ramp = np.minimum(ramp, distance / width)
    if high:
        ramp = np.minimum(ramp, (size - distance) / width)
    return ramp.astype(np.float32)
