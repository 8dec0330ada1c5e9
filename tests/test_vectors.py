"""Both readers agree on every valid vector, and every faulty one gives the error it must."""

import hashlib
import io
import json
import re
import struct
import subprocess
import sys
from dataclasses import asdict
from itertools import accumulate
from pathlib import Path

import independent_reader
import make_vectors
import numpy as np
import pytest
import vector_parts
from make_vectors import VECTORS
from safetensors.numpy import save_file

from bcdcodec import errors
from bcdcodec.container import open_bcd, opus_samples, read_recording, verify_file, write_recording
from bcdcodec.container.head import pack_head, unpack_head
from bcdcodec.container.pts import FrameTimes, pack_pts, read_pts
from bcdcodec.entropy import ModelTables
from bcdcodec.model_folder import ModelFolder

INDEX = json.loads((VECTORS / "index.json").read_text())
# packets.json is of live packets, which no .bcd file has; tests/make_packet_vectors.py makes it.
FILES = [path for path in VECTORS.rglob("*") if path.is_file() and path.name != "packets.json"]
SPEC = Path(__file__).parent.parent / "format-spec.md"
INCOMPLETE = {
    "no_tail": 10,
    "cut_in_motion": 9,
    "cut_in_header": 6,
    "context_cut": 29,
    "strided_cut": 13,
}  # frames that are there
# A writer of this version to a path does not make these.
NOT_REWRITTEN = {"newer_minor", "unknown_ancillary", "streaming", "sound_of_1_0"}


@pytest.fixture(scope="module", params=sorted(INDEX["valid"]))
def valid(request):
    tables = ModelTables.load(VECTORS / f"{INDEX['valid'][request.param]}.safetensors")
    return request.param, VECTORS / f"{request.param}.bcd", tables


def test_both_readers_agree(valid):
    name, path, tables = valid
    ours = read_recording(path, tables)
    theirs = independent_reader.read(
        path.read_bytes(), independent_reader.Tables(VECTORS / f"{INDEX['valid'][name]}.safetensors")
    )
    assert asdict(ours.head) == theirs["head"]
    assert [frame for motion in ours.motions for frame in motion.codes.tolist()] == theirs["codes"]
    assert hashlib.sha256(b"".join(map(bytes, theirs["codes"]))).hexdigest() == INDEX["codes"][name]["sha256"]
    assert len(theirs["used"]) == INDEX["codes"][name]["frames"]
    assert [motion.content for motion in ours.motions for _ in range(motion.frames)] == theirs["used"]
    assert [content.values.tolist() for content in ours.contents] == [values for _, values, _ in theirs["contents"]]
    references = [None if c.reference_codes is None else c.reference_codes.tolist() for c in ours.contents]
    assert references == [reference for reference, _, _ in theirs["contents"]]
    pictures = [
        c.picture and (c.picture.width, c.picture.height, c.picture.base, c.picture.unit) for c in ours.contents
    ]
    assert pictures == [picture for _, _, picture in theirs["contents"]]
    pts = [tick for motion in ours.motions if motion.pts is not None for tick in motion.pts.tolist()]
    assert (pts or None) == theirs["pts"]
    sound = next((audio.format for audio in ours.audio), None)
    assert theirs["sound"] == (sound and [sound.channels, sound.pre_skip, sound.delay, sound.gain])
    packets = []
    for audio in ours.audio:
        starts = accumulate(map(opus_samples, audio.packets), initial=audio.first_sample)
        packets += list(zip(starts, audio.packets, strict=False))
    assert packets == theirs["packets"]
    assert [(still.content, still.webp) for still in ours.surroundings] == theirs["surroundings"]
    assert ours.complete == theirs["complete"] == (name not in INCOMPLETE)


@pytest.mark.parametrize(
    "changes",
    [
        dict(groups=64, codes=32, sampler_seed=0),
        dict(groups=64, codes=31),
        dict(sampler_seed=2**64 - 1, coded_height=31, crop=(79, 0, 480, 480)),
        dict(source_width=8192, source_height=1, crop=(4095, 0, 1, 1), model_name=""),
        dict(source_width=1, source_height=8192, crop=(0, 0, 1, 8192), reenacted=True),
        dict(time_base_num=2**32 - 1, time_base_den=2**32 - 1, frame_duration=2**32 - 1, frame_count=2**32 - 1),
    ],
)
def test_both_readers_agree_on_every_field_that_head_may_leave_out(changes):
    head = vector_parts.head_for(vector_parts.SMALL, **changes)
    assert unpack_head(pack_head(head)) == head
    assert independent_reader.read_head(pack_head(head)) == asdict(head)


