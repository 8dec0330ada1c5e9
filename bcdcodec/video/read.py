"""Video into square upright images: `read_frames` and `probe_video`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

from bcdcodec.errors import VideoError
from bcdcodec.video.colour import hdr_name, rgb_of, to_bt709
from bcdcodec.video.geometry import MAX_SIDE, MAX_SOURCE_SIDE, Crop, FrameGeometry, Orientation, centre_crop, check_crop
from bcdcodec.video.scaling import resize, scale
from bcdcodec.video.sound import SoundOptions, SoundTrack
from bcdcodec.video.source import AnySource, Source, open_source
from bcdcodec.video.timing import Gaps, PtsRepair

if TYPE_CHECKING:
    import av

_ORDINALS = {2: "half", 3: "third", 4: "quarter"}  # MAX_SIDE over MAX_SOURCE_SIDE, and rounding, allow no more


@dataclass(frozen=True)
class Tracks:
    """Which tracks of a source are read."""

    video: int | None = None  # number of the track, from 1; None: the default one
    sound: int | None = None


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


def read_frames(
    source: Source,
    crop: Crop | None,
    size: int,
    sound: SoundOptions | None = None,
    tracks: Tracks = Tracks(),
    turn: int = 0,
) -> FrameReader:
    """Opens a video and returns an iterator of `(pts, image)`, one frame in memory at a time.

    `source` is a path to a photo or anything PyAV opens, a folder of pictures (shown at 25 frames a second)
    or a binary file object. `crop` is a square in upright pixels, None the centre's largest.
    `size` is the side of the images, uint8 [size, size, 3]. With `sound` the reader's `sound`
    gathers a track of the source's sound meanwhile. `turn`: degrees clockwise, a multiple of 90, by which the source
    must be turned beyond what it states; the pixels of `crop` are those of the turned pictures. What is transparent is
    shown on black, and HDR is tone-mapped to BT.709.

    VideoError when the file is missing or unreadable, no video, audio only or without a
    frame, or when the crop lies outside it: at this call, not at the first image.
    """
    return FrameReader(source, crop, size, sound, tracks, turn)


def read_pictures(source: Source, crop: Crop | None, size: int) -> np.ndarray:
    """All pictures of a short clip, uint8 [t, size, size, 3]; arguments and errors as of `read_frames`."""
    with read_frames(source, crop, size) as reader:
        return np.stack([picture for _, picture in reader])


class FrameReader:
    """Iterates `(pts, image)` once: pts in ticks of `time_base`, image uint8 [size, size, 3].

    Timestamps are the stream's own, without the jumps that `Timeline` takes out, and repaired where they are missing or
    do not increase as `PtsRepair` says. A frame whose size changes within the stream is fitted into the first frame's
    size, on black. Pictures with more than MAX_SOURCE_SIDE pixels a side are read reduced by a whole number.
    """

    def __init__(
        self,
        source: Source,
        crop: Crop | None,
        size: int,
        sound: SoundOptions | None = None,
        tracks: Tracks = Tracks(),
        turn: int = 0,
    ):
        self._size = size
        self._turn = turn
        self._source = open_source(source, tracks.video)
        try:
            if sound is not None:
                self._source.listen(sound, tracks.sound)
            self._frames = self._source.frames()
            self._first = next(self._frames, None)
            if self._first is None:
                raise VideoError(f"{self._source.name} holds no frame that can be decoded{self._source.hint}")
            self._first_suspect = self._source.suspect
            second = next(self._frames, None) if self._source.is_photo else None
            if second is not None and (second.width, second.height) != (self._first.width, self._first.height):
                second = None  # a thumbnail, depth or gain map beside the photo
            # Whether the source is a single picture; a pipe may bring many one after the other.
            self.is_photo = self._source.is_photo and second is None
            self._frames = iter(()) if self.is_photo else self._frames
            self._frames = self._frames if second is None else chain([second], self._frames)
            self._geometry = frame_geometry(self._first, self._source, turn)
            width, height = self._geometry.upright_size
            if max(width, height) > MAX_SIDE:
                raise VideoError(f"{self._source.name} is {width}x{height} pixels, more than {MAX_SIDE} a side")
            self._reduction = -(-max(width, height) // MAX_SOURCE_SIDE)
            reduced = self._reduction * self._source.reduced
            if crop is not None:
                check_crop(crop, width * self._source.reduced, height * self._source.reduced)
                crop = Crop(crop.x // reduced, crop.y // reduced, *[max(1, crop.w // reduced)] * 2)
            width, height = max(1, width // self._reduction), max(1, height // self._reduction)
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
        self._reduced = reduced
        self._other_sizes: dict[tuple[int, int], int] = {}  # of frames unlike the first, and how many they are
        self._hdr: str | None = None
        self._gaps = Gaps()
        self.suspects: set[int] = set()  # numbers of the frames so far that may show damage of the source
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

    @property
    def notes(self) -> list[str]:
        """After the last image: one line each on how the source was read, where that is not as it states."""
        name, width, height = self._source.name, self.info.width, self.info.height
        notes = list(self._source.notes)
        if self._reduced > 1:
            notes.append(
                f"{name} is read at {width}x{height} pixels, a {_ORDINALS[self._reduced]} of its size each way"
            )
        if self._hdr:
            notes.append(f"{name} is HDR ({self._hdr}): it is tone-mapped to BT.709")
        if self._source.jumps:
            notes.append(
                f"the clock of {name} jumps {_times(self._source.jumps)}: pictures and sound go on there without a gap"
            )
        if self._gaps.found:
            at, length = (float(ticks * self.time_base) for ticks in self._gaps.longest)
            count = _times(len(self._gaps.found))
            notes.append(f"{name} has gaps in its frames, {count}: the longest is {length:.2f} s at {at:.2f} s")
        for (w, h), count in self._other_sizes.items():
            notes.append(
                f"{count} frames of {name} are {w}x{h} pixels: they are fitted into {width}x{height}, on black"
            )
        return notes

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
        full = Crop(*(self._reduction * side for side in (self.crop.x, self.crop.y, self.crop.w, self.crop.h)))
        box = self._geometry.stored_box(full)
        stored_size = self._geometry.stored_width, self._geometry.stored_height
        repair = PtsRepair(self._nominal_duration())
        previous, number = None, 0
        frame, self._first = self._first, None
        suspect = self._first_suspect
        while frame is not None:
            if suspect:
                self.suspects.add(number)
            pts = repair.place(frame.pts)
            step = pts - previous if previous is not None else self._nominal_duration()
            self.last_duration = frame.duration or step
            if previous is not None:
                self._gaps.add(previous, step)
            previous = pts
            self._hdr = self._hdr or hdr_name(frame)
            if (frame.width, frame.height) == stored_size:
                image = rgb_of(frame, to_rgb)  # [stored h, stored w, 3]
                image = image[box.y : box.y + box.h, box.x : box.x + box.w]
                image = resize(image, self._size, to_square)  # [size, size, 3]
                yield pts, self._geometry.orientation.apply(to_bt709(image, frame))
            else:
                yield pts, self._fitted(frame)
            frame = next(self._frames, None)
            suspect, number = self._source.suspect, number + 1

    def _fitted(self, frame: av.VideoFrame) -> np.ndarray:
        """Returns the square, uint8 [size, size, 3], of a frame of another size: fitted into the first's, on black."""
        size = frame.width, frame.height
        self._other_sizes[size] = self._other_sizes.get(size, 0) + 1
        geometry = frame_geometry(frame, self._source, self._turn)
        width, height = geometry.upright_size
        factor = min(self.info.width / width, self.info.height / height)
        width, height = max(1, round(width * factor)), max(1, round(height * factor))
        canvas = np.zeros((self.info.height, self.info.width, 3), np.uint8)
        x, y = (self.info.width - width) // 2, (self.info.height - height) // 2
        canvas[y : y + height, x : x + width] = upright_picture(frame, geometry, width, height)
        crop = self.crop
        return np.ascontiguousarray(resize(canvas[crop.y : crop.y + crop.h, crop.x : crop.x + crop.w], self._size))


