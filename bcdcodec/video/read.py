"""Video into square upright images: `read_frames` and `probe_video`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

from bcdcodec.errors import VideoError
from bcdcodec.video.geometry import MAX_SIDE, Crop, FrameGeometry, Orientation, centre_crop, check_crop
from bcdcodec.video.scaling import BICUBIC, resize, scale
from bcdcodec.video.sound import SoundOptions, SoundTrack
from bcdcodec.video.source import FolderSource, Source, StreamSource, open_source
from bcdcodec.video.timing import PtsRepair

if TYPE_CHECKING:
    import av

HD_HEIGHT = 720  # rows; from here on an untagged video is BT.709, below it BT.601
UNTAGGED = 2  # AVCOL_SPC_UNSPECIFIED


@dataclass(frozen=True)
class VideoInfo:
    """What a video says of itself; sizes are those a player shows (upright, square pixels)."""

    width: int  # pixels
    height: int  # pixels
    time_base: Fraction  # seconds a tick
    frame_rate: Fraction | None  # frames a second, mean; None when not stated
    has_audio: bool
    duration_s: float | None  # seconds; None when not stated


def probe_video(source: Source) -> VideoInfo:
    """Returns the facts of a video, folder of PNGs or file object; decodes one frame.

    VideoError as for `read_frames`.
    """
    with read_frames(source, crop=None, size=1) as reader:
        return reader.info


def read_frames(source: Source, crop: Crop | None, size: int, sound: SoundOptions | None = None) -> FrameReader:
    """Opens a video and returns an iterator of `(pts, image)`, one frame in memory at a time.

    `source` is a path to anything PyAV opens, a folder of PNGs (shown at 25 frames a second)
    or a binary file object. `crop` is a square in upright pixels, None the centre's largest.
    `size` is the side of the images, uint8 [size, size, 3]. With `sound` the reader's `sound`
    gathers the source's first stream of sound meanwhile. What is transparent is shown on black.

    VideoError when the file is missing or unreadable, no video, audio only or without a
    frame, or when the crop lies outside it: at this call, not at the first image.
    """
    return FrameReader(source, crop, size, sound)


def read_pictures(source: Source, crop: Crop | None, size: int) -> np.ndarray:
    """All pictures of a short clip, uint8 [t, size, size, 3]; arguments and errors as of `read_frames`."""
    with read_frames(source, crop, size) as reader:
        return np.stack([picture for _, picture in reader])


class FrameReader:
    """Iterates `(pts, image)` once: pts in ticks of `time_base`, image uint8 [size, size, 3].

    Timestamps are the stream's own, repaired where they are missing or do not increase as
    `PtsRepair` says. A frame whose size changes within the stream is stretched to the first
    frame's size, as players do.
    """

    def __init__(self, source: Source, crop: Crop | None, size: int, sound: SoundOptions | None = None):
        self._size = size
        self._source = open_source(source)
        try:
            if sound is not None:
                self._source.listen(sound)
            self._frames = self._source.frames()
            self._first = next(self._frames, None)
            if self._first is None:
                raise VideoError(f"{self._source.name} holds no frame that can be decoded{self._source.hint}")
            second = next(self._frames, None) if self._source.is_photo else None
            # Whether the source is a single picture; a pipe may bring many one after the other.
            self.is_photo = self._source.is_photo and second is None
            self._frames = self._frames if second is None else chain([second], self._frames)
            self._geometry = frame_geometry(self._first, self._source)
            width, height = self._geometry.upright_size
            if max(width, height) > MAX_SIDE:
                raise VideoError(f"{self._source.name} is {width}x{height} pixels, more than {MAX_SIDE} a side")
            self.crop = check_crop(crop or centre_crop(width, height), width, height)
        except BaseException:
            self._source.close()
            raise
        self.info = VideoInfo(
            width,
            height,
            self._source.time_base,
            self._source.frame_rate,
            self._source.has_audio,
            self._source.duration_s,
        )
        self.last_duration = self._nominal_duration()  # ticks the newest frame is shown
        self._iterator = self._images()

    @property
    def time_base(self) -> Fraction:
        """Seconds a tick of pts."""
        return self.info.time_base

    @property
    def sound(self) -> SoundTrack | None:
        """The sound that came past with the images so far; None without any, or if it is not wanted."""
        return self._source.sound

    @property
    def damage(self) -> str | None:
        """After the last image: one line on damaged packets that were skipped, or None."""
        return self._source.damage

    def __enter__(self) -> FrameReader:
        return self

    def __exit__(self, *exception) -> None:
        self.close()

    def __iter__(self) -> Iterator[tuple[int, np.ndarray]]:
        return self._iterator

    def first_picture(self, longer_side: int) -> np.ndarray:
        """Returns the first picture whole, uint8 [h, w, 3], no side above `longer_side`; before images are taken."""
        width, height = self.info.width, self.info.height
        factor = min(1, longer_side / max(width, height))
        size = max(1, round(width * factor)), max(1, round(height * factor))
        return upright_picture(self._first, self._geometry, *size)

    def close(self) -> None:
        """Closes the video; further iteration ends."""
        self._iterator.close()
        self._source.close()

    def _nominal_duration(self) -> int:
        """Returns a frame's ticks at the stated rate (25 a second if none), at least 1."""
        rate = self.info.frame_rate or Fraction(25)
        return max(1, round(1 / (rate * self.time_base)))

    def _images(self) -> Iterator[tuple[int, np.ndarray]]:
        from av.video.reformatter import VideoReformatter

        # Each keeps its scaler between frames, so the two conversions need one each.
        to_rgb, to_square = VideoReformatter(), VideoReformatter()
        box = self._geometry.stored_box(self.crop)
        repair = PtsRepair(self._nominal_duration())
        previous = None
        frame, self._first = self._first, None
        while frame is not None:
            pts = repair.place(frame.pts)
            step = pts - previous if previous is not None else self._nominal_duration()
            self.last_duration = frame.duration or step
            previous = pts
            image = rgb_of(frame, self._geometry, to_rgb)  # [stored h, stored w, 3]
            image = image[box.y : box.y + box.h, box.x : box.x + box.w]
            image = resize(image, self._size, to_square)  # [size, size, 3]
            yield pts, self._geometry.orientation.apply(image)
            frame = next(self._frames, None)


