"""What goes into a `.bcd` comes out of it, at a price of few bytes, and what is wrong is refused."""

import io
import os
import subprocess
import sys
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from make_vectors import OWN, SMALL, WIDE, content_for, file_bytes, head_for, motion_for, recording, with_chunk, with_payload
from test_entropy import content_sample, drawn_codes, learned_tables

from bcdcodec.container import (
    BcdWriter,
    Content,
    Motion,
    Recording,
    open_bcd,
    read_recording,
    verify_file,
    write_recording,
)
from bcdcodec.container.chunks import read_chunks
from bcdcodec.container.metadata import pack_metadata, unpack_metadata
from bcdcodec.container.payloads import unpack_motion_fields
from bcdcodec.container.varint import pack_varint, read_varint
from bcdcodec.entropy import ModelTables
from bcdcodec.errors import BcdError, FormatError, LimitError, ModelMismatchError, TruncatedError, VideoError


@pytest.fixture
def path(tmp_path):
    return tmp_path / "clip.bcd"


HEADS = dict(model_name="heads", coded_width=256, coded_height=256, sampler_seed=0)  # as the default model writes them
NTSC = dict(time_base_num=1001, time_base_den=30000)
MP4_TRACK = dict(time_base_den=90000, frame_duration=3600)


def clip(frames=250, frames_per_chunk=256, **head) -> tuple[Recording, ModelTables]:
    """Return a recording of the default model's shape, of ten seconds unless said otherwise."""
    values, content_model = content_sample(8, 8)
    tables = ModelTables(learned_tables(), content_model)
    codes = drawn_codes(tables.motion, frames)
    motions = [Motion(i, 0, codes[i : i + frames_per_chunk]) for i in range(0, frames, frames_per_chunk)]
    contents = (Content(0, 0, 8, 8, 3, codes[0], values),)
    return Recording(head_for(tables, **(HEADS | head)), contents, tuple(motions)), tables


def assert_same(found: Recording, given: Recording):
    assert replace(found.head, frame_count=0) == replace(given.head, frame_count=0)
    assert len(found.contents) == len(given.contents) and len(found.motions) == len(given.motions)
    for a, b in zip(found.contents, given.contents, strict=True):
        assert (a.number, a.first_frame, a.rows, a.columns, a.step) == (b.number, b.first_frame, b.rows, b.columns, b.step)
        assert np.array_equal(a.values, b.values) and a.values.dtype == np.int16
        assert (a.reference_codes is None) == (b.reference_codes is None)
        assert a.reference_codes is None or np.array_equal(a.reference_codes, b.reference_codes)
    for a, b in zip(found.motions, given.motions, strict=True):
        assert (a.first_frame, a.content, a.frames, a.stride) == (b.first_frame, b.content, b.frames, b.stride)
        assert np.array_equal(a.codes, b.codes) and a.codes.dtype == np.uint8
        assert (a.pts is None) == (b.pts is None)
        assert a.pts is None or np.array_equal(a.pts, b.pts)
    assert found.metadata == given.metadata


VARIABLE = dict(frame_duration=0, time_base_num=1001, time_base_den=30000)


@pytest.mark.parametrize(
    "given, tables",
    [
        (recording(), SMALL),
        (recording(motions=[motion_for(SMALL, 0, 1)]), SMALL),
        (recording(motions=[motion_for(SMALL, 0, 4096), motion_for(SMALL, 4096, 1)]), SMALL),
        (recording(motions=[motion_for(SMALL, 0, 3, pts=[-5, 2, 900]), motion_for(SMALL, 3, 1, pts=[901])], **VARIABLE), SMALL),
        (recording(motions=[motion_for(SMALL, 0, 2, pts=[-(2**61), 2**61])], **VARIABLE), SMALL),
        (
            recording(
                contents=[content_for(SMALL, i, 2 * i, 1 + i, 3 - i, reference=i != 1) for i in range(3)],
                motions=[motion_for(SMALL, 2 * i, 2, i) for i in range(3)],
            ),
            SMALL,
        ),
        (recording(WIDE), WIDE),
        (recording(metadata={"title": "Ünïcode", "list": [1, -2, 2.5, True, None, b"\0"], "map": {"a": {}}}), SMALL),
        (recording(generated=True, sampler_seed=2**64 - 1, model_name="sixteen letters!"), SMALL),
        (recording(reenacted=True, model_name=""), SMALL),
        (recording(motions=[motion_for(SMALL, 0, 7, stride=2), motion_for(SMALL, 7, 5, stride=5)]), SMALL),
        clip(frames_per_chunk=100),
        clip(300, frame_duration=1, crop=(0, 0, 100, 200), coded_height=255, **NTSC),
    ],
)
def test_a_recording_survives_its_file(given, tables, path):
    counts = write_recording(path, given, tables)
    found = read_recording(path, tables)
    assert_same(found, given)
    assert found.complete
    assert found.head.frame_count == sum(motion.frames for motion in given.motions)
    assert counts.total == path.stat().st_size
    with open_bcd(path) as reader:
        assert reader.byte_counts == counts
        assert verify_file(path, tables).findings == ()


