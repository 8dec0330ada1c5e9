"""Unsigned integers of variable length (LEB128), as in chunk lengths and most fields."""

from bcdcodec.errors import FormatError, LimitError, TruncatedError


def pack_varint(value: int) -> bytes:
    """Return an unsigned integer below 2**64 as LEB128: 7 bits a byte, lowest first, top bit on all but the last."""
    value = int(value)
    if not 0 <= value < 1 << 64:
        raise LimitError(f"{value} cannot be written, expected 0 to 2**64 - 1")
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    """Return the integer at byte `at` and the position after it; its shortest form only."""
    value = 0
    for i in range(10):
        if at + i >= len(data):
            raise TruncatedError(f"a field ends at byte {len(data)} of its chunk, expected more")
        byte = data[at + i]
        value |= (byte & 0x7F) << 7 * i
        if byte < 0x80:
            if (byte == 0 and i > 0) or value >= 1 << 64:
                raise FormatError(f"an integer at byte {at} of its chunk is not in its shortest form below 2**64")
            return value, at + i + 1
    raise FormatError(f"an integer at byte {at} of its chunk has more than 10 bytes")
