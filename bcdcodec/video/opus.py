"""Opus stream headers (RFC 7845): read from a source, and made for FFmpeg's muxers."""

from __future__ import annotations

import io
import struct
from typing import TYPE_CHECKING

from bcdcodec.container.audio import OPUS_RATE, AudioFormat

if TYPE_CHECKING:
    import av

_HEAD = struct.Struct("<8sBBHIhB")  # magic, version, channels, pre-skip, input rate, gain, mapping family
SILENCE = b"\xf8\xff\xfe"  # a packet of 20 ms
MAX_HEADER_SKIP = 0xFFFF  # samples that the header can state


def read_opus_head(header: bytes | None) -> AudioFormat | None:
    """Returns the format that a stream's header states; None for more than two channels or no such header."""
    if header is None or len(header) < _HEAD.size:
        return None
    magic, version, channels, pre_skip, _, gain, family = _HEAD.unpack_from(header)
    if magic != b"OpusHead" or version >> 4 or family or channels not in (1, 2):
        return None
    return AudioFormat(channels, pre_skip, 0, gain)


def open_opus_template(sound: AudioFormat) -> av.container.InputContainer:
    """Returns an open container whose one stream is of this format, for `add_stream_from_template`.

    PyAV lets no one set a stream's header; it can only copy a stream. So this is an Ogg file in memory
    of the headers and one packet of silence.
    """
    import av

    head = _HEAD.pack(b"OpusHead", 1, sound.channels, min(sound.pre_skip, MAX_HEADER_SKIP), OPUS_RATE, sound.gain, 0)
    tags = b"OpusTags" + struct.pack("<II", 0, 0)
    return av.open(io.BytesIO(_page(head, 0, first=True) + _page(tags, 1) + _page(SILENCE, 2)))


def _page(payload: bytes, number: int, first: bool = False) -> bytes:
    """Returns one Ogg page that holds one packet."""
    segments = bytes([255] * (len(payload) // 255) + [len(payload) % 255])
    header = b"OggS" + struct.pack("<BBqIII", 0, 2 * first, 0, 1, number, 0) + bytes([len(segments)]) + segments
    page = bytearray(header + payload)
    page[22:26] = struct.pack("<I", _crc(page))
    return bytes(page)


def _crc(data: bytes) -> int:
    """Returns Ogg's CRC-32: polynomial 04C11DB7, highest bit first, from 0."""
    crc = 0
    for byte in data:
        crc ^= byte << 24
        for _ in range(8):
            crc = crc << 1 ^ (0x104C11DB7 if crc & 0x80000000 else 0)
    return crc
