"""The one place where images change size: FFmpeg's swscale, and whole-number enlargement for display."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from av.video.reformatter import VideoReformatter

# swscale's flags by value, as PyAV names the last two only from version 18 on.
BICUBIC = 0x4
LANCZOS = 0x200
ACCURATE_ROUNDING = 0x40000
SAME_ON_EVERY_MACHINE = 0x80000  # SWS_BITEXACT


def resize(image: np.ndarray, size: int, reformatter: VideoReformatter | None = None) -> np.ndarray:
    """Returns uint8 or uint16 [h, w, 3] as [size, size, 3], as `scale` does."""
    return scale(image, size, size, reformatter)


def scale(
    image: np.ndarray, width: int, height: int, reformatter: VideoReformatter | None = None, method: int = BICUBIC
) -> np.ndarray:
    """Returns uint8 or uint16 [h, w, 3] as [height, width, 3] of the same kind.

    Going down, the filter widens with the ratio, so it does not alias. The pixels of a row
    must be contiguous; the rows need not be, so a crop is taken without a copy. A
    reformatter given here keeps its scaler from one call to the next.
    """
    import av
    from av.video.reformatter import VideoReformatter

    if image.shape[:2] == (height, width):
        return image
    frame = av.VideoFrame.from_numpy_buffer(image, format="rgb24" if image.dtype == np.uint8 else "rgb48le")
    reformatter = reformatter or VideoReformatter()
    scaled = reformatter.reformat(
        frame, width=width, height=height, interpolation=method | ACCURATE_ROUNDING | SAME_ON_EVERY_MACHINE, threads=1
    )
    return scaled.to_ndarray()


def enlarge(image: np.ndarray, factor: int) -> np.ndarray:
    """Returns uint8 [h, w, 3] as uint8 [factor * h, factor * w, 3]: every pixel becomes a square of its colour."""
    return image.repeat(factor, axis=0).repeat(factor, axis=1)
