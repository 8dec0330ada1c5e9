"""Raw chunks on a binary stream, seekable or not: signature, type, length, CRC, payload."""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from bcdcodec.container.varint import pack_varint, read_varint
from bcdcodec.errors import ChecksumError, FormatError, LimitError, TruncatedError

SIGNATURE = b"\x89BCD\r\n\x1a\n"
MAX_CHUNK_BYTES = 64 << 20

# All chunk types of this version.
CHUNK_TYPES = HEAD, CONT, MOTN, TABL, AUDI, SURR, META, INDX, TAIL = (
    b"HEAD", b"CONT", b"MOTN", b"TABL", b"AUDI", b"sURR", b"mETa", b"iNDX", b"TAIL",
)  # fmt: skip

_TYPE_BYTES = _CRC_BYTES = 4
_LENGTH_BYTES = 4  # at most, of a length up to the limit
_LEAST_HEADER_BYTES = _TYPE_BYTES + 1 + _CRC_BYTES
_READ_PIECE = 1 << 20


@dataclass(frozen=True)
class RawChunk:
    """One chunk as it lies in the file."""

    type: bytes  # four ASCII letters
    offset: int  # of its first byte, bytes from the start of the file
    length: int  # stated length of the payload, bytes
    payload: bytes  # shorter than `length` where the file ends first
    intact: bool  # the payload is whole and its CRC agrees

    @property
    def name(self) -> str:
        return self.type.decode("ascii")

    @property
    def whole(self) -> bool:
        return len(self.payload) == self.length

    @property
    def ancillary(self) -> bool:
        return bool(self.type[0] & 0x20)

    def require_intact(self) -> None:
        """Raise TruncatedError or ChecksumError unless the chunk is whole and undamaged."""
        if not self.whole:
            found = f"{len(self.payload)} of {self.length} bytes"
            raise TruncatedError(f"the file ends inside chunk {self.name} at byte {self.offset}: {found} are there")
        if not self.intact:
            raise ChecksumError(f"chunk {self.name} at byte {self.offset} is damaged: its CRC-32 does not agree")


def chunk_crc(kind: bytes, payload: bytes) -> int:
    """Return the CRC-32 over type, length and payload."""
    return zlib.crc32(payload, zlib.crc32(kind + pack_varint(len(payload))))


def header_bytes(length: int) -> int:
    """Return the size of the type, length and CRC before a payload of `length` bytes: 9 to 12."""
    return _TYPE_BYTES + len(pack_varint(length)) + _CRC_BYTES


def pack_chunk(kind: bytes, payload: bytes) -> bytes:
    """Return the bytes of a chunk; LimitError for a payload over 64 MiB."""
    if len(payload) > MAX_CHUNK_BYTES:
        raise LimitError(f"chunk {kind.decode()} would have {len(payload)} bytes, the limit is {MAX_CHUNK_BYTES}")
    return kind + pack_varint(len(payload)) + struct.pack("<I", chunk_crc(kind, payload)) + payload


def read_signature(file: BinaryIO) -> None:
    """Read the first 8 bytes; TruncatedError for an empty or shorter file, FormatError for any other start."""
    start = read_up_to(file, len(SIGNATURE))
    if start == SIGNATURE:
        return
    if SIGNATURE.startswith(start):
        raise TruncatedError(f"the file ends after {len(start)} bytes, before the end of the .bcd signature")
    raise FormatError(f"not a .bcd file: it starts with {start.hex(' ')}, expected {SIGNATURE.hex(' ')}")


def read_chunks(file: BinaryIO, offset: int = len(SIGNATURE)) -> Iterator[RawChunk]:
    """Yield the chunks of `file`, which stands at byte `offset`, until it ends.

    A chunk cut by the end of the file comes with what there is of its payload; so does one whose CRC
    disagrees, with `intact` False. A cut chunk header ends the iteration.
    Raises FormatError where no chunk type stands or a length is not in its shortest form, and LimitError
    for a length above 64 MiB; these, and only these, mean that whatever follows cannot be found.
    """
    while True:
        header = read_up_to(file, _LEAST_HEADER_BYTES)
        if len(header) < _LEAST_HEADER_BYTES:
            return
        kind = header[:_TYPE_BYTES]
        if not kind.isalpha() or not kind.isascii():
            raise FormatError(f"no chunk at byte {offset}: found {kind.hex(' ')}, expected four ASCII letters")
        length, crc_at = _stated_length(header, offset)
        missing = crc_at + _CRC_BYTES - _LEAST_HEADER_BYTES
        if missing:
            header += read_up_to(file, missing)
            if len(header) < crc_at + _CRC_BYTES:
                return
        payload = read_up_to(file, length)
        crc = int.from_bytes(header[crc_at:], "little")
        intact = len(payload) == length and zlib.crc32(payload, zlib.crc32(header[:crc_at])) == crc
        yield RawChunk(kind, offset, length, payload, intact)
        offset += len(header) + length


def _stated_length(header: bytes, offset: int) -> tuple[int, int]:
    """Return the payload's length and where in the header it ends.

    The least bytes that a chunk header has hold any length within the limit.
    """
    if header[_TYPE_BYTES] < 0x80:  # one byte, as most are
        return header[_TYPE_BYTES], _TYPE_BYTES + 1
    name = header[:_TYPE_BYTES].decode("ascii")
    if min(header[_TYPE_BYTES : _TYPE_BYTES + _LENGTH_BYTES]) >= 0x80:
        found = f"a length of more than {_LENGTH_BYTES} bytes"
        raise LimitError(f"chunk {name} at byte {offset} states {found}, the limit is {MAX_CHUNK_BYTES}")
    try:
        length, end = read_varint(header, _TYPE_BYTES)
    except FormatError as error:
        raise FormatError(f"chunk {name} at byte {offset} does not state its length in the shortest form") from error
    if length > MAX_CHUNK_BYTES:
        raise LimitError(f"chunk {name} at byte {offset} states {length} bytes, the limit is {MAX_CHUNK_BYTES}")
    return length, end


def read_up_to(file: BinaryIO, size: int) -> bytes:
    """Return the next `size` bytes, fewer only at the end; never asks for more than 1 MiB at once."""
    parts = []
    while size > 0:
        part = file.read(min(size, _READ_PIECE))
        if not part:
            break
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
