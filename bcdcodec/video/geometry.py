"""Where a frame's square comes from: crops, display rotation and pixel shape.

Crops are given in *upright square pixels*: the frame as a player shows it, after the
display matrix turned it and after non-square pixels were stretched to their shape.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from bcdcodec.errors import VideoError

MAX_SIDE = 16384  # pixels; a side beyond this is damage or an attack, not a talking head
MAX_SOURCE_SIDE = 8192  # pixels that a file can state of its source; larger pictures are read reduced


@dataclass(frozen=True)
class Crop:
    """A rectangle of an upright frame, in pixels; `x, y` is its top left corner."""

    x: int
    y: int
    w: int
    h: int

    def __str__(self) -> str:
        return f"{self.x},{self.y},{self.w},{self.h}"


def parse_crop(text: str) -> Crop:
    """Returns the crop that `x,y,w,h` spells, in pixels; VideoError for anything else."""
    try:
        x, y, w, h = (int(part) for part in text.split(","))
    except ValueError:
        raise VideoError(f"crop {text!r} is not four whole numbers x,y,w,h") from None
    return Crop(x, y, w, h)


def centre_crop(width: int, height: int) -> Crop:
    """Returns the largest square in the middle of a frame of `width` x `height` pixels."""
    side = min(width, height)
    return Crop((width - side) // 2, (height - side) // 2, side, side)


def check_crop(crop: Crop, width: int, height: int) -> Crop:
    """Returns `crop` if it is a square inside `width` x `height` pixels, else VideoError."""
    if crop.w < 1 or crop.w != crop.h:
        raise VideoError(
            f"crop {crop} is {crop.w}x{crop.h} pixels; it must be square, such as {centre_crop(width, height)}"
        )
    if crop.x < 0 or crop.y < 0 or crop.x + crop.w > width or crop.y + crop.h > height:
        raise VideoError(
            f"crop {crop} reaches from ({crop.x}, {crop.y}) to "
            f"({crop.x + crop.w}, {crop.y + crop.h}), outside the {width}x{height} frame"
        )
    return crop


@dataclass(frozen=True)
class Orientation:
    """How a stored picture becomes upright: transpose first, then mirror."""

    transpose: bool = False
    flip_x: bool = False
    flip_y: bool = False

    @classmethod
    def from_display_matrix(cls, matrix: bytes | None) -> Orientation:
        """Returns the nearest quarter turn (with mirror) of FFmpeg's 36-byte matrix.

        The matrix holds nine native int32 `a b u c d v x y w` that take a stored point
        `(p, q)` to `(a p + c q + x, b p + d q + y)`. None, a matrix of zeros or one of
        another length is no turn.
        """
        if matrix is None or len(matrix) != 36:
            return cls()
        a, b, _, c, d, *_ = struct.unpack("=9i", matrix)
        if abs(b) + abs(c) > abs(a) + abs(d):
            return cls(transpose=True, flip_x=c < 0, flip_y=b < 0)
        return cls(flip_x=a < 0, flip_y=d < 0)

    @classmethod
    def from_rotation(cls, degrees: int) -> Orientation:
        """Returns the nearest quarter turn to this rotation counterclockwise."""
        quarters = round(degrees / 90) % 4
        return cls(transpose=quarters % 2 == 1, flip_x=quarters in (2, 3), flip_y=quarters in (1, 2))

    @classmethod
    def from_exif(cls, orientation: int) -> Orientation:
        """Returns how a photo with this value of EXIF's Orientation becomes upright; no turn for others than 1 to 8."""
        turned = orientation in (5, 6, 7, 8)
        return cls(turned, flip_x=orientation in (2, 3, 6, 7), flip_y=orientation in (3, 4, 7, 8))

    def then(self, other: Orientation) -> Orientation:
        """Returns this turn with another after it."""
        flips = (self.flip_y, self.flip_x) if other.transpose else (self.flip_x, self.flip_y)
        return Orientation(self.transpose != other.transpose, flips[0] != other.flip_x, flips[1] != other.flip_y)

    def upright_size(self, width: int, height: int) -> tuple[int, int]:
        """Returns the upright (width, height) of a stored picture, in pixels."""
        return (height, width) if self.transpose else (width, height)

    def stored_crop(self, crop: Crop, width: int, height: int) -> Crop:
        """Returns where an upright crop lies in the stored picture of `width` x `height`."""
        upright_width, upright_height = self.upright_size(width, height)
        x = upright_width - crop.x - crop.w if self.flip_x else crop.x
        y = upright_height - crop.y - crop.h if self.flip_y else crop.y
        if self.transpose:
            return Crop(y, x, crop.h, crop.w)
        return Crop(x, y, crop.w, crop.h)

    def apply(self, image: np.ndarray) -> np.ndarray:
        """Returns the stored image [h, w, c] turned upright, as a contiguous array."""
        if self.transpose:
            image = image.transpose(1, 0, 2)
        if self.flip_x:
            image = image[:, ::-1]
        if self.flip_y:
            image = image[::-1]
        return np.ascontiguousarray(image)


@dataclass(frozen=True)
class FrameGeometry:
    """A stream's stored size, pixel shape and orientation, taken from its first frame."""

    stored_width: int  # pixels
    stored_height: int  # pixels
    pixel_aspect: Fraction  # width of a stored pixel over its height
    orientation: Orientation

    @property
    def square_width(self) -> int:
        """The stored width once its pixels are stretched to squares, in pixels."""
        return max(1, round(self.stored_width * self.pixel_aspect))

    @property
    def upright_size(self) -> tuple[int, int]:
        """The (width, height) a player shows, in pixels."""
        return self.orientation.upright_size(self.square_width, self.stored_height)

    def stored_box(self, crop: Crop) -> Crop:
        """Returns the stored pixels, at least one each way, that an upright crop covers."""
        box = self.orientation.stored_crop(crop, self.square_width, self.stored_height)
        left = min(round(box.x / self.pixel_aspect), self.stored_width - 1)
        right = min(round((box.x + box.w) / self.pixel_aspect), self.stored_width)
        return Crop(left, box.y, max(1, right - left), box.h)
