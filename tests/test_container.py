"""What goes into a `.bcd` comes out of it, at a price of few bytes."""

import io
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from test_entropy import content_sample, drawn_codes, learned_tables
from vector_parts import OWN, SMALL, WIDE, content_for, file_bytes, head_for, motion_for, recording, with_chunk

from bcdcodec.container import Content, Motion, Recording, open_bcd, read_recording, verify_file, write_recording
from bcdcodec.container.varint import pack_varint, read_varint
from bcdcodec.entropy import ModelTables
from bcdcodec.errors import FormatError, TruncatedError


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
        assert (a.number, a.first_frame, a.rows, a.columns, a.step) == (
            b.number,
            b.first_frame,
            b.rows,
            b.columns,
            b.step,
        )
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
        (
            recording(
                motions=[motion_for(SMALL, 0, 3, pts=[-5, 2, 900]), motion_for(SMALL, 3, 1, pts=[901])], **VARIABLE
            ),
            SMALL,
        ),
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


@pytest.mark.parametrize(
    "head", [{}, NTSC, MP4_TRACK, dict(source_width=1920, source_height=1080, crop=(420, 0, 1080, 1080))]
)
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


def test_every_chunk_of_a_variable_rate_costs_few_bytes_more_than_of_a_constant_one(path):
    given, tables = clip(694, **NTSC)
    constant = write_recording(path, given, tables).container
    pts = np.arange(694) * 1001
    pts[300:] += 1001  # a lost frame
    motions = tuple(replace(m, pts=pts[m.first_frame : m.first_frame + len(m.codes)]) for m in given.motions)
    varying = replace(given, head=replace(given.head, frame_duration=0), motions=motions)
    assert write_recording(path, varying, tables).container - constant <= 3 * 8 + 3
    assert_same(read_recording(path, tables), varying)


def test_varints_have_one_form_each():
    for value in (0, 1, 127, 128, 300, 2**32, 2**64 - 1):
        packed = pack_varint(value)
        assert read_varint(packed + b"rest", 0) == (value, len(packed))
    for wrong, error in [
        (b"\x80\x00", FormatError),
        (b"\xff" * 11, FormatError),
        (b"\xff", TruncatedError),
        (b"", TruncatedError),
    ]:
        with pytest.raises(error):
            read_varint(wrong, 0)
    with pytest.raises(FormatError):
        read_varint(b"\xff" * 9 + b"\x02", 0)  # 2**64


def test_container_imports_only_what_reading_headers_needs():
    heavy = ("torch", "av", "constriction", "msgpack")
    program = f"import bcdcodec.container, sys; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
