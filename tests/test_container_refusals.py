"""What no `.bcd` may hold is refused by writer and reader, by name, before anything is allocated or left behind."""

import io
import os
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from vector_parts import SMALL, WIDE, content_for, file_bytes, head_for, motion_for, recording, with_payload

from bcdcodec.container import BcdWriter, open_bcd, verify_file, write_recording
from bcdcodec.container.chunks import read_chunks
from bcdcodec.container.metadata import pack_metadata, unpack_metadata
from bcdcodec.container.payloads import unpack_motion_fields
from bcdcodec.container.varint import pack_varint
from bcdcodec.errors import BcdError, FormatError, LimitError, ModelMismatchError, VideoError


@pytest.fixture
def path(tmp_path):
    return tmp_path / "clip.bcd"


def test_tables_of_another_model_are_refused_with_both_fingerprints(path):
    write_recording(path, recording(), SMALL)
    with open_bcd(path) as reader:
        with pytest.raises(ModelMismatchError) as caught:
            next(reader.motion(WIDE))
    assert SMALL.fingerprint()[:4].hex() in str(caught.value) and WIDE.fingerprint()[:4].hex() in str(caught.value)
    with pytest.raises(ModelMismatchError):
        BcdWriter(io.BytesIO(), head_for(SMALL), WIDE)


@pytest.mark.parametrize("shown, stride", [(10, 3), (6, 3), (9, 65), (None, 2)])
def test_a_writer_refuses_codes_that_do_not_fit_their_stride(path, shown, stride):
    motion = replace(motion_for(SMALL, 0, 3), shown=shown, stride=stride)
    with pytest.raises(FormatError, match="every"):
        write_recording(path, recording(motions=[motion]), SMALL)


def test_an_exception_leaves_nothing_behind(path):
    with pytest.raises(VideoError), BcdWriter(path, head_for(SMALL), SMALL) as writer:
        writer.write_content(content_for(SMALL))
        raise VideoError("the camera broke")
    assert os.listdir(path.parent) == []


def test_a_failed_write_keeps_the_file_that_was_there(path):
    path.write_bytes(b"precious")
    with pytest.raises(FormatError, match="0 frames and no content"), BcdWriter(path, head_for(SMALL), SMALL):
        pass
    assert path.read_bytes() == b"precious"
    assert os.listdir(path.parent) == [path.name]


def test_files_that_cannot_be_opened_or_written_are_named(tmp_path):
    with pytest.raises(BcdError, match="no.bcd: No such file"):
        open_bcd(tmp_path / "no.bcd")
    with pytest.raises(BcdError, match="Is a directory"):
        open_bcd(tmp_path)
    with pytest.raises(BcdError, match="No such file"):
        BcdWriter(tmp_path / "no" / "x.bcd", head_for(SMALL), SMALL)
    with pytest.raises(BcdError, match="not a regular file"):
        BcdWriter(tmp_path, head_for(SMALL), SMALL)


@pytest.mark.parametrize(
    "content, motion, message",
    [
        (content_for(SMALL, 1), None, "number is 1, expected 0"),
        (content_for(SMALL, 0, first_frame=2), motion_for(SMALL), "begins at frame 2"),
        (content_for(SMALL), motion_for(SMALL, 1), "begins at frame 1, expected frame 0"),
        (content_for(SMALL), motion_for(SMALL, content=1), "uses content 1"),
        (content_for(SMALL), motion_for(SMALL, pts=range(6)), "has pts"),
        (content_for(SMALL), replace(motion_for(SMALL), codes=np.zeros((6, 4), np.uint8)), "4 groups"),
        (content_for(SMALL), replace(motion_for(SMALL), codes=np.full((6, 5), 8, np.uint8)), "0 to 7"),
        (content_for(SMALL), replace(motion_for(SMALL), codes=np.zeros((4097, 5), np.uint8)), "4097 frames"),
        (content_for(SMALL), replace(motion_for(SMALL), codes=np.zeros((0, 5), np.uint8)), "0 frames"),
        (replace(content_for(SMALL), rows=3), None, "expected integers \\[6"),
        (replace(content_for(SMALL), step=256), None, "256"),
        (replace(content_for(SMALL), reference_codes=np.zeros(4, np.uint8)), None, "4 groups"),
    ],
)
def test_a_writer_refuses_what_does_not_fit(content, motion, message, path):
    with pytest.raises(FormatError, match=message), BcdWriter(path, head_for(SMALL), SMALL) as writer:
        writer.write_content(content)
        writer.write_motion(motion)
    assert not path.exists()


