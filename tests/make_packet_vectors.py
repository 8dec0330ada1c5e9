"""Writes the vectors of live packets: `python tests/make_packet_vectors.py`; the same bytes every time."""

import json
from dataclasses import replace
from pathlib import Path

from vector_parts import CONTEXT, SMALL, head_for, picture_for, wandering
from vector_pictures import KEY

from bcdcodec.container.payloads import pack_content
from bcdcodec.entropy.profiles import PROFILE_CONTEXT, PROFILE_STATIC, PROFILES, profile_name
from bcdcodec.stream.fragments import split_content
from bcdcodec.stream.motion_coder import MotionWriter
from bcdcodec.stream.packets import (
    CONTENT_NUMBERS,
    SEQUENCES,
    ControlPacket,
    Description,
    EndPacket,
    Fragment,
    MediaPacket,
    MotionPart,
    Report,
    pack_packet,
)

PATH = Path(__file__).parent / "vectors" / "packets.json"
OPUS = b"\x58\x01\x02\x03"  # 20 ms of SILK: what the bytes after the first are matters to Opus alone
FIRST = SEQUENCES - 2  # the number of the first media packet, so that it wraps


def session(profile: int) -> list[bytes]:
    """The packets of a session: descriptions, motion of 4 packets of 3 frames, a picture in pieces, reports, an end."""
    tables = CONTEXT if profile == PROFILE_CONTEXT else SMALL
    head = replace(head_for(tables, entropy_profile=profile), frame_count=0, frame_duration=1, reenacted=True)
    codes = wandering(tables, 0, 12).codes
    writer = MotionWriter(tables, profile)
    payload, _ = pack_content(picture_for(tables, 9, KEY), tables)
    pieces = split_content(9, payload, len(payload) // 2)
    packets = [Description(head, 3, sound=True), Description(head, 3, answered=True)]
    reports = [None, Report(FIRST, 0xFFFD, 12, None, 9, 0b110), None, Report(1, 7, 60000, 9)]
    for i in range(4):
        stride = 2 if i == 2 else 1
        coded, restart = writer.write(codes[3 * i : 3 * i + 3 : stride], restart=i == 3)
        motion = MotionPart(3, 9 % CONTENT_NUMBERS, coded, restart, stride)
        sound = OPUS if i % 2 == 0 else None
        fragment = pieces[i] if i < len(pieces) else None
        packets.append(MediaPacket((FIRST + i) % SEQUENCES, motion, sound, fragment, reports[i]))
    packets += [MediaPacket(2), MediaPacket(3, sound=OPUS), ControlPacket(Fragment(1023, 63, 64, b"\0"))]
    packets += [ControlPacket(report=Report(0, 0, 0)), EndPacket(), EndPacket("another model: größer")]
    return [pack_packet(packet) for packet in packets]


def faulty() -> dict[str, tuple[str, bytes]]:
    """Name -> (class of error, bytes)."""
    report = pack_packet(ControlPacket(report=Report(5, 0, 9, 3)))
    fragment = pack_packet(ControlPacket(Fragment(2, 0, 2, b"abc")))
    media = pack_packet(MediaPacket(7, MotionPart(3, 1, b"\x12\x34"), OPUS))
    described = session(PROFILE_STATIC)[0]
    return {
        "empty": ("LimitError", b""),
        "too long": ("LimitError", b"\x04\0\0\0" + bytes(1197)),
        "media with flag 7": ("UnsupportedError", b"\x80\0\0\0"),
        "media cut in its header": ("TruncatedError", b"\0\0\0"),
        "motion fields without motion": ("FormatError", b"\0\0\0\x20"),
        "restart without motion": ("FormatError", b"\x08\0\0\0"),
        "bytes without sections": ("FormatError", b"\0\0\0\0\0"),
        "no Opus packet": ("FormatError", b"\x10\0\0\0\x5b\x3f"),
        "cut in a section": ("TruncatedError", media[:6]),
        "length not in its shortest form": ("FormatError", media[:4] + b"\x84\0" + media[5:]),
        "description of version 2": ("UnsupportedError", described[:1] + b"\x02" + described[2:]),
        "description of 0 frames": ("LimitError", described[:2] + b"\0" + described[3:]),
        "description cut": ("FormatError", described[:20]),
        "control without sections": ("FormatError", b"\x02"),
        "control with sound": ("UnsupportedError", b"\x12" + OPUS),
        "fragment above its count": ("LimitError", fragment[:2] + b"\x02\x02abc"),
        "fragment without bytes": ("TruncatedError", fragment[:-3]),
        "65 fragments": ("LimitError", fragment[:2] + b"\0\x41abc"),
        "content 1024": ("LimitError", b"\x22\x80\x08\0\x01a"),
        "report with more bytes": ("FormatError", report + b"\0"),
        "report cut": ("TruncatedError", report[:4]),
        "end with flags": ("UnsupportedError", b"\x07"),
        "end with a long reason": ("LimitError", b"\x03" + b"a" * 201),
        "reason not UTF-8": ("FormatError", b"\x03\xff"),
    }


def packet_vectors() -> dict:
    import independent_packets
    import independent_reader

    found = {"sessions": {}, "faulty": {name: [error, data.hex()] for name, (error, data) in faulty().items()}}
    for profile in PROFILES.values():
        tables = "small_context" if profile == PROFILE_CONTEXT else "small"
        reader = independent_packets.Session(independent_reader.Tables(PATH.parent / f"{tables}.safetensors"))
        packets = [{"bytes": data.hex()} | reader.read(data) for data in session(profile)]
        found["sessions"][profile_name(profile)] = {"tables": tables, "packets": packets}
    return found


def text() -> str:
    """The file, a packet a line."""
    found = packet_vectors()
    lines = ['{"sessions": {']
    for i, (name, session) in enumerate(found["sessions"].items()):
        lines.append(f'{"," * bool(i)}"{name}": {{"tables": "{session["tables"]}", "packets": [')
        lines.append(",\n".join(json.dumps(packet, ensure_ascii=False) for packet in session["packets"]))
        lines.append("]}")
    lines += ["},", '"faulty": {', ",\n".join(f'"{n}": {json.dumps(f)}' for n, f in found["faulty"].items()), "}}"]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PATH.write_text(text())
