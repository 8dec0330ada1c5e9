"""Packets of a live stream: two readers agree, damage gives BcdError alone, and loss costs what it must and no more."""

import itertools
import json
import subprocess
import sys
import tracemalloc
from dataclasses import replace
from pathlib import Path

import independent_packets
import independent_reader
import make_packet_vectors
import numpy as np
import pytest
from vector_parts import CONTEXT, SMALL, head_for, picture_for, wandering
from vector_pictures import KEY

from bcdcodec import errors
from bcdcodec.container.payloads import pack_content, unpack_content
from bcdcodec.entropy import ModelTables
from bcdcodec.entropy.profiles import PROFILE_CONTEXT, PROFILE_STATIC
from bcdcodec.errors import BcdError
from bcdcodec.stream.fragments import ContentAssembly, split_content
from bcdcodec.stream.motion_coder import MotionReader, MotionWriter
from bcdcodec.stream.packets import (
    MAX_PACKET_BYTES,
    SEQUENCES,
    ControlPacket,
    Description,
    EndPacket,
    Fragment,
    MediaPacket,
    MotionPart,
    Report,
    pack_packet,
    unpack_packet,
)
from bcdcodec.stream.sequence import content_number, unwrapped

PATH = make_packet_vectors.PATH
VECTORS = json.loads(PATH.read_text())
FOLDER = PATH.parent
OPUS = make_packet_vectors.OPUS
FULL = MediaPacket(
    7, MotionPart(3, 5, b"\x12\x34", False, 2), OPUS, Fragment(9, 1, 3, b"abc"), Report(6, 5, 40, 1, 2, 6)
)
PACKETS = [
    FULL,
    MediaPacket(SEQUENCES - 1),
    MediaPacket(0, MotionPart(8, 7, b"", True, 4)),
    ControlPacket(Fragment(1023, 63, 64, b"\xff" * 1000), Report(0, 0, 0)),
    Description(head_for(SMALL, reenacted=True), 8, True, True),
    EndPacket("no"),
]


@pytest.fixture(params=sorted(VECTORS["sessions"]))
def session(request):
    found = VECTORS["sessions"][request.param]
    path = FOLDER / f"{found['tables']}.safetensors"
    return request.param, ModelTables.load(path), independent_reader.Tables(path), found["packets"]


def test_both_readers_find_in_the_vectors_what_these_state(session):
    name, tables, theirs, packets = session
    other = independent_packets.Session(theirs)
    reader, assembly = MotionReader(tables, PROFILE_CONTEXT if name == "context" else PROFILE_STATIC), ContentAssembly()
    for expected in packets:
        data = bytes.fromhex(expected["bytes"])
        assert {"bytes": data.hex()} | other.read(data) == expected
        found = unpack_packet(data)
        assert pack_packet(found) == data
        if expected["kind"] == "end":
            assert found == EndPacket(expected["reason"])
        elif expected["kind"] == "description":
            assert [found.packet_frames, found.answered, found.sound, found.head.model_name, found.head.reenacted] == [
                expected[key] for key in ("packet_frames", "answered", "sound", "model_name", "reenacted")
            ]
        elif expected["kind"] == "media":
            assert found.sequence == expected["sequence"]
            assert found.sound == (bytes.fromhex(expected["sound"]) if "sound" in expected else None)
            if "motion" in expected:
                motion = expected["motion"]
                assert [getattr(found.motion, key) for key in ("content", "stride", "frames", "restart")] == [
                    motion[key] for key in ("content", "stride", "frames", "restart")
                ]
                codes = reader.read(found.motion.coded, found.motion.coded_frames, found.motion.restart)
                assert codes.tolist() == motion["codes"]
        if "fragment" in expected:
            stated, fragment = expected["fragment"], found.fragment
            assert [fragment.content, fragment.index, fragment.count] == [
                stated[k] for k in ("content", "index", "count")
            ]
            whole = assembly.add(fragment)
            assert (None if whole is None else whole.hex()) == stated["whole"]
        if "report" in expected:
            assert found.report == Report(**expected["report"])


def test_vectors_are_those_that_the_script_makes():
    assert make_packet_vectors.text() == PATH.read_text()


@pytest.mark.parametrize("name", sorted(VECTORS["faulty"]))
def test_faulty_packets_give_the_error_they_must(name):
    kind, data = VECTORS["faulty"][name]
    with pytest.raises(BcdError) as caught:
        unpack_packet(bytes.fromhex(data))
    assert type(caught.value) is getattr(errors, kind)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("packet", PACKETS, ids=lambda packet: type(packet).__name__)
def test_what_is_packed_is_unpacked(packet):
    assert unpack_packet(pack_packet(packet)) == packet


def test_the_header_has_four_bytes_and_lengths_stand_before_all_sections_but_the_last():
    assert len(pack_packet(MediaPacket(1, MotionPart(3, 0, b"abc")))) == 4 + 3
    assert len(pack_packet(MediaPacket(1, MotionPart(3, 0, b"abc"), OPUS))) == 4 + 1 + len(OPUS) + 3


