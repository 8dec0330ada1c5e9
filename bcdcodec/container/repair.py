"""Makes a valid file of a damaged one: every whole chunk is kept, at its time, and what was lost is stated."""

import hashlib
import mmap
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np

from bcdcodec.container.audio import OPUS_RATE, pack_audio
from bcdcodec.container.chunks import (
    AUDI,
    CONT,
    HEAD,
    INDX,
    META,
    MOTN,
    SIGNATURE,
    SURR,
    TABL,
    TAIL,
    RawChunk,
    header_bytes,
    pack_chunk,
)
from bcdcodec.container.head import MINOR_AUDIO, Head, repack_head, unpack_head
from bcdcodec.container.index import INDEX_ABOVE, IndexEntry, pack_index
from bcdcodec.container.order import RecordingOrder
from bcdcodec.container.part_file import PartFile
from bcdcodec.container.payloads import (
    CODES_HASH_BYTES,
    Motion,
    MotionFields,
    Surroundings,
    pack_content_fields,
    pack_motion,
    pack_motion_fields,
    pack_surroundings,
    pack_tail,
    unpack_content,
    unpack_content_fields,
    unpack_motion,
    unpack_motion_fields,
    unpack_motion_prefix,
    unpack_surroundings,
    unpack_tables,
    unpack_tail,
)
from bcdcodec.container.pts import MAX_PTS, FrameTimes
from bcdcodec.container.reader import fitting_tables
from bcdcodec.container.repair_sound import SoundRepair
from bcdcodec.container.salvage import Damage, find_chunks
from bcdcodec.entropy.model_tables import ModelTables
from bcdcodec.entropy.tables import FrequencyTables
from bcdcodec.errors import BcdError, FormatError, LimitError, TruncatedError, UnsupportedError

_MOST_LINES = 20  # of losses that are shown


@dataclass(frozen=True)
class RepairReport:
    """What a repair kept and what it could not keep."""

    frames: int  # kept
    lost_frames: int  # known to be lost: before and between kept ones, and up to the count that the file states
    lost_seconds: float  # how long they would have been shown, where that is known
    lost_sound_seconds: float  # before and between sound that is kept
    losses: tuple[str, ...]  # one line each; empty for an undamaged file
    complete: bool  # the repaired file has a TAIL, so that its codes can be checked

    @property
    def lines(self) -> tuple[str, ...]:
        """The losses, of very many only the first."""
        more = len(self.losses) - _MOST_LINES
        return self.losses if more <= 0 else (*self.losses[:_MOST_LINES], f"and {more} more places")


@dataclass(frozen=True)
class _Kept:
    """A chunk that goes into the repaired file."""

    type: bytes
    start: int  # of its payload in the damaged bytes
    end: int
    content: int = 0  # new number of the content that it is, or belongs to
    first_frame: int = 0  # new number
    cut: Motion | None = None  # of a MOTN that the file's end cuts: the frames before the cut


def read_head(data: bytes | mmap.mmap) -> Head:
    """Return the HEAD of damaged bytes. Raises FormatError and its kinds where none is intact."""
    return unpack_head(_head_chunk(data).payload)


def stated_sizes(data: bytes | mmap.mmap) -> tuple[int, int]:
    """Return how many frames, and values of contents, the intact chunks of damaged bytes state; nothing is decoded."""
    frames = values = 0
    for chunk in find_chunks(data):
        if isinstance(chunk, Damage):
            continue
        try:
            if chunk.type == MOTN:
                frames += unpack_motion_fields(chunk.payload).frames
            elif chunk.type == CONT:
                values += unpack_content_fields(chunk.payload).values
        except FormatError:
            pass  # the repair leaves such a chunk out
    return frames, values


def repair(data: bytes | mmap.mmap, target: str | Path | BinaryIO, tables: ModelTables | None = None) -> RepairReport:
    """Write a valid file of what is whole in `data`, to a path or to a file open for binary writing.

    Frames are numbered anew and keep their times: where some are lost the frame before them is shown longer, at the
    start the first one that is left. A file of a constant rate becomes one of a variable rate for that.
    Motion whose content is lost cannot be shown and is left out. `tables`: the model's. With them every chunk is
    decoded, the frames before the cut of a cut chunk are kept, and the new file gets a TAIL; without them it gets one
    only if no motion is lost.
    Raises FormatError and its kinds where HEAD or every content is lost, UnsupportedError for a file of a newer
    version, ModelMismatchError for tables of another model, BcdError for a file that cannot be written.
    """
    plan = _Plan(data, tables)
    if not isinstance(target, str | Path):
        plan.write(target)
        return plan.report()
    part = PartFile(target)
    try:
        plan.write(part.file)
        part.finish()
    except BaseException as error:
        part.discard()
        if isinstance(error, OSError):
            raise BcdError(f"cannot write {part.path}: {error.strerror}") from error
        raise
    return plan.report()


