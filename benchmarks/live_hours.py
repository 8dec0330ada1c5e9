"""Memory and delay of long calls: `python -m bcdcodec.benchmarks live CLIP --hours 1`.

Everything that keeps state runs as in a call (rate control, references, fragments, context coding, reports, jitter
buffer), by a simulated clock over a network with loss and jitter, and with clocks that differ by 100 ppm. Only the
networks are left out: motion is a random walk of codes, and no picture is synthesised.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from bcdcodec.benchmarks.live import UndrawnDecoder
from bcdcodec.codec import Codec, load
from bcdcodec.container.audio import OPUS_RATE
from bcdcodec.live.engine import BLOCK, call_options
from bcdcodec.stream.channel import Channel, ChannelOptions
from bcdcodec.stream.opus_voice import VoiceEncoder
from bcdcodec.stream.receiver import Receiver
from bcdcodec.stream.sender import Sender
from bcdcodec.video import read_pictures

TICK = 0.04  # seconds a frame
DRIFT = 1e-4  # of the receiver's clock against the sender's
NETWORK = ChannelOptions(loss=0.01, jitter=0.01, duplicates=0.01)
ROWS = 10


class WalkingMotion:
    """Stands in for `CausalMotion`: codes that change now and then, without a network; any reference serves."""

    warp_error = 0.0

    def __init__(self, session):
        vq = session.model.vq
        self._random, self._base_groups = np.random.default_rng(0), vq.base_groups
        self._channels = session.config.motion_channels
        self._code = vq.log2_p.argmax(-1).numpy().astype(np.uint8)  # [g]
        self._codes = self._code[None]

    def read(self, pictures: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        rows = []
        for _ in pictures:
            changed = self._random.random(len(self._code)) < 0.05
            self._code = np.where(changed, self._random.integers(0, 32, len(self._code)), self._code).astype(np.uint8)
            rows.append(self._code)
        self._codes = np.stack(rows)
        motion = torch.from_numpy(self._random.normal(size=(len(rows), self._channels), scale=3).astype(np.float32))
        return torch.from_numpy(self._codes[:, : self._base_groups].astype(np.int64)), motion

    def codes(self, *_) -> np.ndarray:
        return self._codes

    def base_alone(self, base: torch.Tensor) -> np.ndarray:
        return self._codes[: len(base)]

    def error_with(self, *_) -> float:
        return self.warp_error


def resident_mb() -> float:
    """Memory of this process that is in RAM, MB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


@dataclass(frozen=True)
class Span:
    """A tenth of a call."""

    end: float  # seconds
    memory: float  # MB
    delay: float  # seconds from capture to display, median
    shown: float  # share of the frames
    references: int  # until then
    kbps: float  # of all packets, headers included, over the last seconds


def long_call(codec: Codec, frame: np.ndarray, hours: float) -> Iterator[Span]:
    """A call of a frame uint8 [h, w, 3], which is the reference again and again, and a voice that never rests."""
    session = codec.session
    content = codec.encode(frame[None]).contents[0]
    receiver: list[Receiver] = []
    motion = WalkingMotion(session)
    sender = Sender(session, call_options(None, True), lambda now: receiver[0].report(now), motion)
    encoder = sender.encoder
    references = encoder.references
    references.made = lambda candidate, urgent, *_: references.entry(content, candidate, urgent)
    receiver.append(Receiver(session, encoder.receive))
    receiver[0].decoder = UndrawnDecoder(session)
    there = Channel(NETWORK, 1)
    tone = (8000 * np.sin(2 * np.pi * 150 * np.arange(4 * BLOCK) / OPUS_RATE)).astype(np.int16)
    voice = VoiceEncoder(BLOCK).push(tone)[-1]
    frames = round(hours * 3600 / TICK)
    delays: list[float] = []
    for tick in range(frames):
        now = tick * TICK
        theirs = now * (1 + DRIFT)
        if tick % 3 == 2:
            encoder.add_sound(voice)
        for data in sender.push(frame, round(1000 * now), now):
            there.send(data, now)
        for data in there.receive(now):
            receiver[0].take(data, theirs)
        if tick == 9:
            encoder.meet(receiver[0].described)
        receiver[0].decode(theirs)
        shown = receiver[0].frame(theirs)
        receiver[0].sound()
        if shown is not None:
            delays.append(now - shown.number * TICK)
        if (tick + 1) % (frames // ROWS) == 0:
            shown_share, kbps = len(delays) / (frames // ROWS), sender.wire.kbps(now)["all"]
            yield Span(now + TICK, resident_mb(), float(np.median(delays)), shown_share, encoder.references.count, kbps)
            delays = []


def hours_table(clip: Path, hours: float) -> Iterator[str]:
    """Lines of a Markdown table: memory, delay and what was shown, ROWS times over the call."""
    codec = load("faces")
    yield "| minutes | memory, MB | delay, ms | shown, of the frames | references | kbit/s |"
    yield "|---:|---:|---:|---:|---:|---:|"
    for span in long_call(codec, read_pictures(clip, None, codec.picture_size)[0], hours):
        yield (
            f"| {span.end / 60:.0f} | {span.memory:.1f} | {1000 * span.delay:.0f} | {span.shown:.1%} | "
            f"{span.references} | {span.kbps:.2f} |"
        )
