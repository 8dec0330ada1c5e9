"""What no file, table or disk should do and some do: each is refused by name, and nothing is left behind."""

import io
import os
import resource
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load, save
from vector_parts import (
    CONTEXT,
    LEARNED,
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
    put,
    recording,
    split,
    with_chunk,
    with_payload,
)
from vector_pictures import KEY

from bcdcodec.container import (
    Audio,
    BcdWriter,
    Finding,
    Surroundings,
    limits,
    open_bcd,
    read_recording,
    salvage,
    verify_file,
    write_recording,
)
from bcdcodec.container.audio import pack_audio
from bcdcodec.container.chunks import MAX_CHUNK_BYTES, pack_chunk
from bcdcodec.container.index import unpack_index
from bcdcodec.container.metadata import META_BYTES, pack_metadata, unpack_metadata
from bcdcodec.container.part_file import PartFile
from bcdcodec.container.payloads import pack_content
from bcdcodec.container.picture import pack_picture
from bcdcodec.container.repair import read_head, repair
from bcdcodec.container.varint import pack_varint
from bcdcodec.entropy import (
    ContentModel,
    FrequencyTables,
    ModelTables,
    RangeDecoder,
    RangeEncoder,
    decode_content,
    encode_content,
    encode_motion,
)
from bcdcodec.entropy.content import BIT_TABLES, ESCAPE
from bcdcodec.entropy.context import decode_context_prefix, encode_context
from bcdcodec.entropy.profiles import profile_name, profile_number
from bcdcodec.errors import BcdError, ChecksumError, FormatError, LimitError, ModelError, TruncatedError

PLAIN = file_bytes(recording(), SMALL)
NINE = [motion_for(SMALL, i, 1) for i in range(9)]


