"""What is fuzzed: each target takes bytes and may raise nothing but BcdError.

Checksums are made right before a file is read, so that mutations reach what lies behind them.
"""

from __future__ import annotations

import io
import json
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

TESTS = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TESTS))

import numpy as np  # noqa: E402
from vector_parts import CONTEXT, DEEP, LEARNED, SMALL, contextual, file_bytes, learned, recording, split  # noqa: E402
from vector_pictures import INTER, KEY, ODD, STILL  # noqa: E402

from bcdcodec.container import Picture, open_bcd, verify_file  # noqa: E402
from bcdcodec.container.audio import pack_audio, unpack_audio  # noqa: E402
from bcdcodec.container.av1 import parse_inter_unit, parse_key_unit  # noqa: E402
from bcdcodec.container.chunks import SIGNATURE, pack_chunk, read_chunks  # noqa: E402
from bcdcodec.container.head import unpack_head  # noqa: E402
from bcdcodec.container.metadata import pack_metadata, unpack_metadata  # noqa: E402
from bcdcodec.container.payloads import pack_content, unpack_content  # noqa: E402
from bcdcodec.container.repair import repair  # noqa: E402
from bcdcodec.entropy import ModelTables  # noqa: E402
from bcdcodec.entropy.context import decode_context, decode_context_prefix, encode_context  # noqa: E402
from bcdcodec.entropy.motion import decode_motion, decode_motion_prefix, encode_motion  # noqa: E402
from bcdcodec.errors import BcdError  # noqa: E402
from bcdcodec.files.info import describe_file  # noqa: E402
from bcdcodec.model_folder import SHIPPED, ModelFolder, open_model  # noqa: E402
from bcdcodec.stream.packets import pack_packet, unpack_packet  # noqa: E402

VECTORS = TESTS / "vectors"
MOST_FRAMES = 300  # decoded of one input: few bytes can state many frames


@dataclass(frozen=True)
class Target:
    """One thing to fuzz."""

    run: Callable[[bytes], None]
    seeds: Callable[[], list[bytes]]
    most_bytes: int = 4096  # of an input


def made_right(data: bytes) -> bytes:
    """The same chunks with right checksums, and HEAD with the fingerprint of LEARNED for its profiles."""
    if not data.startswith(SIGNATURE):
        return data
    parts = []
    try:
        for chunk in read_chunks(io.BytesIO(data[len(SIGNATURE) :])):
            payload = chunk.payload
            if chunk.type == b"HEAD":
                try:
                    head = unpack_head(payload)
                    print_ = LEARNED.fingerprint(head.entropy_profile, head.content_profile)
                    payload = payload[:14] + print_[:4] + payload[18:]
                except BcdError:
                    pass
            if len(payload) < chunk.length:  # cut: left as it is
                parts.append(data[chunk.offset :])
                break
            parts.append(pack_chunk(chunk.type, payload))
    except BcdError:
        pass
    return SIGNATURE + b"".join(parts)


def container(data: bytes) -> None:
    """Reader and repair, on a file whose checksums are right."""
    data = made_right(data)
    with open_bcd(io.BytesIO(data)) as reader:
        assert reader.byte_counts.total == len(data)
        _ = reader.duration_seconds, reader.audio_seconds, reader.complete
        for part in (reader.ancillary(), reader.surroundings(), reader.audio()):
            list(part)
        frames = 0
        list(reader.contents(LEARNED))
        for motion in reader.motion(LEARNED):
            frames += motion.frames
            if frames > MOST_FRAMES:
                break
        _ = reader.metadata


def repaired(data: bytes) -> None:
    """What repair writes is valid, of a file whose checksums are right and of the same bytes as they are."""
    for given in (data, made_right(data)):
        for tables in (None, LEARNED):
            out = io.BytesIO()
            try:
                report = repair(given, out, tables if len(given) < 400 else None)
            except BcdError:
                continue
            with open_bcd(io.BytesIO(out.getvalue())) as reader:
                assert reader.fault is None, reader.fault
                assert reader.frames == report.frames and reader.complete == report.complete


def files(data: bytes) -> None:
    """What `bcd info` and `bcd verify` do, on a file whose checksums are right."""
    path = _scratch() / "in.bcd"
    path.write_bytes(made_right(data))
    try:
        json.dumps(describe_file(path))
    finally:
        verify_file(path)


def motion_static(data: bytes) -> None:
    frames = 1 + (data[0] if data else 0) % 64
    _certain(decode_motion_prefix(data[1:], frames, SMALL.motion), frames)
    codes = decode_motion(data[1:], frames, SMALL.motion)
    assert np.array_equal(decode_motion(encode_motion(codes, SMALL.motion), frames, SMALL.motion), codes)


def motion_context(data: bytes) -> None:
    frames, tables = 1 + (data[0] if data else 0) % 8, CONTEXT.context
    _certain(decode_context_prefix(data[1:], frames, tables), frames)
    codes = decode_context(data[1:], frames, tables)
    assert np.array_equal(decode_context(encode_context(codes, tables), frames, tables), codes)


def _certain(codes: np.ndarray, frames: int) -> None:
    assert len(codes) <= frames and codes.shape[1] == SMALL.groups and (not codes.size or codes.max() < SMALL.codes)


