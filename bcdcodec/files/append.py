"""Recordings written as they come, to a file that is only appended to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import BinaryIO

from bcdcodec.container import BcdWriter, ByteCounts, Content, Head, Motion, Surroundings
from bcdcodec.entropy.model_tables import ModelTables
from bcdcodec.video import FrameReader


@dataclass(frozen=True)
class Written:
    """What was written of a recording."""

    frames: int
    seconds: float  # of the frames; the last one's duration is that of the one before, or the source's
    byte_counts: ByteCounts


def write_live(
    file: BinaryIO,
    head: Head,
    items: Iterable[Content | Motion],
    video: FrameReader,
    stills: tuple[Surroundings, ...],
    tables: ModelTables,
) -> Written:
    """Write contents and motion as they come, with the sound that came with them, to a file that is only appended to.

    `head`: of a variable rate, as the frames to come are not known. Every chunk is out before the next is begun.
    """
    first = end = None
    around = {still.content: still for still in stills}
    with BcdWriter(file, head, tables, audio=video.sound is not None) as writer:

        def write_sound(until: int) -> None:
            for audio in video.sound.take((until - first) * video.time_base) if video.sound else ():
                writer.write_audio(audio)

        for item in items:
            if isinstance(item, Content):
                writer.write_content(item)
                if item.number in around:
                    writer.write_surroundings(around[item.number])
            else:
                first = int(item.pts[0]) if first is None else first
                end = int(item.pts[-1]) + video.last_duration
                write_sound(int(item.pts[-1]))
                writer.write_motion(
                    Motion(item.first_frame, item.content, item.codes, item.pts - first, item.stride, item.shown)
                )
            file.flush()
        write_sound(end)
        writer.close()
        file.flush()
        return Written(writer.frames, float((end - first) * video.time_base), writer.byte_counts)
