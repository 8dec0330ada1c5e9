"""Where the frames of a video go, one by one: a file through FFmpeg, or a folder of PNGs."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from bcdcodec.container.audio import OPUS_RATE, AudioFormat, opus_samples
from bcdcodec.errors import VideoError
from bcdcodec.video.callbacks import CallbackFile, Interrupted
from bcdcodec.video.colour import HD_HEIGHT
from bcdcodec.video.opus import open_opus_template
from bcdcodec.video.scaling import ACCURATE_ROUNDING, BICUBIC
from bcdcodec.video.tags import tag_apng_file, tag_gif_file, tag_png

if TYPE_CHECKING:
    import av

# Values of ITU-T H.273 in FFmpeg's enumerations of matrices, primaries, transfer functions and ranges.
BT709, SMPTE170M, LIMITED_RANGE = 1, 6, 1


@dataclass(frozen=True)
class FileFormat:
    """How FFmpeg is to write the files of one suffix."""

    muxer: str
    codec: str
    pixel_format: str
    even_sides: bool  # 4:2:0 chroma needs an even width and height
    sound: bool = False
    options: tuple[tuple[str, str], ...] = ()  # of the encoder


# No B-frames: then packets leave in the order of their pts, and no player shifts the start.
_X264 = (("crf", "16"), ("bf", "0"))
# Constant quality, no look-ahead and no hidden frames, for the same reason.
_VP9 = (
    ("crf", "16"),
    ("b", "0"),
    ("deadline", "realtime"),
    ("cpu-used", "6"),
    ("lag-in-frames", "0"),
    ("auto-alt-ref", "0"),
)
FORMATS = {
    ".mp4": FileFormat("mp4", "libx264", "yuv420p", even_sides=True, sound=True, options=_X264),
    ".mkv": FileFormat("matroska", "libx264", "yuv420p", even_sides=True, sound=True, options=_X264),
    ".webm": FileFormat("webm", "libvpx-vp9", "yuv420p", even_sides=True, sound=True, options=_VP9),
    ".gif": FileFormat("gif", "gif", "pal8", even_sides=False),
    ".apng": FileFormat("apng", "apng", "rgb24", even_sides=False),
}


class FileSink:
    """One file through FFmpeg; opened with the first frame, when the rate is known."""

    def __init__(
        self,
        path: Path | BinaryIO,
        file_format: FileFormat,
        shape: tuple[int, int, int],
        time_base: Fraction,
        metadata: dict[str, str],
        sound: AudioFormat | None,
    ):
        self._path = path
        self._sound = sound
        self._sound_waiting: list[tuple[int, bytes]] = []  # until the file is opened
        self._format = file_format
        self._time_base = time_base
        self._metadata = metadata
        height, width, _ = shape
        self._pad = (height % 2, width % 2) if file_format.even_sides else (0, 0)
        self._size = (width + self._pad[1], height + self._pad[0])
        self._container: av.container.OutputContainer | None = None
        self._durations: dict[int, int] = {}  # ticks of each frame inside the encoder, by pts
        if isinstance(path, Path):
            path.touch()  # an unwritable target is found now, not after an hour's decoding

    def put(self, image: np.ndarray, pts: int, duration: int) -> None:
        import av

        if self._container is None:
            self._open(rate=1 / (duration * self._time_base))
        if any(self._pad):
            image = np.pad(image, ((0, self._pad[0]), (0, self._pad[1]), (0, 0)), mode="edge")
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
        frame.pts, frame.time_base = pts, self._time_base
        self._durations[pts] = duration
        self._mux(self._stream.encode(self._converted(frame)))

    @property
    def _is_hd(self) -> bool:
        """Whether players that ignore tags take the matrix of BT.709, not BT.601, for a video of this size."""
        return self._size[1] >= HD_HEIGHT

    def put_sound(self, first_sample: int, packet: bytes) -> None:
        import av

        if self._container is None:
            self._sound_waiting.append((first_sample, packet))
            return
        muxed = av.Packet(packet)
        muxed.stream, muxed.time_base = self._sound_stream, Fraction(1, OPUS_RATE)
        muxed.pts = muxed.dts = first_sample + self._sound.delay - self._sound.pre_skip
        muxed.duration = opus_samples(packet)
        self._container.mux(muxed)

    def _open(self, rate: Fraction) -> None:
        import av

        options = {}
        if self._format.muxer == "mp4":
            # One tick of the file is one of the time base's denominator, so pts are exact.
            options["video_track_timescale"] = str(self._time_base.denominator)
            options["movflags"] = "faststart" + ("+use_metadata_tags" if self._metadata else "")
        # As a URL, a path with a colon in it is not taken for a network protocol.
        self._container = av.open(
            f"file:{self._path}" if isinstance(self._path, Path) else CallbackFile(self._path),
            "w",
            format=self._format.muxer,
            container_options=options,
        )
        self._container.metadata.update(self._metadata)
        self._stream = self._container.add_stream(self._format.codec, rate=rate.limit_denominator(1_000_000))
        self._stream.width, self._stream.height = self._size
        self._stream.pix_fmt = self._format.pixel_format
        self._stream.time_base = self._stream.codec_context.time_base = self._time_base
        self._stream.options = dict(self._format.options)
        if self._format.pixel_format == "yuv420p":
            codec = self._stream.codec_context
            codec.colorspace = BT709 if self._is_hd else SMPTE170M
            codec.color_primaries = codec.color_trc = BT709
            codec.color_range = LIMITED_RANGE
        if self._sound is not None:
            with open_opus_template(self._sound) as template:
                self._sound_stream = self._container.add_stream_from_template(template.streams.audio[0])
        for sample, packet in self._sound_waiting:
            self.put_sound(sample, packet)
        self._palette = None
        if self._format.pixel_format == "pal8":
            self._palette = _palette_graph(*self._size, self._time_base)

    def _converted(self, frame: av.VideoFrame) -> av.VideoFrame:
        """Returns an RGB frame in the pixel format that the encoder takes."""
        from av.video.reformatter import ColorRange, Colorspace

        if self._palette is not None:
            pts = frame.pts
            self._palette.push(frame)
            frame = self._palette.pull()
            frame.pts, frame.time_base = pts, self._time_base
            return frame
        if self._format.pixel_format == frame.format.name:
            return frame
        return frame.reformat(
            format=self._format.pixel_format,
            dst_colorspace=Colorspace.ITU709 if self._is_hd else Colorspace.ITU601,
            dst_color_range=ColorRange.MPEG,
            interpolation=BICUBIC | ACCURATE_ROUNDING,
            threads=1,
        )

    def _mux(self, packets: list[av.Packet]) -> None:
        for packet in packets:
            packet.duration = self._durations.pop(packet.pts, packet.duration)
            self._container.mux(packet)

    def finish(self) -> None:
        self._mux(self._stream.encode(None))
        self._container.close()
        if self._metadata and self._format.muxer == "apng":
            tag_apng_file(self._path, self._metadata)
        if self._metadata and self._format.muxer == "gif":
            tag_gif_file(self._path, self._metadata)

    def discard(self) -> None:
        """Closes and removes the temporary file, if it is still there."""
        import av

        if self._container is not None:
            try:
                self._container.close()
            except (OSError, av.FFmpegError, Interrupted):
                pass  # the file goes; why its end could not be written no longer matters
        if isinstance(self._path, Path):
            self._path.unlink(missing_ok=True)


class FolderSink:
    """A folder of numbered PNG files."""

    def __init__(self, path: Path, target: Path, metadata: dict[str, str]):
        self._path = path
        self._metadata = metadata
        self._count = 0
        if target.exists() and not target.is_dir():
            raise VideoError(f"cannot write folder {target}: it is a file")
        entries = len(os.listdir(target)) if target.exists() else 0
        if entries:
            raise VideoError(f"folder {target} is not empty but holds {entries} entries; give a new one")
        path.mkdir()

    def put(self, image: np.ndarray, pts: int, duration: int) -> None:
        png = tag_png(encode_png(image), self._metadata)
        (self._path / f"{self._count:06d}.png").write_bytes(png)
        self._count += 1

    def finish(self) -> None:
        """Does nothing: every file is whole once it is written."""

    def discard(self) -> None:
        """Removes the temporary folder, if it is still there."""
        shutil.rmtree(self._path, ignore_errors=True)


def encode_png(image: np.ndarray) -> bytes:
    """Returns the bytes of a PNG file of an image, uint8 [h, w, 3]."""
    import av

    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
    encoder = av.CodecContext.create("png", "w")
    encoder.width, encoder.height, encoder.pix_fmt = frame.width, frame.height, "rgb24"
    encoder.time_base = Fraction(1, 25)
    return b"".join(bytes(packet) for packet in [*encoder.encode(frame), *encoder.encode(None)])


def _palette_graph(width: int, height: int, time_base: Fraction) -> av.filter.Graph:
    """Returns a filter that gives every frame the best 256 colours of its own.

    No dithering: its pattern would crawl over a face from frame to frame.
    """
    from av.filter import Graph

    graph = Graph()
    source = graph.add_buffer(width=width, height=height, format="rgb24", time_base=time_base)
    split = graph.add("split")
    generate = graph.add("palettegen", "stats_mode=single:reserve_transparent=0")
    use = graph.add("paletteuse", "new=1:dither=none")
    sink = graph.add("buffersink")
    source.link_to(split)
    split.link_to(use, 0, 0)
    split.link_to(generate, 1, 0)
    generate.link_to(use, 0, 1)
    use.link_to(sink)
    graph.configure()
    return graph