def frame_geometry(frame: av.VideoFrame, source: StreamSource | FolderSource) -> FrameGeometry:
    """Returns the geometry of a decoded frame: turned as its source says, else as its display matrix says."""
    orientation = source.orientation
    if orientation is None:
        try:
            matrix = frame.side_data.get("DISPLAYMATRIX")
        except ValueError:  # PyAV knows not all kinds of data beside a frame, and then gives none
            matrix = None
        orientation = Orientation.from_display_matrix(bytes(matrix) if matrix else None)
    return FrameGeometry(frame.width, frame.height, source.pixel_aspect, orientation)


def upright_picture(frame: av.VideoFrame, geometry: FrameGeometry, width: int, height: int) -> np.ndarray:
    """Returns a decoded frame turned upright and scaled, uint8 [height, width, 3]."""
    from av.video.reformatter import VideoReformatter

    stored = geometry.orientation.upright_size(width, height)  # a transpose is its own inverse
    image = scale(rgb_of(frame, geometry, VideoReformatter()), *stored)
    return geometry.orientation.apply(image)


def rgb_of(frame: av.VideoFrame, geometry: FrameGeometry, reformatter) -> np.ndarray:
    """Returns the frame as RGB uint8 [stored h, stored w, 3], on black where it is transparent."""
    from av.video.reformatter import Colorspace

    untagged_hd = frame.colorspace == UNTAGGED and geometry.stored_height >= HD_HEIGHT
    # A palette may hold transparent colours, which the format does not tell.
    transparent = frame.format.has_palette or any(c.is_alpha for c in frame.format.components)
    rgb = reformatter.reformat(
        frame,
        width=geometry.stored_width,
        height=geometry.stored_height,
        format="rgba" if transparent else "rgb24",
        src_colorspace=Colorspace.ITU709 if untagged_hd else None,
        interpolation=BICUBIC,
        threads=1,
    )
    image = rgb.to_ndarray()
    return _on_black(image) if transparent else image


def _on_black(image: np.ndarray) -> np.ndarray:
    """Returns RGBA uint8 [h, w, 4] composited on black, uint8 [h, w, 3]."""
    colour, alpha = image[..., :3].astype(np.uint16), image[..., 3:]
    return ((colour * alpha + 127) // 255).astype(np.uint8)
