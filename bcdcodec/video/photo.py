"""Photos and animated WebP and AVIF through Pillow: what FFmpeg reads only in part, or not at all.

FFmpeg gives one tile of a HEIC or AVIF grid, a second frame for a JPEG's gain map, and nothing of an animated WebP. It
knows no ICC profile, and decodes a photo of 200 megapixels at full size.
"""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Iterator
from fractions import Fraction
from pathlib import PurePath
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from bcdcodec.errors import VideoError
from bcdcodec.video.colour import UNTAGGED, rgb_to_bt709
from bcdcodec.video.geometry import MAX_SIDE, MAX_SOURCE_SIDE, Orientation
from bcdcodec.video.sound import SoundOptions

if TYPE_CHECKING:
    import av
    from PIL import Image

EXIF_ORIENTATION = 0x0112
MILLISECOND = Fraction(1, 1000)
LEAST_DURATION = (
    10  # ms of a frame that states none, or less than a display can show; then it is 100 ms, as in browsers
)
USUAL_DURATION = 100
JPEG_SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo")
HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"mif1")  # of photos; FFmpeg reads image sequences
AVIF_BRANDS = (b"avif", b"avis")
HEIF_META_BYTES = 1 << 17  # at the beginning, among which a HEIC photo's properties are
HEIF_MISSING = (
    "is a HEIC photo, which needs pillow-heif: pip install 'bcdcodec[heif]', or convert the photo to JPEG or PNG"
)
AVIF_MISSING = "is an AVIF photo, which needs Pillow 11.3 or later: pip install -U pillow, or convert it to JPEG or PNG"


def open_photo(file: BinaryIO, name: str, owns_file: bool = False) -> PhotoSource | None:
    """Returns a source of the photo or animation in a seekable file; None for what FFmpeg reads well.

    PhotoError for a photo that is damaged, too large, or needs a library that is not installed. The source closes the
    file if it `owns_file`; after None the file is at the position that it had.
    """
    start = file.tell()
    try:
        file.seek(0)
        head = file.read(64)
        file.seek(0)
        kind = _kind(head)
        if kind in ("HEIF", "AVIF") and _ends_early(file):
            raise PhotoError(f"{name} is damaged and cannot be decoded: it ends early")
        image = None if kind is None else _opened(file, kind, name)
    except OSError as error:
        raise PhotoError(f"cannot read {name}: {error.strerror or error}") from None
    except PhotoError:
        if kind not in ("JPEG", "PNG"):
            raise
        image = None  # FFmpeg may decode what is there
    if kind == "JPEG" and image and image.format != "MPO" and PurePath(name).suffix.lower() not in JPEG_SUFFIXES:
        image = None  # perhaps a stream of JPEGs
    if kind == "PNG" and image and not _has_foreign_profile(image):
        image = None
    if image is not None:
        return PhotoSource(image, name, _orientation(image, file), file if owns_file else None)
    file.seek(start)
    return None


