"""Interlaced frames to progressive ones, by FFmpeg's filter bwdif (motion-adaptive, from Weston's w3fdif and yadif)."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from fractions import Fraction
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import av

Item = tuple["av.VideoFrame", bool]  # a frame, and whether it may show damage
LEAST_SIDE = 4  # pixels that the filter takes


class Deinterlacer:
    """Passes frames through; from the first interlaced one on through the filter, one frame behind its input.

    There are as many frames as before, at the same times: of each frame's two fields the first one is completed. Frames
    that are marked as progressive stay as they are.
    """

    def __init__(self) -> None:
        self.used = False
        self._graph: av.filter.Graph | None = None
        self._setup: tuple = ()  # what the graph was made for
        self._waiting: deque[tuple] = deque()  # pts, time base, duration and damage of frames in the graph

    def frames(self, items: Iterator[Item]) -> Iterator[Item]:
        """Yields every frame, in order, with its timestamp and its own mark of damage."""
        for frame, suspect in items:
            self.used = self.used or (frame.interlaced_frame and min(frame.width, frame.height) >= LEAST_SIDE)
            if not self.used:
                yield frame, suspect
                continue
            setup = frame.width, frame.height, frame.format.name
            if setup != self._setup:
                yield from self._pulled(last=True)
                self._setup, self._graph = setup, _graph(*setup)
            self._waiting.append((frame.pts, frame.time_base, frame.duration, suspect))
            self._graph.push(frame)
            yield from self._pulled()
        yield from self._pulled(last=True)

    def _pulled(self, last: bool = False) -> Iterator[Item]:
        """Yields what the filter has ready; with `last` all of it."""
        if last and self._graph is not None:
            self._graph.push(None)
        while self._waiting:
            try:
                frame = self._graph.pull()
            except (BlockingIOError, EOFError):
                return
            frame.pts, frame.time_base, frame.duration, suspect = self._waiting.popleft()
            yield frame, suspect


def _graph(width: int, height: int, pixel_format: str) -> av.filter.Graph:
    from av.filter import Graph

    graph = Graph()
    source = graph.add_buffer(width=width, height=height, format=pixel_format, time_base=Fraction(1, 1000))
    graph.link_nodes(source, graph.add("bwdif", "mode=send_frame:deint=interlaced"), graph.add("buffersink"))
    graph.configure()
    return graph
