"""A second `.bcd` reader, written from format-spec.md with the standard library only, to check the first against."""

import hashlib
import json
import struct
import zlib
from bisect import bisect_right
from itertools import accumulate
from statistics import mode

from independent_content import learned_table, predicted_value
from independent_context import ContextChunk, context_frame
from independent_picture import picture

THRESHOLDS = (0, 1, 2, 3, 5, 8, 12, 18, 28)
KNOWN = {b"HEAD", b"TABL", b"CONT", b"MOTN", b"AUDI", b"mETa", b"iNDX", b"TAIL"}


class RangeDecoder:
    """Section 9."""

    def __init__(self, data, fill=b"\0"):
        self.data, self.fill, self.at, self.range = data, fill, 8, 2**64 - 1
        self.offset = int.from_bytes(data[:8].ljust(8, fill), "big")

    def symbol(self, cumulative):
        scale = self.range >> 24
        quantile = self.offset // scale
        if quantile >= 1 << 24:
            raise ValueError("coded data outside the range")
        symbol = bisect_right(cumulative, quantile >> 8) - 1
        self.offset -= scale * 256 * cumulative[symbol]
        self.range = scale * 256 * (cumulative[symbol + 1] - cumulative[symbol])
        if self.range < 1 << 32:
            word = int.from_bytes(self.data[self.at : self.at + 4].ljust(4, self.fill), "big")
            self.range, self.offset, self.at = self.range << 32, self.offset << 32 | word, self.at + 4
        return symbol


def cumulative(frequencies):
    return list(accumulate(frequencies, initial=0))


