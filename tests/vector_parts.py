"""Tables, recordings and byte surgery that the conformance vectors are made of; the same every time."""

import hashlib
import io
from dataclasses import replace

import numpy as np

from bcdcodec.container import Audio, AudioFormat, Content, Head, Motion, Picture, Recording, write_recording
from bcdcodec.container.chunks import SIGNATURE, pack_chunk, read_chunks
from bcdcodec.entropy import ContentModel, ContextTables, FrequencyTables, ModelTables
from bcdcodec.entropy.context import CHANGES
from bcdcodec.entropy.context_state import ContextState, clipped
from bcdcodec.entropy.learned_content import LearnedContentModel
from bcdcodec.entropy.profiles import CONTENT_LEARNED, PROFILE_CONTEXT, PROFILE_STATIC
from bcdcodec.entropy.range_coder import RangeEncoder


def numbers(seed: str, shape: tuple[int, ...], high: int) -> np.ndarray:
    """Return integers 0..high-1 from SHA-256, so that no version of any random generator matters."""
    count = int(np.prod(shape))
    data = b"".join(hashlib.sha256(f"{seed}/{i}".encode()).digest() for i in range(count // 8 + 1))
    return (np.frombuffer(data, "<u4")[:count].astype(np.int64) % high).reshape(shape)


def make_tables(seed: str, groups: int, codes: int, bands: list[int], predicted: int) -> ModelTables:
    """Return skewed tables; in motion table 0 one code has all it can get and the others 1."""
    counts = numbers(f"{seed}/motion", (groups, codes), 40) ** 3
    motion = np.array(FrequencyTables.from_counts(counts).frequencies)
    motion[0] = 1
    motion[0, codes // 2] = 65536 - (codes - 1)
    distance = np.abs(np.arange(128) - 63)[None]
    spread = 1 + np.arange(10 * (max(bands) + 1))[:, None] % 10
    content_counts = (1 << 20) // (1 + (distance * distance) // spread)
    content_counts[:, 127] = 1 << 14
    content = ContentModel(FrequencyTables.from_counts(content_counts), np.array(bands, np.uint8), predicted)
    return ModelTables(FrequencyTables(motion), content)


def make_context(seed: str, groups: int, codes: int, pairs=False) -> ContextTables:
    """Return context tables with logits of both signs, some so large that their sums are limited."""

    def logits(name: str, shape: tuple[int, ...], spread: int) -> np.ndarray:
        return (numbers(f"{seed}/{name}", shape, 2 * spread + 1) - spread).astype(np.int16)

    def successors(name: str, shape: tuple[int, ...]) -> np.ndarray:
        rows, own = 1 + numbers(f"{seed}/{name}", shape, 12) ** 3, np.arange(codes)  # rows sum to less than 2^15
        rows[..., own, own] = 0
        rows[..., own, (own + 1) % codes] += (1 << 15) - rows.sum(-1)
        return rows.astype(np.uint16)

    code_logits = logits("code", (groups, codes), 1200) - 300
    code_logits[0, 0], code_logits[-1, -1] = -3071, 3071
    return ContextTables(
        FrequencyTables.from_counts(numbers(f"{seed}/first", (groups, codes), 40) ** 3), code_logits.astype(np.int16),
        logits("age", (16,), 200), logits("visit", (8, 8), 200), logits("activity", (8, 8, 8), 300),
        successors("successors", (groups, codes, codes)), np.array([20000, 3000, 1 << 20], np.uint32),
        successors("pairs", (groups, codes, codes, codes)) if pairs else None,
    )  # fmt: skip


def make_learned(seed: str, channels: int, predicted: int, units: int) -> LearnedContentModel:
    """Return learned content tables whose network chooses all classes; from class to class values are larger."""

    def weights(name: str, shape: tuple[int, ...], spread: int) -> np.ndarray:
        return numbers(f"{seed}/{name}", shape, 2 * spread + 1) - spread

    distance = np.abs(np.arange(128) - 63)[None]
    spread = 1 + np.concatenate([np.full(predicted, 40), np.arange(64)])[:, None]
    counts = (1 << 20) // (1 + distance * distance * 8 // spread)
    counts[:, 127] = 1 << 12
    unit_bias, output_bias = (
        weights("unit_bias", (channels, units), 1 << 16),
        weights("output_bias", (channels,), 1 << 19),
    )
    unit_bias[-1, -1], output_bias[-1] = -(1 << 30), 1 << 30
    return LearnedContentModel(
        FrequencyTables.from_counts(counts), predicted, unit_bias.astype(np.int32),
        weights("unit_weights", (16, units), 300).astype(np.int16), output_bias.astype(np.int32),
        weights("output_weights", (units,), 200).astype(np.int16),
        numbers(f"{seed}/direct_weights", (16,), 2500).astype(np.int16),
    )  # fmt: skip


SMALL = make_tables("small", 5, 8, [0, 0, 1, 1, 1, 1], 2)
WIDE = make_tables("wide", 3, 256, [0], 0)
OWN = replace(SMALL, motion=make_tables("own", 5, 8, [0], 0).motion)  # SMALL's content model, other motion tables
OWN_CONTEXT = replace(OWN, context=make_context("context", 5, 8))
CONTEXT = replace(SMALL, context=make_context("context", 5, 8))  # SMALL with what profile context needs
PAIRS = replace(SMALL, context=make_context("pairs", 5, 8, pairs=True))
STAGES = replace(make_tables("stages", 20, 2, [0], 0), context=make_context("stages", 20, 2))  # groups in all 8 stages


LEARNED = replace(CONTEXT, learned=make_learned("learned", 6, 2, 5))  # CONTEXT with what content profile learned needs
DEEP = make_tables("deep", 2, 4, [0, 0, 0] + [1] * 40, 3)  # as many channels as there are spans to sum over
DEEP = replace(DEEP, learned=make_learned("deep", 43, 3, 24))

EVEN_BUT_TWO = [0, 33, 33, 66, 33, 33, 33, 33, 1]  # ticks between frames


def head_for(tables: ModelTables, **changes) -> Head:
    profiles = changes.get("entropy_profile", PROFILE_STATIC), changes.get("content_profile", 0)
    head = Head(
        source_width=640, source_height=480, crop=(80, 0, 480, 480), coded_width=32, coded_height=32,
        time_base_num=1, time_base_den=25, frame_duration=1, frame_count=0, groups=tables.groups, codes=tables.codes,
        sampler_seed=7, model_fingerprint=hashlib.sha256(b"vector model").digest()[:8],
        tables_fingerprint=tables.fingerprint(*profiles)[:4], model_name="vectors",
    )  # fmt: skip
    return replace(head, **changes)


def content_for(tables: ModelTables, number=0, first_frame=0, rows=2, columns=2, reference=True, spread=7) -> Content:
    d = tables.content.channels
    values = numbers(f"content {number}", (rows * columns, d), spread) - spread // 2
    codes = numbers(f"reference {number}", (tables.groups,), tables.codes).astype(np.uint8) if reference else None
    return Content(number, first_frame, rows, columns, 3, codes, values.astype(np.int16))


def picture_for(tables: ModelTables, number: int, picture: Picture, first_frame=0) -> Content:
    """Return a content of a picture alone."""
    return Content(number, first_frame, 0, 0, 0, None, np.zeros((0, tables.content.channels), np.int16), picture)


def motion_for(tables: ModelTables, first_frame=0, frames=6, content=0, pts=None, stride=1) -> Motion:
    codes = numbers(f"motion {first_frame}", (-(-frames // stride), tables.groups), tables.codes).astype(np.uint8)
    pts = None if pts is None else np.array(pts, np.int64)
    return Motion(first_frame, content, codes, pts, stride, frames if stride > 1 else None)


def wandering(tables: ModelTables, first_frame=0, frames=6, content=0, pts=None) -> Motion:
    """Return motion whose groups mostly stay, some of them for long, and often come back to where they were."""
    draw = numbers(f"wandering {first_frame}", (frames, tables.groups, 2), 1 << 16)
    codes = np.zeros((frames, tables.groups), np.int64)
    codes[0] = draw[0, :, 0] % tables.codes
    restless = np.arange(tables.groups) * 3 // tables.groups  # three kinds of groups
    for t in range(1, frames):
        moves = draw[t, :, 0] % np.array([40, 8, 2])[restless] == 0
        step = 1 + np.where(draw[t, :, 1] % 4, 0, draw[t, :, 1] >> 2) % (tables.codes - 1)
        codes[t] = np.where(moves, (codes[t - 1] + np.where(t % 3, step, -step)) % tables.codes, codes[t - 1])
    return Motion(first_frame, content, codes.astype(np.uint8), None if pts is None else np.array(pts, np.int64))


def file_bytes(recording: Recording, tables: ModelTables, own=False) -> bytes:
    """Return the file as written to a path: with the frame count in HEAD."""
    frames = sum(motion.frames for motion in recording.motions)
    buffer = io.BytesIO()
    write_recording(buffer, replace(recording, head=replace(recording.head, frame_count=frames)), tables, own)
    return buffer.getvalue()


SOUND = AudioFormat(channels=1, pre_skip=312, delay=100, gain=-256)


def packets_for(seed: str, configurations: list[int]) -> tuple[bytes, ...]:
    """Return Opus packets of one frame each, right in their first byte alone: 8 x configuration, then any bytes."""
    rest = [numbers(f"{seed}/{i}", (5 + i,), 256).astype(np.uint8).tobytes() for i in range(len(configurations))]
    return tuple(bytes([8 * c]) + data for c, data in zip(configurations, rest, strict=True))


def sound_for() -> tuple[Audio, ...]:
    """Return two chunks, 480 samples of silence between them; the second begins with a packet of two frames."""
    first = Audio(0, packets_for("sound", [3, 3, 31]), SOUND)  # 2880 + 2880 + 960 samples
    double = b"\xff\x02" + numbers("double", (200,), 256).astype(np.uint8).tobytes()  # two frames of 960
    return first, Audio(first.samples + 480, (double, *packets_for("more", [16])))


def recording(tables=SMALL, contents=None, motions=None, metadata=None, audio=(), **head) -> Recording:
    return Recording(
        head=head_for(tables, **head),
        contents=tuple(contents or [content_for(tables)]),
        motions=tuple(motions or [motion_for(tables, 0, 6), motion_for(tables, 6, 4)]),
        metadata=metadata,
        audio=tuple(audio),
    )


def split(data: bytes) -> list[tuple[bytes, bytes]]:
    return [(chunk.type, chunk.payload) for chunk in read_chunks(io.BytesIO(data[8:]))]


def join(parts: list[tuple[bytes, bytes]]) -> bytes:
    return SIGNATURE + b"".join(pack_chunk(kind, payload) for kind, payload in parts)


def with_payload(data: bytes, kind: bytes, change) -> bytes:
    """Return the file with the payload of its first chunk of a kind changed and its CRC made right."""
    parts, done = [], False
    for k, payload in split(data):
        parts.append((k, change(payload) if k == kind and not done else payload))
        done |= k == kind
    return join(parts)


def with_chunk(data: bytes, at: int, kind: bytes, payload: bytes) -> bytes:
    parts = split(data)
    parts.insert(at, (kind, payload))
    return join(parts)


def put(payload: bytes, at: int, new: bytes) -> bytes:
    return payload[:at] + new + payload[at + len(new) :]


def randomly_damaged(data: bytes, rng: np.random.Generator, most: int, longest: int, reach: int | None = None) -> bytes:
    """Return the data with 1 to `most` pieces of 1 to `longest` bytes, in its first `reach`, changed, cut or put in."""
    data = bytearray(data)
    for _ in range(rng.integers(1, most + 1)):
        end = len(data) if reach is None else min(len(data), reach)
        at, size = int(rng.integers(0, end)), int(rng.integers(1, longest + 1))
        kind = rng.integers(3)
        if kind == 0:
            data[at : at + size] = rng.bytes(size)
        elif kind == 1:
            del data[at : at + size]
        else:
            data[at:at] = rng.bytes(size)
    return bytes(data)


def changes_to_itself(tables: ContextTables) -> bytes:
    """Return the coded part of two frames, of which the second says that a group changes, and to the code it has."""
    encoder, state = RangeEncoder(), ContextState(tables)
    codes = np.zeros(tables.first.n_tables, np.uint8)
    encoder.encode(tables.first, codes, np.arange(len(codes)))
    state.begin(codes)
    logits = state.change_logits()
    for stage, groups in state.stages:
        logits[groups] += state.activity(stage, 1 if stage else 0)  # the first stage is group 0 alone, and it changes
    encoder.encode(CHANGES, np.eye(1, len(codes), dtype=bool)[0], clipped(logits))
    encoder.encode_under(state.successor_frequencies(np.array([0])), codes[:1])
    return encoder.finish()


def contextual(tables=CONTEXT, **changes) -> bytes:
    """Return a file in profile context."""
    return file_bytes(recording(tables, **changes, entropy_profile=PROFILE_CONTEXT), tables)


def learned(tables=LEARNED, **changes) -> bytes:
    """Return a file in content profile learned."""
    return file_bytes(recording(tables, **changes, content_profile=CONTENT_LEARNED), tables)
