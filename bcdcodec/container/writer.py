"""Writes `.bcd` files chunk by chunk; a path appears only when its file is complete."""

import hashlib
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

from bcdcodec.container.accounting import ByteCounts
from bcdcodec.container.audio import OPUS_RATE, Audio, AudioFormat, pack_audio
from bcdcodec.container.chunks import AUDI, CONT, HEAD, INDX, META, MOTN, SIGNATURE, SURR, TABL, TAIL, pack_chunk
from bcdcodec.container.head import MINOR_AUDIO, TABLES_FINGERPRINT_BYTES, Head, pack_head
from bcdcodec.container.index import INDEX_ABOVE, IndexEntry, pack_index
from bcdcodec.container.metadata import pack_metadata
from bcdcodec.container.order import RecordingOrder
from bcdcodec.container.part_file import PartFile
from bcdcodec.container.payloads import (
    MAX_FRAME_NUMBER,
    Content,
    Motion,
    Surroundings,
    pack_content,
    pack_motion,
    pack_surroundings,
    pack_tables,
    pack_tail,
)
from bcdcodec.container.reader import Recording
from bcdcodec.entropy.model_tables import ModelTables
from bcdcodec.errors import BcdError, FormatError, ModelMismatchError


class BcdWriter:
    """Streams one recording to a path or to a file open for binary writing.

    A path is written under a temporary name beside it and renamed by `close`; leaving the `with` block
    by an exception removes it. A path's HEAD gets the frame count at the end; a file is only ever
    appended to, so its HEAD keeps the count given, and where that is 0 TAIL has the count.
    `own_motion_tables` stores the motion tables in the file, for tables that are not the model's.
    Empty metadata is not written. `audio`: whether sound will be written; HEAD states the version for it.
    Raises ModelMismatchError if `tables` are not those of `head`, ModelError if they cannot code in its profile,
    BcdError if the file cannot be written.
    """

    def __init__(
        self,
        target: str | Path | BinaryIO,
        head: Head,
        tables: ModelTables,
        metadata: dict | None = None,
        own_motion_tables: bool = False,
        audio: bool = False,
    ):
        found = tables.fingerprint(head.entropy_profile, head.content_profile)[:TABLES_FINGERPRINT_BYTES]
        if found != head.tables_fingerprint:
            raise ModelMismatchError(
                f"HEAD names tables {head.tables_fingerprint.hex()}, the tables at hand are {found.hex()}"
            )
        if (head.groups, head.codes) != (tables.groups, tables.codes):
            raise FormatError(
                f"HEAD states {head.groups} groups of {head.codes} codes, the tables {tables.groups} of {tables.codes}"
            )
        self._head = head
        self._minor = MINOR_AUDIO if audio else 0
        self._tables = tables
        self._order = RecordingOrder(variable_rate=head.frame_duration == 0)
        self._digest = hashlib.sha256()
        self._index: list[IndexEntry] = []
        self._motion_bytes = self._content_bytes = self._audio_bytes = self._total_bytes = 0
        self._surroundings_bytes = 0
        start = SIGNATURE + pack_chunk(HEAD, pack_head(head, self._minor))
        if own_motion_tables:
            start += pack_chunk(TABL, pack_tables(tables.motion))
        if metadata:
            start += pack_chunk(META, pack_metadata(metadata))

        self._part = PartFile(target) if isinstance(target, str | Path) else None
        self._file = target if self._part is None else self._part.file
        self._open = True
        self._write(start)

    def __enter__(self) -> "BcdWriter":
        return self

    def __exit__(self, kind, *exception) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()

    @property
    def byte_counts(self) -> ByteCounts:
        """What was written so far."""
        apart = (self._motion_bytes, self._content_bytes, self._audio_bytes, self._surroundings_bytes)
        motion, content, audio, surroundings = apart
        return ByteCounts(motion, content, self._total_bytes - sum(apart), audio, surroundings)

    @property
    def frames(self) -> int:
        return self._order.frames

    def write_content(self, content: Content) -> None:
        """Append one content; it must come before the motion that uses it."""
        payload, coded = pack_content(content, self._tables, self._head.content_profile)
        self._order.add_content(content.number, content.first_frame, content.picture)
        self._content_bytes += coded
        self._write_indexed(CONT, payload, content.first_frame)

    def write_motion(self, motion: Motion) -> None:
        """Append the motion of the next frames; 256 at a time keep the container below 2 % of the motion."""
        payload, coded = pack_motion(motion, self._tables, self._head.entropy_profile)
        if motion.first_frame + motion.frames > MAX_FRAME_NUMBER:
            raise FormatError(
                f"frame {motion.first_frame + motion.frames} is too many, the limit is {MAX_FRAME_NUMBER}"
            )
        self._order.add_motion(motion.first_frame, motion.frames, motion.content, motion.times)
        self._motion_bytes += coded
        self._digest.update(motion.codes.tobytes())
        self._write_indexed(MOTN, payload, motion.first_frame)

    def write_surroundings(self, surroundings: Surroundings) -> None:
        """Append the still that belongs to a content, after that content."""
        if surroundings.content >= len(self._order.content_starts):
            found = len(self._order.content_starts)
            raise FormatError(
                f"surroundings of content {surroundings.content}, the file has {found} contents before them"
            )
        payload = pack_surroundings(surroundings)
        self._surroundings_bytes += len(payload)
        self._write(pack_chunk(SURR, payload))

    def write_audio(self, audio: Audio) -> None:
        """Append sound, best just before the motion of the same time, so that a cut file has both."""
        if not self._minor:
            raise FormatError("the recording was begun without sound, none can be written to it")
        payload = pack_audio(audio)
        self._order.add_audio(audio)
        self._audio_bytes += len(payload)
        self._write(pack_chunk(AUDI, payload))

    def sound_starts(self, audio: Audio) -> Fraction:
        """Return when sound that is to be written next is first heard, seconds from the start of the first frame."""
        sound = self._order.audio_format or audio.format or AudioFormat(1, 0)
        return Fraction(audio.first_sample + sound.delay - sound.pre_skip, OPUS_RATE)

    def close(self) -> None:
        """Write what ends the file and give it its name.

        Raises FormatError with neither frames nor content, or with another count than HEAD's.
        """
        if not self._open:
            return
        try:
            if not self.frames and not self._order.content_starts:
                raise FormatError("nothing to write: the recording has 0 frames and no content, expected one of them")
            if self._head.frame_count not in (0, self.frames):
                raise FormatError(f"HEAD states {self._head.frame_count} frames, {self.frames} were written")
            if len(self._index) > INDEX_ABOVE:
                self._write(pack_chunk(INDX, pack_index(self._index)))
            in_head = self.frames and (self._part is not None or self._head.frame_count)  # 0 in HEAD means unknown
            self._write(pack_chunk(TAIL, pack_tail(self._digest.digest(), None if in_head else self.frames)))
            if self._part is not None:
                self._finish_part()
        except BaseException:
            self.abort()
            raise
        self._open = False

    def abort(self) -> None:
        """Give up and leave nothing behind at the path."""
        if self._open and self._part is not None:
            self._part.discard()
        self._open = False

    def _finish_part(self) -> None:
        try:
            head = replace(self._head, frame_count=self.frames)
            self._file.seek(len(SIGNATURE))
            self._file.write(pack_chunk(HEAD, pack_head(head, self._minor)))
            self._part.finish()
        except OSError as error:
            raise BcdError(f"cannot write {self._part.path}: {error.strerror}") from error

    def _write_indexed(self, kind: bytes, payload: bytes, first_frame: int) -> None:
        self._index.append(IndexEntry(kind, self._total_bytes, first_frame))
        self._write(pack_chunk(kind, payload))

    def _write(self, data: bytes) -> None:
        if not self._open:
            raise FormatError("the recording is closed, nothing more can be written to it")
        try:
            self._file.write(data)
        except OSError as error:
            self.abort()
            raise BcdError(
                f"cannot write {self._part.path if self._part else 'the recording'}: {error.strerror}"
            ) from error
        self._total_bytes += len(data)


