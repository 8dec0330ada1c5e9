"""Decoded frames of a file or pipe that PyAV opens."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from itertools import islice
from typing import TYPE_CHECKING, BinaryIO

from bcdcodec.errors import VideoError
from bcdcodec.video.callbacks import CallbackFile, Interrupted, interruptible
from bcdcodec.video.deinterlace import Deinterlacer, Item
from bcdcodec.video.photo import photo_orientation
from bcdcodec.video.sound import SoundOptions, SoundTrack
from bcdcodec.video.timeline import Timeline
from bcdcodec.video.tracks import choose_sound, choose_video, probe_peaks

if TYPE_CHECKING:
    import av

SEEK_FROM_S = 20.0  # seconds; shorter clips are read through, as many have but one frame to seek to
SOUND_LONGER = Fraction(1, 5)  # seconds, by which sound is often longer than the pictures
USUAL_RATE = Fraction(25)  # frames a second, where a stream states no rate
# Playlists, concatenation scripts and session descriptions name other files and hosts: FFmpeg may open none of them.
NOTHING_ELSE = {"protocol_whitelist": "none"}
ALPHA_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}  # FFmpeg's own decoders of these ignore transparency


class StreamSource:
    """One video track of a container. Close it, or use it in a `with` statement.

    `time_base` is in seconds a tick, `frame_rate` in frames a second or None when not
    stated, `duration_s` in seconds or None when not stated.
    """

    def __init__(self, file: BinaryIO, name: str, owns_file: bool = False, track: int | None = None):
        """`track`: number of the video track, from 1; None for the default one."""
        import av

        self.name = name
        self._given = CallbackFile(file)
        self._file = file if owns_file else None
        self._track = track
        self.hint = "" if file.seekable() else "; through a pipe an mp4 cannot be read whose index is at its end"
        self.notes: list[str] = []
        self.reduced = 1  # times smaller that its frames are than the pictures in the file
        self._damaged_packets = 0
        self._damaged_frames = 0  # that may show damage
        self.suspect = False  # whether the frame given last may show damage
        self._start: int | None = None  # pts of the stream's beginning
        self._shown = 0  # ticks from there to the end of the last frame so far
        try:
            self._open()
        except (av.FFmpegError, UnicodeError) as error:
            self._close_file()
            raise VideoError(f"{name} is not a video: {reason(error)}{self.hint}") from None
        try:
            self._stream, note = self._video_stream()
        except BaseException:
            self.close()
            raise
        self.notes += [note] * bool(note)
        self._prepare()
        self.sound: SoundTrack | None = None
        self._sound_stream: av.AudioStream | None = None
        self.time_base: Fraction = self._stream.time_base
        self.frame_rate: Fraction | None = self._stream.average_rate or self._stream.guessed_rate or None
        self.has_audio = bool(self._container.streams.audio)
        self.pixel_aspect: Fraction = self._stream.sample_aspect_ratio or Fraction(1)
        # FFmpeg names the readers of single pictures jpeg_pipe, png_pipe, webp_pipe, ...; of JPEGs in a row, mjpeg.
        self.is_photo = self._container.format.name.endswith("_pipe") or self._container.format.name == "mjpeg"
        self.orientation = photo_orientation(file) if self.is_photo and file.seekable() else None
        self.duration_s = self._stated_duration_s()

    def _open(self) -> None:
        import av
        from av.format import Flags

        with interruptible():
            self._container = av.open(self._given, "r", metadata_errors="ignore", options=NOTHING_ELSE)
        self._timeline = Timeline(joinable=bool(self._container.format.flags & Flags.ts_discont.value))

    def _video_stream(self) -> tuple[av.VideoStream, str | None]:
        from av.stream import Disposition

        streams = self._container.streams
        # A cover picture in a music file is a video stream to FFmpeg, not to us.
        videos = [stream for stream in streams.video if not stream.disposition & Disposition.attached_pic]
        if videos:
            return choose_video(self.name, videos, self._track)
        audio, covers = len(streams.audio), len(streams.video)
        if audio + covers == 0:
            raise VideoError(f"{self.name} is not a video: it holds no stream of pictures or sound")
        raise VideoError(f"{self.name} has no video: it holds {audio} audio and {covers} cover picture streams")

    def _prepare(self) -> None:
        """Sets how the chosen track is decoded."""
        import av

        self._stream.thread_type = "AUTO"
        self._decoder = None  # other than the stream's own
        other = ALPHA_DECODERS.get(self._stream.codec_context.name)
        if other and self._stream.metadata.get("alpha_mode", "0") != "0" and other in av.codecs_available:
            self._decoder = av.CodecContext.create(other, "r")

    def _stated_duration_s(self) -> float | None:
        if self._stream.duration and self._stream.duration > 0:  # damaged files state negative ones
            return float(self._stream.duration * self.time_base)
        if self._container.duration and self._container.duration > 0:
            return self._container.duration / 1_000_000  # FFmpeg's AV_TIME_BASE
        return None

    def listen(self, options: SoundOptions, track: int | None = None) -> None:
        """Gives a track of sound to `sound` from now on, as `frames` comes past it; none leaves it None.

        `track`: its number from 1; None for the default one, or another if that is silent at its beginning, for which a
        source is read twice, if it can be. VideoError for a track that does not exist.
        """
        streams = self._container.streams.audio
        peaks = None
        if track is None and len(streams) > 1 and self._given.seekable():
            with interruptible():
                peaks = probe_peaks(self._container)
            self._reopen()
            streams = self._container.streams.audio
        if not streams:
            return
        self._sound_stream, note = choose_sound(self.name, streams, track, peaks)
        if self._sound_stream is not None:
            self.sound = SoundTrack(self._sound_stream, options)
            self.notes += [note] * bool(note)

    def _reopen(self) -> None:
        """Goes back to the beginning."""
        index = self._stream.index
        self._container.close()
        self._given.seek(0)
        self._open()
        self._stream = self._container.streams[index]
        self._prepare()

    def frames(self) -> Iterator[av.VideoFrame]:
        """Yields decoded frames in the order they are shown; times jump only where `Timeline` lets them.

        A damaged packet is skipped and counted in `damage`; the frames around it are kept. Meanwhile `suspect` says of
        the frame given last whether it may show damage: from an error to the next key frame.
        """
        deinterlacer = Deinterlacer()
        for frame, suspect in deinterlacer.frames(self._coded_frames()):
            self.suspect = suspect
            yield frame
        if deinterlacer.used:
            self.notes.append(f"{self.name} is interlaced: it is deinterlaced, at the same frame rate")

    def _coded_frames(self) -> Iterator[Item]:
        """Yields frames as they are coded, and whether they may show damage."""
        import av

        packets = self._container.demux(self._stream, *([self._sound_stream] if self.sound else []))
        broken = False
        while True:
            try:
                packet = next(packets)
                if packet.stream is not self._stream:
                    self._feed_sound(packet)
                    continue
                frames = self._decoded(packet)
            except StopIteration:
                if self.sound:
                    self.sound.finish()
                return
            except av.InvalidDataError:
                self._damaged_packets += 1
                broken = True
                continue
            except Interrupted as interrupted:
                raise interrupted.interruption from None
            except (av.FFmpegError, OSError) as error:
                raise VideoError(f"cannot read {self.name} further: {reason(error)}") from None
            for frame in frames:
                broken = frame.is_corrupt or (broken and not frame.key_frame)
                self._damaged_frames += broken
                frame.pts = self._timeline.moved(self._stream.index, frame.pts, frame.duration, self.time_base)
                if self.sound and not self.sound.started:
                    self.sound.start((frame.pts or 0) * self.time_base)
                if frame.pts is not None:
                    if self._start is None:
                        self._start = frame.pts if self._stream.start_time is None else self._stream.start_time
                    self._shown = frame.pts + frame.duration - self._start
                yield frame, broken

    def _feed_sound(self, packet: av.Packet) -> None:
        if packet.size:
            stated = packet.dts if packet.pts is None else packet.pts
            packet.pts = self._timeline.moved(packet.stream.index, stated, packet.duration, packet.time_base)
        self.sound.feed(packet)

    def _decoded(self, packet: av.Packet) -> list[av.VideoFrame]:
        if self._decoder is None:
            return packet.decode()
        frames = self._decoder.decode(packet if packet.size else None)
        for frame in frames:
            frame.time_base = self.time_base
        return frames

    def samples(self, count: int) -> Iterator[av.VideoFrame]:
        """Yields up to `count` decoded frames spread over the clip; of a long one, frames after a seek."""
        import av

        duration_s = self.duration_s or 0
        if duration_s <= SEEK_FROM_S or not self._given.seekable():
            step = max(1, int(duration_s * (self.frame_rate or USUAL_RATE)) // count)
            yield from islice(self.frames(), step // 2, step * count, step)
            return
        for i in range(count):
            try:
                with interruptible():
                    self._container.seek(int((i + 0.5) / count * duration_s * 1_000_000))  # FFmpeg's AV_TIME_BASE
                    frame = next(self._container.decode(self._stream), None)
            except (av.FFmpegError, OSError):
                continue  # what cannot be reached is not sampled
            if frame is not None:
                yield frame

    @property
    def jumps(self) -> int:
        """How often the clock of the timestamps jumped so far."""
        return self._timeline.jumps

    @property
    def damage(self) -> str | None:
        """One line on what was lost, once all frames are read; None when nothing was."""
        lost = []
        if self._damaged_packets:
            lost.append(f"{self._damaged_packets} packets could not be decoded")
        if self._damaged_frames:
            lost.append(f"{self._damaged_frames} frames may show it")
        if self.sound and self.sound.damaged_packets:
            lost.append(f"{self.sound.damaged_packets} packets of its sound could not be decoded")
        stated = self._stream.duration or 0  # ticks
        frame_ticks = 1 / (self.time_base * (self.frame_rate or 25))
        # Writers disagree on the length of the last frame, and some state that of the sound; more is a cut file.
        allowed = max(2 * frame_ticks, SOUND_LONGER / self.time_base * self.has_audio)
        if stated - self._shown >= allowed and not self.jumps:
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


def reason(error: Exception) -> str:
    """Returns a library error's reason without its errno and file name."""
    return getattr(error, "strerror", None) or str(error).splitlines()[0]
