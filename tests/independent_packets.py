"""Reads the packets of a live stream by format-spec.md, section 19, with the standard library only."""

import zlib

from independent_context import ContextChunk, context_frame
from independent_reader import RangeDecoder, cumulative, read_head, varint


class Session:
    """One direction of a stream: the packets in the order in which they were sent."""

    def __init__(self, tables):
        self.tables, self.motion = tables, [cumulative(row) for row in tables.motion_frequencies]
        self.head = self.chunk = None
        self.pieces = {}

    def read(self, data):
        """What a packet holds, by name; codes and whole contents are decoded."""
        if not 1 <= len(data) <= 1200:
            raise ValueError("size")
        kind, flags = data[0] % 4, data[0] >> 2
        found = {"kind": ("media", "description", "control", "end")[kind]}
        if flags >> (5, 2, 5, 0)[kind] or (kind == 2 and flags & 7):
            raise ValueError("flags")
        if kind == 3:
            if len(data) > 201:
                raise ValueError("reason")
            return found | {"reason": data[1:].decode()}
        if kind == 1:
            if data[1] != 1 or not 1 <= data[2] <= 8:
                raise ValueError("description")
            self.head = head = read_head(data[3:])
            fields = {"packet_frames": data[2], "answered": bool(flags & 1), "sound": bool(flags & 2)}
            names = ("model_name", "coded_width", "reenacted", "entropy_profile")
            return found | fields | {name: head[name] for name in names}
        at = 1
        if kind == 0:
            found["sequence"] = int.from_bytes(data[1:3], "little")
            at = 4
        names = [name for bit, name in ((16, "report"), (8, "fragment"), (4, "sound"), (1, "motion")) if flags & bit]
        if not names and (kind == 2 or len(data) > 4):
            raise ValueError("no sections")
        for name in names:
            size = len(data) - at
            if name != names[-1]:
                size, at = varint(data, at)
            if at + size > len(data):
                raise ValueError("length")
            part, at = data[at : at + size], at + size
            found[name] = part.hex() if name == "sound" else getattr(self, name + "_part")(part, data)
        return found

    def motion_part(self, part, data):
        """Codes of the coded frames, with the fields of the header."""
        fields = data[3]
        content, s, t = fields & 7, (fields >> 3 & 3) + 1, (fields >> 5) + 1
        restart = bool(data[0] & 8)
        decoder, codes = RangeDecoder(part), []
        context = self.head["entropy_profile"]
        if restart:
            self.chunk = (
                ContextChunk(self.tables.context, len(self.motion), len(self.motion[0]) - 1) if context else None
            )
        for _ in range(0, t, s):
            if context:
                codes.append(context_frame(decoder, self.chunk))
                self.chunk.add(codes[-1])
            else:
                codes.append([decoder.symbol(table) for table in self.motion])
        return {"content": content, "stride": s, "frames": t, "restart": restart, "codes": codes}

    def fragment_part(self, part, data):
        """Number, index and count; the payload of the CONT where this fragment makes it whole."""
        number, at = varint(part, 0)
        index, count, piece = part[at], part[at + 1], part[at + 2 :]
        if number > 1023 or not index < count <= 64 or not piece:
            raise ValueError("fragment")
        self.pieces.setdefault(number, {})[index] = piece
        found = {"content": number, "index": index, "count": count, "whole": None}
        if len(self.pieces[number]) == count:
            whole = b"".join(self.pieces[number][i] for i in range(count))
            if zlib.crc32(whole[:-4]) != int.from_bytes(whole[-4:], "little"):
                raise ValueError("crc")
            found["whole"] = whole[:-4].hex()
        return found

    def report_part(self, part, data):
        highest, received = (int.from_bytes(part[i : i + 2], "little") for i in (0, 2))
        at, numbers = 4, []
        for _ in range(3):
            number, at = varint(part, at)
            numbers.append(number)
        delay, have, wanted = numbers
        missing, at = varint(part, at) if wanted else (0, at)
        if at != len(part):
            raise ValueError("report")
        return {
            "highest": highest,
            "received": received,
            "delay_ms": delay,
            "have": have - 1 if have else None,
            "wanted": wanted - 1 if wanted else None,
            "missing": missing,
        }