def test_a_file_with_its_own_tables_needs_only_the_models_content_tables(path):
    write_recording(path, recording(OWN), OWN, own_motion_tables=True)
    assert_same(read_recording(path, SMALL), recording(OWN))
    with open_bcd(path) as reader:
        assert reader.has_own_tables


@pytest.mark.parametrize("head", [{}, NTSC, MP4_TRACK, dict(source_width=1920, source_height=1080, crop=(420, 0, 1080, 1080))])
def test_the_whole_container_of_ten_seconds_is_at_most_100_bytes_two_percent_of_their_motion(head, path):
    given, tables = clip(250, **head)
    counts = write_recording(path, given, tables)
    assert counts.container <= 100 == 0.02 * 250 * 160 / 8  # at the default 160 bits a frame
    assert counts.container + counts.content + counts.motion == path.stat().st_size


def test_the_container_of_a_plain_ten_second_clip_is_97_bytes(path):
    assert write_recording(path, *clip(250)).container == 97


def test_every_further_chunk_costs_15_bytes(path):
    sizes = [write_recording(path, *clip(256 * n)).container for n in (1, 2, 3, 4)]
    assert np.diff(sizes).tolist() == [15, 15, 15]  # 0.3 % of the 5120 bytes of motion that a chunk holds


def test_half_of_a_chunk_of_256_frames_yields_half_of_them(path):
    given, tables = clip(256)
    motion_bytes = write_recording(path, given, tables).motion
    data = path.read_bytes()
    start = data.index(b"MOTN") + 14  # type, length, CRC and fields
    found = read_recording(io.BytesIO(data[: start + motion_bytes // 2]), tables).motions[0].codes
    assert len(found) >= 125 and np.array_equal(found, given.motions[0].codes[: len(found)])


def test_two_minutes_cost_at_most_two_percent_with_its_index_too(path):
    given, tables = clip(3000)
    assert write_recording(path, given, tables).container <= 0.02 * 3000 * 160 / 8
    with open_bcd(path) as reader:
        assert "iNDX" in [name for name, _, _ in reader.chunks]


def test_fields_that_differ_from_what_is_usual_cost_their_bytes_only(path):
    base = write_recording(path, *clip()).container
    assert write_recording(path, *clip(sampler_seed=7)).container == base + 1
    assert write_recording(path, *clip(crop=(0, 0, 100, 100))).container == base + 4
    assert write_recording(path, *clip(coded_height=64)).container == base + 1
    assert write_recording(path, *clip(generated=True)).container == base + 1


@pytest.mark.parametrize("nothing", [None, {}])
def test_no_metadata_costs_no_bytes(nothing, path):
    given, tables = clip()
    plain = write_recording(path, given, tables).container
    assert write_recording(path, replace(given, metadata=nothing), tables).container == plain
    with open_bcd(path) as reader:
        assert reader.metadata is None


def test_opening_needs_no_tables_and_says_what_info_shows(path):
    given, tables = clip(frames_per_chunk=125)
    write_recording(path, replace(given, metadata={"title": "x"}), tables)
    with open_bcd(path) as reader:
        assert (reader.frames, reader.content_count, reader.complete, reader.fault) == (250, 1, True, None)
        assert reader.duration_seconds == 10.0
        assert reader.metadata == {"title": "x"}
        assert [name for name, _, _ in reader.chunks] == ["HEAD", "mETa", "CONT", "MOTN", "MOTN", "TAIL"]


def test_variable_rate_lasts_until_the_end_of_its_last_frame(path):
    motions = [motion_for(SMALL, 0, 2, pts=[-10, 0]), motion_for(SMALL, 2, 1, pts=[30])]
    write_recording(path, recording(motions=motions, frame_duration=0, time_base_den=100), SMALL)
    with open_bcd(path) as reader:
        assert reader.duration_seconds == 0.7  # -10..30 and 30 more for the last frame


def test_tables_of_another_model_are_refused_with_both_fingerprints(path):
    write_recording(path, recording(), SMALL)
    with open_bcd(path) as reader:
        with pytest.raises(ModelMismatchError) as caught:
            next(reader.motion(WIDE))
    assert SMALL.fingerprint()[:4].hex() in str(caught.value) and WIDE.fingerprint()[:4].hex() in str(caught.value)
    with pytest.raises(ModelMismatchError):
        BcdWriter(io.BytesIO(), head_for(SMALL), WIDE)


def test_pipes_are_read_and_written():
    buffer = NonSeekable()
    write_recording(buffer, recording(), SMALL)
    found = read_recording(NonSeekable(buffer.getvalue()), SMALL)
    assert_same(found, recording())
    assert found.head.frame_count == 0 and found.complete


class NonSeekable(io.BytesIO):
    def seekable(self):
        return False

    def seek(self, *position):
        raise OSError("not seekable")

    def tell(self):
        raise OSError("not seekable")


def test_frames_between_coded_ones_count_and_last(path):
    given = recording(motions=[motion_for(SMALL, 0, 7, stride=3), motion_for(SMALL, 7, 4)])
    write_recording(path, given, SMALL)
    with open_bcd(path) as reader:
        assert (reader.frames, reader.duration_seconds, reader.complete) == (11, 11 / 25, True)
        assert [(motion.frames, len(motion.codes)) for motion in reader.motion(SMALL)] == [(7, 3), (4, 4)]
    report = verify_file(path, SMALL)
    assert report.ok and report.frames == 11


@pytest.mark.parametrize("shown, stride", [(10, 3), (6, 3), (9, 65), (None, 2)])
def test_a_writer_refuses_codes_that_do_not_fit_their_stride(path, shown, stride):
    motion = replace(motion_for(SMALL, 0, 3), shown=shown, stride=stride)
    with pytest.raises(FormatError, match="every"):
        write_recording(path, recording(motions=[motion]), SMALL)


def test_a_content_needs_no_motion(path):
    given = replace(recording(), motions=())
    write_recording(path, given, SMALL)
    found = read_recording(path, SMALL)
    assert_same(found, given)
    assert found.complete and found.head.frame_count == 0
    with open_bcd(path) as reader:
        assert (reader.frames, reader.duration_seconds, reader.content_count) == (0, 0, 1)
    assert verify_file(path, SMALL).findings == ()


def test_unknown_ancillary_chunks_are_kept(path):
    path.write_bytes(with_chunk(file_bytes(recording(), SMALL), 2, b"zzTp", b"kept"))
    found = read_recording(path, SMALL)
    assert [(chunk.type, chunk.payload) for chunk in found.ancillary] == [(b"zzTp", b"kept")]


def test_reserved_audio_is_counted_and_skipped(path):
    path.write_bytes(with_chunk(file_bytes(recording(), SMALL), 2, b"AUDI", b"x" * 100))
    with open_bcd(path) as reader:
        assert reader.byte_counts.audio == 100
        assert len(list(reader.motion(SMALL))) == 2


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


def test_every_chunk_of_a_variable_rate_costs_few_bytes_more_than_of_a_constant_one(path):
    given, tables = clip(694, **NTSC)
    constant = write_recording(path, given, tables).container
    pts = np.arange(694) * 1001
    pts[300:] += 1001  # a lost frame
    motions = tuple(replace(m, pts=pts[m.first_frame : m.first_frame + len(m.codes)]) for m in given.motions)
    varying = replace(given, head=replace(given.head, frame_duration=0), motions=motions)
    assert write_recording(path, varying, tables).container - constant <= 3 * 8 + 3
    assert_same(read_recording(path, tables), varying)


@pytest.mark.parametrize("pts", [[0, 0, 1], [3, 2, 4], [-(2**61) - 1, 0, 1], [0, 1, 2**61 + 1], [-(2**63), 0, 2**63 - 1], [0, 1, 2.0]])
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


def test_varints_have_one_form_each():
    for value in (0, 1, 127, 128, 300, 2**32, 2**64 - 1):
        packed = pack_varint(value)
        assert read_varint(packed + b"rest", 0) == (value, len(packed))
    for wrong, error in [(b"\x80\x00", FormatError), (b"\xff" * 11, FormatError), (b"\xff", TruncatedError), (b"", TruncatedError)]:
        with pytest.raises(error):
            read_varint(wrong, 0)
    with pytest.raises(FormatError):
        read_varint(b"\xff" * 9 + b"\x02", 0)  # 2**64


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


def test_container_imports_only_what_reading_headers_needs():
    program = "import bcdcodec.container, sys; print([m for m in ('torch', 'av', 'constriction', 'msgpack') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