def write_recording(
    target: str | Path | BinaryIO, recording: Recording, tables: ModelTables, own_motion_tables: bool = False
) -> ByteCounts:
    """Write a recording in memory, each content just before the motion that first uses it; return where the bytes went.

    Sound comes before the motion that ends after its start.
    """
    waiting, head = list(recording.contents), recording.head
    stills = {still.content: still for still in recording.surroundings}
    sound = iter(recording.audio)
    audio = next(sound, None)
    with BcdWriter(target, head, tables, recording.metadata, own_motion_tables, audio=audio is not None) as writer:
        first_pts = None
        for motion in recording.motions:
            while waiting and waiting[0].number <= motion.content:
                _write_content(writer, waiting.pop(0), stills)
            if motion.pts is None:
                end = (motion.first_frame + motion.frames) * head.frame_duration
            else:
                first_pts = int(motion.pts[0]) if first_pts is None else first_pts
                end = int(motion.pts[-1]) + 1 - first_pts
            while audio is not None and writer.sound_starts(audio) < Fraction(
                end * head.time_base_num, head.time_base_den
            ):
                writer.write_audio(audio)
                audio = next(sound, None)
            writer.write_motion(motion)
        while audio is not None:
            writer.write_audio(audio)
            audio = next(sound, None)
        for content in waiting:
            _write_content(writer, content, stills)
        writer.close()
        return writer.byte_counts


def _write_content(writer: BcdWriter, content: Content, stills: dict[int, Surroundings]) -> None:
    writer.write_content(content)
    if content.number in stills:
        writer.write_surroundings(stills[content.number])
