"""Where decoded frames come from: a file that PyAV opens, or a folder of PNGs."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import closing
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from bcdcodec.errors import VideoError
from bcdcodec.video.geometry import Orientation
from bcdcodec.video.sound import SoundOptions, SoundTrack

if TYPE_CHECKING:
    import av

EXIF_ORIENTATION = 0x0112
SEEK_FROM_S = 20.0  # seconds; shorter clips are read through, as many have but one frame to seek to
FOLDER_RATE = Fraction(25)  # frames a second of a folder, which itself states none

Source = str | os.PathLike | BinaryIO


def open_source(source: Source) -> StreamSource | FolderSource:
    """Opens a path, a folder of PNGs or a binary file object for decoding.

    VideoError when it does not exist, cannot be read, is no video, or has only audio.
    """
    if not isinstance(source, (str, os.PathLike)):
        return StreamSource(source, str(getattr(source, "name", "the given file object")))
    path = Path(source)
    if path.is_dir():
        return FolderSource(path)
    return StreamSource(_open_file(path), str(path), owns_file=True)


def _open_file(path: Path) -> BinaryIO:
    """Opens a file so that FFmpeg never sees its name.

    By name, FFmpeg would take `a:b.mp4` for a network protocol and `shot%03d.png` for a
    sequence of other files; a file opened by its descriptor has only a number for a name.
    """
    try:
        return open(os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0)), "rb")
    except FileNotFoundError:
        raise VideoError(f"no such file: {path}") from None
    except OSError as error:
        raise VideoError(f"cannot read {path}: {error.strerror}") from None


class StreamSource:
    """The first video stream of a container. Close it, or use it in a `with` statement.

    `time_base` is in seconds a tick, `frame_rate` in frames a second or None when not
    stated, `duration_s` in seconds or None when not stated.
    """

    def __init__(self, file: BinaryIO, name: str, owns_file: bool = False):
        import av

        self.name = name
        self._file = file if owns_file else None
        self.hint = "" if file.seekable() else "; through a pipe an mp4 cannot be read whose index is at its end"
        self._damaged_packets = 0
        self._start: int | None = None  # ticks of the first frame's pts
        self._shown = 0  # ticks from there to the end of the last frame so far
        try:
            self._container = av.open(file, "r", metadata_errors="ignore")
        except (av.FFmpegError, UnicodeError) as error:
            self._close_file()
            raise VideoError(f"{name} is not a video: {_reason(error)}{self.hint}") from None
        self._stream = self._video_stream()
        self.sound: SoundTrack | None = None
        self._stream.thread_type = "AUTO"
        self.time_base: Fraction = self._stream.time_base
        self.frame_rate: Fraction | None = self._stream.average_rate or self._stream.guessed_rate or None
        self.has_audio = bool(self._container.streams.audio)
        self.pixel_aspect: Fraction = self._stream.sample_aspect_ratio or Fraction(1)
        # FFmpeg names the readers of single pictures jpeg_pipe, png_pipe, webp_pipe, ...
        self.is_photo = self._container.format.name.endswith("_pipe")
        self.orientation = _photo_orientation(file) if self.is_photo and file.seekable() else None
        self.duration_s = self._stated_duration_s()

    def _video_stream(self) -> av.VideoStream:
        from av.stream import Disposition

        streams = self._container.streams
        for stream in streams.video:
            # A cover picture in a music file is a video stream to FFmpeg, not to us.
            if stream.disposition & Disposition.attached_pic:
                continue
            if stream.codec_context is None:
                self.close()
                raise VideoError(f"{self.name} holds video of a codec this PyAV cannot decode")
            return stream
        audio, covers = len(streams.audio), len(streams.video)
        self.close()
        if audio + covers == 0:
            raise VideoError(f"{self.name} is not a video: it holds no stream of pictures or sound")
        raise VideoError(f"{self.name} has no video: it holds {audio} audio and {covers} cover picture streams")

    def _stated_duration_s(self) -> float | None:
        if self._stream.duration:
            return float(self._stream.duration * self.time_base)
        if self._container.duration:
            return self._container.duration / 1_000_000  # FFmpeg's AV_TIME_BASE
        return None

    def listen(self, options: SoundOptions) -> None:
        """Gives the first stream of sound to `sound` from now on, as `frames` comes past it; none leaves it None."""
        for stream in self._container.streams.audio:
            if stream.codec_context is not None:
                self.sound = SoundTrack(stream, options)
                self._sound_stream = stream
                return

    def frames(self) -> Iterator[av.VideoFrame]:
        """Yields decoded frames in the order they are shown, as the stream stored them.

        A damaged packet is skipped and counted in `damage`; the frames around it are kept.
        """
        import av

        packets = self._container.demux(self._stream, *([self._sound_stream] if self.sound else []))
        while True:
            try:
                packet = next(packets)
                if packet.stream is not self._stream:
                    self.sound.feed(packet)
                    continue
                frames = packet.decode()
            except StopIteration:
                if self.sound:
                    self.sound.finish()
                return
            except av.InvalidDataError:
                self._damaged_packets += 1
                continue
            except (av.FFmpegError, OSError) as error:
                raise VideoError(f"cannot read {self.name} further: {_reason(error)}") from None
            for frame in frames:
                if self.sound and not self.sound.started:
                    self.sound.start((frame.pts or 0) * self.time_base)
                if frame.pts is not None:
                    self._start = frame.pts if self._start is None else self._start
                    self._shown = frame.pts + frame.duration - self._start
                yield frame

    def samples(self, count: int) -> Iterator[av.VideoFrame]:
        """Yields up to `count` decoded frames spread over the clip; of a long one, frames after a seek."""
        import av

        duration_s = self.duration_s or 0
        if duration_s <= SEEK_FROM_S:
            step = max(1, int(duration_s * (self.frame_rate or FOLDER_RATE)) // count)
            yield from islice(self.frames(), step // 2, step * count, step)
            return
        for i in range(count):
            try:
                self._container.seek(int((i + 0.5) / count * duration_s * 1_000_000))  # FFmpeg's AV_TIME_BASE
                frame = next(self._container.decode(self._stream), None)
            except (av.FFmpegError, OSError):
                continue  # what cannot be reached is not sampled
            if frame is not None:
                yield frame

    @property
    def damage(self) -> str | None:
        """One line on what was lost, once all frames are read; None when nothing was."""
        lost = []
        if self._damaged_packets:
            lost.append(f"{self._damaged_packets} packets could not be decoded")
        if self.sound and self.sound.damaged_packets:
            lost.append(f"{self.sound.damaged_packets} packets of its sound could not be decoded")
        stated = self._stream.duration or 0  # ticks
        frame_ticks = 1 / (self.time_base * (self.frame_rate or 25))
        # Writers disagree on the length of the last frame; two frames short is a cut file.
        if stated - self._shown >= 2 * frame_ticks:
            shown_s, stated_s = (float(t * self.time_base) for t in (self._shown, stated))
            lost.append(f"it ends after {shown_s:.2f} s of the {stated_s:.2f} s it states")
        return f"{self.name} is damaged: {', '.join(lost)}" if lost else None

    def close(self) -> None:
        """Closes the container, and the file if this source opened it."""
        self._container.close()
        self._close_file()

    def _close_file(self) -> None:
        if self._file is not None:
            self._file.close()


class FolderSource:
    """A folder's PNG files in natural order (`2.png` before `10.png`), 25 a second."""

    def __init__(self, folder: Path):
        self.name = str(folder)
        try:
            names = [name for name in os.listdir(folder) if name.lower().endswith(".png")]
        except OSError as error:
            raise VideoError(f"cannot read {folder}: {error.strerror}") from None
        if not names:
            raise VideoError(f"folder {folder} holds no .png file; a clip is a folder of PNGs, or a video file")
        self._paths = [folder / name for name in sorted(names, key=_natural_order)]
        self.time_base = 1 / FOLDER_RATE
        self.frame_rate = FOLDER_RATE
        self.has_audio = False
        self.is_photo = False
        self.orientation: Orientation | None = None  # other than its frames state
        self.hint = ""  # what else may be wrong when nothing can be read
        self.sound = None
        self.pixel_aspect = Fraction(1)
        self.duration_s = float(len(names) / FOLDER_RATE)
        self.damage: str | None = None

    def frames(self) -> Iterator[av.VideoFrame]:
        """Yields one frame a file; VideoError for one that is unreadable or of another size."""
        size = None
        for pts, path in enumerate(self._paths):
            frame = _picture(path)
            size = size or (frame.width, frame.height)
            if (frame.width, frame.height) != size:
                raise VideoError(
                    f"{path} is {frame.width}x{frame.height} pixels, "
                    f"{self._paths[0].name} is {size[0]}x{size[1]}: the pictures of a clip must be of one size"
                )
            frame.pts, frame.time_base = pts, self.time_base
            frame.duration = 1
            yield frame

    def listen(self, options: SoundOptions) -> None:
        """Does nothing: pictures are silent."""

    def samples(self, count: int) -> Iterator[av.VideoFrame]:
        """Yields up to `count` of the pictures, spread over the clip."""
        step = max(1, len(self._paths) // count)
        for path in self._paths[step // 2 :: step][:count]:
            yield _picture(path)

    def close(self) -> None:
        """Does nothing: each file is closed once it is decoded."""


def _photo_orientation(file: BinaryIO) -> Orientation:
    """Returns how a photo becomes upright, from its EXIF data, of which PyAV gives only a part."""
    from PIL import Image

    position = file.tell()
    try:
        file.seek(0)
        with Image.open(file) as picture:
            return Orientation.from_exif(picture.getexif().get(EXIF_ORIENTATION, 1))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return Orientation()  # a picture that only FFmpeg knows
    finally:
        file.seek(position)


def _picture(path: Path) -> av.VideoFrame:
    """Returns the picture in a file; VideoError that names the file when there is none."""
    file = _open_file(path)
    frame = None
    try:
        with closing(StreamSource(file, str(path), owns_file=True)) as picture:
            frame = next(picture.frames(), None)
    except VideoError:
        pass  # said below; that it is no video would mislead
    if frame is None:
        raise VideoError(f"{path} is not a picture: it is empty, damaged or of another kind than its name says")
    return frame


def _natural_order(name: str) -> list[tuple[int, str]]:
    """Returns a key that sorts runs of digits by their value; zeros in front break ties."""
    parts = re.split(r"(\d+)", name)
    return [(int(part), part) if part.isdecimal() else (-1, part) for part in parts]


def _reason(error: Exception) -> str:
    """Returns a library error's reason without its errno and file name."""
    return getattr(error, "strerror", None) or str(error).splitlines()[0]
