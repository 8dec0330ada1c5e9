"""What holds of any recording: what is written is read, a cut gives the frames before it, no flipped byte passes."""

import io
from dataclasses import asdict, replace

import numpy as np
from hypothesis import given, settings, strategies as st
from vector_parts import CONTEXT, LEARNED, PAIRS, SMALL, STAGES, WIDE, head_for

from bcdcodec.container import Audio, AudioFormat, Content, Motion, Recording, Surroundings, open_bcd, write_recording
from bcdcodec.container.repair import repair
from bcdcodec.errors import BcdError

TABLES = {"small": SMALL, "wide": WIDE, "context": CONTEXT, "pairs": PAIRS, "stages": STAGES, "learned": LEARNED}
PLAIN_VALUES = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False)
PLAIN_VALUES |= st.text(max_size=9) | st.binary(max_size=9)
NESTED = st.recursive(
    PLAIN_VALUES, lambda v: st.lists(v, max_size=3) | st.dictionaries(st.text(max_size=5), v, max_size=3), max_leaves=6
)
SHALLOW = st.lists(PLAIN_VALUES, max_size=3) | st.dictionaries(st.text(max_size=5), PLAIN_VALUES, max_size=3)
# The same inputs every time: a test suite is no place for luck. `bcd` is fuzzed by tests/fuzz.
quick = settings(max_examples=60, derandomize=True, deadline=None, database=None)


@st.composite
def packets(draw) -> bytes:
    """An Opus packet of one frame: its first byte states 2.5 to 60 ms."""
    return bytes([8 * draw(st.integers(0, 31))]) + draw(st.binary(max_size=40))


@st.composite
def sounds(draw) -> tuple[Audio, ...]:
    chunks, sample = [], 0
    for i in range(draw(st.integers(0, 3))):
        given_format = AudioFormat(draw(st.integers(1, 2)), draw(st.integers(0, 4000)), draw(st.integers(0, 2**32 - 1)))
        if i:
            sample += draw(st.integers(0, 9999))  # silence
        chunk = Audio(sample, tuple(draw(st.lists(packets(), min_size=1, max_size=4))), None if i else given_format)
        chunks.append(chunk)
        sample += chunk.samples
    return tuple(chunks)