@pytest.mark.parametrize(
    "pts", [[0, 0, 1], [3, 2, 4], [-(2**61) - 1, 0, 1], [0, 1, 2**61 + 1], [-(2**63), 0, 2**63 - 1], [0, 1, 2.0]]
)
def test_pts_that_do_not_increase_are_refused(pts, path):
    motion = replace(motion_for(SMALL, 0, 3), pts=np.array(pts))
    head = head_for(SMALL, frame_duration=0)
    with pytest.raises(FormatError, match="pts"), BcdWriter(path, head, SMALL) as writer:
        writer.write_content(content_for(SMALL))
        writer.write_motion(motion)


@pytest.mark.parametrize(
    "changes, message",
    [
        (dict(source_width=8193), "8193"),
        (dict(crop=(1, 0, 640, 480)), "1,0,640,480"),
        (dict(crop=(0, 0, 0, 480)), "0,0,0,480"),
        (dict(groups=0), "groups"),
        (dict(codes=257), "257"),
        (dict(time_base_num=0), "time_base_num"),
        (dict(sampler_seed=-1), "sampler_seed"),
        (dict(model_name="seventeen letters"), "16"),
        (dict(model_name="a\nb"), "printable"),
        (dict(model_fingerprint=b""), "0 bytes, expected 8"),
    ],
)
def test_a_head_that_no_file_may_have_is_refused(changes, message):
    with pytest.raises(FormatError, match=message):
        head_for(SMALL, **changes)


def test_metadata_is_limited():
    assert unpack_metadata(pack_metadata({"a": [[1]]})) == {"a": [[1]]}
    deep = value = {}
    for _ in range(8):
        value["a"] = {}
        value = value["a"]
    with pytest.raises(LimitError, match="8"):
        pack_metadata(deep)
    with pytest.raises(LimitError, match="1048576"):
        pack_metadata({"a": "x" * (1 << 20)})
    with pytest.raises(FormatError, match="set"):
        pack_metadata({"a": {1}})
    with pytest.raises(FormatError, match="key"):
        unpack_metadata(b"\x81\x01\x02")
    with pytest.raises(FormatError, match="msgpack"):
        unpack_metadata(b"\x81\xa1a\xdd\xff\xff\xff\xff")  # an array that states 2**32 - 1 items


def test_motion_may_not_state_more_frames_than_head_can_count():
    def fields(first_frame, frames):
        return unpack_motion_fields(pack_varint(first_frame) + pack_varint(4 * frames) + b"\0")

    assert fields(2**32 - 6, 5).frames == 5
    with pytest.raises(LimitError, match="4294967294"):
        fields(2**32 - 5, 5)


def test_stated_sizes_are_refused_before_anything_is_allocated():
    plain = file_bytes(recording(), SMALL)
    at = plain.index(b"MOTN") + 4
    claims = plain[:at] + pack_varint(64 << 20) + plain[at + 1 :]  # allowed, but not there
    tracemalloc.start()
    assert [chunk.whole for chunk in read_chunks(io.BytesIO(claims[8:]))] == [True, True, False]
    assert tracemalloc.get_traced_memory()[1] < 4 << 20
    tracemalloc.stop()


def test_a_tampered_index_is_reported(path):
    data = file_bytes(recording(motions=[motion_for(SMALL, i, 1) for i in range(9)]), SMALL)
    path.write_bytes(data)
    assert verify_file(path).findings == ()
    with open_bcd(path) as reader:
        assert len(reader.index) == 10
    path.write_bytes(with_payload(data, b"iNDX", lambda payload: b"\x00\x01" + payload[2:]))
    assert "iNDX" in verify_file(path).findings[0].message


def test_every_damaged_chunk_is_found(path):
    data = bytearray(file_bytes(recording(), SMALL))
    data[data.index(b"MOTN") + 13] ^= 1
    data[data.index(b"TAIL") + 13] ^= 1
    path.write_bytes(data)
    report = verify_file(path, SMALL)
    assert not report.ok
    assert [("MOTN" in f.message, "TAIL" in f.message) for f in report.findings] == [(True, False), (False, True)]
    assert report.byte_counts.total == len(data)
