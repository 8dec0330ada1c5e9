"""What the chunks after HEAD hold, packed and unpacked: CONT, MOTN, TABL, TAIL."""

import struct
from dataclasses import dataclass

import numpy as np

from bcdcodec.container.picture import Picture, pack_picture, read_picture
from bcdcodec.container.pts import FrameTimes, pack_pts, read_pts
from bcdcodec.container.varint import pack_varint, read_varint
from bcdcodec.entropy.content import check_grid, read_content_values, write_content_values
from bcdcodec.entropy.context import decode_context, decode_context_prefix, encode_context
from bcdcodec.entropy.model_tables import ModelTables
from bcdcodec.entropy.motion import check_codes, decode_motion, decode_motion_prefix, encode_motion
from bcdcodec.entropy.profiles import CONTENT_NEIGHBOURS, PROFILE_CONTEXT, PROFILE_STATIC
from bcdcodec.entropy.range_coder import RangeDecoder, RangeEncoder
from bcdcodec.entropy.tables import FrequencyTables
from bcdcodec.errors import FormatError, LimitError, ModelError, TruncatedError

MAX_FRAMES = 4096  # of one MOTN
CHUNK_FRAMES = 256  # that our encoders put into one MOTN: each costs some 20 bytes beside its codes
MAX_CONTENTS = 1024
MAX_FRAME_NUMBER = 0xFFFFFFFF

FLAG_BITS = 2  # the lowest of the varint that a CONT's number or a MOTN's frame count shares with its flags
FLAG_REFERENCE = 1
FLAG_PICTURE = 2
FLAG_PTS = 1
FLAG_STRIDE = 2
MAX_STRIDE = 64

CODES_HASH_BYTES = 8


@dataclass(frozen=True, eq=False)
class Content:
    """The appearance of one scene: integer tokens, a reference picture, or a picture that the tokens refine."""

    number: int  # 0, 1, 2, ... in order
    first_frame: int  # from which it may be used
    rows: int  # of the token grid; 0, as columns and step, for a picture without tokens
    columns: int
    step: int  # quantiser step index 0..255; its meaning is the model's
    reference_codes: np.ndarray | None  # uint8 [g], motion of the picture the content was taken from
    values: np.ndarray  # int16 [n, d], n = rows * columns in raster order
    picture: Picture | None = None

    @property
    def base(self) -> int | None:
        """Number of the content to whose picture that of this one refers; None where it refers to none."""
        return None if self.picture is None else self.picture.base


@dataclass(frozen=True, eq=False)
class Motion:
    """The motion of consecutive frames: codes for every `stride`-th of them, the first one included."""

    first_frame: int
    content: int  # number of the content they move
    codes: np.ndarray  # uint8 [u, g], u = frames / stride rounded up
    pts: np.ndarray | None = None  # int64 [t] ticks of all frames, strictly increasing; None = constant frame rate
    stride: int = 1
    shown: int | None = None  # frames t, for a stride above 1; else there are as many as codes

    @property
    def frames(self) -> int:
        return len(self.codes) if self.shown is None else self.shown

    @property
    def times(self) -> FrameTimes | None:
        """The times of `pts`, None for a constant frame rate; FormatError unless they strictly increase."""
        return None if self.pts is None else FrameTimes.of(self.pts)


@dataclass(frozen=True)
class Surroundings:
    """A still of the whole source picture that a content's square was taken from."""

    content: int  # its number
    webp: bytes  # a WebP file, upright


@dataclass(frozen=True)
class AncillaryChunk:
    """An ancillary chunk this version does not know, kept as it was."""

    type: bytes
    payload: bytes


@dataclass(frozen=True)
class ContentFields:
    """The uncoded start of a CONT payload."""

    number: int
    first_frame: int
    rows: int
    columns: int
    channels: int
    step: int
    has_reference: bool
    picture: Picture | None
    coded_start: int  # bytes before the coded part

    @property
    def values(self) -> int:
        """Values of the tokens that the coded part holds."""
        return self.rows * self.columns * self.channels

    @property
    def field_bytes(self) -> int:
        """Bytes that are neither picture nor coded part."""
        return self.coded_start - (0 if self.picture is None else len(self.picture.unit))