@st.composite
def recordings(draw) -> tuple[Recording, str]:
    """Any recording that a writer to a path may write, and the name of its tables."""
    name = draw(st.sampled_from(sorted(TABLES)))
    tables = TABLES[name]
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    variable = draw(st.booleans())
    motions, contents, frame, tick = [], [], 0, draw(st.integers(-(2**40), 2**40))
    for _ in range(draw(st.integers(0, 4))):
        fresh = not contents or draw(st.booleans())
        if fresh:
            contents.append(_content(draw, tables, rng, len(contents), frame))
        shown, stride = draw(st.integers(1, 40)), draw(st.sampled_from([1, 1, 2, 3, 64]))
        pts = None
        if variable:
            usual = draw(st.integers(1, 3000))
            steps = np.where(
                rng.random(shown) < draw(st.sampled_from([0, 0.1, 1])), rng.integers(1, 9999, shown), usual
            )
            pts = tick + np.cumsum(steps)
            tick = int(pts[-1])
        codes = rng.integers(0, tables.codes, (-(-shown // stride), tables.groups)).astype(np.uint8)
        if draw(st.booleans()):
            codes[1:] = np.where(rng.random(codes[1:].shape) < 0.9, codes[:1], codes[1:])  # most groups stay
        number = len(contents) - 1 if fresh else draw(st.integers(0, len(contents) - 1))
        motions.append(Motion(frame, number, codes, pts, stride, shown if stride > 1 else None))
        frame += shown
    if not contents:
        contents.append(_content(draw, tables, rng, 0, 0))
    head = head_for(
        tables,
        entropy_profile=int(tables.context is not None and draw(st.booleans())),
        content_profile=int(tables.learned is not None and draw(st.booleans())),
        frame_duration=0 if variable else draw(st.integers(1, 2**32 - 1)),
        time_base_num=draw(st.integers(1, 2**32 - 1)),
        time_base_den=draw(st.integers(1, 2**32 - 1)),
        sampler_seed=draw(st.integers(0, 2**64 - 1)),
        generated=draw(st.booleans()),
        frame_count=frame,
    )
    meta = draw(st.none() | st.dictionaries(st.text(max_size=9), PLAIN_VALUES | SHALLOW, min_size=1, max_size=3))
    used = len(contents)
    stills = tuple(Surroundings(i, draw(st.binary(max_size=20))) for i in range(used) if draw(st.booleans()))
    return Recording(head, tuple(contents), tuple(motions), meta, draw(sounds()), stills), name


def _content(draw, tables, rng, number: int, frame: int) -> Content:
    rows, columns = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    spread = draw(st.sampled_from([1, 8, 200, 32767]))
    values = rng.integers(-spread, spread, (rows * columns, tables.content.channels)).astype(np.int16)
    reference = rng.integers(0, tables.codes, tables.groups).astype(np.uint8) if draw(st.booleans()) else None
    return Content(number, frame, rows, columns, draw(st.integers(0, 255)), reference, values)


def written(recording: Recording, name: str) -> bytes:
    out = io.BytesIO()
    write_recording(out, recording, TABLES[name])
    return out.getvalue()


def read(data: bytes, name: str) -> Recording:
    with open_bcd(io.BytesIO(data)) as reader:
        assert reader.byte_counts.total == len(data)
        return reader.read(TABLES[name])


def plain(recording: Recording) -> dict:
    """A recording as values that compare."""

    def compared(value):
        if isinstance(value, np.ndarray):
            return value.dtype.str, value.tolist()
        if isinstance(value, dict):
            return {key: compared(item) for key, item in value.items()}
        return [compared(item) for item in value] if isinstance(value, list | tuple) else value

    return compared(asdict(recording))


def codes_of(motions) -> list:
    return [frame for motion in motions for frame in motion.codes.tolist()]


@quick
@given(recordings())
def test_what_is_written_is_read(made):
    recording, name = made
    found = read(written(recording, name), name)
    assert plain(found) == plain(recording)


@quick
@given(recordings(), st.data())
def test_a_cut_gives_the_frames_before_it_and_nothing_else(made, data):
    recording, name = made
    whole = written(recording, name)
    codes = codes_of(recording.motions)
    cut = data.draw(st.integers(0, len(whole) - 1))
    try:
        with open_bcd(io.BytesIO(whole[:cut])) as reader:
            assert not reader.complete and reader.fault is None
            found = list(reader.motion(TABLES[name]))
            assert codes_of(found) == codes[: len(codes_of(found))]
            assert sum(m.frames for m in found) >= reader.frames
            kept = list(reader.contents(TABLES[name])) if reader.content_count else []
            assert [c.values.tolist() for c in kept] == [c.values.tolist() for c in recording.contents][: len(kept)]
    except BcdError:
        assert cut < whole.index(b"CONT"), "only a file without HEAD cannot be opened"


@quick
@given(recordings(), st.data())
def test_a_flipped_byte_is_found(made, data):
    recording, name = made
    damaged = bytearray(written(recording, name))
    damaged[data.draw(st.integers(0, len(damaged) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        with open_bcd(io.BytesIO(bytes(damaged))) as reader:
            found = reader.complete
    except BcdError:
        return
    assert not found


@quick
@given(recordings(), st.data())
def test_a_damaged_file_is_repaired_to_a_valid_one_of_its_own_frames(made, data):
    recording, name = made
    whole = written(recording, name)
    at, size = data.draw(st.integers(0, len(whole) - 1)), data.draw(st.integers(1, 60))
    damaged = whole[:at] + data.draw(st.binary(max_size=60)) + whole[at + size :]
    out = io.BytesIO()
    try:
        report = repair(damaged, out, TABLES[name])
    except BcdError as error:
        assert "HEAD" in str(error) or "no whole content" in str(error)
        return
    found = read(out.getvalue(), name)
    frames = {tuple(frame) for frame in codes_of(recording.motions)}
    assert found.complete and {tuple(frame) for frame in codes_of(found.motions)} <= frames
    assert report.frames == sum(m.frames for m in found.motions)
    assert report.losses or damaged == whole


@quick
@given(recordings(), st.binary(max_size=300))
def test_any_bytes_after_head_give_frames_or_one_clear_error(made, rest):
    recording, name = made
    whole = written(replace(recording, metadata=None), name)
    try:
        read(whole[: whole.index(b"CONT")] + rest, name)
    except BcdError as error:
        assert "\n" not in str(error)
