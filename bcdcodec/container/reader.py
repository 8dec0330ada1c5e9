"""Reads `.bcd` files: sizes and head at once and without tables, contents and motion when asked for."""

import copy
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import BinaryIO

from bcdcodec.container.accounting import ByteCounts
from bcdcodec.container.audio import OPUS_RATE, Audio, AudioFormat, unpack_audio
from bcdcodec.container.chunks import (
    AUDI,
    CONT,
    HEAD,
    INDX,
    META,
    MOTN,
    SURR,
    TABL,
    TAIL,
    RawChunk,
    header_bytes,
    read_chunks,
    read_signature,
)
from bcdcodec.container.head import MINOR_AUDIO, TABLES_FINGERPRINT_BYTES, Head, unpack_head
from bcdcodec.container.index import IndexEntry
from bcdcodec.container.limits import excess
from bcdcodec.container.metadata import META_BYTES, unpack_metadata
from bcdcodec.container.order import RecordingOrder
from bcdcodec.container.payloads import (
    CODES_HASH_BYTES,
    AncillaryChunk,
    Content,
    Motion,
    Surroundings,
    unpack_content,
    unpack_content_fields,
    unpack_motion,
    unpack_motion_fields,
    unpack_motion_prefix,
    unpack_surroundings,
    unpack_tables,
    unpack_tail,
)
from bcdcodec.entropy.model_tables import ModelTables
from bcdcodec.entropy.profiles import CONTENT_LEARNED, PROFILE_CONTEXT
from bcdcodec.entropy.tables import FrequencyTables
from bcdcodec.errors import (
    BcdError,
    ChecksumError,
    FormatError,
    LimitError,
    ModelMismatchError,
    TruncatedError,
    UnsupportedError,
)


@dataclass(frozen=True, eq=False)
class Recording:
    """A whole file in memory."""

    head: Head
    contents: tuple[Content, ...]
    motions: tuple[Motion, ...]
    metadata: dict | None = None
    audio: tuple[Audio, ...] = ()
    surroundings: tuple[Surroundings, ...] = ()
    ancillary: tuple[AncillaryChunk, ...] = ()
    complete: bool = True  # the file ended in a TAIL that agreed with it


