"""The packets of a live stream, packed and unpacked (format-spec.md, section 19). Needs neither torch nor PyAV."""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace

from bcdcodec.container.audio import MAX_PACKET_SAMPLES, opus_samples
from bcdcodec.container.head import Head, pack_head, unpack_head
from bcdcodec.container.payloads import MAX_CONTENTS
from bcdcodec.container.varint import pack_varint, read_varint
from bcdcodec.errors import FormatError, LimitError, TruncatedError, UnsupportedError

VERSION = 1
MAX_PACKET_BYTES = 1200  # of a whole packet: with all headers it fits what any network path takes unfragmented
SEQUENCES = 1 << 16
MAX_PACKET_FRAMES = 8
MAX_PACKET_STRIDE = 4
CONTENT_NUMBERS = 8  # of the content of motion, the number modulo this is sent
MAX_FRAGMENTS = 64  # of one content
MAX_REASON_BYTES = 200
MAX_DELAY_MS = 60_000
HISTORY = 16  # packets before the highest one that a report tells of

MEDIA, DESCRIPTION, CONTROL, END = range(4)
KIND_BITS = 3  # mask of the first byte
FLAG_MOTION, FLAG_RESTART, FLAG_SOUND, FLAG_FRAGMENT, FLAG_REPORT = 4, 8, 16, 32, 64  # of kinds 0 and 2
FLAG_ANSWERED, FLAG_SOUND_COMES = 4, 8  # of kind 1

_HEADER = struct.Struct("<BHB")
_REPORT = struct.Struct("<HH")


