"""A source's sound as Opus packets: copied where it is Opus already, else encoded as mono voice."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from bcdcodec.container.audio import MAX_PACKETS, OPUS_RATE, Audio, AudioFormat, opus_samples
from bcdcodec.errors import BcdError, VideoError
from bcdcodec.video.downmix import mono_with_centre
from bcdcodec.video.opus import read_opus_head

if TYPE_CHECKING:
    import av

DEFAULT_KBPS = 7.0  # with 4 kbit/s of motion and a content, thirty seconds of a talk stay below 12
LEAST_KBPS, MOST_KBPS = 6.0, 64.0
PACKET_MS = 60  # longer packets spend fewer bits on their headers
PACKET_SAMPLES = PACKET_MS * OPUS_RATE // 1000
PREROLL = 3840  # samples before the first one played that a decoder needs (RFC 7845, section 4.6)
TOLERANCE = OPUS_RATE // 100  # samples; timestamps that differ by less are the rounding of their container
MAX_GAP = 3600 * OPUS_RATE  # samples; a longer silence is a broken timestamp


@dataclass(frozen=True)
class SoundOptions:
    """How sound is coded."""

    kbps: float = DEFAULT_KBPS  # kbit/s, of what is encoded
    copy: bool = True  # packets of a source that is Opus already, whatever their rate

    def __post_init__(self):
        if not LEAST_KBPS <= self.kbps <= MOST_KBPS:
            raise BcdError(
                f"{self.kbps:g} kbit/s of sound cannot be had, Opus voice takes {LEAST_KBPS:g} to {MOST_KBPS:g}"
            )


class SoundTrack:
    """Takes an audio stream's packets as they are demuxed and gives Opus packets in order.

    Times are samples of 1/48000 s from the start of the first picture, which `start` states; until then packets wait.
    Gaps in the stream stay silent; sound that would be heard twice is left out, so it keeps step with the pictures.
    """

    def __init__(self, stream: av.AudioStream, options: SoundOptions):
        source = (
            read_opus_head(stream.codec_context.extradata) if stream.codec_context.name in ("opus", "libopus") else None
        )
        self.copied = options.copy and source is not None
        self._coder = _Copier(stream, source) if self.copied else _Encoder(options.kbps)
        self._start: Fraction | None = None  # seconds, in the stream's own time
        self._early: list[av.Packet] = []
        self._queue: deque[tuple[int, bytes]] = deque()  # sample from the first packet's start, packet
        self._origin: int | None = None  # where the first packet starts, samples from the first picture
        self._end = 0  # samples from the first packet's start to the end of the newest
        self._bytes = self._samples = 0  # of all packets
        self._format: AudioFormat | None = None
        self._format_given = False
        self._finished = False

    @property
    def started(self) -> bool:
        return self._start is not None

    @property
    def kbps(self) -> float:
        """Rate of the packets so far, kbit/s; 0 before the first."""
        return self._bytes * 8 * OPUS_RATE / self._samples / 1000 if self._samples else 0.0

    @property
    def damaged_packets(self) -> int:
        """Packets of the source that could not be decoded so far."""
        return self._coder.damaged

    def start(self, seconds: Fraction) -> None:
        """States when the first picture is shown, in the source's time."""
        self._start = seconds
        early, self._early = self._early, []
        for packet in early:
            self.feed(packet)

    def feed(self, packet: av.Packet) -> None:
        """Takes the stream's next packet."""
        if self._start is None:
            self._early.append(packet)
        elif packet.size:
            self._add(self._coder.packets(packet, self._start))

    def finish(self) -> None:
        """States that no packet follows."""
        if not self._finished and self._start is not None:
            self._add(self._coder.last_packets(self._start))
        self._finished = True

    def take(self, until: Fraction) -> list[Audio]:
        """Returns the sound so far that starts before `until`, seconds from the first picture, in unbroken chunks."""
        chunks: list[Audio] = []
        first, packets, end = 0, [], None
        limit = until * OPUS_RATE - (self._origin or 0)
        while self._queue and self._queue[0][0] < limit:
            sample, packet = self._queue.popleft()
            if sample != end or len(packets) == MAX_PACKETS:
                chunks += self._chunk(first, packets)
                first, packets = sample, []
            packets.append(packet)
            end = sample + opus_samples(packet)
        return chunks + self._chunk(first, packets)

    def _chunk(self, first: int, packets: list[bytes]) -> list[Audio]:
        if not packets:
            return []
        audio_format = None if self._format_given else self._format
        self._format_given = True
        return [Audio(first, tuple(packets), audio_format)]

    def _add(self, packets: Iterator[tuple[int, bytes]]) -> None:
        """Queues packets given with where they start, in samples from the first picture."""
        for position, packet in packets:
            samples = opus_samples(packet)
            if position + samples <= -PREROLL:
                continue
            if self._origin is None:
                self._origin = position
                heard = max(0, position + self._coder.format.pre_skip)
                self._format = replace(self._coder.format, pre_skip=heard - position, delay=heard)
            ahead = position - self._origin - self._end
            if TOLERANCE < ahead <= MAX_GAP:
                self._end += ahead
            elif ahead < -TOLERANCE:
                continue
            self._queue.append((self._end, packet))
            self._end += samples
            self._bytes += len(packet)
            self._samples += samples