def test_fingerprints_agree():
    for tables in ("small", "wide"):
        path = VECTORS / f"{tables}.safetensors"
        assert independent_reader.Tables(path).fingerprint() == ModelTables.load(path).fingerprint()
    for tables in ("small_context", "stages", "pairs"):
        path = VECTORS / f"{tables}.safetensors"
        assert independent_reader.Tables(path).fingerprint(1) == ModelTables.load(path).fingerprint(1)
    assert ModelTables.load(path).fingerprint(1) != ModelTables.load(path).fingerprint()
    for tables, profiles in (("learned", (0, 1)), ("learned", (1, 1)), ("deep", (0, 1))):
        path = VECTORS / f"{tables}.safetensors"
        assert independent_reader.Tables(path).fingerprint(*profiles) == ModelTables.load(path).fingerprint(*profiles)


def test_the_model_fingerprint_is_as_the_format_states_it(tmp_path):
    weights = {"a": np.array([1, -2], np.float32), "c": np.array(7, np.int64)}
    weights["b.x"] = np.arange(6, dtype=np.float16).reshape(2, 3)
    save_file({name: weights[name] for name in ("c", "a")}, tmp_path / "weights-0.safetensors")
    save_file({"b.x": weights["b.x"]}, tmp_path / "weights-1.safetensors")
    save_file({"other": weights["a"]}, tmp_path / "tables.safetensors")
    config = b'{"name": "x"}\n'
    (tmp_path / "config.json").write_bytes(config)
    stated = config + b"a|float32|2|" + struct.pack("<2f", 1, -2)
    stated += b"b.x|float16|2,3|" + struct.pack("<6e", *range(6)) + b"c|int64||" + struct.pack("<q", 7)
    folder = ModelFolder(tmp_path, config=None)  # the fingerprint is of the file's bytes, not of what they mean
    assert folder.fingerprint == hashlib.sha256(stated).digest()


WRONG_PTS = [name for name in sorted(INDEX["faulty"]) if name.startswith("pts_")]


@pytest.mark.parametrize(
    "name", [*WRONG_PTS, "context_outside_range", "context_change_to_itself", "learned_outside_range"]
)
def test_the_independent_reader_refuses_wrong_pts_and_contexts_too(name):
    tables = independent_reader.Tables(VECTORS / f"{INDEX['tables_of_faulty'].get(name, 'small')}.safetensors")
    with pytest.raises((ValueError, IndexError)):
        independent_reader.read((VECTORS / "faulty" / f"{name}.bcd").read_bytes(), tables)


@pytest.mark.parametrize(
    "name", ["ends_in_fields", "ends_in_packets", "surplus_byte", "empty_packet", "packet_too_long", "goes_back"]
)
def test_the_independent_reader_refuses_wrong_sound_too(name):
    tables = independent_reader.Tables(VECTORS / "small.safetensors")
    with pytest.raises((ValueError, IndexError)):
        independent_reader.read((VECTORS / "faulty" / f"sound_{name}.bcd").read_bytes(), tables)


@pytest.mark.parametrize("name", sorted(INDEX["pictures"]))
def test_the_pictures_of_a_vector_decode_to_their_hashes(name):
    """Of the planes as AV1 decodes them, asked of dav1d without our code."""
    av = pytest.importorskip("av")
    tables = independent_reader.Tables(VECTORS / f"{INDEX['valid'][name]}.safetensors")
    contents = independent_reader.read((VECTORS / f"{name}.bcd").read_bytes(), tables)["contents"]
    units = {i: picture for i, (_, _, picture) in enumerate(contents) if picture}
    for (width, height, base, unit), stated in zip(units.values(), INDEX["pictures"][name], strict=True):
        decoder = av.CodecContext.create("libdav1d", "r")
        packets = [unit] if base is None else [units[base][3], unit]
        frames = [frame for packet in packets for frame in decoder.decode(av.Packet(b"\x12\0" + packet))]
        frames += decoder.decode(None)
        assert len(frames) == len(packets)
        planes = [np.frombuffer(p, np.uint8).reshape(p.height, p.line_size)[:, : p.width] for p in frames[-1].planes]
        assert planes[0].shape == (height, width) == (stated["height"], stated["width"])
        assert hashlib.sha256(b"".join(plane.tobytes() for plane in planes)).hexdigest() == stated["planes"]


@pytest.mark.parametrize("name", sorted(name for name in INDEX["faulty"] if name.startswith("picture_")))
def test_the_independent_reader_refuses_wrong_pictures_too(name):
    tables = independent_reader.Tables(VECTORS / "small.safetensors")
    with pytest.raises((ValueError, IndexError, KeyError)):
        independent_reader.read((VECTORS / "faulty" / f"{name}.bcd").read_bytes(), tables)


def test_valid_vectors_verify(valid):
    name, path, tables = valid
    report = verify_file(path, tables)
    assert report.ok
    assert bool(report.findings) == (name in INCOMPLETE)
    assert report.frames == INCOMPLETE.get(name, report.frames)
    assert report.byte_counts.total == path.stat().st_size


