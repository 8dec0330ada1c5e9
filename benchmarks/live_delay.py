"""Delay of a call on a machine that does nothing else: `python -m bcdcodec.benchmarks live CLIP... --delay`.

Coding and decoding run as the threads of `bcd live` do, by a simulated clock: each step takes the CPU time that it
took its thread here, as if each thread had a processor core to itself. So the figures hold on a busy machine, too. The
network takes no time. What the browser takes to hand a picture over and to draw it is not in it:
`tests/live_latency.py` measures that in Chromium.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from bcdcodec.codec import Codec, load
from bcdcodec.live.engine import MOST_WAITING, POLL_SECONDS, call_options
from bcdcodec.stream.receiver import Receiver
from bcdcodec.stream.sender import Sender
from bcdcodec.video import read_pictures

TICK = 0.04  # seconds a frame
START_FRAMES = 50  # whose delay does not count: the quick reference and its successor are coded then


class DelayRun:
    """One clip through both threads. Times are simulated seconds."""

    def __init__(self, codec: Codec):
        self.sender = Sender(
            codec.session, call_options(None, False, background=True), lambda now: self.receiver.report(now)
        )
        self.receiver = Receiver(codec.session, self.sender.encoder.receive, self._decoded)
        self.coding = self.decoding = 0.0  # CPU seconds
        self.shown: list[tuple[int, float]] = []  # number of a frame, and when it was shown
        self._arrived: list[tuple[float, bytes]] = []
        self._clock = 0.0  # of the receiver's thread
        self._displayed = 0.0  # until then frames were given out
        self._begun = 0.0  # thread's time at which decoding has begun
        self._ready: list[float] = []  # when each of the frames was decoded
        self._there = 0  # frames that wait to be shown
        self._met = False

    def run(self, frames: np.ndarray) -> None:
        """Send frames uint8 [t, h, w, 3], 25 a second."""
        free, waiting = 0.0, []  # when the encoder's thread is free; captured frames
        packet = 0.0  # seconds that the packet took which is being filled
        captures = [(i * TICK, frame) for i, frame in enumerate(frames)]
        while captures or waiting:
            if not waiting:
                waiting.append(captures.pop(0))
            captured, frame = waiting.pop(0)
            begin = max(free, captured)
            self._receive(begin)
            if self.receiver.described is not None and not self._met:
                self._met = True
                self.sender.encoder.meet(self.receiver.described)
            before = time.thread_time()
            datagrams = self.sender.push(frame, round(1000 * captured), begin)
            taken = time.thread_time() - before
            self.coding += taken
            packet += taken
            if datagrams:
                self.sender.took(packet)
                packet = 0.0
            free = begin + taken
            self._arrived += [(free, data) for data in datagrams]
            while captures and captures[0][0] <= free:
                coming = captures.pop(0)
                if len(waiting) < MOST_WAITING:
                    waiting.append(coming)
        self._receive(free + 1)

    def _receive(self, until: float) -> None:
        while self._clock < until:
            now = self._clock
            while self._arrived and self._arrived[0][0] <= now:
                self.receiver.take(self._arrived.pop(0)[1], now)
            self._begun, self._ready, self._there = time.thread_time(), [], len(self.receiver._frames)
            count = self.receiver.decode(now)
            taken = time.thread_time() - self._begun
            if count:
                self.decoding += taken
                frames = [self.receiver._frames.pop() for _ in range(count)]
                for ready in self._ready:
                    self._display(ready)
                    self.receiver._frames.append(frames.pop())
                self._clock += taken
            self._clock += POLL_SECONDS
            self._display(self._clock)

    def _decoded(self) -> float:
        """The receiver's clock; it is asked for before a packet, and after each frame of it."""
        now = self._clock + time.thread_time() - self._begun
        self._ready += [now] * (len(self.receiver._frames) - self._there - len(self._ready))
        return now

    def _display(self, until: float) -> None:
        while self._displayed < until:
            frame = self.receiver.frame(self._displayed)
            if frame is not None:
                self.shown.append((frame.number, self._displayed))
            self._displayed += POLL_SECONDS


def delay_table(clips: tuple[Path, ...], seconds: float) -> Iterator[str]:
    """Lines of a Markdown table, a clip each."""
    torch.set_num_threads(1)  # as `bcd live` does
    codec = load("faces")
    columns = ("delay, ms", "90 % below", "pictures a second", "first, ms", "coding, CPU s a second", "decoding")
    yield f"| clip | {' | '.join(columns)} |"
    yield f"|---|{'---:|' * len(columns)}"
    for clip in clips:
        frames = read_pictures(clip, None, codec.picture_size)[: round(seconds / TICK)]
        run = DelayRun(codec)
        run.run(frames)
        delays = [1000 * (at - number * TICK) for number, at in run.shown if number >= START_FRAMES]
        span = len(frames) * TICK
        yield (
            f"| {clip.stem} | {np.median(delays):.0f} | {np.quantile(delays, 0.9):.0f} | "
            f"{len(delays) / (span - START_FRAMES * TICK):.1f} | {1000 * run.shown[0][1]:.0f} | "
            f"{run.coding / span:.2f} | {run.decoding / span:.2f} |"
        )
