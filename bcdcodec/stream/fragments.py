"""Contents in pieces between motion packets: cut on one side, put together on the other."""

from __future__ import annotations

import zlib
from collections import OrderedDict

from bcdcodec.errors import ChecksumError, LimitError
from bcdcodec.stream.packets import MAX_FRAGMENTS, Fragment

FRAGMENT_BYTES = 400  # of one piece, unless that makes more than MAX_FRAGMENTS
OPEN_CONTENTS = 4  # that are put together at a time
CRC_BYTES = 4


def split_content(number: int, payload: bytes, size: int = FRAGMENT_BYTES) -> list[Fragment]:
    """The payload of a CONT and its CRC-32 in pieces of at most `size` bytes; LimitError where it is too long."""
    data = payload + zlib.crc32(payload).to_bytes(CRC_BYTES, "little")
    size = max(size, -(-len(data) // MAX_FRAGMENTS))
    if size > 1100:
        raise LimitError(f"a content of {len(payload)} bytes is too long for a stream, the limit is 70 kB")
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    return [Fragment(number, i, len(pieces), piece) for i, piece in enumerate(pieces)]


class ContentAssembly:
    """Takes fragments in any order, once or more often, and gives each content once it is whole."""

    def __init__(self) -> None:
        self._open: OrderedDict[int, tuple[int, dict[int, bytes]]] = OrderedDict()  # count, pieces by index
        self._done: set[int] = set()

    def add(self, fragment: Fragment) -> bytes | None:
        """The payload of a CONT that this fragment completes, else None.

        Raises ChecksumError where the pieces do not fit together: they are dropped and have to be sent again.
        """
        number = fragment.content
        if number in self._done:
            return None
        count, pieces = self._open.get(number, (fragment.count, {}))
        if count != fragment.count:  # cut anew by the sender
            count, pieces = fragment.count, {}
        pieces[fragment.index] = fragment.data
        self._open[number] = count, pieces
        while len(self._open) > OPEN_CONTENTS:
            self._open.popitem(last=False)
        if len(pieces) < count:
            return None
        del self._open[number]
        data = b"".join(pieces[i] for i in range(count))
        payload, crc = data[:-CRC_BYTES], data[-CRC_BYTES:]
        if zlib.crc32(payload).to_bytes(CRC_BYTES, "little") != crc:
            raise ChecksumError(f"the pieces of content {number} do not fit together")
        self._done.add(number)
        return payload

    def missing(self, number: int) -> int:
        """The pieces that are missing of a content, bit i for index i; 0: all."""
        if number not in self._open:
            return 0
        count, pieces = self._open[number]
        return sum(1 << i for i in range(count) if i not in pieces)

    def newest_open(self) -> int | None:
        """The highest number of a content of which some pieces came."""
        return max(self._open, default=None)