@pytest.mark.parametrize("name", sorted(set(INDEX["valid"]) - set(INCOMPLETE) - NOT_REWRITTEN))
def test_a_valid_vector_written_again_is_the_same_file(name, tmp_path):
    path, own = (
        VECTORS / f"{name}.bcd",
        {"own_tables": vector_parts.OWN, "context_own_tables": vector_parts.OWN_CONTEXT}.get(name),
    )
    tables = ModelTables.load(VECTORS / f"{INDEX['valid'][name]}.safetensors")
    write_recording(tmp_path / "again.bcd", read_recording(path, tables), own or tables, own is not None)
    assert (tmp_path / "again.bcd").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("name", sorted(INDEX["faulty"]))
def test_a_faulty_vector_gives_its_error(name):
    tables = ModelTables.load(VECTORS / f"{INDEX['tables_of_faulty'].get(name, 'small')}.safetensors")
    with pytest.raises(errors.BcdError) as caught:
        with open_bcd(VECTORS / "faulty" / f"{name}.bcd") as reader:
            _ = reader.metadata
            list(reader.contents(tables))
            list(reader.motion(tables))
    assert type(caught.value) is getattr(errors, INDEX["faulty"][name])
    assert "\n" not in str(caught.value)


def test_the_index_names_every_file():
    kept = {str(path.relative_to(VECTORS)) for path in FILES}
    named = {f"{name}.bcd" for name in INDEX["valid"]} | {f"faulty/{name}.bcd" for name in INDEX["faulty"]}
    named |= {f"{tables}.safetensors" for tables in make_vectors.TABLES} | {"index.json"}
    assert kept == named and INDEX["codes"].keys() == INDEX["valid"].keys()
    assert set(INDEX["pictures"]) <= set(INDEX["valid"]) and set(INDEX["tables_of_faulty"]) <= set(INDEX["faulty"])


def test_a_damaged_chunk_keeps_the_frames_before_it():
    data = bytearray((VECTORS / "plain.bcd").read_bytes())
    data[data.rindex(b"MOTN") + 14] ^= 1
    with open_bcd(io.BytesIO(bytes(data))) as reader:
        motions = reader.motion(vector_parts.SMALL)
        assert next(motions).codes.shape == (6, 5)
        with pytest.raises(errors.ChecksumError, match="MOTN"):
            next(motions)


def test_the_vectors_are_what_their_generator_makes(tmp_path):
    make_vectors.make(tmp_path)
    made = {path.relative_to(tmp_path): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    kept = {path.relative_to(VECTORS): path.read_bytes() for path in FILES}
    assert made == kept


def test_the_worked_example_of_the_format_is_its_vector():
    text = SPEC.read_text()
    prose = " ".join(text.split())
    lines = re.findall(r"^[0-9a-f]{4}  ((?:[0-9a-f]{2} ?)+)", text, re.MULTILINE)
    assert bytes.fromhex("".join(lines)) == (VECTORS / "one_frame.bcd").read_bytes()
    tokens = [[int(v) for v in line.split()] for line in re.findall(r"^token \d: +(.*)$", text, re.MULTILINE)]
    recording = read_recording(VECTORS / "one_frame.bcd", vector_parts.SMALL)
    assert tokens == recording.contents[0].values.tolist()
    stream = bytes.fromhex(re.search(r"symbols 0 1 2 3 0 0 1 are the bytes `([0-9a-f ]+)`", prose)[1])
    decoder = independent_reader.RangeDecoder(stream)
    assert [decoder.symbol([0, 32768, 49152, 57344, 65536]) for _ in range(7)] == [0, 1, 2, 3, 0, 0, 1]


def test_the_pts_example_of_the_format_is_what_both_readers_read_and_the_writer_writes():
    prose = " ".join(SPEC.read_text().split())
    example = re.search(r"The pts ([0-9, ]+) \([^)]*\) are the numbers [0-9, and]+ the bytes `([0-9a-f ]+)`", prose)
    pts, data = [int(tick) for tick in example[1].split(",")], bytes.fromhex(example[2])
    assert pack_pts(FrameTimes.of(np.array(pts))) == data
    assert read_pts(data, 0, len(pts))[0].pts().tolist() == pts
    assert independent_reader.read_pts(data, 0, len(pts)) == (pts, len(data))


@pytest.mark.parametrize(
    "tables, name, frames", [("small", "plain", 10), ("small_context", "context", 46), ("small", "picture_inter", 10)]
)
def test_codes_decode_without_torch_or_av(tables, name, frames):
    program = (
        "import sys; sys.modules.update(torch=None, av=None, diffusers=None, transformers=None)\n"
        "from bcdcodec.container import read_recording\n"
        "from bcdcodec.entropy import ModelTables\n"
        f"tables = ModelTables.load({str(VECTORS / f'{tables}.safetensors')!r})\n"
        f"print(sum(len(m.codes) for m in read_recording({str(VECTORS / f'{name}.bcd')!r}, tables).motions))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == (f"{frames}\n", "")