@dataclass(frozen=True)
class MotionPart:
    """The motion of a packet's frames, still coded."""

    frames: int  # t, 1..8
    content: int  # number of the content they move, modulo 8
    coded: bytes  # one range coder stream: codes of every `stride`-th frame
    restart: bool = True  # whether it is coded without the packets before it
    stride: int = 1  # 1..4

    @property
    def coded_frames(self) -> int:
        """Frames that have codes of their own."""
        return -(-self.frames // self.stride)


@dataclass(frozen=True)
class Fragment:
    """A piece of the payload of a CONT chunk, with its checksum at the end of the last piece."""

    content: int  # its number, 0..1023
    index: int  # 0..count - 1
    count: int  # 1..64
    data: bytes


@dataclass(frozen=True)
class Report:
    """What a receiver has got."""

    highest: int  # sequence number, modulo 65536
    received: int  # bit i: highest - 1 - i was received, too; 16 bits
    delay_ms: int  # from the arrival of the highest to the report
    have: int | None = None  # number of the newest whole content
    wanted: int | None = None  # number of a content that is not whole
    missing: int = 0  # its fragments that are missing, bit i for index i; 0: all


@dataclass(frozen=True)
class MediaPacket:
    """One of a row of packets, each of so many frames and the sound of their time."""

    sequence: int  # modulo 65536
    motion: MotionPart | None = None
    sound: bytes | None = None  # one Opus packet
    fragment: Fragment | None = None
    report: Report | None = None


@dataclass(frozen=True)
class Description:
    """What holds for a whole session."""

    head: Head  # model and tables, picture sizes, frame rate, profiles; whether it is a reenactment
    packet_frames: int  # frames a media packet at most: packet n begins with frame n times this
    sound: bool = False  # whether sound will come
    answered: bool = False  # whether the sender has the other side's description


@dataclass(frozen=True)
class ControlPacket:
    """A fragment or a report outside of the row of media packets."""

    fragment: Fragment | None = None
    report: Report | None = None


@dataclass(frozen=True)
class EndPacket:
    """The sender leaves; the reason is for the user, empty for a plain end."""

    reason: str = ""


Packet = MediaPacket | Description | ControlPacket | EndPacket


def pack_packet(packet: Packet) -> bytes:
    """Return the bytes of a packet; LimitError or FormatError for what no packet may hold."""
    if isinstance(packet, Description):
        data = _pack_description(packet)
    elif isinstance(packet, EndPacket):
        data = bytes([END]) + _checked_reason(packet.reason.encode())
    else:
        data = _pack_sections(packet)
    _check_size(data)
    return data


def unpack_packet(data: bytes) -> Packet:
    """Return the packet in a datagram.

    Motion stays coded and the payload of a content in pieces, so nothing is allocated beyond the datagram's size.
    Raises FormatError and its kinds.
    """
    _check_size(data)
    kind, flags = data[0] & KIND_BITS, data[0] & ~KIND_BITS
    if kind == DESCRIPTION:
        return _unpack_description(data, flags)
    if kind == END:
        _refuse_flags(flags, 0, "end")
        reason = _checked_reason(data[1:])
        try:
            return EndPacket(reason.decode())
        except UnicodeDecodeError as error:
            raise FormatError(f"the reason in an end packet is not UTF-8: {error.reason}") from None
    if kind == CONTROL:
        _refuse_flags(flags, FLAG_FRAGMENT | FLAG_REPORT, "control")
        if not flags:
            raise FormatError("a control packet holds neither a fragment nor a report, expected one")
        parts = _split(data, 1, [flag for flag in (FLAG_REPORT, FLAG_FRAGMENT) if flags & flag])
        return ControlPacket(_fragment_of(parts), _report_of(parts))
    return _unpack_media(data, flags)


def _unpack_media(data: bytes, flags: int) -> MediaPacket:
    _refuse_flags(flags, FLAG_MOTION | FLAG_RESTART | FLAG_SOUND | FLAG_FRAGMENT | FLAG_REPORT, "media")
    if len(data) < _HEADER.size:
        raise TruncatedError(f"a media packet has {len(data)} bytes, expected at least {_HEADER.size}")
    _, sequence, fields = _HEADER.unpack_from(data)
    sections = [flag for flag in (FLAG_REPORT, FLAG_FRAGMENT, FLAG_SOUND, FLAG_MOTION) if flags & flag]
    parts = _split(data, _HEADER.size, sections)
    motion = None
    if flags & FLAG_MOTION:
        frames, stride, content = 1 + (fields >> 5), 1 + (fields >> 3 & 3), fields & 7
        motion = MotionPart(frames, content, parts[FLAG_MOTION], bool(flags & FLAG_RESTART), stride)
    elif fields or flags & FLAG_RESTART:
        raise FormatError(f"a media packet without motion has the motion fields {fields:#04x}, expected none")
    sound = parts.get(FLAG_SOUND)
    if sound is not None:
        opus_samples(sound)
    return MediaPacket(sequence, motion, sound, _fragment_of(parts), _report_of(parts))


def _pack_sections(packet: MediaPacket | ControlPacket) -> bytes:
    parts: list[tuple[int, bytes]] = []
    if packet.report is not None:
        parts.append((FLAG_REPORT, _pack_report(packet.report)))
    if packet.fragment is not None:
        parts.append((FLAG_FRAGMENT, _pack_fragment(packet.fragment)))
    flags = 0
    if isinstance(packet, ControlPacket):
        if not parts:
            raise FormatError("a control packet holds neither a fragment nor a report, expected one")
        start = bytes([CONTROL | sum(flag for flag, _ in parts)])
    else:
        fields, motion = 0, packet.motion
        if packet.sound is not None:
            if opus_samples(packet.sound) > MAX_PACKET_SAMPLES:
                raise LimitError("a packet of sound is too long")
            parts.append((FLAG_SOUND, packet.sound))
        if motion is not None:
            _within("frames", motion.frames, 1, MAX_PACKET_FRAMES)
            _within("stride", motion.stride, 1, MAX_PACKET_STRIDE)
            _within("content modulo 8", motion.content, 0, CONTENT_NUMBERS - 1)
            fields = motion.frames - 1 << 5 | motion.stride - 1 << 3 | motion.content
            flags = FLAG_RESTART * motion.restart
            parts.append((FLAG_MOTION, motion.coded))
        flags |= sum(flag for flag, _ in parts)
        _within("sequence", packet.sequence, 0, SEQUENCES - 1)
        start = _HEADER.pack(MEDIA | flags, packet.sequence, fields)
    sized = [pack_varint(len(part)) + part for _, part in parts[:-1]] + [part for _, part in parts[-1:]]
    return start + b"".join(sized)


def _split(data: bytes, at: int, sections: list[int]) -> dict[int, bytes]:
    """Return the bytes of each section: all but the last have their length before them."""
    parts = {}
    for flag in sections[:-1]:
        size, at = read_varint(data, at)
        if at + size > len(data):
            raise TruncatedError(f"a section states {size} bytes, {len(data) - at} are there")
        parts[flag] = data[at : at + size]
        at += size
    if sections:
        parts[sections[-1]] = data[at:]
    elif at < len(data):
        raise FormatError(f"{len(data) - at} bytes follow the header of a packet without sections")
    return parts


def _pack_fragment(fragment: Fragment) -> bytes:
    _within("content", fragment.content, 0, MAX_CONTENTS - 1)
    _within("fragments", fragment.count, 1, MAX_FRAGMENTS)
    _within("fragment", fragment.index, 0, fragment.count - 1)
    if not fragment.data:
        raise FormatError("a fragment has 0 bytes, expected at least 1")
    return pack_varint(fragment.content) + bytes([fragment.index, fragment.count]) + fragment.data


def _fragment_of(parts: dict[int, bytes]) -> Fragment | None:
    part = parts.get(FLAG_FRAGMENT)
    if part is None:
        return None
    content, at = read_varint(part, 0)
    if len(part) < at + 3:
        raise TruncatedError(f"a fragment has {len(part)} bytes, expected at least {at + 3}")
    _within("content", content, 0, MAX_CONTENTS - 1)
    index, count = part[at], part[at + 1]
    _within("fragments", count, 1, MAX_FRAGMENTS)
    _within("fragment", index, 0, count - 1)
    return Fragment(content, index, count, part[at + 2 :])


def _pack_report(report: Report) -> bytes:
    for name, value in (("highest", report.highest), ("received", report.received)):
        _within(name, value, 0, SEQUENCES - 1)
    _within("delay", report.delay_ms, 0, MAX_DELAY_MS)
    numbers = [report.delay_ms]
    for name, number in (("have", report.have), ("wanted", report.wanted)):
        _within(name, -1 if number is None else number, -1, MAX_CONTENTS - 1)
        numbers.append(0 if number is None else number + 1)
    if report.wanted is not None:
        numbers.append(report.missing)
    elif report.missing:
        raise FormatError(f"a report misses fragments {report.missing:#x} of no content")
    return _REPORT.pack(report.highest, report.received) + b"".join(map(pack_varint, numbers))


def _report_of(parts: dict[int, bytes]) -> Report | None:
    part = parts.get(FLAG_REPORT)
    if part is None:
        return None
    if len(part) < _REPORT.size:
        raise TruncatedError(f"a report has {len(part)} bytes, expected more")
    highest, received = _REPORT.unpack_from(part)
    delay, at = read_varint(part, _REPORT.size)
    have, at = read_varint(part, at)
    wanted, at = read_varint(part, at)
    missing = 0
    if wanted:
        missing, at = read_varint(part, at)
    _within("delay", delay, 0, MAX_DELAY_MS)
    _within("have", have, 0, MAX_CONTENTS)
    _within("wanted", wanted, 0, MAX_CONTENTS)
    if at != len(part):
        raise FormatError(f"{len(part) - at} bytes follow a report")
    return Report(highest, received, delay, have - 1 if have else None, wanted - 1 if wanted else None, missing)


def _pack_description(packet: Description) -> bytes:
    _check_description(packet)
    flags = FLAG_ANSWERED * packet.answered | FLAG_SOUND_COMES * packet.sound
    return bytes([DESCRIPTION | flags, VERSION, packet.packet_frames]) + pack_head(replace(packet.head, frame_count=0))


def _unpack_description(data: bytes, flags: int) -> Description:
    _refuse_flags(flags, FLAG_ANSWERED | FLAG_SOUND_COMES, "description")
    if len(data) < 3:
        raise TruncatedError(f"a description has {len(data)} bytes, expected more")
    if data[1] != VERSION:
        raise UnsupportedError(
            f"the other side speaks version {data[1]} of the packets, this bcdcodec {VERSION}: use the same on both"
        )
    found = Description(unpack_head(data[3:]), data[2], bool(flags & FLAG_SOUND_COMES), bool(flags & FLAG_ANSWERED))
    _check_description(found)
    return found


def _check_description(packet: Description) -> None:
    _within("frames a packet", packet.packet_frames, 1, MAX_PACKET_FRAMES)
    if not packet.head.frame_duration:
        raise FormatError("a session of a variable frame rate is described, expected a constant one")
    if packet.head.frame_count:
        raise FormatError(f"a description states {packet.head.frame_count} frames, expected 0")


def _checked_reason(reason: bytes) -> bytes:
    if len(reason) > MAX_REASON_BYTES:
        raise LimitError(f"the reason in an end packet has {len(reason)} bytes, the limit is {MAX_REASON_BYTES}")
    return reason


def _refuse_flags(flags: int, known: int, what: str) -> None:
    if flags & ~known:
        raise UnsupportedError(f"a {what} packet has the flags {flags:#04x}, this version knows {known:#04x}")


def _check_size(data: bytes) -> None:
    if not 1 <= len(data) <= MAX_PACKET_BYTES:
        raise LimitError(f"a packet has {len(data)} bytes, expected 1 to {MAX_PACKET_BYTES}")


def _within(name: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise LimitError(f"packet: {name} is {value}, expected {low} to {high}")