@dataclass(frozen=True, eq=False)
class MotionFields:
    """The uncoded start of a MOTN payload."""

    first_frame: int
    frames: int
    content: int
    times: FrameTimes | None  # of all frames; None = constant frame rate
    coded_start: int
    stride: int

    @property
    def coded_frames(self) -> int:
        return -(-self.frames // self.stride)


def pack_content(content: Content, tables: ModelTables, profile: int = CONTENT_NEIGHBOURS) -> tuple[bytes, int]:
    """Return the payload of CONT in a content profile, and how many of its bytes are picture or coded."""
    if not 0 <= content.number < MAX_CONTENTS:
        raise LimitError(f"content number is {content.number}, expected 0 to {MAX_CONTENTS - 1}")
    if not 0 <= content.step <= 255:
        raise LimitError(f"content {content.number}: step is {content.step}, expected 0 to 255")
    encoder = RangeEncoder()
    reference, picture = content.reference_codes, content.picture
    if reference is not None:
        check_codes(reference[None], tables.motion)
        encoder.encode(tables.motion, reference, np.arange(tables.groups))
    if content.rows or picture is None:
        write_content_values(encoder, content.values, content.rows, content.columns, tables.content_model(profile))
    elif content.columns or content.step or content.values.size:
        raise FormatError(
            f"content {content.number} has 0 rows, {content.columns} columns, step {content.step} and "
            f"{content.values.size} values, expected 0 of all"
        )
    coded = encoder.finish()
    fields = pack_content_fields(
        ContentFields(
            content.number, content.first_frame, content.rows, content.columns, content.values.shape[1], content.step,
            reference is not None, picture, coded_start=0,
        )
    )  # fmt: skip
    return fields + coded, len(coded) + (0 if picture is None else len(picture.unit))


def pack_content_fields(fields: ContentFields) -> bytes:
    """Return what comes before the coded part of CONT, its picture included; `coded_start` is not used."""
    flags = FLAG_REFERENCE * fields.has_reference | FLAG_PICTURE * (fields.picture is not None)
    packed = b"".join(map(pack_varint, (fields.number << FLAG_BITS | flags, fields.first_frame, fields.rows)))
    if fields.rows or fields.picture is None:
        packed += pack_varint(fields.columns) + pack_varint(fields.channels) + bytes([fields.step])
    if fields.picture is not None:
        packed += pack_picture(fields.number, fields.picture)
    return packed


def unpack_content_fields(payload: bytes) -> ContentFields:
    """Return the uncoded fields of CONT, limits checked; needs no tables.

    The AV1 unit of a picture is not looked into; `container.picture.check_picture` does.
    """
    number, flags, at = _read_flagged(payload, 0)
    first_frame, at = read_varint(payload, at)
    rows, at = read_varint(payload, at)
    columns = channels = step = 0
    if rows or not flags & FLAG_PICTURE:
        columns, at = read_varint(payload, at)
        channels, at = read_varint(payload, at)
        if len(payload) <= at:
            raise TruncatedError(f"CONT ends after {len(payload)} bytes, expected its step")
        step = payload[at]
        at += 1
    if number >= MAX_CONTENTS:
        raise LimitError(f"content number is {number}, the limit is {MAX_CONTENTS - 1}")
    if first_frame > MAX_FRAME_NUMBER:
        raise LimitError(f"content {number} begins at frame {first_frame}, the limit is {MAX_FRAME_NUMBER}")
    picture = None
    if rows or not flags & FLAG_PICTURE:
        check_grid(rows, columns, channels)
    if flags & FLAG_PICTURE:
        picture, at = read_picture(payload, at, number)
    return ContentFields(number, first_frame, rows, columns, channels, step, bool(flags & FLAG_REFERENCE), picture, at)


def unpack_content(payload: bytes, tables: ModelTables, profile: int = CONTENT_NEIGHBOURS) -> Content:
    """Return the Content of a whole CONT payload in a content profile."""
    fields = unpack_content_fields(payload)
    if fields.rows and fields.channels != tables.content.channels:
        found, expected = fields.channels, tables.content.channels
        raise FormatError(f"content {fields.number} has {found} channels, the model {expected}")
    decoder = RangeDecoder(payload[fields.coded_start :])
    reference = None
    if fields.has_reference:
        reference = decoder.decode(tables.motion, np.arange(tables.groups)).astype(np.uint8)
    values = np.zeros((0, tables.content.channels), np.int16)
    if fields.rows:
        values = read_content_values(decoder, fields.rows, fields.columns, tables.content_model(profile))
    return Content(
        fields.number, fields.first_frame, fields.rows, fields.columns, fields.step, reference, values, fields.picture
    )


def pack_motion(motion: Motion, tables: ModelTables, profile: int = PROFILE_STATIC) -> tuple[bytes, int]:
    """Return the payload of MOTN and how many of its bytes are coded."""
    check_codes(motion.codes, tables.motion)
    frames, stride = motion.frames, motion.stride
    if not 1 <= frames <= MAX_FRAMES:
        raise LimitError(f"motion from frame {motion.first_frame} has {frames} frames, expected 1 to {MAX_FRAMES}")
    if not 1 <= stride <= MAX_STRIDE:
        raise LimitError(
            f"motion from frame {motion.first_frame} has a code every {stride} frames, expected 1 to {MAX_STRIDE}"
        )
    if len(motion.codes) != -(-frames // stride):
        raise FormatError(
            f"{frames} frames with a code every {stride} want {-(-frames // stride)} codes, not {len(motion.codes)}"
        )
    pts = None if motion.pts is None else np.asarray(motion.pts)
    if pts is not None and (pts.shape != (frames,) or pts.dtype != np.int64):
        raise FormatError(f"pts are {pts.dtype} {list(pts.shape)} for {frames} frames, expected int64 [{frames}]")
    fields = pack_motion_fields(
        MotionFields(motion.first_frame, frames, motion.content, motion.times, coded_start=0, stride=stride)
    )
    if profile == PROFILE_CONTEXT:
        coded = encode_context(motion.codes, tables.context_tables())
    else:
        coded = encode_motion(motion.codes, tables.motion)
    return fields + coded, len(coded)


def pack_motion_fields(fields: MotionFields) -> bytes:
    """Return what comes before the coded part of MOTN; `coded_start` is not used."""
    flags = FLAG_PTS * (fields.times is not None) | FLAG_STRIDE * (fields.stride > 1)
    packed = b"".join(map(pack_varint, (fields.first_frame, fields.frames << FLAG_BITS | flags, fields.content)))
    if fields.stride > 1:
        packed += pack_varint(fields.stride)
    return packed if fields.times is None else packed + pack_pts(fields.times)


def unpack_motion_fields(payload: bytes) -> MotionFields:
    """Return the uncoded fields of MOTN, limits checked; needs no tables."""
    first_frame, at = read_varint(payload, 0)
    frames, flags, at = _read_flagged(payload, at)
    content, at = read_varint(payload, at)
    stride = 1
    if flags & FLAG_STRIDE:
        stride, at = read_varint(payload, at)
        if not 2 <= stride <= MAX_STRIDE:
            raise LimitError(
                f"motion from frame {first_frame} states a code every {stride} frames, expected 2 to {MAX_STRIDE}"
            )
    if not 1 <= frames <= MAX_FRAMES:
        raise LimitError(f"motion from frame {first_frame} states {frames} frames, expected 1 to {MAX_FRAMES}")
    if first_frame + frames > MAX_FRAME_NUMBER:  # a count of frames that HEAD can hold
        raise LimitError(f"motion states frames up to {first_frame + frames - 1}, the limit is {MAX_FRAME_NUMBER - 1}")
    if content >= MAX_CONTENTS:
        raise LimitError(f"motion from frame {first_frame} uses content {content}, the limit is {MAX_CONTENTS - 1}")
    if not flags & FLAG_PTS:
        return MotionFields(first_frame, frames, content, None, at, stride)
    times, at = read_pts(payload, at, frames)
    return MotionFields(first_frame, frames, content, times, at, stride)


def _read_flagged(payload: bytes, at: int) -> tuple[int, int, int]:
    """Return a number, the flags in its varint's lowest bits and the position after it."""
    value, at = read_varint(payload, at)
    return value >> FLAG_BITS, value & (1 << FLAG_BITS) - 1, at


def unpack_motion(payload: bytes, tables: ModelTables, profile: int = PROFILE_STATIC) -> Motion:
    """Return the Motion of a whole MOTN payload."""
    fields = unpack_motion_fields(payload)
    coded = payload[fields.coded_start :]
    if profile == PROFILE_CONTEXT:
        codes = decode_context(coded, fields.coded_frames, tables.context_tables())
    else:
        codes = decode_motion(coded, fields.coded_frames, tables.motion)
    return _motion(fields, codes, fields.frames)


def unpack_motion_prefix(payload: bytes, tables: ModelTables, profile: int = PROFILE_STATIC) -> Motion | None:
    """Return the frames that a MOTN payload cut by the end of the file holds for certain; None if there are none."""
    try:
        fields = unpack_motion_fields(payload)
    except TruncatedError:
        return None
    coded = payload[fields.coded_start :]
    if profile == PROFILE_CONTEXT:
        codes = decode_context_prefix(coded, fields.coded_frames, tables.context_tables())
    else:
        codes = decode_motion_prefix(coded, fields.coded_frames, tables.motion)
    if not len(codes):
        return None
    return _motion(fields, codes, min(fields.frames, (len(codes) - 1) * fields.stride + 1))


def _motion(fields: MotionFields, codes: np.ndarray, frames: int) -> Motion:
    """Return the first `frames` of what the fields state, with their codes."""
    pts = None if fields.times is None else fields.times.pts()[:frames]
    return Motion(fields.first_frame, fields.content, codes, pts, fields.stride, frames if fields.stride > 1 else None)


def pack_surroundings(surroundings: Surroundings) -> bytes:
    """Return the payload of sURR."""
    return pack_varint(surroundings.content) + surroundings.webp


def unpack_surroundings(payload: bytes) -> Surroundings:
    """Return the Surroundings of a whole payload."""
    content, at = read_varint(payload, 0)
    return Surroundings(content, payload[at:])


def pack_tables(tables: FrequencyTables) -> bytes:
    """Return the payload of TABL: frequencies [g, k] as u16."""
    return tables.frequencies.astype("<u2").tobytes()


def unpack_tables(payload: bytes, groups: int, codes: int) -> FrequencyTables:
    """Return the motion tables [groups, codes] of TABL."""
    if len(payload) != 2 * groups * codes:
        raise FormatError(f"TABL has {len(payload)} bytes, {groups} groups of {codes} codes want {2 * groups * codes}")
    try:
        return FrequencyTables(np.frombuffer(payload, "<u2").reshape(groups, codes))
    except ModelError as error:
        raise FormatError(f"TABL: {error}") from error


def pack_tail(codes_hash: bytes, frames: int | None) -> bytes:
    """Return the payload of TAIL; `codes_hash`: SHA-256 of all codes; `frames`: None where HEAD states the count."""
    return codes_hash[:CODES_HASH_BYTES] + (b"" if frames is None else struct.pack("<I", frames))


def unpack_tail(payload: bytes, has_count: bool) -> tuple[bytes, int | None]:
    """Return the 8-byte hash in TAIL and its frame count, which it has exactly where HEAD states none."""
    expected = CODES_HASH_BYTES + 4 * has_count
    if len(payload) != expected:
        raise FormatError(f"TAIL has {len(payload)} bytes, expected {expected}")
    return payload[:CODES_HASH_BYTES], struct.unpack("<I", payload[CODES_HASH_BYTES:])[0] if has_count else None
