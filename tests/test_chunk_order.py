"""Chunks that do not go together or come in another order are refused by writers, readers and verification."""

import io

import pytest
from vector_parts import (
    CONTEXT,
    SMALL,
    SOUND,
    changes_to_itself,
    content_for,
    contextual,
    file_bytes,
    head_for,
    join,
    motion_for,
    packets_for,
    recording,
    split,
    with_chunk,
    with_payload,
)

from bcdcodec.container import Audio, BcdWriter, Surroundings, open_bcd, verify_file, write_recording
from bcdcodec.container.payloads import pack_content
from bcdcodec.errors import ChecksumError, FormatError

PLAIN = file_bytes(recording(), SMALL)
NINE = [motion_for(SMALL, i, 1) for i in range(9)]


def test_a_writer_compares_head_with_its_tables():
    with pytest.raises(FormatError, match="6 groups of 8 codes, the tables 5 of 8"):
        BcdWriter(io.BytesIO(), head_for(SMALL, groups=6), SMALL)


def test_a_writer_refuses_frames_that_no_file_can_count():
    with BcdWriter(io.BytesIO(), head_for(SMALL), SMALL) as writer:
        writer.write_content(content_for(SMALL))
        with pytest.raises(FormatError, match="4294967300 is too many, the limit is 4294967295"):
            writer.write_motion(motion_for(SMALL, 4294967294))


def test_a_writer_refuses_surroundings_before_their_content():
    with BcdWriter(io.BytesIO(), head_for(SMALL), SMALL) as writer:
        writer.write_content(content_for(SMALL))
        with pytest.raises(FormatError, match="content 1, the file has 1 contents"):
            writer.write_surroundings(Surroundings(1, b"RIFF"))


def test_a_writer_writes_as_many_frames_as_its_head_states():
    with pytest.raises(FormatError, match="HEAD states 7 frames, 10 were written"):
        write_recording(io.BytesIO(), recording(frame_count=7), SMALL)


def test_nothing_is_written_after_the_end():
    with BcdWriter(io.BytesIO(), head_for(SMALL), SMALL) as writer:
        writer.write_content(content_for(SMALL))
        writer.close()
        with pytest.raises(FormatError, match="closed"):
            writer.write_motion(motion_for(SMALL))


def test_a_content_that_the_file_does_not_have_is_told():
    with open_bcd(io.BytesIO(PLAIN)) as reader:
        assert reader.content(0, SMALL).number == 0
        with pytest.raises(FormatError, match="no content 1, it has 1"):
            reader.content(1, SMALL)


def test_a_content_that_begins_before_the_frames_before_it_is_refused():
    content = pack_content(content_for(SMALL, 1, 5), SMALL)[0]
    parts = split(PLAIN)
    with open_bcd(io.BytesIO(join([*parts[:3], (b"CONT", content), *parts[3:]]))) as reader:
        assert str(reader.fault) == "content 1 begins at frame 5, but 6 frames came before it"


def test_sound_that_begins_before_the_end_of_the_sound_before_it_is_refused():
    overlapping = (Audio(0, packets_for("a", [3, 3]), SOUND), Audio(5759, packets_for("b", [3])))
    with pytest.raises(FormatError, match="begins at sample 5759, but 5760 samples came before it"):
        file_bytes(recording(audio=overlapping), SMALL)


def test_pts_go_on_from_chunk_to_chunk():
    motions = [motion_for(SMALL, 0, 2, pts=[0, 40]), motion_for(SMALL, 2, 2, pts=[40, 80])]
    with pytest.raises(FormatError, match="frame 2 has pts 40, expected more than 40"):
        file_bytes(recording(motions=motions, frame_duration=0), SMALL)


def test_codes_that_do_not_agree_with_tail_are_found(tmp_path):
    path = tmp_path / "x.bcd"
    path.write_bytes(with_payload(PLAIN, b"TAIL", lambda p: bytes([p[0] ^ 1]) + p[1:]))
    assert verify_file(path).ok, "without tables nothing is decoded"
    (finding,) = verify_file(path, SMALL).findings
    assert finding.severity == "error" and "TAIL states" in finding.message
    with open_bcd(path) as reader, pytest.raises(ChecksumError, match="TAIL states"):
        list(reader.motion(SMALL))


def test_strict_says_nothing_twice(tmp_path):
    """What a verification without --strict finds is not found again: wrong metadata, codes that cannot be."""
    path = tmp_path / "x.bcd"
    wrong = contextual(motions=[motion_for(CONTEXT, 0, 2)])
    wrong = with_payload(wrong, b"MOTN", lambda p: p[:3] + changes_to_itself(CONTEXT.context))
    for data, tables in ((with_chunk(PLAIN, 1, b"mETa", b"\xc1"), SMALL), (wrong, CONTEXT)):
        path.write_bytes(data)
        assert len(verify_file(path, tables).findings) == 1
        assert verify_file(path, tables, strict=True).findings == verify_file(path, tables).findings


def test_strict_finds_an_index_in_another_place(tmp_path):
    path = tmp_path / "x.bcd"
    *parts, index, tail = split(file_bytes(recording(motions=NINE), SMALL))
    path.write_bytes(join([*parts[:3], index, *parts[3:], tail]))
    found = [finding.message for finding in verify_file(path, SMALL, strict=True).findings]
    assert "iNDX is not just before TAIL, once" in found