class BcdReader:
    """An open `.bcd` file.

    Opening walks and checks all chunks once without keeping them. What is wrong with the signature or
    HEAD is raised at once; the first fault further on is kept in `fault`, and `motion` raises it after
    the frames before it. A file that merely ends early is no fault: `complete` is False.
    """

    def __init__(self, file: BinaryIO, size: int):
        self.size = size  # bytes
        self.fault: BcdError | None = None
        self.chunks: list[tuple[str, int, int]] = []  # name, offset, payload bytes; intact ones in file order
        self.index: list[IndexEntry] = []  # of CONT and MOTN
        self._file = file
        self._tail: tuple[bytes, int | None] | None = None  # hash, frame count
        self.coded_frames = 0  # of the frames in whole MOTN chunks, those that have codes of their own
        self.content_values = 0  # of the tokens of all whole contents together
        self._cut_motion: int | None = None  # offset of a MOTN that the file's end cuts
        self._motion_tables: FrequencyTables | None = None
        self._ancillary: list[int] = []
        self._audio: list[int] = []
        self._surroundings: list[int] = []
        self._meta: bytes | None = None
        self._coded = {CONT: 0, MOTN: 0, AUDI: 0, SURR: 0}

        file.seek(0)
        read_signature(file)
        chunks = read_chunks(file)
        first = next(chunks, None)
        if first is None:
            raise TruncatedError(f"the file ends after {size} bytes, before its HEAD")
        if first.type != HEAD:
            raise FormatError(f"the first chunk is {first.name}, expected HEAD")
        first.require_intact()
        self.head = unpack_head(first.payload)
        self._has_sound = (first.payload[0] & 15) >= MINOR_AUDIO  # before it AUDI meant nothing
        self.chunks.append((first.name, first.offset, first.length))
        self._order = RecordingOrder(variable_rate=self.head.frame_duration == 0)
        try:
            for chunk in chunks:
                self._scan(chunk)
            self._scan_end()
        except BcdError as fault:
            self.fault = fault

    def __enter__(self) -> "BcdReader":
        return self

    def __exit__(self, *exception) -> None:
        self.close()

    def close(self) -> None:
        self._file.close()

    @property
    def complete(self) -> bool:
        """Whether the file ends in a TAIL and nothing was wrong on the way."""
        return self._tail is not None and self.fault is None

    @property
    def frames(self) -> int:
        """Frames in the whole MOTN chunks; `motion` may find more in one that the file's end cuts."""
        return self._order.frames

    @property
    def duration_seconds(self) -> float:
        ticks = self._order.duration_ticks(self.head.frame_duration)
        return ticks * self.head.time_base_num / self.head.time_base_den

    @property
    def audio_format(self) -> AudioFormat | None:
        """How the sound is played, None without any."""
        return self._order.audio_format

    @property
    def audio_seconds(self) -> float:
        """From the first sample played to the end of the last whole AUDI."""
        sound = self._order.audio_format
        return 0.0 if sound is None else max(0, self._order.audio_end - sound.pre_skip) / OPUS_RATE

    @property
    def content_count(self) -> int:
        return len(self._order.content_starts)

    @property
    def has_own_tables(self) -> bool:
        return self._motion_tables is not None

    @property
    def byte_counts(self) -> ByteCounts:
        coded = self._coded
        container = self.size - sum(coded.values())
        return ByteCounts(coded[MOTN], coded[CONT], container, coded[AUDI], coded[SURR])

    @property
    def metadata(self) -> dict | None:
        """The metadata, None without any; FormatError or LimitError if it is not valid."""
        return None if self._meta is None else unpack_metadata(self._meta)

    @property
    def packed_metadata(self) -> bytes | None:
        """The payload of mETa, None without any."""
        return self._meta

    def payload_at(self, offset: int) -> bytes:
        """The payload of the intact chunk that begins at a byte, one of those in `chunks`."""
        return self._chunk_at(offset).payload

    def ancillary(self) -> Iterator[AncillaryChunk]:
        """Yield the ancillary chunks this version does not know."""
        for offset in self._ancillary:
            chunk = self._chunk_at(offset)
            yield AncillaryChunk(chunk.type, chunk.payload)

    def surroundings(self) -> Iterator[Surroundings]:
        """Yield the stills of what lies around the coded square; a damaged one raises FormatError."""
        for offset in self._surroundings:
            yield unpack_surroundings(self._chunk_at(offset).payload)

    def audio(self) -> Iterator[Audio]:
        """Yield the sound of every whole AUDI in order; it needs no tables."""
        for offset in self._audio:
            yield unpack_audio(self._chunk_at(offset).payload, first=offset == self._audio[0])

    def contents(self, tables: ModelTables) -> Iterator[Content]:
        """Yield every whole content; raises what stopped the file, or TruncatedError, if there is none."""
        tables = self.checked_tables(tables)
        if not self.content_count:
            raise self.fault or TruncatedError("the file has no whole content; nothing can be decoded from it")
        for entry in self.index:
            if entry.type == CONT:
                yield unpack_content(self._chunk_at(entry.offset).payload, tables, self.head.content_profile)

    def content(self, number: int, tables: ModelTables) -> Content:
        """Return one content; FormatError if the file does not have it."""
        tables = self.checked_tables(tables)
        offsets = [entry.offset for entry in self.index if entry.type == CONT]
        if not 0 <= number < len(offsets):
            raise self.fault or FormatError(f"the file has no content {number}, it has {len(offsets)}")
        return unpack_content(self._chunk_at(offsets[number]).payload, tables, self.head.content_profile)

    def motion(self, tables: ModelTables) -> Iterator[Motion]:
        """Yield the motion in order, of a cut last chunk the frames before the cut.

        After the frames before it raises the file's fault; ChecksumError if the codes differ from TAIL's hash.
        """
        tables = self.checked_tables(tables)
        digest = hashlib.sha256()
        for entry in self.index:
            if entry.type == MOTN:
                motion = unpack_motion(self._chunk_at(entry.offset).payload, tables, self.head.entropy_profile)
                digest.update(motion.codes.tobytes())
                yield motion
        if self.fault is not None:
            raise self.fault
        if self._cut_motion is not None:
            cut = self._chunk_at(self._cut_motion, whole=False).payload
            motion = unpack_motion_prefix(cut, tables, self.head.entropy_profile)
            if motion is not None:
                copy.deepcopy(self._order).add_motion(motion.first_frame, motion.frames, motion.content, motion.times)
                yield motion
        if self._tail is not None and self._tail[0] != digest.digest()[:CODES_HASH_BYTES]:
            found, expected = digest.digest()[:CODES_HASH_BYTES].hex(), self._tail[0].hex()
            raise ChecksumError(f"the codes have SHA-256 {found}, TAIL states {expected}: tables or file are damaged")

    def read(self, tables: ModelTables) -> Recording:
        """Return everything in memory; raises the file's fault if it has one, LimitError above `container.limits`."""
        if self.fault is not None:
            raise self.fault
        if text := excess(self.frames, self.content_values):
            raise LimitError(f"{text}: read it in parts, with open_bcd")
        return Recording(
            head=self.head,
            contents=tuple(self.contents(tables)) if self.content_count else (),
            motions=tuple(self.motion(tables)),
            metadata=self.metadata,
            audio=tuple(self.audio()),
            surroundings=tuple(self.surroundings()),
            ancillary=tuple(self.ancillary()),
            complete=self.complete,
        )

    def checked_tables(self, tables: ModelTables) -> ModelTables:
        """Return the tables this file is coded with, its own or the model's; ModelMismatchError if they differ."""
        return fitting_tables(self.head, self._motion_tables, tables)

    def _scan(self, chunk: RawChunk) -> None:
        """Take note of one chunk after HEAD."""
        if self._tail is not None:
            raise FormatError(f"chunk {chunk.name} at byte {chunk.offset} follows TAIL, expected the end of the file")
        if not chunk.whole:
            if chunk.type == MOTN:
                self._cut_motion = chunk.offset
            if chunk.type in self._coded:
                self._coded[chunk.type] += self._coded_bytes(chunk)
            return
        chunk.require_intact()
        if chunk.type == CONT:
            fields = unpack_content_fields(chunk.payload)
            self._order.add_content(fields.number, fields.first_frame, fields.picture)
            self.content_values += fields.values
            self.index.append(IndexEntry(CONT, chunk.offset, fields.first_frame))
        elif chunk.type == MOTN:
            fields = unpack_motion_fields(chunk.payload)
            self._order.add_motion(fields.first_frame, fields.frames, fields.content, fields.times)
            self.coded_frames += fields.coded_frames
            self.index.append(IndexEntry(MOTN, chunk.offset, fields.first_frame))
        elif chunk.type == TABL:
            if self.index or self._motion_tables is not None:
                raise FormatError(f"TABL at byte {chunk.offset}, expected at most one, before all CONT and MOTN")
            self._motion_tables = unpack_tables(chunk.payload, self.head.groups, self.head.codes)
        elif chunk.type == META:
            if self._meta is not None:
                raise FormatError(f"a second mETa at byte {chunk.offset}, expected at most one")
            if chunk.length > META_BYTES:
                raise LimitError(f"metadata has {chunk.length} bytes, the limit is {META_BYTES}")
            self._meta = chunk.payload
        elif chunk.type == TAIL:
            self._tail = unpack_tail(chunk.payload, has_count=self.head.frame_count == 0)
        elif chunk.type == HEAD:
            raise FormatError(f"a second HEAD at byte {chunk.offset}, expected one")
        elif chunk.type == AUDI:
            if self._has_sound:
                self._order.add_audio(unpack_audio(chunk.payload, first=not self._audio))
                self._audio.append(chunk.offset)
        elif chunk.type == SURR:
            self._surroundings.append(chunk.offset)
        elif chunk.type != INDX:
            if not chunk.ancillary:
                raise UnsupportedError(
                    f"unknown critical chunk {chunk.name} at byte {chunk.offset}; use a newer bcdcodec"
                )
            self._ancillary.append(chunk.offset)
        if chunk.type in self._coded:
            self._coded[chunk.type] += self._coded_bytes(chunk)
        self.chunks.append((chunk.name, chunk.offset, chunk.length))

    def _scan_end(self) -> None:
        """Compare the frame counts once the last chunk was seen."""
        if self._tail is None:
            return
        _, offset, length = self.chunks[-1]
        end = offset + header_bytes(length) + length
        if end != self.size:
            raise FormatError(f"{self.size - end} bytes follow TAIL, expected the end of the file")
        place, stated = ("TAIL", self._tail[1]) if self.head.frame_count == 0 else ("HEAD", self.head.frame_count)
        if stated != self.frames:
            raise FormatError(f"{place} states {stated} frames, the file has {self.frames}")

    def _coded_bytes(self, chunk: RawChunk) -> int:
        if chunk.type in (AUDI, SURR):
            return len(chunk.payload)
        try:
            if chunk.type == CONT:
                return len(chunk.payload) - unpack_content_fields(chunk.payload).field_bytes
            return len(chunk.payload) - unpack_motion_fields(chunk.payload).coded_start
        except TruncatedError:  # cut inside its fields
            return 0

    def _chunk_at(self, offset: int, whole: bool = True) -> RawChunk:
        try:
            self._file.seek(offset)
            chunk = next(read_chunks(self._file, offset), None)
        except OSError as error:
            raise BcdError(f"cannot read the file at byte {offset}: {error.strerror}") from error
        if chunk is None:
            raise TruncatedError(f"the file no longer has the chunk at byte {offset}: it changed while it was read")
        if whole:
            chunk.require_intact()
        return chunk


