"""When frames are shown: noted as motion chunks are read, asked for as frames are decoded."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from bcdcodec.container import BcdReader, Motion
from bcdcodec.entropy.model_tables import ModelTables
from bcdcodec.errors import TruncatedError
from bcdcodec.files import PathLike
from bcdcodec.files.checks import refuse_above
from bcdcodec.files.opening import naming


@dataclass
class Clock:
    """Presentation times of the frames of a file, ticks from the first one's start."""

    frame_duration: int  # ticks; 0 = variable
    frames: int = 0  # read so far
    end: int = 0  # where the last of them ends
    waiting: deque[int] = field(default_factory=deque)  # starts of the frames that are read and not yet shown
    _first_pts: int = 0
    _last: int = 0  # start of the last frame read

    def add(self, motion: Motion) -> None:
        if motion.pts is None:
            starts = [i * self.frame_duration for i in range(self.frames, self.frames + motion.frames)]
            step = self.frame_duration
        else:
            if not self.frames:
                self._first_pts = int(motion.pts[0])
            starts = [int(p) - self._first_pts for p in motion.pts]
            step = starts[-1] - (starts[-2] if len(starts) > 1 else self._last) or 1
        self.frames += len(starts)
        self.end, self._last = starts[-1] + step, starts[-1]
        self.waiting.extend(starts)


def timed_motions(
    path: PathLike, reader: BcdReader, tables: ModelTables, max_frames: int, clock: Clock
) -> Iterator[Motion]:
    """The motion chunks of a file, noted in `clock`.

    Raises TruncatedError for a file without a frame, LimitError for more than `max_frames`.
    """
    with naming(path):
        for motion in reader.motion(tables):
            refuse_above(max_frames, motion.first_frame + motion.frames, path)
            clock.add(motion)
            yield motion
        if not clock.frames:
            raise TruncatedError("it ends before its first frame, nothing can be decoded")
