"""Cut and damaged files give true frames or a BcdError, never anything else."""

import io
import tracemalloc

import numpy as np
import pytest
from vector_files import valid_vectors
from vector_parts import LEARNED, file_bytes, motion_for, randomly_damaged, recording

from bcdcodec.container import open_bcd, read_recording, verify_file
from bcdcodec.container.chunks import SIGNATURE, pack_chunk, read_chunks
from bcdcodec.container.head import pack_head
from bcdcodec.entropy.profiles import CONTENT_LEARNED, PROFILE_CONTEXT
from bcdcodec.errors import BcdError

VARIABLE = recording(
    motions=[
        motion_for(LEARNED, 0, 6, pts=[0, 1, 5, 9, 300, 70000]),
        motion_for(LEARNED, 6, 4, pts=range(10**6, 10**6 + 4)),
    ],
    frame_duration=0,
)
EVEN = recording(
    motions=[
        motion_for(LEARNED, 0, 6, pts=range(0, 6006, 1001)),
        motion_for(LEARNED, 6, 4, pts=[6006, 7007, 9009, 10010]),
    ],
    frame_duration=0,
)
FILES = {"constant": recording(), "variable": VARIABLE, "even": EVEN, "metadata": recording(metadata={"title": "x"})}
FILES["context"] = recording(LEARNED, entropy_profile=PROFILE_CONTEXT)  # in the other profiles these tables are as any
FILES["learned"] = recording(LEARNED, content_profile=CONTENT_LEARNED)


@pytest.fixture(params=sorted(FILES))
def whole(request):
    return FILES[request.param], file_bytes(FILES[request.param], LEARNED)


def frames_until_error(data: bytes):
    """Return the frames' codes [t, g], their pts and the BcdError that ended them (None at a peaceful end)."""
    codes, pts = [np.zeros((0, LEARNED.groups), np.uint8)], []
    try:
        with open_bcd(io.BytesIO(data)) as reader:
            assert reader.byte_counts.total == len(data)
            for motion in reader.motion(LEARNED):
                codes.append(motion.codes)
                pts += [] if motion.pts is None else motion.pts.tolist()
            list(reader.contents(LEARNED))
            _ = reader.metadata
    except BcdError as error:
        assert "\n" not in str(error)
        return np.concatenate(codes), pts, error
    return np.concatenate(codes), pts, None


def test_a_file_cut_at_any_byte_yields_every_earlier_frame(whole):
    given, data = whole
    codes = np.concatenate([motion.codes for motion in given.motions])
    pts = [tick for motion in given.motions if motion.pts is not None for tick in motion.pts.tolist()]
    ends = [data.rindex(b"MOTN"), data.rindex(b"TAIL")]  # where the first and the second motion are whole
    seen = set()
    for cut in range(len(data)):
        found, found_pts, error = frames_until_error(data[:cut])
        assert np.array_equal(found, codes[: len(found)])
        assert found_pts == pts[: len(found)] or not pts
        assert len(found) >= (10 if cut >= ends[1] else 6 if cut >= ends[0] else 0)
        assert (error is None) == (cut >= data.index(b"MOTN")), "only a file without head or content cannot be used"
        seen.add(len(found))
    assert len(seen) >= 7, "cuts inside a motion chunk yield the frames before the cut"


def test_a_cut_file_is_incomplete(whole):
    _, data = whole
    for cut in range(data.index(b"MOTN"), len(data)):
        assert not read_recording(io.BytesIO(data[:cut]), LEARNED).complete


def test_no_flipped_byte_passes_unseen_or_changes_a_frame(whole):
    given, data = whole
    codes = np.concatenate([motion.codes for motion in given.motions])
    for at in range(len(data)):
        for flip in (0x01, 0x20, 0x80, 0xFF):
            damaged = bytearray(data)
            damaged[at] ^= flip
            found, _, error = frames_until_error(bytes(damaged))
            assert np.array_equal(found, codes[: len(found)])
            assert error is not None or len(found) < len(codes) or not _is_complete(bytes(damaged))


def _is_complete(data: bytes) -> bool:
    with open_bcd(io.BytesIO(data)) as reader:
        return reader.complete


@pytest.mark.parametrize("seed", range(6))
def test_random_damage_gives_bcd_errors_only(seed):
    rng = np.random.default_rng(seed)
    files = [data for tables, data in valid_vectors().values() if tables in ("small", "small_context", "learned")]
    for _ in range(150):
        frames_until_error(randomly_damaged(files[rng.integers(len(files))], rng, most=3, longest=8))


@pytest.mark.parametrize("profile", ["constant", "context", "learned"])
@pytest.mark.parametrize("kind", [b"HEAD", b"TABL", b"CONT", b"MOTN", b"mETa", b"iNDX", b"TAIL", b"AUDI", b"zzZZ"])
def test_random_payloads_with_a_right_crc_give_bcd_errors_only(kind, profile, tmp_path):
    rng = np.random.default_rng(list(kind))
    head = pack_chunk(b"HEAD", pack_head(FILES[profile].head))
    content, motion = _chunks(b"CONT"), _chunks(b"MOTN")
    path = tmp_path / "x.bcd"
    for _ in range(150):
        payload = rng.bytes(int(rng.integers(0, 60)))
        if rng.integers(2):
            payload = bytes(b & 3 for b in payload)  # small numbers get past the limits
        chunk = pack_chunk(kind, payload)
        data = (
            SIGNATURE
            + (chunk if kind == b"HEAD" else head + (chunk + content if kind == b"TABL" else content + chunk))
            + motion
        )
        frames_until_error(data)
        path.write_bytes(data)
        try:
            verify_file(path, LEARNED)
        except BcdError:
            pass


def _chunks(kind: bytes) -> bytes:
    data = file_bytes(FILES["constant"], LEARNED)
    start = data.index(kind)
    chunk = next(read_chunks(io.BytesIO(data[start:]), start))
    return pack_chunk(chunk.type, chunk.payload)


def test_garbage_gives_bcd_errors_and_takes_no_memory():
    rng = np.random.default_rng(10)
    tracemalloc.start()
    for size in (0, 1, 7, 8, 9, 19, 20, 21, 200, 5000):
        for start in (
            b"",
            SIGNATURE,
            SIGNATURE + b"HEAD",
            SIGNATURE + b"HEAD\x28",
            SIGNATURE + b"HEAD\xff\xff\xff\x1f",
        ):
            assert frames_until_error((start + rng.bytes(size))[: max(size, 1) - 1])[2] is not None
            frames_until_error(start + rng.bytes(size))
    assert tracemalloc.get_traced_memory()[1] < 8 << 20
    tracemalloc.stop()
