"""A stream that was sent, as a `.bcd` file: the same contents, the same codes."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np

from bcdcodec.container import CHUNK_FRAMES, Audio, AudioFormat, ByteCounts, Content, Head, Motion, Recording
from bcdcodec.container.writer import write_recording
from bcdcodec.entropy.model_tables import ModelTables
from bcdcodec.errors import FormatError
from bcdcodec.stream.packets import MotionPart

SAMPLES_A_SECOND = 48000


class StreamRecorder:
    """Collects what is sent; memory grows by some 6 kB a second with 64 groups, 25 frames a second and sound."""

    def __init__(self, head: Head):
        self._head = head
        self._reenacted = head.reenacted
        self._contents: dict[int, Content] = {}  # by their numbers in the stream
        self._motions: list[Motion] = []  # frame numbers of the stream, content numbers of the file
        self._sound: list[tuple[int, bytes]] = []  # frame at which a packet begins
        self._pre_skip = 0

    @property
    def seconds(self) -> float:
        """Seconds of motion so far."""
        return sum(motion.frames for motion in self._motions) * self._head.time_base_num / self._head.time_base_den

    def reenacted(self) -> None:
        """Take note that a face is shown from now on that is not the one in front of the camera."""
        self._reenacted = True

    def sound_begins(self, pre_skip: int) -> None:
        """State the samples of the encoder's delay."""
        self._pre_skip = pre_skip

    def add_motion(
        self, content: Content, base: Content | None, first_frame: int, codes: np.ndarray, part: MotionPart
    ) -> None:
        """Take the codes uint8 [u, g] of a packet, whose frames begin at `first_frame`.

        `base`: the content that its content refers to.
        """
        if base is not None:
            self._contents.setdefault(base.number, base)
        self._contents.setdefault(content.number, content)
        number = list(self._contents).index(content.number)
        shown = part.frames if part.stride > 1 else None
        self._motions.append(Motion(first_frame, number, codes, None, part.stride, shown))

    def add_sound(self, first_frame: int, packet: bytes) -> None:
        """Take the Opus packet of the time from `first_frame` on."""
        self._sound.append((first_frame, packet))

    def write(self, path: str | os.PathLike, tables: ModelTables) -> ByteCounts:
        """Write the file, whole or not at all. Raises FormatError where nothing was sent."""
        if not self._motions:
            raise FormatError("nothing was sent that could be recorded: no face was seen yet")
        motions, begin, frames = [], self._motions[0].first_frame, 0
        numbers = {number: i for i, number in enumerate(self._contents)}
        contents = [_renumbered(content, numbers) for content in self._contents.values()]
        firsts: dict[int | None, int] = {}  # first frames of contents
        for motion in _joined(self._motions):
            motions.append(replace(motion, first_frame=frames))
            for number in (motion.content, contents[motion.content].base):
                firsts.setdefault(number, frames)
            frames += motion.frames
        contents = [replace(content, first_frame=firsts[content.number]) for content in contents]
        head = replace(self._head, frame_count=0, reenacted=self._reenacted)
        recording = Recording(head, tuple(contents), tuple(motions), audio=self._audio(begin))
        return write_recording(os.fspath(path), recording, tables)

    def _audio(self, begin: int) -> tuple[Audio, ...]:
        """Opus packets in unbroken chunks; what is not there is silent."""
        frame = SAMPLES_A_SECOND * self._head.time_base_num / self._head.time_base_den
        chunks: list[tuple[int, list[bytes]]] = []
        end = None
        for first, packet in self._sound:
            if first < begin:
                continue
            at = round((first - begin) * frame)
            if at != end:
                chunks.append((at, []))
            chunks[-1][1].append(packet)
            end = at + round(3 * frame)
        if not chunks:
            return ()
        start = chunks[0][0]
        sound = AudioFormat(1, self._pre_skip, start)
        return tuple(Audio(at - start, tuple(p), sound if i == 0 else None) for i, (at, p) in enumerate(chunks))


def _renumbered(content: Content, numbers: dict[int, int]) -> Content:
    """A content of the stream by the numbers of the file, by those of the stream."""
    picture = content.picture and content.picture.renumbered(numbers)
    return replace(content, number=numbers[content.number], picture=picture)


def _joined(motions: list[Motion]) -> list[Motion]:
    """Motion of packets in chunks of up to CHUNK_FRAMES codes: of one content and stride, without frames between."""
    found: list[list[Motion]] = []
    for motion in motions:
        last = found[-1] if found else None
        fits = (
            last is not None
            and (last[-1].content, last[-1].stride) == (motion.content, motion.stride)
            and sum(len(m.codes) for m in last) + len(motion.codes) <= CHUNK_FRAMES
            and sum(m.frames for m in last) % motion.stride == 0
        )
        if fits:
            last.append(motion)
        else:
            found.append([motion])
    joined = []
    for group in found:
        frames = sum(m.frames for m in group)
        first = group[0]
        shown = frames if first.stride > 1 else None
        joined.append(replace(first, codes=np.concatenate([m.codes for m in group]), shown=shown))
    return joined
