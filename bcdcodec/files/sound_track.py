"""Sound between files: buffered while pictures are encoded, interleaved with them while they are decoded."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from fractions import Fraction

from bcdcodec.container import OPUS_RATE, Audio, BcdReader, opus_samples
from bcdcodec.container.audio import pack_audio, unpack_audio
from bcdcodec.video import VideoWriter

_MEMORY_BYTES = 1 << 20  # more goes to a temporary file
_LENGTH_BYTES = 4


class AudioSpool:
    """Sound in the order it was added, above 1 MiB on disk; iterate it once all is added."""

    def __init__(self):
        self._file = tempfile.SpooledTemporaryFile(max_size=_MEMORY_BYTES)

    def __enter__(self) -> AudioSpool:
        return self

    def __exit__(self, *exception) -> None:
        self._file.close()

    def add(self, chunks: list[Audio]) -> None:
        for audio in chunks:
            payload = pack_audio(audio)
            self._file.write(len(payload).to_bytes(_LENGTH_BYTES, "little") + payload)

    def __iter__(self) -> Iterator[Audio]:
        self._file.seek(0)
        first = True
        while size := self._file.read(_LENGTH_BYTES):
            yield unpack_audio(self._file.read(int.from_bytes(size, "little")), first)
            first = False


class SoundFeed:
    """Writes a recording's sound into a video, packet by packet."""

    def __init__(self, reader: BcdReader, video: VideoWriter):
        self._video = video
        sound = reader.audio_format
        self._shift = sound.delay - sound.pre_skip if sound else 0  # samples
        self._packets = _packets(reader)
        self._next = next(self._packets, None)

    def write_until(self, seconds: Fraction) -> None:
        """Write what starts before a time from the first picture's start."""
        while self._next is not None and self._next[0] + self._shift < seconds * OPUS_RATE:
            self._video.write_sound(*self._next)
            self._next = next(self._packets, None)


def _packets(reader: BcdReader) -> Iterator[tuple[int, bytes]]:
    """Yield each packet with the sample at which it starts."""
    for audio in reader.audio():
        sample = audio.first_sample
        for packet in audio.packets:
            yield sample, packet
            sample += opus_samples(packet)
