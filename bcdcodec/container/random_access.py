"""Random access to long files by iNDX: any frame's motion without reading what lies before it (format-spec.md, 7)."""

import math
import os
from bisect import bisect_right
from pathlib import Path

import numpy as np

from bcdcodec.container.chunks import (
    CONT,
    INDX,
    MOTN,
    SIGNATURE,
    TABL,
    TAIL,
    RawChunk,
    header_bytes,
    read_chunks,
    read_signature,
)
from bcdcodec.container.head import unpack_head
from bcdcodec.container.index import IndexEntry, unpack_index
from bcdcodec.container.opening import open_path
from bcdcodec.container.payloads import (
    CODES_HASH_BYTES,
    Content,
    Motion,
    unpack_content,
    unpack_motion,
    unpack_motion_fields,
    unpack_tables,
    unpack_tail,
)
from bcdcodec.container.pts import FrameTimes
from bcdcodec.container.reader import fitting_tables
from bcdcodec.entropy.model_tables import ModelTables
from bcdcodec.entropy.tables import FrequencyTables
from bcdcodec.errors import BcdError, FormatError

_SIZE_BYTES = 4  # of iNDX, its last field


class RandomAccess:
    """An open `.bcd` file whose frames are looked up in iNDX: HEAD, the index and one chunk are read, no more.

    What is read is checked: CRC, type, first frame. The rest of the file is not, nor the hash in TAIL; `verify_file`
    does that. Raises FormatError for a file without iNDX before its TAIL (short ones, and those that are cut), as
    `BcdReader` for its signature and HEAD, BcdError if the file cannot be read.
    """

    def __init__(self, path: str | Path):
        self._file = open_path(path)
        try:
            self._size = self._file.seek(0, os.SEEK_END)
            self._open()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> "RandomAccess":
        return self

    def __exit__(self, *exception) -> None:
        self._file.close()

    @property
    def duration_seconds(self) -> float:
        """How long all frames last; of a variable rate the last one as long as the one before it, or a tick."""
        head = self.head
        ticks = self.frames * head.frame_duration
        if not head.frame_duration and self.frames:
            times = self._times(len(self._motions) - 1)
            ticks = times.last - self._times(0).first + (times.last_step or self._step_before_last())
        return ticks * head.time_base_num / head.time_base_den

    def frame_at(self, seconds: float) -> int:
        """Return the number of the frame that is shown at a time, seconds from the start of the first.

        The first one for a time before the start, the last one for a time after the end. Raises BcdError for nan and
        infinite times.
        """
        if not math.isfinite(seconds):
            raise BcdError(f"the time is {seconds} s, expected a finite number")
        ticks = int(seconds * self.head.time_base_den / self.head.time_base_num + 1e-6)
        if self.head.frame_duration:
            return min(max(ticks // self.head.frame_duration, 0), self.frames - 1)
        pts = self._times(0).first + ticks
        chunk = bisect_right(range(len(self._motions)), pts, key=lambda i: self._times(i).first) - 1
        within = int(np.searchsorted(self._times(max(chunk, 0)).pts(), pts, side="right")) - 1
        return self._motions[max(chunk, 0)].first_frame + max(within, 0)

    def motion(self, frame: int, tables: ModelTables) -> Motion:
        """Return the motion of the chunk that holds a frame; FormatError if the file has no such frame."""
        if not 0 <= frame < self.frames:
            raise FormatError(f"the file has no frame {frame}, it has {self.frames}")
        payload = self._motion_payload(bisect_right(self._motions, frame, key=lambda entry: entry.first_frame) - 1)
        fields = unpack_motion_fields(payload)
        if not fields.first_frame <= frame < fields.first_frame + fields.frames:
            raise FormatError(f"iNDX names no chunk of frame {frame}: the file is damaged, or its index is wrong")
        return unpack_motion(payload, fitting_tables(self.head, self._own, tables), self.head.entropy_profile)

    def content(self, number: int, tables: ModelTables) -> Content:
        """Return one content; FormatError if the file does not have it."""
        if not 0 <= number < len(self._contents):
            raise FormatError(f"the file has no content {number}, it has {len(self._contents)}")
        chunk = self._chunk(self._contents[number].offset, CONT)
        return unpack_content(chunk.payload, fitting_tables(self.head, self._own, tables), self.head.content_profile)

    def _open(self) -> None:
        self._file.seek(0)
        read_signature(self._file)
        head = self._chunk(len(SIGNATURE), None)
        head.require_intact()
        self.head = unpack_head(head.payload)
        entries, tail = self._read_index()
        count = unpack_tail(tail.payload, has_count=self.head.frame_count == 0)[1]
        self.frames = self.head.frame_count or count or 0
        self._contents = [entry for entry in entries if entry.type == CONT]
        self._motions = [entry for entry in entries if entry.type == MOTN]
        if not self._motions or self._motions[0].first_frame:
            raise FormatError("iNDX does not name a chunk of frame 0")
        self._own = self._own_tables()

    def _read_index(self) -> tuple[list[IndexEntry], RawChunk]:
        """Return the entries of iNDX and the chunk TAIL after it."""
        length = CODES_HASH_BYTES + (4 if self.head.frame_count == 0 else 0)
        end = self._size - length - header_bytes(length)
        self._file.seek(max(end - _SIZE_BYTES, 0))
        start = end - int.from_bytes(self._file.read(_SIZE_BYTES), "little")
        try:
            index, tail = self._chunk(max(start, 0), INDX), self._chunk(end, TAIL)
        except FormatError as error:
            raise FormatError("the file has no iNDX before its TAIL: read it from the start") from error
        return unpack_index(index.payload), tail

    def _own_tables(self) -> FrequencyTables | None:
        """Return the tables of TABL, which lies before the first content; None without."""
        self._file.seek(len(SIGNATURE))
        first = next(chunk for chunk in read_chunks(self._file) if chunk.type in (TABL, CONT, MOTN, TAIL))
        if first.type != TABL:
            return None
        first.require_intact()
        return unpack_tables(first.payload, self.head.groups, self.head.codes)

    def _step_before_last(self) -> int:
        """Ticks from the last chunk but one to the last, which is of one frame; 1 where there is one frame."""
        if len(self._motions) == 1:
            return 1
        return self._times(len(self._motions) - 1).first - self._times(len(self._motions) - 2).last

    def _times(self, chunk: int) -> FrameTimes:
        """The times of a chunk of motion of a variable rate."""
        fields = unpack_motion_fields(self._motion_payload(chunk))
        if fields.times is None:
            raise FormatError(f"motion from frame {fields.first_frame} has no pts, but HEAD states a variable rate")
        return fields.times

    def _motion_payload(self, chunk: int) -> bytes:
        return self._chunk(self._motions[chunk].offset, MOTN).payload

    def _chunk(self, offset: int, kind: bytes | None) -> RawChunk:
        """Return the intact chunk of a kind at a byte; FormatError for anything else there."""
        try:
            self._file.seek(offset)
            chunk = next(read_chunks(self._file, offset), None)
        except (OSError, ValueError, OverflowError) as error:  # also an offset that no file can have
            raise BcdError(f"cannot read the file at byte {offset}: {error}") from error
        if chunk is None or (kind is not None and chunk.type != kind):
            found = "the end of the file" if chunk is None else chunk.name
            raise FormatError(f"{found} at byte {offset}, expected {(kind or b'HEAD').decode()}")
        chunk.require_intact()
        return chunk
