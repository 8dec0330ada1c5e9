"""Finds the intact chunks of damaged `.bcd` bytes, past every damaged place."""

import mmap
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from bcdcodec.container.chunks import CHUNK_TYPES, MAX_CHUNK_BYTES, SIGNATURE, RawChunk, header_bytes
from bcdcodec.container.varint import read_varint
from bcdcodec.errors import FormatError

SEARCH_BYTES = 1 << 30  # checked at most for chunks that turn out to be none: hostile bytes could state many

_TYPE_BYTES = _CRC_BYTES = 4
_MOST_HEADER_BYTES = _TYPE_BYTES + 4 + _CRC_BYTES
_KNOWN = re.compile(b"|".join(CHUNK_TYPES))


@dataclass(frozen=True)
class Damage:
    """Bytes that are no intact chunk."""

    offset: int  # bytes from the start of the file
    end: int
    name: str  # of the chunk that seems to begin there; empty where none does
    payload: int  # where its payload begins
    cut: bool  # it states an end beyond the end of the file


def find_chunks(data: bytes | mmap.mmap) -> Iterator[RawChunk | Damage]:
    """Yield every intact chunk in order, and what lies between them.

    Behind a damaged chunk the next one is expected where its stated length ends; if none begins there, one is
    searched for byte by byte. A wrong signature is damage, too.
    """
    search = _Search(data)
    at = len(SIGNATURE) if data[: len(SIGNATURE)] == SIGNATURE else 0
    while at < len(data):
        chunk = search.intact_at(at)
        if chunk is not None:
            yield chunk
            at += header_bytes(chunk.length) + chunk.length
            continue
        end = search.next_after(at)
        name, payload, stated_end = search.stated_at(at) or ("", end, 0)
        yield Damage(at, end, name, min(payload, end), stated_end > len(data) == end)
        at = end


class _Search:
    def __init__(self, data: bytes | mmap.mmap):
        self.data = data
        self._left = SEARCH_BYTES

    def stated_at(self, at: int) -> tuple[str, int, int] | None:
        """Name, payload's begin and end of the known chunk whose header stands at a byte; None if none does."""
        found = self._header(at)
        return (
            None
            if found is None or not _KNOWN.match(found[0])
            else (found[0].decode(), at + found[1], at + found[1] + found[2])
        )

    def intact_at(self, at: int) -> RawChunk | None:
        found = self._header(at)
        if found is None:
            return None
        kind, header, length = found
        payload = self.data[at + header : at + header + length]
        if len(payload) < length:
            return None
        crc = int.from_bytes(self.data[at + header - _CRC_BYTES : at + header], "little")
        if zlib.crc32(payload, zlib.crc32(self.data[at : at + header - _CRC_BYTES])) != crc:
            self._left -= length
            return None
        return RawChunk(kind, at, length, payload, intact=True)

    def next_after(self, at: int) -> int:
        """Where the next intact chunk begins; the end of the file if there is none.

        Behind a known chunk one that is known, too, need not be intact: it may be the last one, and cut.
        """
        stated = self.stated_at(at)
        if stated is not None and self.stated_at(stated[2]) is not None:
            return stated[2]
        for match in _KNOWN.finditer(self.data, at + 1):
            if self._left <= 0:
                break
            if self.intact_at(match.start()) is not None:
                return match.start()
        return len(self.data)

    def _header(self, at: int) -> tuple[bytes, int, int] | None:
        """Type, bytes of the header and stated length of what stands at a byte."""
        header = self.data[at : at + _MOST_HEADER_BYTES]
        kind = header[:_TYPE_BYTES]
        if len(kind) < _TYPE_BYTES or not kind.isalpha() or not kind.isascii():
            return None
        try:
            length, end = read_varint(header, _TYPE_BYTES)
        except FormatError:
            return None
        if length > MAX_CHUNK_BYTES or len(header) < end + _CRC_BYTES:
            return None
        return kind, end + _CRC_BYTES, length
