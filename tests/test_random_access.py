"""Any frame of a long file is found by its index, without reading what lies before it; wrong indices are refused."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from long_file import seek_times, write_long
from vector_parts import CONTEXT, OWN, SMALL, content_for, file_bytes, join, motion_for, recording, split, with_payload

from bcdcodec.container import BcdWriter, RandomAccess, open_bcd
from bcdcodec.container.chunks import pack_chunk
from bcdcodec.container.index import IndexEntry, pack_index, unpack_index
from bcdcodec.errors import BcdError, ChecksumError, FormatError

STEPS = [1, 2, 40, 1, 7]


def motions(tables=SMALL, variable=False, chunks=12):
    """Chunks of 1 to 7 frames, and the ticks of all frames."""
    sizes = [1 + i % 7 for i in range(chunks)]
    ticks = np.cumsum([100, *(STEPS[i % 5] for i in range(sum(sizes) - 1))])
    firsts = np.cumsum([0, *sizes])
    found = [
        motion_for(tables, int(f), n, content=int(i > 5), pts=ticks[f : f + n] if variable else None)
        for i, (f, n) in enumerate(zip(firsts, sizes))
    ]
    return found, ticks


def whole(tables=SMALL, variable=False, own=False, streamed=False, **head) -> bytes:
    given = recording(
        tables, [content_for(tables, 0), content_for(tables, 1, 21)], motions(tables, variable)[0], **head,
        frame_duration=0 if variable else 2,
    )  # fmt: skip
    data = file_bytes(given, tables, own)
    if not streamed:
        return data
    import io

    out = io.BytesIO()
    with BcdWriter(out, given.head, tables) as writer:
        for content in given.contents[:1]:
            writer.write_content(content)
        for motion in given.motions:
            writer.write_motion(replace(motion, content=0))
    return out.getvalue()


@pytest.mark.parametrize(
    "tables, options",
    [
        (SMALL, {}),
        (SMALL, {"variable": True}),
        (SMALL, {"streamed": True}),
        (OWN, {"own": True}),
        (CONTEXT, {"entropy_profile": 1}),
    ],
    ids=["constant", "variable", "streamed", "own tables", "context"],
)
def test_every_frame_is_found_at_its_time(tables, options, tmp_path):
    path = tmp_path / "x.bcd"
    path.write_bytes(whole(tables, **options))
    given = SMALL if tables is OWN else tables
    with open_bcd(path) as reader:
        expected = [(m, i) for m in reader.motion(given) for i in range(m.frames)]
        contents, seconds = list(reader.contents(given)), reader.duration_seconds
    ticks = motions(variable=True)[1] - 100 if options.get("variable") else 2 * np.arange(len(expected))
    with RandomAccess(path) as access:
        assert access.frames == len(expected) and access.duration_seconds == seconds
        for frame, (motion, within) in enumerate(expected):
            for late in (0, 0.4):
                assert access.frame_at((ticks[frame] + late) / 25) == frame
            found = access.motion(frame, given)
            assert found.first_frame == frame - within and np.array_equal(found.codes, motion.codes)
            assert found.content == motion.content
        for content in contents:
            assert np.array_equal(access.content(content.number, given).values, content.values)
        assert (access.frame_at(-1), access.frame_at(1e9)) == (0, len(expected) - 1)


def test_a_single_last_frame_of_a_variable_rate_lasts_a_tick(tmp_path):
    path = tmp_path / "x.bcd"
    chunks = [motion_for(SMALL, i, 1, pts=[10 * i]) for i in range(9)]
    path.write_bytes(file_bytes(recording(motions=chunks, frame_duration=0), SMALL))
    with RandomAccess(path) as access:
        assert access.frame_at(3.3) == 8 and access.duration_seconds > 80 / 25


def test_an_only_frame_of_a_variable_rate_lasts_a_tick(tmp_path):
    path = tmp_path / "x.bcd"
    contents = [content_for(SMALL, i) for i in range(8)]  # so many that the file has an index
    only = recording(contents=contents, motions=[motion_for(SMALL, 0, 1, 7, pts=[40])], frame_duration=0)
    path.write_bytes(file_bytes(only, SMALL))
    with RandomAccess(path) as access, open_bcd(path) as reader:
        assert access.duration_seconds == reader.duration_seconds == 1 / 25


def test_what_is_not_there_is_told(tmp_path):
    path = tmp_path / "x.bcd"
    path.write_bytes(whole())
    with RandomAccess(path) as access:
        for frame in (-1, access.frames):
            with pytest.raises(FormatError, match=f"no frame {frame}"):
                access.motion(frame, SMALL)
        with pytest.raises(FormatError, match="no content 2, it has 2"):
            access.content(2, SMALL)
        for seconds in (float("nan"), float("inf")):
            with pytest.raises(BcdError, match="finite"):
                access.frame_at(seconds)
    with pytest.raises(BcdError, match="cannot open .*: No such file"):
        RandomAccess(tmp_path / "no.bcd")


def test_files_without_an_index_are_refused(tmp_path):
    path, data = tmp_path / "x.bcd", whole()
    short = file_bytes(recording(), SMALL)
    for wrong in (short, data[:-1], data[:100], data + b"\0", short[: short.index(b"CONT")]):
        path.write_bytes(wrong)
        with pytest.raises(FormatError, match="read it from the start"):
            RandomAccess(path)
    for wrong in (b"", data[:20], b"abc"):
        path.write_bytes(wrong)
        with pytest.raises(FormatError):
            RandomAccess(path)


def with_index(data: bytes, edit) -> bytes:
    return with_payload(data, b"iNDX", lambda payload: pack_index(edit(unpack_index(payload))))


@pytest.mark.parametrize(
    "edit, message",
    [
        (lambda e: [replace(x, offset=x.offset + 1) for x in e], "at byte|no chunk"),
        (lambda e: [replace(x, offset=1 << 62) for x in e], "the end of the file|cannot read"),
        (lambda e: [replace(x, offset=(1 << 64) - 1) for x in e], "cannot read"),
        (lambda e: [e[0], *([e[1]] * 9)], "names no chunk of frame 5"),
        (lambda e: [e[0], *[replace(x, offset=e[0].offset) for x in e[1:]]], "CONT at byte"),
    ],
)
def test_an_index_that_is_wrong_gives_an_error_or_the_right_frame(edit, message, tmp_path):
    path = tmp_path / "x.bcd"
    path.write_bytes(with_index(whole(), edit))
    with RandomAccess(path) as access, pytest.raises(BcdError, match=message):
        access.motion(5, SMALL)


@pytest.mark.parametrize("edit", [lambda e: e[:1], lambda e: [IndexEntry(e[2].type, e[2].offset, 3)]])
def test_an_index_without_the_first_frame_is_refused(edit, tmp_path):
    path = tmp_path / "x.bcd"
    path.write_bytes(with_index(whole(), edit))
    with pytest.raises(FormatError, match="frame 0"):
        RandomAccess(path)


def test_times_of_motion_without_times_are_refused(tmp_path):
    path, parts = tmp_path / "x.bcd", split(whole(variable=True))
    at = next(i for i, (kind, _) in enumerate(parts) if kind == b"MOTN")
    plain = [payload for kind, payload in split(whole()) if kind == b"MOTN"][0]
    longer = plain + bytes(len(parts[at][1]) - len(plain))
    path.write_bytes(join([*parts[:at], (b"MOTN", longer), *parts[at + 1 :]]))
    with RandomAccess(path) as access, pytest.raises(FormatError, match="has no pts"):
        access.frame_at(0)


def test_a_damaged_chunk_is_found_when_it_is_read(tmp_path):
    path, data = tmp_path / "x.bcd", bytearray(whole())
    data[data.index(b"MOTN") + 12] ^= 1
    path.write_bytes(data)
    with RandomAccess(path) as access:
        assert access.motion(1, SMALL).first_frame == 1
        with pytest.raises(ChecksumError):
            access.motion(0, SMALL)


def test_little_is_read_of_a_long_file(tmp_path, monkeypatch):
    path = tmp_path / "x.bcd"
    write_long(path, SMALL, 100_000)
    read = []
    monkeypatch.setattr(
        "bcdcodec.container.random_access.read_chunks",
        lambda file, offset=8: (read.append(len(pack_chunk(c.type, c.payload))) or c for c in chunks(file, offset)),
    )
    from bcdcodec.container.chunks import read_chunks as chunks

    with RandomAccess(path) as access:
        access.motion(access.frame_at(2000), SMALL)
    assert sum(read) < path.stat().st_size / 20


def test_an_hour_is_found_in_milliseconds_and_written_in_flat_memory(tmp_path):
    """90,000 frames; tests/long_file.py does the same with 720,000."""
    peaks = []
    for frames in (9_000, 90_000):
        tracemalloc.start()
        write_long(tmp_path / f"{frames}.bcd", SMALL, frames)
        with open_bcd(tmp_path / f"{frames}.bcd") as reader:
            assert sum(motion.frames for motion in reader.motion(SMALL)) == frames
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 100 * 90_000 / 256 * 10, "some 1000 bytes a chunk of 256 frames at most"
    times = sorted(seek_times(tmp_path / "90000.bcd", SMALL, 50))
    assert times[25] < 0.05


def test_a_last_chunk_of_one_frame_lasts_as_long_as_the_frame_before(tmp_path):
    path, moved = tmp_path / "x.bcd", motions(variable=True, chunks=8)[0]
    assert moved[-1].frames == 1
    contents = [content_for(SMALL, 0), content_for(SMALL, 1, 21)]
    path.write_bytes(file_bytes(recording(SMALL, contents, moved, frame_duration=0), SMALL))
    with open_bcd(path) as reader, RandomAccess(path) as access:
        assert access.duration_seconds == reader.duration_seconds
