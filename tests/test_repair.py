"""A repaired file is valid, holds every whole chunk at its time, and what is lost is stated."""

import io
import json
from dataclasses import replace

import numpy as np
import pytest
from test_vectors import INCOMPLETE, INDEX, VECTORS
from vector_parts import (
    CONTEXT,
    SMALL,
    SOUND,
    content_for,
    file_bytes,
    join,
    motion_for,
    packets_for,
    picture_for,
    recording,
    split,
    wandering,
)
from vector_pictures import INTER, KEY

from bcdcodec.container import Audio, Surroundings, open_bcd, read_recording
from bcdcodec.container.chunks import SIGNATURE, pack_chunk, read_chunks
from bcdcodec.container.repair import repair, stated_sizes
from bcdcodec.container.salvage import Damage, find_chunks
from bcdcodec.entropy import ModelTables
from bcdcodec.entropy.profiles import PROFILE_CONTEXT
from bcdcodec.errors import BcdError, FormatError, ModelMismatchError, TruncatedError, UnsupportedError

# 40 ms a frame, as of `recording`; sound of three chunks; a second content from frame 8 on.
MOTIONS = [motion_for(SMALL, 4 * i, 4, content=int(i >= 2)) for i in range(5)]
CONTENTS = [content_for(SMALL, 0), content_for(SMALL, 1, 8)]
SOUNDS = (
    Audio(0, packets_for("a", [3, 3]), SOUND),  # 2880 samples each
    Audio(5760, packets_for("b", [3])),
    Audio(8640, packets_for("c", [3, 3])),
)
WHOLE = replace(
    recording(contents=CONTENTS, motions=MOTIONS, audio=SOUNDS, metadata={"title": "x"}),
    surroundings=(Surroundings(1, b"RIFF\x04\0\0\0WEBP"),),
)


def repaired(data: bytes, tables=SMALL):
    """The repaired recording and the report; it is valid, and whole where it has a TAIL."""
    out = io.BytesIO()
    report = repair(data, out, tables)
    with open_bcd(io.BytesIO(out.getvalue())) as reader:
        assert reader.fault is None and reader.complete == report.complete
        assert reader.frames == report.frames
    return read_recording(io.BytesIO(out.getvalue()), tables or SMALL), report


def shown(given) -> list[tuple]:
    """Tick, codes and values of the content of every frame of a recording without strides."""
    frames = []
    for motion in given.motions:
        for i, codes in enumerate(motion.codes.tolist()):
            tick = (motion.first_frame + i) * given.head.frame_duration if motion.pts is None else int(motion.pts[i])
            frames.append((tick, codes, given.contents[motion.content].values.tolist()))
    return frames


def packets(given) -> list[tuple]:
    """When each chunk of sound begins, in samples from the start of the first frame, and its packets."""
    if not given.audio:
        return []
    sound = given.audio[0].format
    return [(audio.first_sample + sound.delay - sound.pre_skip, audio.packets) for audio in given.audio]


def chunks_of(data: bytes):
    return list(read_chunks(io.BytesIO(data[len(SIGNATURE) :])))


@pytest.mark.parametrize("name", sorted(set(INDEX["valid"]) - set(INCOMPLETE) - {"streaming"}))
def test_of_an_undamaged_file_the_same_bytes_are_left(name):
    data, out = (VECTORS / f"{name}.bcd").read_bytes(), io.BytesIO()
    for tables in (ModelTables.load(VECTORS / f"{INDEX['valid'][name]}.safetensors"), None):
        report = repair(data, out := io.BytesIO(), tables)
        assert out.getvalue() == data
        assert report.losses == () and report.complete


@pytest.mark.parametrize("name", sorted(INCOMPLETE))
def test_of_a_cut_file_the_frames_before_the_cut_are_left_and_it_is_whole(name):
    tables = ModelTables.load(VECTORS / f"{INDEX['valid'][name]}.safetensors")
    given, report = repaired((VECTORS / f"{name}.bcd").read_bytes(), tables)
    assert given.complete and report.frames == INCOMPLETE[name] == sum(m.frames for m in given.motions)
    assert report.losses


