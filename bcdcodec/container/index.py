"""The iNDX chunk: where contents and motion lie, for readers that fetch parts of a long file."""

import struct
from dataclasses import dataclass

from bcdcodec.container.chunks import CONT, MOTN, header_bytes
from bcdcodec.container.varint import pack_varint, read_varint
from bcdcodec.errors import FormatError

INDEX_ABOVE = 8  # CONT and MOTN chunks; with fewer, walking the chunk headers is as fast

_KINDS = (CONT, MOTN)


@dataclass(frozen=True)
class IndexEntry:
    """One CONT or MOTN chunk."""

    type: bytes
    offset: int  # bytes from the start of the file
    first_frame: int


def pack_index(entries: list[IndexEntry]) -> bytes:
    """Return the payload of iNDX; it ends in the size of the whole chunk, so that it is found from the file's end."""
    out = bytearray()
    before = IndexEntry(CONT, 0, 0)
    for entry in entries:
        out.append(_KINDS.index(entry.type))
        out += pack_varint(entry.offset - before.offset)
        out += pack_varint(entry.first_frame)
        before = entry
    return bytes(out) + struct.pack("<I", _chunk_bytes(len(out) + 4))


def unpack_index(payload: bytes) -> list[IndexEntry]:
    """Return the entries of iNDX."""
    expected = _chunk_bytes(len(payload))
    if len(payload) < 4 or struct.unpack("<I", payload[-4:])[0] != expected:
        raise FormatError(f"iNDX of {len(payload)} bytes does not end in its chunk's size {expected}")
    body, at, offset, entries = payload[:-4], 0, 0, []
    while at < len(body):
        kind = body[at]
        if kind >= len(_KINDS):
            raise FormatError(f"iNDX names chunk kind {kind}, expected 0 or 1")
        step, at = read_varint(body, at + 1)
        first_frame, at = read_varint(body, at)
        offset += step
        entries.append(IndexEntry(_KINDS[kind], offset, first_frame))
    return entries


def _chunk_bytes(length: int) -> int:
    return header_bytes(length) + length