def _head_chunk(data: bytes | mmap.mmap) -> RawChunk:
    first = next((found for found in find_chunks(data) if isinstance(found, RawChunk)), None)
    if first is None or first.type != HEAD:
        found = "no intact chunk" if first is None else f"{first.name} as its first intact chunk"
        raise FormatError(f"the file has {found}, expected HEAD: without it nothing can be repaired")
    return first


class _Plan:
    """Goes through damaged bytes once to decide what is kept, a second time to write it."""

    def __init__(self, data: bytes | mmap.mmap, tables: ModelTables | None):
        self._data = data
        self._head_payload = _head_chunk(data).payload
        self._head = unpack_head(self._head_payload)
        self._has_sound = (self._head_payload[0] & 15) >= MINOR_AUDIO
        self._model_tables = tables
        self._own_tables: FrequencyTables | None = None
        self._kept: list[_Kept] = []
        self._losses: list[str] = []
        self._lost_frames = self._lost_ticks = 0
        self._order = RecordingOrder(variable_rate=self._head.frame_duration == 0)  # of the repaired file
        self._numbers: dict[int, int] = {}  # of contents, new by old
        self._starts: dict[int, int] = {}  # first frame of each, both as the damaged file numbers them
        self._next_frame = 0  # as the damaged file numbers them
        self._renumbered = False  # frames are lost before kept ones
        self._sound = SoundRepair()
        self._damaged_sound = False  # something is lost since the last AUDI
        self._has_metadata = False
        self._digest = hashlib.sha256()
        self._tail: tuple[bytes, int | None] | None = None  # hash, frame count
        first = True
        for found in find_chunks(data):
            if self._tail is not None:
                self._losses.append(f"{len(data) - found.offset} bytes follow TAIL and are left out")
                break
            if isinstance(found, Damage):
                self._add_damage(found)
            elif found.type == HEAD and first:
                first = False
            else:
                self._add(found)
        self._end()

    def report(self) -> RepairReport:
        tick = self._head.time_base_num / self._head.time_base_den
        return RepairReport(
            frames=self._order.frames,
            lost_frames=self._lost_frames,
            lost_seconds=self._lost_ticks * tick,
            lost_sound_seconds=self._sound.lost_samples / OPUS_RATE,
            losses=(*self._losses, *self._sound.losses),
            complete=self._tail is not None,
        )

    def write(self, file: BinaryIO) -> None:
        """Write the repaired file. Raises OSError."""
        timed = self._renumbered or self._order.variable_rate
        count = self._order.frames
        head = repack_head(self._head_payload, count, 0 if timed else self._head.frame_duration)
        at = file.write(SIGNATURE + pack_chunk(HEAD, head))
        index, begins = [], True
        for kept in self._kept:
            if kept.type in (CONT, MOTN):
                index.append(IndexEntry(kept.type, at, kept.first_frame))
            payload = self._repaired(kept, begins)
            begins = begins and kept.type != AUDI
            at += file.write(pack_chunk(kept.type, payload))
        if len(index) > INDEX_ABOVE:
            file.write(pack_chunk(INDX, pack_index(index)))
        if self._tail is not None:
            file.write(pack_chunk(TAIL, pack_tail(self._tail[0], None if count else 0)))

    def _repaired(self, kept: _Kept, begins: bool) -> bytes:
        """The payload of a chunk in the repaired file; `begins`: no sound is before it."""
        payload = self._data[kept.start : kept.end]
        if kept.type == CONT:
            fields = unpack_content_fields(payload)
            picture = fields.picture and fields.picture.renumbered(self._numbers)
            first_frame = kept.first_frame if self._renumbered else fields.first_frame
            moved = replace(fields, number=kept.content, first_frame=first_frame, picture=picture)
            return pack_content_fields(moved) + payload[fields.coded_start :]
        if kept.type == MOTN:
            return self._repaired_motion(kept, payload)
        if kept.type == SURR:
            return pack_surroundings(Surroundings(kept.content, unpack_surroundings(payload).webp))
        if kept.type == AUDI and self._has_sound:
            return pack_audio(self._sound.repaired(payload, begins))
        return payload

    def _repaired_motion(self, kept: _Kept, payload: bytes) -> bytes:
        fields = unpack_motion_fields(payload)
        old = kept.cut or fields
        times = old.times  # never as a list: a few bytes can state those of many frames
        if self._renumbered:
            if times is None:
                duration, steps = self._head.frame_duration, old.frames - 1
                times = FrameTimes(old.first_frame * duration, ((duration, steps),) if steps else ())
            if kept.first_frame == 0:
                pts = times.pts()
                times = FrameTimes.of(np.concatenate([[min(0, times.first)], pts[1:]]))
        moved = {"first_frame": kept.first_frame, "content": kept.content}
        if kept.cut is not None:
            cut = replace(kept.cut, **moved, pts=times and times.pts())
            return pack_motion(cut, self._tables(), self._head.entropy_profile)[0]
        return pack_motion_fields(replace(fields, **moved, times=times)) + payload[fields.coded_start :]

    def _tables(self) -> ModelTables | None:
        """Those that the file is coded with; asked for once its own can no longer follow."""
        if self._model_tables is None:
            return None
        return fitting_tables(self._head, self._own_tables, self._model_tables)

    def _add_damage(self, damage: Damage) -> None:
        self._damaged_sound = True
        size = damage.end - damage.offset
        if damage.cut and damage.name == MOTN.decode() and self._add_cut_motion(damage):
            return
        what = f"chunk {damage.name} at byte" if damage.name else "something at byte"
        state = "is cut by the end of the file" if damage.cut else "is damaged"
        self._losses.append(f"{what} {damage.offset} {state}: {size} bytes are left out")

    def _add_cut_motion(self, damage: Damage) -> bool:
        """Keep the frames of a cut MOTN that its bytes determine; whether there are any."""
        tables, start = self._tables(), damage.payload
        if tables is None:
            return False
        payload = self._data[start : damage.end]
        try:
            motion = unpack_motion_prefix(payload, tables, self._head.entropy_profile)
            if motion is None:
                return False
            self._add_motion(start, damage.end, motion, motion.codes, motion)
        except FormatError:
            return False
        self._losses.append(f"chunk MOTN at byte {damage.offset} is cut: the first {motion.frames} frames are kept")
        return True

    def _add(self, chunk: RawChunk) -> None:
        """Keep an intact chunk, or state why it cannot be kept."""
        start = chunk.offset + header_bytes(chunk.length)
        end = start + chunk.length
        try:
            if chunk.type == CONT:
                self._add_content(chunk.payload, start, end)
            elif chunk.type == MOTN:
                fields, tables = unpack_motion_fields(chunk.payload), self._tables()
                codes = tables and unpack_motion(chunk.payload, tables, self._head.entropy_profile).codes
                self._add_motion(start, end, fields, codes)
            elif chunk.type == AUDI and self._has_sound:
                self._sound.add(chunk.payload, self._order, self._damaged_sound)
                self._damaged_sound = False
                self._kept.append(_Kept(AUDI, start, end))
            elif chunk.type == SURR:
                number = self._numbers.get(unpack_surroundings(chunk.payload).content)
                if number is None:
                    raise FormatError("its content is not there")
                self._kept.append(_Kept(SURR, start, end, number))
            elif chunk.type == TAIL:
                self._tail = unpack_tail(chunk.payload, has_count=self._head.frame_count == 0)
            elif chunk.type != INDX:
                self._add_other(chunk)
                self._kept.append(_Kept(chunk.type, start, end))
        except UnsupportedError:
            raise
        except FormatError as error:
            self._losses.append(f"chunk {chunk.name} at byte {chunk.offset} is left out: {error}")
            self._damaged_sound = True

    def _add_other(self, chunk: RawChunk) -> None:
        """Check a chunk that is kept as it is."""
        if chunk.type == TABL:
            if self._numbers or self._own_tables is not None:
                raise FormatError("expected at most one, before all CONT")
            self._own_tables = unpack_tables(chunk.payload, self._head.groups, self._head.codes)
        elif chunk.type == META:
            if self._has_metadata:
                raise FormatError("expected at most one")
            self._has_metadata = True
        elif chunk.type == HEAD:
            raise FormatError("expected one")
        elif not chunk.ancillary and chunk.type != AUDI:
            raise UnsupportedError(f"unknown critical chunk {chunk.name} at byte {chunk.offset}; use a newer bcdcodec")

    def _add_content(self, payload: bytes, start: int, end: int) -> None:
        fields, tables = unpack_content_fields(payload), self._tables()
        if fields.number in self._numbers:
            raise FormatError(f"a content {fields.number} came before it")
        number, picture = len(self._order.content_starts), fields.picture
        if picture is not None:
            if picture.base is not None and picture.base not in self._numbers:
                raise FormatError(f"its picture refers to content {picture.base}, which is lost")
            picture = picture.renumbered(self._numbers)
        if tables is not None:
            unpack_content(payload, tables, self._head.content_profile)
        if fields.first_frame < self._next_frame:
            raise FormatError(f"it begins at frame {fields.first_frame}, but {self._next_frame} frames came before it")
        self._order.add_content(number, self._order.frames, picture)
        self._numbers[fields.number], self._starts[fields.number] = number, fields.first_frame
        self._kept.append(_Kept(CONT, start, end, number, self._order.frames))

    def _add_motion(
        self, start: int, end: int, fields: MotionFields | Motion, codes: np.ndarray | None, cut: Motion | None = None
    ) -> None:
        """Keep the motion whose payload lies from `start` to `end`; `codes`: None without tables."""
        first, times, order = fields.first_frame, fields.times, self._order
        if fields.content not in self._numbers:
            raise FormatError(f"frame {first} uses content {fields.content}, which is lost")
        if first < self._next_frame:
            raise FormatError(f"it begins at frame {first}, expected frame {self._next_frame} or later")
        number, origin = self._numbers[fields.content], order.first_pts or 0
        ended = origin if order.last_pts is None else order.last_pts + (order.last_step or 1)
        if first < self._starts[fields.content]:
            start_frame = self._starts[fields.content]
            raise FormatError(f"frame {first} uses content {fields.content}, which begins at frame {start_frame}")
        order.add_motion(order.frames, fields.frames, number, times)
        if first > self._next_frame:
            self._renumbered = True
            if times is None:
                ticks = self._next_frame * self._head.frame_duration, first * self._head.frame_duration
            else:
                ticks = ended - origin, max(ended, times.first) - origin
            self._lose_frames(first, ticks)
        if codes is not None:
            self._digest.update(codes.tobytes())
        self._next_frame = first + fields.frames
        self._kept.append(_Kept(MOTN, start, end, number, order.frames - fields.frames, cut))

    def _lose_frames(self, end: int, ticks: tuple[int, int] | None) -> None:
        """State that the frames from the next one on and before `end` are lost; `ticks`: when they were shown."""
        first, tick = self._next_frame, self._head.time_base_num / self._head.time_base_den
        self._lost_frames += end - first
        when = ""
        if ticks is not None:
            self._lost_ticks += ticks[1] - ticks[0]
            when = f": {(ticks[1] - ticks[0]) * tick:.3f} s from {ticks[0] * tick:.3f} s to {ticks[1] * tick:.3f} s"
        self._losses.append(f"frames {first} to {end - 1} are lost{when}")

    def _end(self) -> None:
        """Find out what is lost at the end, and what TAIL states."""
        order, duration = self._order, self._head.frame_duration
        if not order.content_starts:
            why = f": {'; '.join(self._losses)}" if self._losses else ""
            raise TruncatedError(f"the file has no whole content, nothing can be repaired{why}")
        stated = self._head.frame_count or (self._tail and self._tail[1]) or 0
        if self._tail is None:
            known = f"the file has {stated} frames" if self._head.frame_count else "how long it was is not known"
            self._losses.append(f"the end of the file is missing; {known}")
        if stated > self._next_frame:
            self._lose_frames(stated, (self._next_frame * duration, stated * duration) if duration else None)
        elif self._tail is not None and stated < order.frames:
            self._losses.append(f"the file states {stated} frames and has {order.frames}")
        if self._renumbered and self._next_frame * max(duration, 1) > MAX_PTS:
            raise LimitError(f"frame {self._next_frame - 1} is shown at more than 2**61 ticks: its time cannot be kept")
        if self._model_tables is not None:
            self._tables()  # raises if they are another model's
            self._tail = self._digest.digest()[:CODES_HASH_BYTES], None
        elif self._tail is not None and stated != order.frames:
            self._tail = None  # its hash is of other codes