def fitting_tables(head: Head, own: FrequencyTables | None, tables: ModelTables) -> ModelTables:
    """Return the tables that a file is coded with: its `own` motion tables in place of those of its model's `tables`.

    Raises ModelMismatchError if they are not those that HEAD names, FormatError for another shape than HEAD's.
    """
    profile = head.entropy_profile
    if own is not None:
        fitting = tables.motion.frequencies.shape == own.frequencies.shape
        tables = replace(tables, motion=own, context=tables.context if fitting else None)
    needs = (
        ("profile context", profile == PROFILE_CONTEXT, tables.context),
        ("content profile learned", head.content_profile == CONTENT_LEARNED, tables.learned),
    )
    lacking = next((what for what, stated, brought in needs if stated and brought is None), None)
    if lacking:
        raise ModelMismatchError(
            f"the file was made with model {head.model_name!r} in {lacking}, "
            "the model at hand has no tables for that: use the model it was made with"
        )
    found = tables.fingerprint(profile, head.content_profile)[:TABLES_FINGERPRINT_BYTES]
    if found != head.tables_fingerprint:
        raise ModelMismatchError(
            f"the file was made with model {head.model_name!r}, tables {head.tables_fingerprint.hex()}; "
            f"the tables at hand are {found.hex()}: use the model it was made with"
        )
    if (tables.groups, tables.codes) != (head.groups, head.codes):
        raise FormatError(
            f"HEAD states {head.groups} groups of {head.codes} codes, its tables have {tables.groups} of {tables.codes}"
        )
    return tables