@pytest.mark.parametrize("packet", PACKETS, ids=lambda packet: type(packet).__name__)
def test_every_truncation_and_changed_byte_gives_a_packet_or_a_bcd_error(packet):
    data = pack_packet(packet)
    for damaged in itertools.chain(
        (data[:n] for n in range(len(data))),
        (data[:i] + bytes([data[i] ^ 1 << bit]) + data[i + 1 :] for i in range(min(60, len(data))) for bit in range(8)),
    ):
        try:
            found = unpack_packet(damaged)
        except BcdError:
            continue
        assert unpack_packet(pack_packet(found)) == found


def test_random_bytes_give_a_packet_or_a_bcd_error_and_allocate_little():
    rng = np.random.default_rng(3)
    reader, assembly, packets = MotionReader(CONTEXT, PROFILE_CONTEXT), ContentAssembly(), 0
    tracemalloc.start()
    for _ in range(4000):
        data = rng.bytes(int(rng.integers(1, 60)))
        try:
            packet = unpack_packet(bytes([data[0] & 0x7F]) + data[1:])
            packets += 1
            if isinstance(packet, MediaPacket) and packet.motion:
                reader.read(packet.motion.coded, packet.motion.coded_frames, packet.motion.restart)
            if getattr(packet, "fragment", None):
                assembly.add(packet.fragment)
        except BcdError:
            pass
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert packets > 30
    assert peak < 4 << 20


def test_too_long_packets_and_values_out_of_range_are_not_packed():
    for packet in (
        ControlPacket(Fragment(0, 0, 1, bytes(MAX_PACKET_BYTES))),
        MediaPacket(SEQUENCES),
        MediaPacket(0, MotionPart(9, 0, b"")),
        MediaPacket(0, MotionPart(1, 8, b"")),
        MediaPacket(0, MotionPart(1, 0, b"", stride=5)),
        ControlPacket(Fragment(0, 1, 1, b"a")),
        ControlPacket(),
        Description(replace(head_for(SMALL), frame_duration=0), 3),
        EndPacket("a" * 201),
    ):
        with pytest.raises(BcdError):
            pack_packet(packet)


def coded_packets(tables, profile, every):
    """Codes [10, 3, g] and the coded part and restart of each packet; a restart every so many packets."""
    codes = wandering(tables, 0, 30).codes.reshape(10, 3, -1)
    writer = MotionWriter(tables, profile)
    return codes, [writer.write(part, i % every == 0) for i, part in enumerate(codes)]


def test_static_packets_decode_alone():
    codes, packets = coded_packets(SMALL, PROFILE_STATIC, 100)
    for expected, (coded, restart) in reversed(list(zip(codes, packets))):
        assert restart
        assert np.array_equal(MotionReader(SMALL, PROFILE_STATIC).read(coded, 3, restart), expected)


def test_a_lost_packet_costs_those_up_to_the_next_restart_and_no_more():
    codes, packets = coded_packets(CONTEXT, PROFILE_CONTEXT, 4)
    reader, found = MotionReader(CONTEXT, PROFILE_CONTEXT), []
    for i, (coded, restart) in enumerate(packets):
        if i == 5:
            reader.miss()
            found.append(None)
        else:
            found.append(reader.read(coded, 3, restart))
    assert [i for i, each in enumerate(found) if each is None] == [5, 6, 7]
    assert all(np.array_equal(each, codes[i]) for i, each in enumerate(found) if each is not None)


def test_packets_that_continue_others_are_smaller_than_restarts():
    size = {every: sum(len(c) for c, _ in coded_packets(CONTEXT, PROFILE_CONTEXT, every)[1]) for every in (1, 10)}
    assert size[10] < size[1]


def test_contents_are_put_together_in_any_order_and_repeated_pieces_do_not_matter():
    payload, _ = pack_content(picture_for(SMALL, 4, KEY), SMALL)
    pieces = split_content(4, payload, 50)
    assembly = ContentAssembly()
    order = [*reversed(pieces[1:]), pieces[1]]
    assert [assembly.add(piece) for piece in order] == [None] * len(order)
    assert assembly.missing(4) == 1
    assert assembly.newest_open() == 4
    whole = assembly.add(pieces[0])
    assert unpack_content(whole, SMALL).picture == KEY
    assert assembly.add(pieces[2]) is None
    assert assembly.newest_open() is None


def test_pieces_that_do_not_fit_together_are_dropped_and_may_be_sent_again():
    pieces = split_content(0, b"abcdefgh", 4)
    assembly = ContentAssembly()
    assembly.add(replace(pieces[0], data=b"abcX"))
    assembly.add(pieces[1])
    with pytest.raises(errors.ChecksumError, match="content 0"):
        assembly.add(pieces[2])
    assert [assembly.add(piece) for piece in pieces] == [None, None, b"abcdefgh"]


def test_numbers_are_unwrapped_to_the_nearest():
    assert [unwrapped(n, 65530) for n in (65530, 2, 65000)] == [65530, 65538, 65000]
    assert unwrapped(65535, 3) == 65535  # nothing was sent before 0
    assert unwrapped(5, 3 * 65536 - 2) == 3 * 65536 + 5
    assert [content_number(n % 8, 20) for n in (16, 20, 23)] == [16, 20, 23]
    assert content_number(7, 0) == 7


def test_packets_need_neither_torch_nor_av():
    code = (
        "import sys, bcdcodec.stream.packets, bcdcodec.stream.motion_coder, bcdcodec.stream.fragments;"
        "sys.exit(int('torch' in sys.modules or 'av' in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parent, check=False).returncode == 0