def photo_orientation(file: BinaryIO) -> Orientation:
    """Returns how a photo that FFmpeg decodes becomes upright, from its EXIF data, of which PyAV gives only a part."""
    from PIL import Image

    position = file.tell()
    try:
        file.seek(0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a large picture, whose pixels are not read here
            with Image.open(file) as picture:
                return Orientation.from_exif(picture.getexif().get(EXIF_ORIENTATION, 1))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return Orientation()  # a picture that only FFmpeg knows
    finally:
        file.seek(position)


class PhotoError(VideoError):
    """A photo is damaged, too large, or needs a library that is not installed."""


class PhotoSource:
    """A picture that Pillow reads, or an animation of several; attributes as of `StreamSource`."""

    def __init__(self, image: Image.Image, name: str, orientation: Orientation, file: BinaryIO | None):
        """`orientation`: how decoded pixels become upright; `file`: to be closed with the source."""
        self.name = name
        self._file = file
        width, height = image.size
        if max(width, height) > MAX_SIDE:
            raise PhotoError(f"{name} is {width}x{height} pixels, more than {MAX_SIDE} a side: make it smaller")
        self._image = image
        pictures = getattr(image, "n_frames", 1)
        self._count = 1 if image.format in ("MPO", "HEIF") else pictures
        self.reduced = -(-max(width, height) // MAX_SOURCE_SIDE)  # times smaller that its frames are, each way
        self.time_base = MILLISECOND
        self.frame_rate: Fraction | None = None
        self.has_audio = False
        self.is_photo = self._count == 1
        self.orientation: Orientation | None = orientation
        self.pixel_aspect = Fraction(1)
        self.duration_s = None
        self.hint = ""
        self.sound = None
        self.damage: str | None = None
        self.notes: list[str] = []
        self.suspect = False
        self.jumps = 0
        if pictures > self._count:
            self.notes.append(f"{name} holds {pictures} pictures: the main one is taken")

    def frames(self) -> Iterator[av.VideoFrame]:
        """Yields its pictures with times in milliseconds; VideoError for a damaged one."""
        pts = 0
        for number in range(self._count):
            frame = self._frame(number)
            stated = self._image.info.get("duration") or 0
            duration = round(stated) if stated >= LEAST_DURATION else USUAL_DURATION
            frame.pts, frame.time_base, frame.duration = pts, self.time_base, duration
            pts += duration
            yield frame

    def samples(self, count: int) -> Iterator[av.VideoFrame]:
        """Yields up to `count` of the pictures, spread over the animation."""
        step = max(1, self._count // count)
        for number in range(step // 2, self._count, step)[:count]:
            yield self._frame(number)

    def listen(self, options: SoundOptions, track: int | None = None) -> None:
        """Does nothing: pictures are silent."""

    def close(self) -> None:
        """Closes the file if this source owns it."""
        if self._file is not None:
            self._file.close()

    def _frame(self, number: int) -> av.VideoFrame:
        import av
        from PIL import Image

        try:
            if self._count > 1:
                self._image.seek(number)
            if self.reduced > 1:
                width, height = (-(-side // self.reduced) for side in self._image.size)
                self._image.draft("RGB", (width, height))  # a JPEG is decoded at a half, a quarter or an eighth
                self._image.load()
                image = self._image
                if image.size != (width, height):
                    image = image.resize((width, height), Image.Resampling.BOX)
            else:
                self._image.load()
                image = self._image
            pixels = _rgb(image, self._image.info)
        except (OSError, SyntaxError, ValueError, EOFError) as error:
            why = "it ends early" if "truncated" in str(error) else error
            raise PhotoError(f"{self.name} is damaged and cannot be decoded: {why}") from None
        return av.VideoFrame.from_numpy_buffer(pixels, format="rgb24")


def _kind(head: bytes) -> str | None:
    """Returns Pillow's name of the format that a file of this beginning has, if Pillow is to read it."""
    if head.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    if head[4:8] == b"ftyp":
        size = int.from_bytes(head[:4], "big")
        brands = {head[8:12]} | {head[i : i + 4] for i in range(16, min(size, len(head)), 4)}
        if head[8:12] in (*AVIF_BRANDS, *HEIF_BRANDS):
            return "AVIF" if brands & set(AVIF_BRANDS) else "HEIF"
    return None


def _ends_early(file: BinaryIO) -> bool:
    """Returns whether a file of boxes (ISO/IEC 14496-12) is shorter than these; its decoders leave the rest grey."""
    end, at = file.seek(0, os.SEEK_END), 0
    while at + 8 <= end:
        file.seek(at)
        size = int.from_bytes(file.read(4), "big")
        if size == 1:
            file.seek(at + 8)
            size = int.from_bytes(file.read(8), "big")
        if size < 8:
            break  # 0: up to the end of the file
        at += size
    file.seek(0)
    return at > end


def _opened(file: BinaryIO, kind: str, name: str) -> Image.Image:
    """Returns an image whose pixels are not decoded yet.

    By the format's own reader, as `Image.open` refuses 180 megapixels and more; the limit here is MAX_SIDE.
    """
    from PIL import Image

    if kind == "HEIF":
        try:
            from pillow_heif import HeifImageFile
        except ImportError:
            raise PhotoError(f"{name} {HEIF_MISSING}") from None
        reader = HeifImageFile
    else:
        Image.init()
        if kind not in Image.OPEN:
            raise PhotoError(f"{name} {AVIF_MISSING}")
        reader = Image.OPEN[kind][0]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return reader(file, "")
    except (OSError, SyntaxError, ValueError, TypeError, IndexError, EOFError) as error:
        raise PhotoError(f"{name} is no {kind} picture that can be decoded: {error}") from None


def _orientation(image: Image.Image, file: BinaryIO) -> Orientation:
    """Returns how a picture's pixels become upright.

    The boxes irot and imir of a HEIC photo are applied by its decoder, and then EXIF does not count.
    """
    if image.format != "HEIF":
        return Orientation.from_exif(image.getexif().get(EXIF_ORIENTATION, 1))
    position = file.tell()
    file.seek(0)
    boxes = file.read(HEIF_META_BYTES)
    file.seek(position)
    turned_by_decoder = b"irot" in boxes or b"imir" in boxes
    return Orientation.from_exif(1 if turned_by_decoder else image.info.get("original_orientation") or 1)


def _has_foreign_profile(image: Image.Image) -> bool:
    """Returns whether a picture without animation and of 8 bits states colours other than sRGB."""
    plain = getattr(image, "n_frames", 1) == 1 and image.mode in ("RGB", "RGBA")
    return plain and _foreign_profile(image.info) is not None


def _foreign_profile(info: dict):
    """Returns the ICC profile among a picture's data for ImageCms; None for sRGB, none, or one that is damaged."""
    from PIL import ImageCms

    data = info.get("icc_profile")
    if not data:
        return None
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(data))
        return None if "sRGB" in ImageCms.getProfileDescription(profile) else profile
    except (OSError, ImageCms.PyCMSError):
        return None


def _rgb(image: Image.Image, info: dict) -> np.ndarray:
    """Returns a decoded picture as sRGB uint8 [h, w, 3], on black where it is transparent."""
    from PIL import Image, ImageCms

    profile = _foreign_profile(info)
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", rgba.size, (0, 0, 0, 255)), rgba).convert("RGB")
    if profile is not None:
        try:
            image = ImageCms.profileToProfile(image, profile, ImageCms.createProfile("sRGB"), outputMode="RGB")
        except ImageCms.PyCMSError:
            pass  # a profile that does not fit the pixels
    pixels = np.array(image if image.mode == "RGB" else image.convert("RGB"))
    colours = info.get("nclx_profile")  # of HEIF, as the numbers of ITU-T H.273
    if colours and profile is None:
        transfer = int(colours.get("transfer_characteristics", UNTAGGED))
        primaries = int(colours.get("color_primaries", UNTAGGED))
        pixels = rgb_to_bt709(pixels, transfer, primaries)
    return np.ascontiguousarray(pixels)