def frame_geometry(frame: av.VideoFrame, source: AnySource, turn: int = 0) -> FrameGeometry:
    """Returns the geometry of a decoded frame: turned as its source says, else as its display matrix says.

    `turn`: degrees clockwise by which it is turned after that, a multiple of 90.
    """
    orientation = source.orientation
    if orientation is None:
        try:
            matrix = frame.side_data.get("DISPLAYMATRIX")
            orientation = Orientation.from_display_matrix(bytes(matrix) if matrix else None)
        except ValueError:  # PyAV knows not all kinds of data beside a frame, and then gives none
            orientation = Orientation.from_rotation(frame.rotation)
    orientation = orientation.then(Orientation.from_rotation(-turn))
    return FrameGeometry(frame.width, frame.height, source.pixel_aspect, orientation)


def upright_picture(frame: av.VideoFrame, geometry: FrameGeometry, width: int, height: int) -> np.ndarray:
    """Returns a decoded frame turned upright and scaled, uint8 [height, width, 3]."""
    from av.video.reformatter import VideoReformatter

    stored = geometry.orientation.upright_size(width, height)  # a transpose is its own inverse
    image = to_bt709(scale(rgb_of(frame, VideoReformatter()), *stored), frame)
    return geometry.orientation.apply(image)


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
