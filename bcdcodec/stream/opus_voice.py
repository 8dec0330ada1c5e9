"""Voice as Opus packets of one media packet's time each, silence left out, and back (PyAV's libopus)."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from bcdcodec.container.audio import OPUS_RATE
from bcdcodec.errors import FormatError, VideoError
from bcdcodec.stream.receiver import Sound
from bcdcodec.video.opus import read_opus_head

if TYPE_CHECKING:
    import av

KBPS = 5.0  # the least of SILK (libopus); what is left of 10 kbit/s beside motion and headers
QUIET = 10 ** (-50 / 20)  # of full scale: root mean square of a block's loudest 20 ms, below which it is silence ...
FLOOR_RATIO = 2.0  # ... or up to so many times the quietest of the last seconds
FLOOR_RISE = 1.02  # by which the floor rises a block, so that it follows a room that gets louder
HANGOVER = 2  # blocks after speech that are sent all the same: ends of words are quiet
SILENT_BYTES = 3  # of an Opus packet that holds nothing
FADE_SECONDS = 0.06  # in which the last period is faded out where a packet was lost
PITCH = (OPUS_RATE // 400, OPUS_RATE // 66)  # samples of a period of a voice


class VoiceEncoder:
    """Samples to one Opus packet for each block of `block` samples; None for a silent one (DTX)."""

    def __init__(self, block: int, kbps: float = KBPS):
        """`block`: samples at 48 kHz, of 20, 40, 60, 80 or 120 ms. Raises VideoError without an Opus encoder."""
        import av

        self.block = block
        try:
            encoder = av.CodecContext.create("libopus", "w")
            encoder.sample_rate, encoder.layout, encoder.format = OPUS_RATE, "mono", "s16"
            encoder.bit_rate = round(kbps * 1000)
            encoder.options = {"application": "voip", "frame_duration": str(block * 1000 // OPUS_RATE)}
            encoder.open()
        except (av.FFmpegError, ValueError) as error:
            raise VideoError(f"this PyAV cannot encode Opus ({error}): leave the sound out") from None
        header = read_opus_head(encoder.extradata)
        self.pre_skip = header.pre_skip if header else 312  # samples
        self._encoder = encoder
        self._pcm = np.zeros(0, np.int16)
        self._blocks = 0
        self._floor = QUIET / FLOOR_RATIO
        self._speech = 0  # blocks that are still sent

    def push(self, samples: np.ndarray) -> list[bytes | None]:
        """Take int16 [n] at 48 kHz; the packets of the blocks that they complete."""
        import av

        self._pcm = np.concatenate([self._pcm, samples])
        found: list[bytes | None] = []
        while len(self._pcm) >= self.block:
            block, self._pcm = self._pcm[: self.block], self._pcm[self.block :]
            speaks = self._speaks(block)
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(block)[None], format="s16", layout="mono")
            frame.sample_rate, frame.pts = OPUS_RATE, self._blocks * self.block
            frame.time_base = Fraction(1, OPUS_RATE)
            self._blocks += 1
            for packet in self._encoder.encode(frame):
                data = bytes(packet)
                found.append(data if speaks and len(data) > SILENT_BYTES else None)
        return found

    def _speaks(self, block: np.ndarray) -> bool:
        """Whether a block is to be sent: its loudest part stands out of the noise of the room."""
        parts = block[: len(block) // 960 * 960].reshape(-1, 960).astype(np.float64) / 32768
        loud = float(np.sqrt(np.square(parts).mean(1)).max())
        quiet = float(np.sqrt(np.square(parts).mean(1)).min())
        self._floor = min(self._floor * FLOOR_RISE, max(quiet, 1e-5))
        if loud > QUIET and loud > FLOOR_RATIO * self._floor:
            self._speech = HANGOVER + 1
        self._speech -= 1
        return self._speech >= 0


class VoiceDecoder:
    """Opus packets to samples; lost ones are concealed by the last period of the voice, faded out."""

    def __init__(self, block: int):
        """Raises VideoError without an Opus decoder."""
        import av

        self.block = block  # samples that a packet stands for
        try:
            self._decoder: av.AudioCodecContext = av.CodecContext.create("libopus", "r")
            self._decoder.sample_rate, self._decoder.layout = OPUS_RATE, "mono"
        except (av.FFmpegError, ValueError) as error:
            raise VideoError(f"this PyAV cannot decode Opus: {error}") from None
        self._resampler = av.AudioResampler(format="s16", layout="mono", rate=OPUS_RATE)
        self._last = np.zeros(0, np.int16)  # what was heard before

    def decode(self, sound: Sound) -> np.ndarray:
        """Samples int16 [block] at 48 kHz of the next packet."""
        if sound.packet is None:
            heard = self._concealed() if sound.lost else np.zeros(self.block, np.int16)
        else:
            try:
                heard = self._decoded(sound.packet)
            except FormatError:
                heard = self._concealed()
        self._last = heard if sound.packet is not None else np.zeros(0, np.int16)
        return heard

    def _decoded(self, packet: bytes) -> np.ndarray:
        import av

        try:
            frames = self._decoder.decode(av.Packet(packet))
            blocks = [block.to_ndarray()[0] for frame in frames for block in self._resampler.resample(frame)]
        except (av.FFmpegError, ValueError) as error:
            raise FormatError(f"an Opus packet cannot be decoded: {error}") from None
        heard = np.concatenate(blocks) if blocks else np.zeros(0, np.int16)
        return np.resize(heard[: self.block], self.block) if len(heard) >= self.block else _padded(heard, self.block)

    def _concealed(self) -> np.ndarray:
        """The last period again and again, faded out (waveform substitution)."""
        before = self._last.astype(np.float64)
        if len(before) < 2 * PITCH[1]:
            return np.zeros(self.block, np.int16)
        end = before[-PITCH[1] :]
        similar = [
            float(end[lag:] @ end[:-lag]) / (len(end) - lag) if lag < len(end) else -np.inf
            for lag in range(PITCH[0], PITCH[1] * 3 // 4)
        ]
        period = PITCH[0] + int(np.argmax(similar))
        fade = np.clip(1 - np.arange(self.block) / (FADE_SECONDS * OPUS_RATE), 0, 1)
        return np.rint(np.resize(before[-period:], self.block) * fade).astype(np.int16)


def _padded(samples: np.ndarray, size: int) -> np.ndarray:
    return np.concatenate([np.zeros(size - len(samples), np.int16), samples])