class _Copier:
    """Opus packets as the source has them."""

    def __init__(self, stream: av.AudioStream, audio_format: AudioFormat):
        self.format = audio_format
        self.damaged = 0
        self._time_base = stream.time_base
        self._next = 0  # where a packet without a timestamp starts

    def packets(self, packet: av.Packet, start: Fraction) -> Iterator[tuple[int, bytes]]:
        data = bytes(packet)
        try:
            samples = opus_samples(data)
        except BcdError:
            self.damaged += 1
            return
        position = self._next if packet.pts is None else round((packet.pts * self._time_base - start) * OPUS_RATE)
        self._next = position + samples
        yield position, data

    def last_packets(self, start: Fraction) -> Iterator[tuple[int, bytes]]:
        return iter(())


class _Encoder:
    """Any sound as mono Opus from the first picture on."""

    def __init__(self, kbps: float):
        import av

        try:
            encoder = av.CodecContext.create("libopus", "w")
            encoder.sample_rate, encoder.layout, encoder.format = OPUS_RATE, "mono", "s16"
            encoder.bit_rate = round(kbps * 1000)
            encoder.options = {"application": "voip", "frame_duration": str(PACKET_MS)}
            encoder.open()
        except (av.FFmpegError, ValueError) as error:
            raise VideoError(f"this PyAV cannot encode Opus ({error}): use --no-audio") from None
        self._encoder = encoder
        self.format = read_opus_head(encoder.extradata) or AudioFormat(1, 0)
        self.damaged = 0
        self._resampler = None
        self._setup: tuple | None = None  # what the resampler was made for
        self._channels: list[str] | None = None  # of more than stereo, which is mixed here
        self._origin: int | None = None  # where what is encoded starts, samples from the first picture
        self._end = 0  # where it ends so far
        self._pcm = np.zeros(0, np.int16)
        self._blocks = 0  # of PACKET_SAMPLES that went to the encoder
        self._out = 0  # packets that came from it
        self._decoder = None

    def packets(self, packet: av.Packet, start: Fraction) -> Iterator[tuple[int, bytes]]:
        self._decoder = packet.stream.codec_context
        yield from self._decoded(packet.decode, start)

    def _decoded(self, decode: Callable[[], list[av.AudioFrame]], start: Fraction) -> Iterator[tuple[int, bytes]]:
        import av

        try:
            frames = decode()
        except (av.FFmpegError, OSError):
            self.damaged += 1
            return
        for frame in frames:
            yield from self._frame(frame, start)

    def last_packets(self, start: Fraction) -> Iterator[tuple[int, bytes]]:
        if self._decoder is not None:
            yield from self._decoded(lambda: self._decoder.decode(None), start)
        if self._origin is None:
            return
        if self._resampler is not None:
            for block in self._resampler.resample(None):
                self._append(self._mono(block))
        missing = -len(self._pcm) % PACKET_SAMPLES
        self._append(np.zeros(missing, np.int16))
        yield from self._encoded()
        for packet in self._encoder.encode(None):
            yield self._placed(packet)

    def _frame(self, frame: av.AudioFrame, start: Fraction) -> Iterator[tuple[int, bytes]]:
        position = self._end
        if frame.pts is not None:
            stated = round((frame.pts * frame.time_base - start) * OPUS_RATE)
            if self._origin is None or TOLERANCE < abs(stated - self._end) <= MAX_GAP:
                position = stated
        pcm = self._resampled(frame)
        if self._origin is None:
            if position + len(pcm) <= 0:
                return
            self._origin = self._end = max(position, 0)
        while self._end < position:  # a gap is silent
            self._append(np.zeros(min(position - self._end, OPUS_RATE), np.int16))
            yield from self._encoded()
        self._append(pcm[self._end - position :])
        yield from self._encoded()

    def _append(self, pcm: np.ndarray) -> None:
        self._pcm = np.concatenate([self._pcm, pcm])
        self._end += len(pcm)

    def _resampled(self, frame: av.AudioFrame) -> np.ndarray:
        """Returns int16 [samples] at 48 kHz; the first frames may give fewer, as the filter fills up."""
        import av

        channels = [channel.name for channel in frame.layout.channels]
        surround = len(channels) > 2
        setup = (frame.format.name, frame.layout.name, frame.sample_rate)
        if setup != self._setup:
            self._setup = setup
            self._channels = channels if surround else None
            layout, kind = (frame.layout.name, "flt") if surround else ("mono", "s16")
            self._resampler = av.AudioResampler(format=kind, layout=layout, rate=OPUS_RATE)
        frame.pts = None  # the resampler would fill gaps by itself
        blocks = [self._mono(block) for block in self._resampler.resample(frame)]
        return np.concatenate(blocks) if blocks else np.zeros(0, np.int16)

    def _mono(self, block: av.AudioFrame) -> np.ndarray:
        """Returns int16 [samples] of what the resampler gave."""
        samples = block.to_ndarray()  # [1, samples x channels]
        if self._channels is None:
            return samples[0]
        return mono_with_centre(samples.reshape(-1, len(self._channels)).T, self._channels)

    def _encoded(self) -> Iterator[tuple[int, bytes]]:
        import av

        while len(self._pcm) >= PACKET_SAMPLES:
            block, self._pcm = self._pcm[:PACKET_SAMPLES], self._pcm[PACKET_SAMPLES:]
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(block)[None], format="s16", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = (
                OPUS_RATE,
                self._blocks * PACKET_SAMPLES,
                Fraction(1, OPUS_RATE),
            )
            self._blocks += 1
            for packet in self._encoder.encode(frame):
                yield self._placed(packet)

    def _placed(self, packet: av.Packet) -> tuple[int, bytes]:
        position = self._origin - self.format.pre_skip + self._out * PACKET_SAMPLES
        self._out += 1
        return position, bytes(packet)