def test_every_damaged_chunk_costs_itself_and_what_needs_it():
    data = file_bytes(WHOLE, SMALL)
    before, sound = shown(WHOLE), packets(WHOLE)
    motion = sounds = contents = -1
    for kind, offset, length in [(c.type, c.offset, c.length) for c in chunks_of(data)][1:]:
        damaged = bytearray(data)
        damaged[offset + 9 + length // 2] ^= 0x10  # in the payload
        found, report = repaired(bytes(damaged))
        assert found.complete and report.losses[0].startswith(f"chunk {kind.decode()} at byte {offset} is damaged")
        lost, lost_sound = set(), set()
        if kind == b"MOTN":
            motion += 1
            lost = set(range(4 * motion, 4 * motion + 4))
        elif kind == b"CONT":
            contents += 1
            lost = set(range(0, 8) if contents == 0 else range(8, 20))
        elif kind == b"AUDI":
            sounds += 1
            lost_sound = {sounds}
        left = [frame for i, frame in enumerate(before) if i not in lost]
        times = [0, *(frame[0] for frame in left[1:])]  # the first one is shown from the start
        assert [(tick, *frame[1:]) for tick, frame in zip(times, left, strict=True)] == shown(found)
        assert report.lost_frames == len(lost) and report.lost_seconds == pytest.approx(len(lost) / 25)
        if lost_sound != {0}:  # with the first one delay and pre-skip are lost, 4.4 ms here
            assert packets(found) == [part for i, part in enumerate(sound) if i not in lost_sound]
            assert report.lost_sound_seconds == pytest.approx(2880 / 48000 if lost_sound == {1} else 0)
        else:
            assert [p for _, p in packets(found)] == [p for _, p in sound[1:]]
            assert [at for at, _ in packets(found)] == [5760, 8640]
            assert report.lost_sound_seconds == pytest.approx(5760 / 48000)
        assert (found.metadata is None) == (kind == b"mETa")
        assert len(found.surroundings) == (kind != b"sURR" and not (kind == b"CONT" and contents == 1))
    assert (motion, sounds, contents) == (4, 2, 1)


def test_of_every_flipped_byte_something_is_left_or_it_is_refused():
    data = file_bytes(WHOLE, SMALL)
    head = chunks_of(data)[1].offset  # where HEAD ends
    codes = [frame[1:] for frame in shown(WHOLE)]
    for at in range(len(data)):
        damaged = bytearray(data)
        damaged[at] ^= 0x21
        if 8 <= at < head:
            with pytest.raises(BcdError, match="HEAD"):
                repaired(bytes(damaged))
            continue
        found, report = repaired(bytes(damaged))
        assert report.losses and found.complete
        assert all(frame[1:] in codes for frame in shown(found))
        assert report.frames >= 8


def test_frames_after_a_wrong_length_are_found():
    data = file_bytes(WHOLE, SMALL)
    chunk = next(c for c in chunks_of(data) if c.type == b"MOTN")
    damaged = bytearray(data)
    damaged[chunk.offset + 4] ^= 0x05
    assert repaired(bytes(damaged))[1].lost_frames == 4
    without_header = data[: chunk.offset] + data[chunk.offset + 9 :]  # bytes are missing
    assert repaired(without_header)[1].lost_frames == 4


def test_a_variable_rate_keeps_its_times():
    motions = [motion_for(SMALL, 3 * i, 3, pts=np.array([0, 30, 70]) + 100 * i) for i in range(4)]
    data = file_bytes(recording(motions=motions, frame_duration=0, time_base_den=1000), SMALL)
    for lost in range(4):
        chunk = [c for c in chunks_of(data) if c.type == b"MOTN"][lost]
        damaged = bytearray(data)
        damaged[chunk.offset + 12] ^= 1
        found, report = repaired(bytes(damaged))
        ticks = [tick for i, m in enumerate(motions) if i != lost for tick in m.pts.tolist()]
        assert [frame[0] for frame in shown(found)] == [0, *ticks[1:]]
        assert report.lost_frames == 3
        # A frame lasts until the next, and where that is lost as long as the one before it; at the end it is not known.
        assert report.lost_seconds == pytest.approx({0: 0.1, 1: 0.09, 2: 0.09, 3: 0}[lost])


def test_strides_and_context_survive():
    motions = [motion_for(SMALL, 0, 9, stride=4), motion_for(SMALL, 9, 8, stride=3), motion_for(SMALL, 17, 2)]
    data = file_bytes(recording(motions=motions), SMALL)
    chunk = [c for c in chunks_of(data) if c.type == b"MOTN"][1]
    found, report = repaired(data[: chunk.offset] + b"\0" + data[chunk.offset + 9 :])
    assert [(m.first_frame, m.frames, m.stride) for m in found.motions] == [(0, 9, 4), (9, 2, 1)]
    assert found.motions[1].pts.tolist() == [17, 18] and report.lost_frames == 8

    motions = [wandering(CONTEXT, 0, 30), wandering(CONTEXT, 30, 30)]
    data = file_bytes(recording(CONTEXT, motions=motions, entropy_profile=PROFILE_CONTEXT), CONTEXT)
    first = next(c for c in chunks_of(data) if c.type == b"MOTN").offset
    found, report = repaired(data[: first + 20] + b"\xff" + data[first + 21 : -22], CONTEXT)
    assert report.lost_frames > 30 and found.complete
    assert np.array_equal(found.motions[0].codes, motions[1].codes[: found.motions[0].frames])


def test_a_picture_whose_key_frame_is_lost_is_lost_with_it():
    pictures = [KEY, KEY, replace(INTER, base=0), replace(INTER, base=1)]
    contents = [picture_for(SMALL, i, picture, 2 * i) for i, picture in enumerate(pictures)]
    motions = [motion_for(SMALL, 2 * i, 2, content=i) for i in range(4)]
    data = file_bytes(recording(contents=contents, motions=motions), SMALL)
    chunk = next(c for c in chunks_of(data) if c.type == b"CONT")
    damaged = bytearray(data)
    damaged[chunk.offset + 20] ^= 1
    found, report = repaired(bytes(damaged))
    assert [c.picture.base for c in found.contents] == [None, 0]  # 1 and 3, which refers to 1
    assert report.lost_frames == 4 and [m.content for m in found.motions] == [0, 1]
    assert any("refers to content 0, which is lost" in loss for loss in report.losses)


def test_without_tables_whole_chunks_are_kept_and_the_hash_where_it_holds():
    data = file_bytes(WHOLE, SMALL)
    motion, sound = (next(c for c in chunks_of(data) if c.type == kind).offset for kind in (b"MOTN", b"AUDI"))
    for at, complete in ((sound, True), (motion, False)):
        damaged = bytearray(data)
        damaged[at + 12] ^= 1
        out = io.BytesIO()
        report = repair(bytes(damaged), out, None)
        assert report.complete == complete
        found = read_recording(io.BytesIO(out.getvalue()), SMALL)
        assert found.complete == complete and report.frames == len(shown(found)) == (20 if complete else 16)
    cut = data[: data.rindex(b"MOTN") + 14]
    assert repaired(cut, None)[1].frames == 16 and repaired(cut)[1].frames in (16, 17, 18)


def test_what_follows_tail_and_what_breaks_the_order_is_left_out():
    data = file_bytes(recording(), SMALL)
    parts = split(data)
    head, content, first, second, tail = parts
    assert repaired(data + b"more")[1].losses == ("4 bytes follow TAIL and are left out",)
    for odd, reason in (
        ([head, content, first, first, second, tail], "it begins at frame 0, expected frame 6 or later"),
        ([head, content, head, first, second, tail], "expected one"),
        ([head, content, content, first, second, tail], "a content 0 came before it"),
        ([head, content, first, second, (b"TABL", b"\0" * 80), tail], "expected at most one, before all CONT"),
        ([head, content, first, second, (b"CONT", b"\x05" + b"\x02" + content[1][2:]), tail], "it begins at frame 2"),
        ([head, content, first, (b"MOTN", second[1][:1]), second, tail], "ends"),
        ([head, content, first, (b"sURR", b"\x09"), second, tail], "its content is not there"),
        ([head, (b"mETa", b"\x80"), content, first, (b"mETa", b"\x80"), second, tail], "expected at most one"),
    ):
        found, report = repaired(join(odd))
        assert len(report.losses) == 1 and reason in report.losses[0]
        assert shown(found) == shown(recording()) and found.complete


def test_what_cannot_be_repaired_is_refused():
    data = file_bytes(recording(), SMALL)
    head, content, first, second, tail = split(data)
    with pytest.raises(FormatError, match="no intact chunk"):
        repair(b"", io.BytesIO())
    with pytest.raises(FormatError, match="CONT as its first intact chunk, expected HEAD"):
        repair(join([content, first]), io.BytesIO())
    with pytest.raises(TruncatedError, match="no whole content.*frame 0 uses content 0, which is lost"):
        repair(join([head, first, second, tail]), io.BytesIO(), SMALL)
    with pytest.raises(UnsupportedError, match="newer"):
        repair(join([head, content, (b"NEWX", b""), first, tail]), io.BytesIO())
    with pytest.raises(ModelMismatchError):
        repair(
            data,
            io.BytesIO(),
            CONTEXT if CONTEXT.fingerprint() != SMALL.fingerprint() else ModelTables.load(VECTORS / "wide.safetensors"),
        )


def test_a_damaged_signature_is_no_obstacle():
    data = file_bytes(recording(), SMALL)
    found, report = repaired(b"\n" + data[3:])
    assert shown(found) == shown(recording()) and len(report.losses) == 1


def test_chunks_are_found_in_garbage_and_hostile_bytes_take_no_time():
    rng = np.random.default_rng(0)
    chunk = pack_chunk(b"MOTN", b"x" * 40)
    data = rng.bytes(1000) + chunk + rng.bytes(500) + chunk
    found = list(find_chunks(data))
    assert [c.offset for c in found if not isinstance(c, Damage)] == [1000, 1549]
    assert [(d.offset, d.end) for d in found if isinstance(d, Damage)] == [(0, 1000), (1049, 1549)]
    hostile = (b"MOTN\xff\xff\x3f" + b"\0" * 4) * (1 << 17)  # each states a mebibyte that is there
    assert all(isinstance(c, Damage) for c in find_chunks(hostile))


def test_the_sizes_that_intact_chunks_state_are_known_without_decoding_them():
    data, content = join(split(file_bytes(WHOLE, SMALL))), pack_chunk(b"CONT", b"")
    assert stated_sizes(data) == (20, 2 * 24)
    assert stated_sizes(data + b"no chunk" + content + pack_chunk(b"MOTN", b"\0")) == (20, 2 * 24)
    assert stated_sizes(data[:-30]) == (16, 2 * 24), "of a cut chunk nothing is counted"


# ---- `bcd repair` and `bcd decode --keep-going`


@pytest.fixture
def broken(recording, tmp_path):
    """The tiny model's file, cut inside its motion."""
    data = recording.read_bytes()
    path = tmp_path / "broken.bcd"
    path.write_bytes(data[:-30])
    return path


def test_the_command_repairs_and_states_what_is_lost(bcd, tiny_model, broken, tmp_path):
    before = broken.read_bytes()
    done = bcd("repair", broken, tmp_path / "fixed.bcd", "--model", tiny_model)
    assert done.code == 0 and "frames kept; lost:" in done.out and done.err == ""
    assert broken.read_bytes() == before
    assert bcd("verify", tmp_path / "fixed.bcd", "--model", tiny_model).code == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["broken.bcd", "fixed.bcd"]


def test_the_command_without_the_model_says_so(bcd, recording, tmp_path):
    (tmp_path / "broken.bcd").write_bytes(recording.read_bytes() + b"more")
    done = bcd("repair", tmp_path / "broken.bcd", tmp_path / "fixed.bcd")
    assert done.code == 0 and "repaired without the model" in done.err
    assert (tmp_path / "fixed.bcd").read_bytes() == recording.read_bytes()


def test_the_command_uses_the_model_for_more_frames_than_the_limit_when_asked(
    bcd, tiny_model, recording, tmp_path, monkeypatch
):
    monkeypatch.setattr("bcdcodec.container.limits.MAX_FRAMES", 61)
    (tmp_path / "broken.bcd").write_bytes(recording.read_bytes() + b"more")
    command = ("repair", tmp_path / "broken.bcd", tmp_path / "fixed.bcd", "--model", tiny_model)
    done = bcd(*command)
    text = "without the model: the file states 62 frames, the limit is 61; decode all with --all"
    assert done.code == 0 and text in done.err
    done = bcd(*command, "--all")
    assert done.code == 0 and done.err == ""


@pytest.mark.parametrize(
    "source, target, reason",
    [
        ("none.bcd", "fixed.bcd", "none.bcd: No such file"),
        ("broken.bcd", "broken.bcd", "is the input"),
        ("broken.bcd", "fixed.mp4", "expected .bcd"),
        ("text.bcd", "fixed.bcd", "text.bcd: the file has no intact chunk"),
    ],
)
def test_the_command_refuses_in_one_line(bcd, tiny_model, broken, tmp_path, source, target, reason):
    (tmp_path / "text.bcd").write_text("text " * 100)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    done = bcd("repair", tmp_path / source, tmp_path / target, "--model", tiny_model)
    assert done.code == 1 and reason in done.err and len(done.err.splitlines()) == 1
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_decode_keeps_going_and_states_what_is_lost(bcd, tiny_model, recording, tmp_path):
    with open_bcd(recording) as reader:
        whole = json.loads(bcd("info", recording, "--json").out)["frames"]
        content = next(offset for name, offset, _ in reader.chunks if name == "CONT")
    data = recording.read_bytes()
    (tmp_path / "broken.bcd").write_bytes(data[:content] + b"garbage" + data[content:])
    model = ("--model", tiny_model)
    refused = bcd("decode", tmp_path / "broken.bcd", tmp_path / "a", *model)
    assert refused.code == 1 and not (tmp_path / "a").exists()
    done = bcd("decode", tmp_path / "broken.bcd", tmp_path / "a", "--keep-going", *model)
    assert done.code == 0 and "note: something at byte" in done.err
    assert len(list((tmp_path / "a").iterdir())) == whole
    refused = bcd("decode", tmp_path / "broken.bcd", tmp_path / "b", "--keep-going", "--max-frames", whole - 1, *model)
    assert refused.code == 1 and f"has {whole} frames or more, the limit is {whole - 1}" in refused.err