def content(data: bytes) -> None:
    """A CONT in both profiles; what is read, written and read again is the same."""
    for tables, profile in ((SMALL, 0), (LEARNED, 1), (DEEP, 1)):
        try:
            found = unpack_content(data, tables, profile)
        except BcdError:
            continue
        again = unpack_content(pack_content(found, tables, profile)[0], tables, profile)
        assert np.array_equal(again.values, found.values) and again.picture == found.picture


def metadata(data: bytes) -> None:
    found = unpack_metadata(data)
    assert json.dumps(found, default=repr) == json.dumps(unpack_metadata(pack_metadata(found)), default=repr)


def sound(data: bytes) -> None:
    for first in (True, False):
        try:
            found = unpack_audio(data, first)
        except BcdError:
            continue
        assert unpack_audio(pack_audio(found), first) == found


def packets(data: bytes) -> None:
    """Packets of a live stream; what is read, written and read again is the same."""
    found = unpack_packet(data)
    assert unpack_packet(pack_packet(found)) == found


def av1(data: bytes) -> None:
    """The rules for AV1 units, for a key frame and for an inter frame; what keeps to them goes to the decoder."""
    from bcdcodec.video.av1 import decode_picture

    try:
        parse_key_unit(data, KEY.width, KEY.height)
        decode_picture(Picture(KEY.width, KEY.height, data))
    except BcdError:
        pass
    parse_inter_unit(data, parse_key_unit(KEY.unit, KEY.width, KEY.height))
    decode_picture(Picture(KEY.width, KEY.height, data, base=0), KEY)


def config(data: bytes) -> None:
    """The config.json of a model folder."""
    folder = _scratch()
    (folder / "config.json").write_bytes(data)
    json.loads(open_model(folder).config.to_json())


def tables(data: bytes) -> None:
    """The tables.safetensors of a model folder."""
    (_scratch() / "tables.safetensors").write_bytes(data)
    found = ModelTables.load(_scratch() / "tables.safetensors")
    codes = np.zeros((2, found.groups), np.uint8)
    assert np.array_equal(decode_motion(encode_motion(codes, found.motion), 2, found.motion), codes)


def weights(data: bytes) -> None:
    """A weights-*.safetensors of a model folder."""
    folder = _scratch()
    (folder / "config.json").write_text("{}")
    (folder / "weights-0.safetensors").write_bytes(data)
    _ = ModelFolder(folder, config=None).fingerprint


@cache
def _scratch() -> Path:
    """A folder for the input of targets that read files; in memory where there is a place for that."""
    memory = Path("/dev/shm")
    return Path(tempfile.mkdtemp(prefix="fuzz-", dir=memory if memory.is_dir() else None))


def _files() -> list[bytes]:
    return [path.read_bytes() for path in sorted(VECTORS.rglob("*.bcd"))]


def _payloads(kind: bytes) -> list[bytes]:
    found = []
    for data in [path.read_bytes() for path in sorted(VECTORS.glob("*.bcd"))]:
        found += [payload for name, payload in split(data) if name == kind]
    return found


def _packets() -> list[bytes]:
    """All packets of the vectors of live streams, and those that are faulty."""
    found = []

    def take(value: object) -> None:
        if isinstance(value, str):
            try:
                found.append(bytes.fromhex(value))
            except ValueError:
                pass
        elif isinstance(value, dict | list):
            for item in value.values() if isinstance(value, dict) else value:
                take(item)

    take(json.loads((VECTORS / "packets.json").read_text()))
    return found


def _coded(data: bytes) -> list[bytes]:
    return [bytes([5]) + payload[4:] for kind, payload in split(data) if kind == b"MOTN"]


def _safetensors() -> list[bytes]:
    from safetensors.numpy import save

    small = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.array(1, np.int64), "c": np.zeros(0, np.uint8)}
    return [save(small), (VECTORS / "small.safetensors").read_bytes()]


TARGETS = {
    "container": Target(container, _files),
    "repair": Target(repaired, _files),
    "files": Target(files, _files),
    "motion-static": Target(motion_static, lambda: _coded(file_bytes(recording(), SMALL))),
    "motion-context": Target(motion_context, lambda: _coded(contextual())),
    "content": Target(
        content, lambda: [p for data in (contextual(), learned()) for k, p in split(data) if k == b"CONT"]
    ),
    "metadata": Target(metadata, lambda: _payloads(b"mETa") + [pack_metadata({"a": [1, {"b": [b"x", -0.5, None]}]})]),
    "sound": Target(sound, lambda: _payloads(b"AUDI")),
    "packets": Target(packets, _packets),
    "av1": Target(av1, lambda: [picture.unit for picture in (KEY, INTER, STILL, ODD)]),
    "config": Target(config, lambda: [path.read_bytes() for path in sorted(SHIPPED.glob("*/config.json"))], 8192),
    "tables": Target(
        tables,
        lambda: [(VECTORS / f"{name}.safetensors").read_bytes() for name in ("small", "small_context", "learned")],
        65536,
    ),
    "weights": Target(weights, _safetensors, 16384),
}