class Tables:
    """Section 5: cumulative tables from a safetensors file."""

    def __init__(self, path):
        data = path.read_bytes()
        size = struct.unpack("<Q", data[:8])[0]
        header, body = json.loads(data[8 : 8 + size]), data[8 + size :]

        def tensor(name):
            start, end = header[name]["data_offsets"]
            kind = {"U32": "I", "I32": "i", "U16": "H", "I16": "h", "U8": "B"}[header[name]["dtype"]]
            return struct.unpack(f"<{(end - start) // struct.calcsize(kind)}{kind}", body[start:end]), header[name][
                "shape"
            ]

        def rows(name):
            flat, shape = tensor(name)
            k = shape[-1]
            return [flat[i * k : (i + 1) * k] for i in range(len(flat) // k)]

        self.motion_frequencies = rows("motion_frequencies")
        self.content_frequencies = rows("content_frequencies")
        self.content = [cumulative(row) for row in self.content_frequencies]
        self.band = tensor("band_of_channel")[0]
        self.predicted = tensor("predicted_channels")[0][0]
        self.context = None
        if "context_first" in header:
            names = ("code_logits", "age_logits", "visit_logits", "activity_logits", "successors", "weights")
            names += ("pairs",) if "context_pairs" in header else ()
            self.context = {name: rows(f"context_{name}") for name in ("first", *names)}

        self.learned = None
        if "learned_frequencies" in header:
            names = ("unit_bias", "unit_weights", "output_bias", "output_weights", "direct_weights")
            self.learned = {name: rows(f"learned_{name}") for name in ("frequencies", *names)}
            self.learned_content = [cumulative(row) for row in self.learned["frequencies"]]

    def fingerprint(self, profile=0, content_profile=0):
        def one(rows):
            flat = [f for row in rows for f in row]
            return hashlib.sha256(struct.pack(f"<{2 + len(flat)}I", len(rows), len(rows[0]), *flat)).digest()

        both = one(self.motion_frequencies) + one(self.content_frequencies)
        print_ = hashlib.sha256(both + struct.pack("<I", self.predicted) + bytes(self.band)).digest()
        if content_profile == 1:
            values = one(self.learned["frequencies"]) + struct.pack("<I", self.predicted)
            for name, rows in self.learned.items():
                kind = {"frequencies": "", "unit_bias": "i", "output_bias": "i"}.get(name, "h")
                values += b"".join(struct.pack(f"<{len(row)}{kind}", *row) for row in rows if kind)
            print_ = hashlib.sha256(print_ + hashlib.sha256(values).digest()).digest()
        if profile == 0:
            return print_
        values = one(self.context["first"])
        for name, rows in self.context.items():
            kind = {"first": "", "successors": "H", "pairs": "H", "weights": "I"}.get(name, "h")
            values += b"".join(struct.pack(f"<{len(row)}{kind}", *row) for row in rows if kind)
        return hashlib.sha256(print_ + hashlib.sha256(values).digest()).digest()


def varint(data, at):
    value, shift = 0, 0
    while True:
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at


def chunks(data):
    """Yield (type, payload, whole) of a file; section 1."""
    if data[:8] != b"\x89BCD\r\n\x1a\n":
        raise ValueError("signature")
    at = 8
    while len(data) - at >= 9:
        kind = data[at : at + 4]
        length, end = varint(data, at + 4)
        start = end + 4
        if start > len(data):
            return
        crc = struct.unpack("<I", data[end:start])[0]
        payload = data[start : start + length]
        whole = len(payload) == length
        if whole and zlib.crc32(data[at:end] + payload) != crc:
            raise ValueError(f"crc of {kind}")
        yield kind, payload, whole
        at = start + length


def read_head(payload):
    """Section 2; returns all fields by name."""
    at = 19 + payload[18]
    flags = payload[1]
    head = {"frame_count": struct.unpack("<I", payload[2:6])[0], "model_name": payload[19:at].decode("ascii")}
    head |= {"model_fingerprint": payload[6:14], "tables_fingerprint": payload[14:18]}
    if payload[0] >> 4 != 1 or flags & 0x60:
        raise ValueError("version or flags")

    def fields(*names):
        nonlocal at
        for name in names:
            head[name], at = varint(payload, at)

    fields("source_width", "source_height")
    side = min(head["source_width"], head["source_height"])
    head |= {"x": (head["source_width"] - side) // 2, "y": (head["source_height"] - side) // 2, "w": side, "h": side}
    fields(*("x", "y", "w", "h") if flags & 1 else ())
    head["crop"] = tuple(head.pop(name) for name in ("x", "y", "w", "h"))
    fields("coded_width")
    head["coded_height"] = head["coded_width"]
    fields(*("coded_height",) if flags & 2 else ())
    fields("time_base_num", "time_base_den", "frame_duration")
    head |= {"groups": 64, "codes": 32, "sampler_seed": 0}
    fields(*("groups", "codes") if flags & 4 else ())
    fields(*("sampler_seed",) if flags & 8 else ())
    head["entropy_profile"], head["content_profile"] = payload[at : at + 2] if flags & 16 else (0, 0)
    ignorable = payload[at + (2 if flags & 16 else 0)] if flags & 128 else 0
    return head | {"generated": bool(ignorable & 1), "reenacted": bool(ignorable & 2)}


def read_picture(payload, at, number, keys):
    """Sections 3 and 16; returns ((width, height, base or None, unit), position after them)."""
    fields = []
    for _ in range(4):
        value, at = varint(payload, at)
        fields.append(value)
    width, height, distance, size = fields
    if not (16 <= width <= 2048 and 16 <= height <= 2048 and 1 <= size <= 1 << 20) or len(payload) < at + size:
        raise ValueError("picture")
    base, unit = number - distance if distance else None, payload[at : at + size]
    picture(number, width, height, base, unit, keys)
    return (width, height, base, unit), at + size


def read_content(payload, tables, motion, profile, keys):
    """Sections 3 and 15; returns (reference codes or None, values [n][d], picture or None)."""
    numbered, at = varint(payload, 0)
    _, at = varint(payload, at)
    rows, at = varint(payload, at)
    columns = d = 0
    flags, shown = numbered % 4, None
    if rows or not flags & 2:
        columns, at = varint(payload, at)
        d, at = varint(payload, at)
        at += 1  # step
        if not rows * columns * d:
            raise ValueError("no tokens")
    if flags & 2:
        shown, at = read_picture(payload, at, numbered // 4, keys)
    decoder = RangeDecoder(payload[at:])
    reference = [decoder.symbol(table) for table in motion] if flags & 1 else None
    v = {}

    def m(row, column, j):
        return abs(v.get((row, column, j), 0)) if j >= tables.predicted else 0

    def table(r, c, j):
        if profile == 1:
            return tables.learned_content[learned_table(tables.learned, tables.predicted, m, r, c, j)]
        a = 2 * (m(r, c, j - 1) + m(r, c, j - 2)) + m(r, c, j - 3) + m(r, c, j - 4)
        a += m(r - 1, c, j - 1) + m(r + 1, c, j - 1) + m(r, c - 1, j - 1) + m(r, c + 1, j - 1)
        return tables.content[tables.band[j] * 10 + sum(t < a for t in THRESHOLDS)]

    grid = [(row, column) for row in range(rows) for column in range(columns)]
    for j in range(d):
        escaped = []
        for r, c in grid:
            symbol = decoder.symbol(table(r, c, j))
            v[r, c, j] = symbol - 63
            if symbol == 127:
                escaped.append((r, c))
        for r, c in escaped:
            length = 1
            while not decoder.symbol([0, 32768, 65536]):
                length += 1
            x = 1
            for _ in range(length - 1):
                x = 2 * x + decoder.symbol([0, 32768, 65536])
            v[r, c, j] = (x + 63) * (-1 if decoder.symbol([0, 32768, 65536]) else 1)
    for j in range(tables.predicted if rows else 0):
        for r, c in grid:
            v[r, c, j] += (
                predicted_value(v, r, c, j) if profile else v[r, c - 1, j] if c else v[r - 1, c, j] if r else 0
            )
    return reference, [[v[r, c, j] for j in range(d)] for r, c in grid], shown


def read_pts(payload, at, frames):
    """Section 4, frame times; returns (pts [frames], position after them)."""

    def signed(zigzag):
        return -(zigzag + 1) // 2 if zigzag % 2 else zigzag // 2

    first, at = varint(payload, at)
    pts = [signed(first)]
    if frames == 1:
        return pts, at
    usual, at = varint(payload, at)
    steps, run_before = [], False
    while len(steps) < frames - 1:
        token, at = varint(payload, at)
        if token % 2 == 0 and (run_before or token // 2 + 1 > frames - 1 - len(steps)):
            raise ValueError("pts run")
        steps += [usual + signed((token + 1) // 2)] if token % 2 else [usual] * (token // 2 + 1)
        run_before = token % 2 == 0
    pts = list(accumulate(steps, initial=pts[0]))
    if min(steps) < 1 or usual != mode(sorted(steps)) or pts[0] < -(2**61) or pts[-1] > 2**61:
        raise ValueError("pts")
    return pts, at


def read_motion(payload, motion, whole, context=None):
    """Sections 4 and 10; returns (first frame, content, codes [u][g], pts [t] or None, frames t)."""
    first, at = varint(payload, 0)
    flagged, at = varint(payload, at)
    content, at = varint(payload, at)
    frames, flags, pts, stride = flagged // 4, flagged % 4, None, 1
    if flags & 2:
        stride, at = varint(payload, at)
        if not 2 <= stride <= 64:
            raise ValueError("stride")
    if flags & 1:
        pts, at = read_pts(payload, at, frames)
    low, high, codes = RangeDecoder(payload[at:]), RangeDecoder(payload[at:], b"\xff"), []
    chunk = ContextChunk(context, len(motion), len(motion[0]) - 1) if context else None

    def next_frame(decoder):
        return context_frame(decoder, chunk) if chunk else [decoder.symbol(table) for table in motion]

    for _ in range((frames + stride - 1) // stride):
        try:
            frame = next_frame(low)
            if not whole and frame != next_frame(high):
                break
        except ValueError:
            if whole:
                raise
            break
        codes.append(frame)
        if chunk:
            chunk.add(frame)
    if not whole:
        frames = min(frames, (len(codes) - 1) * stride + 1) if codes else 0
    return first, content, codes, pts[:frames] if pts else None, frames


SILK, HYBRID, CELT = [480, 960, 1920, 2880], [480, 960], [120, 240, 480, 960]


def read_audio(payload, first):
    """Section 13; returns (format or None, [(start, packet)], the sample after the last)."""
    start, at = varint(payload, 0)
    sound = None
    if first:
        sound = []
        for _ in range(4):
            value, at = varint(payload, at)
            sound.append(value)
        sound[3] = -(sound[3] + 1) // 2 if sound[3] % 2 else sound[3] // 2
    count, at = varint(payload, at)
    sizes = []
    for _ in range(count):
        size, at = varint(payload, at)
        sizes.append(size)
    if len(payload) != at + sum(sizes):
        raise ValueError("AUDI")
    packets = []
    for size in sizes:
        packet = payload[at : at + size]
        frames = packet[1] % 64 if packet[0] % 4 == 3 else 1 if packet[0] % 4 == 0 else 2
        samples = frames * (SILK * 3 + HYBRID * 2 + CELT * 4)[packet[0] // 8]
        if not 0 < samples <= 5760:
            raise ValueError("packet")
        packets.append((start, packet))
        at, start = at + size, start + samples
    return sound, packets, start


def read(data, tables):
    """Return a recording as plain values.

    {"head": fields, "contents": [(reference, values, picture)], "codes": [u][g], "pts": [t] or None, "used": [t],
    "sound": [channels, pre-skip, delay, gain] or None, "packets": [(first sample, bytes)],
    "surroundings": [(content, bytes)], "complete": bool}.
    """
    contents, codes, pts, used, complete = [], [], [], [], False
    sound, packets, heard, surroundings, keys = None, [], 0, [], {}
    motion = [cumulative(row) for row in tables.motion_frequencies]
    for kind, payload, whole in chunks(data):
        if kind == b"HEAD":
            head, minor = read_head(payload), payload[0] & 15
            groups, k = head["groups"], head["codes"]
            context = {0: None, 1: tables.context}[head["entropy_profile"]]
        elif kind == b"TABL":
            flat = struct.unpack(f"<{groups * k}H", payload)
            motion = [cumulative(flat[i * k : (i + 1) * k]) for i in range(groups)]
        elif kind == b"CONT" and whole:
            contents.append(read_content(payload, tables, motion, head["content_profile"], keys))
        elif kind == b"MOTN":
            try:
                first, content, new, ticks, frames = read_motion(payload, motion, whole, context)
            except IndexError:
                if whole:
                    raise
                break  # cut inside its fields
            if first != len(used):
                raise ValueError("frames out of order")
            codes += new
            used += [content] * frames
            pts += ticks or []
        elif kind == b"AUDI" and whole and minor >= 1:
            found, new, end = read_audio(payload, sound is None)
            sound = sound or found
            if new[0][0] < heard:
                raise ValueError("sound out of order")
            packets, heard = packets + new, end
        elif kind == b"sURR" and whole:
            content, at = varint(payload, 0)
            surroundings.append((content, payload[at:]))
        elif kind == b"TAIL" and whole:
            digest = hashlib.sha256(bytes(code for frame in codes for code in frame)).digest()
            count = struct.pack("<I", len(used))
            if payload != digest[:8] + (b"" if head["frame_count"] else count):
                raise ValueError("TAIL")
            complete = True
        elif kind not in KNOWN and not kind[:1].islower():
            raise ValueError(f"critical {kind}")
    return {
        "head": head,
        "contents": contents,
        "codes": codes,
        "pts": pts or None,
        "used": used,
        "sound": sound,
        "packets": packets,
        "surroundings": surroundings,
        "complete": complete,
    }