@contextmanager
def no_space_for(size: int):
    """Let no file grow beyond `size` bytes: a write then fails as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


class Faulty(io.BytesIO):
    """A file on a disk that fails once `broken` is set."""

    broken = False

    def read(self, size=-1):
        if self.broken:
            raise OSError(5, "Input/output error")
        return super().read(size)

    def write(self, data):
        if self.broken:
            raise OSError(5, "Input/output error")
        return super().write(data)


# Fields that no chunk can hold.


@pytest.mark.parametrize(
    "pack, message",
    [
        (lambda: pack_varint(-1), "-1 cannot be written"),
        (lambda: pack_varint(1 << 64), "cannot be written"),
        (lambda: pack_chunk(b"abcd", bytes(MAX_CHUNK_BYTES + 1)), "abcd would have 67108865 bytes, the limit is"),
        (lambda: pack_audio(Audio(0, (), SOUND)), "0 packets, expected 1 to"),
        (lambda: pack_audio(Audio(-1, packets_for("a", [3]), SOUND)), "begins at sample -1"),
        (lambda: pack_metadata({"a": 1 << 64}), "cannot be stored"),
        (lambda: pack_picture(3, replace(KEY, base=3)), "refers to content 3, expected one before it"),
        (lambda: pack_content(content_for(SMALL, 1024), SMALL), "content number is 1024"),
        (
            lambda: pack_content(replace(content_for(SMALL), rows=0, columns=0, picture=KEY), SMALL),
            "0 rows, 0 columns, step 3 and 24 values, expected 0 of all",
        ),
        (lambda: head_for(SMALL, crop=(0, 0, 640)), "crop has 3 values"),
        (lambda: encode_motion(np.zeros((2, 5), np.int16), SMALL.motion), "codes are int16"),
        (lambda: RangeEncoder().encode(SMALL.motion, np.zeros(2, np.int32), np.zeros(3, np.int64)), "as many"),
    ],
)
def test_what_no_chunk_can_hold_is_not_packed(pack, message):
    with pytest.raises(FormatError, match=message):
        pack()


def test_metadata_above_its_limit_is_refused_before_it_is_parsed():
    with pytest.raises(LimitError, match="1048577 bytes"):
        unpack_metadata(bytes(META_BYTES + 1))
    large = with_chunk(PLAIN, 1, b"mETa", bytes(META_BYTES + 1))
    with open_bcd(io.BytesIO(large)) as reader, pytest.raises(LimitError, match="1048577"):
        reader.read(SMALL)


def test_metadata_with_other_keys_than_strings_is_refused():
    with pytest.raises(FormatError, match="the key 1"):
        pack_metadata({"a": {1: 2}})


def test_an_index_of_other_chunks_is_refused():
    payload = split(file_bytes(recording(motions=NINE), SMALL))[-2][1]
    assert len(unpack_index(payload)) == 10
    with pytest.raises(FormatError, match="chunk kind 2"):
        unpack_index(put(payload, 0, b"\2"))


# Writers.


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


def test_a_stream_that_breaks_is_one_error():
    file = Faulty()
    with pytest.raises(BcdError, match="cannot write the recording: Input/output"):
        with BcdWriter(file, head_for(SMALL), SMALL) as writer:
            file.broken = True
            writer.write_content(content_for(SMALL))


@pytest.mark.parametrize("size, frames", [(0, 10), (20, 10), (0, 4096), (8192, 4096)])
def test_a_full_disk_leaves_nothing(size, frames, tmp_path):
    """Short files are written by `close` alone, longer ones bit by bit."""
    given = recording(motions=[motion_for(SMALL, i * frames, frames) for i in range(3)])
    with no_space_for(size), pytest.raises(BcdError, match="cannot write .*x.bcd: File too large"):
        write_recording(tmp_path / "x.bcd", given, SMALL)
    assert os.listdir(tmp_path) == []


def test_a_full_disk_leaves_nothing_of_a_repaired_file(tmp_path):
    with no_space_for(20), pytest.raises(BcdError, match="cannot write .*x.bcd: File too large"):
        repair(PLAIN, tmp_path / "x.bcd", SMALL)
    assert os.listdir(tmp_path) == []


def test_an_interrupted_repair_leaves_nothing(tmp_path, monkeypatch):
    def interrupted(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(PartFile, "finish", interrupted)
    with pytest.raises(KeyboardInterrupt):
        repair(PLAIN, tmp_path / "x.bcd", SMALL)
    assert os.listdir(tmp_path) == []


# Readers.


def test_a_disk_that_fails_is_one_error():
    file = Faulty(PLAIN)
    file.broken = True
    with pytest.raises(BcdError, match="cannot read .*: Input/output error"):
        open_bcd(file)
    file = Faulty(PLAIN)
    with open_bcd(file) as reader:
        file.broken = True
        with pytest.raises(BcdError, match="cannot read the file at byte 54: Input/output error"):
            list(reader.contents(SMALL))


def test_a_file_that_is_cut_while_it_is_read_is_told():
    file = io.BytesIO(PLAIN)
    with open_bcd(file) as reader:
        file.truncate(20)
        with pytest.raises(TruncatedError, match="it changed while it was read"):
            list(reader.contents(SMALL))


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


@pytest.mark.parametrize(
    "limit, below, text",
    [
        ("MAX_FRAMES", 9, "the file states 10 frames, the limit is 9"),
        ("MAX_VALUES", 23, "the contents of the file state 24 values, the limit is 23"),
    ],
)
def test_more_than_the_limit_is_decoded_only_when_asked_for(tmp_path, monkeypatch, limit, below, text):
    path = tmp_path / "x.bcd"
    path.write_bytes(PLAIN)
    monkeypatch.setattr(limits, limit, below + 1)
    assert verify_file(path, SMALL).findings == ()
    monkeypatch.setattr(limits, limit, below)
    report = verify_file(path, SMALL, strict=True)
    expected = Finding("warning", f"codes not checked: {text}; check them with --all")
    assert (report.findings, report.frames, report.codes_checked) == ((expected,), 10, False)
    assert verify_file(path, SMALL, everything=True).codes_checked
    assert verify_file(path).findings == (), "without tables nothing is decoded"
    with pytest.raises(LimitError, match=f"{text}: read it in parts, with open_bcd"):
        read_recording(path, SMALL)


def test_bytes_cannot_limit_how_many_frames_are_decoded():
    """4096 frames of a face that does not move are a good file, and take fewer bytes than two other frames."""
    codes = motion_for(CONTEXT, 0, 1).codes.repeat(4096, axis=0)
    assert len(encode_context(codes, CONTEXT.context)) < 20


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


# Repair.


def test_motion_before_its_content_begins_is_left_out():
    content = pack_content(content_for(SMALL, 0, 3), SMALL)[0]
    parts = split(PLAIN)
    report = repair(join([parts[0], (b"CONT", content), *parts[2:]]), io.BytesIO(), SMALL)
    assert report.frames == 4
    assert any("frame 0 uses content 0, which begins at frame 3" in loss for loss in report.losses)


def test_more_frames_than_stated_are_kept():
    report = repair(file_bytes(replace(recording(), head=head_for(SMALL)), SMALL), io.BytesIO(), SMALL)
    assert report.losses == ()
    head = with_payload(PLAIN, b"HEAD", lambda p: p[:2] + (3).to_bytes(4, "little") + p[6:])
    report = repair(head, io.BytesIO(), SMALL)
    assert report.frames == 10 and report.losses == ("the file states 3 frames and has 10",)


def test_times_that_no_file_can_hold_are_refused():
    """After a loss frames have times of their own, and those are limited."""
    data = file_bytes(recording(frame_duration=0xFFFFFFFF), SMALL)
    parts = split(data)
    late = pack_varint(1 << 31) + parts[3][1][1:]
    with pytest.raises(LimitError, match="its time cannot be kept"):
        repair(join([*parts[:3], (b"MOTN", late), parts[4]]), io.BytesIO(), SMALL)


def test_the_search_for_chunks_in_hostile_bytes_ends(monkeypatch):
    """Bytes that state thousands of overlapping chunks are not all checked."""
    chunk = pack_chunk(b"MOTN", bytes(100))
    hostile = b"".join(b"MOTN" + bytes([100]) + bytes(4) for _ in range(50)) + bytes(100) + chunk
    found = list(salvage.find_chunks(hostile))
    assert found[-1].type == b"MOTN"
    monkeypatch.setattr(salvage, "SEARCH_BYTES", 300)
    assert all(isinstance(item, salvage.Damage) for item in salvage.find_chunks(hostile))


# Contents and tables.


def test_values_that_leave_int16_are_refused():
    """Differences that are each allowed can add up to more."""
    tables, bands = SMALL.content.tables, np.zeros(1, np.uint8)
    tables = FrequencyTables(tables.frequencies[:10])
    apart, predicted = ContentModel(tables, bands, 0), ContentModel(tables, bands, 1)
    data = encode_content(np.full((2, 1), 30000, np.int16), 1, 2, apart)
    with pytest.raises(FormatError, match="span 30000 to 60000"):
        decode_content(data, 1, 2, predicted)


def test_an_escaped_value_of_too_many_bits_is_refused():
    model, encoder = (
        ContentModel(FrequencyTables(SMALL.content.tables.frequencies[:10]), np.zeros(1, np.uint8), 0),
        None,
    )
    encoder = RangeEncoder()
    encoder.encode(model.tables, np.array([ESCAPE]), np.zeros(1, np.int64))
    encoder.encode(BIT_TABLES, np.zeros(20, np.int32), np.zeros(20, np.int64))
    with pytest.raises(FormatError, match="more than 17 bits"):
        decode_content(encoder.finish() or b"\0", 1, 1, model)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: replace(SMALL.content, band_of_channel=np.zeros(6, np.int64)), r"int64 \[6\], expected uint8"),
        (lambda: replace(SMALL.content, band_of_channel=np.full(6, 2, np.uint8)), r"3 bands want \[30, 128\]"),
        (lambda: replace(SMALL.content, predicted_channels=7), "7 predicted channels, expected 0 to 6"),
        (lambda: replace(LEARNED.learned, predicted_channels=-1), "-1 predicted channels"),
        (lambda: replace(SMALL, motion=FrequencyTables.from_counts(np.ones((5, 257), int))), "257 codes"),
        (lambda: FrequencyTables.from_counts(np.array([[-1, 2]])), "expected non-negative integers"),
        (lambda: FrequencyTables.from_counts(np.array([[1, 2]]), 0), "pseudo count is 0"),
        (lambda: FrequencyTables.from_counts(np.array([[1, 1 << 40]])), "largest count"),
    ],
)
def test_tables_out_of_range_are_refused(make, message):
    with pytest.raises(ModelError, match=message):
        make()


@pytest.mark.parametrize(
    "changes, message",
    [
        (dict(motion_frequencies=SMALL.motion.frequencies.astype(np.int64)), "int64"),
        (dict(predicted_channels=np.array([2, 2], np.uint32)), "has 2 values, expected 1"),
        (dict(layout_version=np.array([2], np.uint32)), "have layout 2, this version reads 1"),
    ],
)
def test_files_of_tables_are_as_they_are_saved(changes, message, tmp_path):
    path = tmp_path / "tables.safetensors"
    SMALL.save(path)
    path.write_bytes(save(load(path.read_bytes()) | changes))
    with pytest.raises(ModelError, match=message):
        ModelTables.load(path)


def test_a_file_of_tables_above_its_limit_is_not_read(tmp_path):
    with open(tmp_path / "tables.safetensors", "wb") as file:
        file.truncate((64 << 20) + 1)
    with pytest.raises(ModelError, match="67108865 bytes, the limit is"):
        ModelTables.load(tmp_path / "tables.safetensors")


def test_tables_that_cannot_be_written_are_one_error(tmp_path):
    with pytest.raises(ModelError, match="cannot write tables .*: No such file"):
        SMALL.save(tmp_path / "no" / "tables.safetensors")


def test_a_profile_that_there_is_not_is_named():
    with pytest.raises(BcdError, match="no entropy profile 'best', expected one of static, context"):
        profile_number("best")


# What is cut.


@pytest.mark.parametrize("payload, error, message", [
    (b"", FormatError, "0 bytes, expected at least a version"),
    (split(PLAIN)[0][1][:20], FormatError, "has 20 bytes and ends inside its fields"),
    (split(PLAIN)[0][1].replace(b"vectors", b"vect\xf6rs"), FormatError, "is not ASCII"),
])  # fmt: skip
def test_a_head_that_cannot_be_read_is_named(payload, error, message):
    with pytest.raises(error, match=message):
        open_bcd(io.BytesIO(join([(b"HEAD", payload), *split(PLAIN)[1:]])))


@pytest.mark.parametrize("kind, payload, message", [
    (b"CONT", pack_varint(1024 << 2) + b"\0\1\1\1\0", "content number is 1024"),
    (b"CONT", b"\0" + pack_varint(1 << 32) + b"\1\1\1\0", "begins at frame 4294967296"),
    (b"CONT", b"\0\0\1\1\1", "expected its step"),
    (b"MOTN", b"\0\4" + pack_varint(1024), "uses content 1024"),
    (b"iNDX", b"abc", None),  # nothing depends on it
])  # fmt: skip
def test_fields_out_of_range_are_named(kind, payload, message, tmp_path):
    path = tmp_path / "x.bcd"
    path.write_bytes(with_chunk(PLAIN, 1, kind, payload))
    with open_bcd(path) as reader:
        assert (message in str(reader.fault)) if message else reader.fault is None
    assert not verify_file(path).ok


def test_a_file_cut_at_any_byte_has_the_sound_and_the_frames_before_the_cut(tmp_path):
    motions = [motion_for(SMALL, 0, 4, pts=[0, 1, 5, 9]), motion_for(SMALL, 4, 3, pts=[90, 700, 701])]
    sound = (Audio(0, packets_for("a", [3, 3]), SOUND), Audio(1 << 21, packets_for("b", [3])))
    given = recording(motions=motions, audio=sound, metadata={"title": "x"}, frame_duration=0)
    data = file_bytes(replace(given, surroundings=(Surroundings(0, b"RIFF"),)), SMALL)
    codes, path = np.concatenate([motion.codes for motion in motions]), tmp_path / "x.bcd"
    found = set()
    for cut in range(len(data)):
        path.write_bytes(data[:cut])
        try:
            reader = open_bcd(path)
        except TruncatedError:
            assert cut < data.index(b"mETa")
            continue
        with reader:
            assert reader.byte_counts.total == cut and not reader.complete and reader.duration_seconds >= 0
            read = np.concatenate([np.zeros((0, 5), np.uint8), *(motion.codes for motion in reader.motion(SMALL))])
            assert np.array_equal(read, codes[: len(read)])
            assert list(reader.audio()) == list(sound[: len(list(reader.audio()))])
            found.add((len(read), len(list(reader.audio()))))
        report = verify_file(path, SMALL)
        assert report.frames == len(read) and not report.codes_checked
    assert {(0, 0), (0, 1), (4, 1), (7, 1), (7, 2)} <= found and len(found) >= 8


def test_without_a_content_there_is_nothing_to_check(tmp_path):
    path = tmp_path / "x.bcd"
    path.write_bytes(join([split(PLAIN)[0]]))
    assert verify_file(path, SMALL).frames == 0


def test_a_cut_stream_of_the_context_profile_can_hold_all_its_frames():
    codes = motion_for(CONTEXT, 0, 6).codes
    assert np.array_equal(
        decode_context_prefix(encode_context(codes, CONTEXT.context) + bytes(8), 6, CONTEXT.context), codes
    )


def test_streams_whose_end_carries_into_the_words_before_come_back():
    """Symbols whose interval begins just below a round number: rounded up, its end changes words settled before."""
    tables, none = FrequencyTables(np.array([[30000, 35536]])), np.zeros(100, np.int64)
    symbols = RangeDecoder(b"\1").decode(tables, none)
    for count in range(1, 101):
        encoder = RangeEncoder()
        encoder.encode(tables, symbols[:count], none[:count])
        assert np.array_equal(RangeDecoder(encoder.finish()).decode(tables, none[:count]), symbols[:count])


def test_the_losses_of_a_repair_are_stated_up_to_some():
    parts = split(PLAIN)
    twice = join([*parts[:3], *[parts[2]] * 300, *parts[3:]])
    report = repair(twice, io.BytesIO(), SMALL)
    assert len(report.losses) == 300 and report.lines[-1] == f"and {300 - len(report.lines) + 1} more places"
    assert read_head(PLAIN).model_name == "vectors"


def test_cut_motion_whose_content_is_lost_is_lost(tmp_path):
    parts = split(PLAIN)
    data = join([parts[0], (b"CONT", pack_content(content_for(SMALL, 1), SMALL)[0]), parts[2]])[:-2]
    report = repair(data, tmp_path / "x.bcd", SMALL)
    assert report.frames == 0 and any("chunk MOTN" in loss and "cut" in loss for loss in report.losses)
    with open_bcd(tmp_path / "x.bcd") as reader:
        assert reader.fault is None and reader.content_count == 1


def test_a_model_codes_in_the_best_profile_that_it_has_tables_for():
    assert (SMALL.motion_profile(), CONTEXT.motion_profile(), CONTEXT.motion_profile("static")) == (0, 1, 0)
    with pytest.raises(ModelError, match="no context tables"):
        SMALL.motion_profile("context")
    assert profile_name(CONTEXT.motion_profile("context")) == "context"
