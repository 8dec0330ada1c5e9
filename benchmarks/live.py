"""Streams over a simulated network: `python -m bcdcodec.benchmarks live CLIP... [--seconds N]` prints a Markdown table.

Time is simulated: what is measured is what the format, the jitter buffer and the decoder make of loss and delay.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass, replace
from itertools import cycle, islice
from pathlib import Path

import numpy as np

from bcdcodec.codec import Codec, load
from bcdcodec.coding.session import Session
from bcdcodec.stream.channel import Channel, ChannelOptions
from bcdcodec.stream.decoder import StreamDecoder
from bcdcodec.stream.encoder import LiveOptions
from bcdcodec.stream.motion_coder import MotionReader, MotionWriter
from bcdcodec.stream.packet_pictures import PacketPictures
from bcdcodec.stream.packets import ControlPacket, MediaPacket, Report, pack_packet, unpack_packet
from bcdcodec.stream.receiver import Receiver
from bcdcodec.stream.sender import Sender
from bcdcodec.stream.wire import SRTP_BYTES
from bcdcodec.video import read_pictures

TICK = 0.04  # seconds a frame
CONDITIONS = {
    "no loss": ChannelOptions(),
    "10 % random loss": ChannelOptions(loss=0.1),
    "outages of 0.5 s every 3 s": ChannelOptions(burst_seconds=0.5, burst_every=3.0),
    "jitter of 40 ms, reordered, 5 % twice": ChannelOptions(jitter=0.04, duplicates=0.05),
    "10 % loss, jitter of 30 ms, 5 % twice": ChannelOptions(loss=0.1, jitter=0.03, duplicates=0.05),
}


@dataclass(frozen=True)
class Run:
    """What a viewer saw of one clip under one condition."""

    lost: float  # share of the datagrams
    coded: float  # share of the pictures shown that were decoded from their own codes
    interpolated: float
    held: float  # share of the times of a frame at which the picture before stayed
    longest_hold: float  # seconds
    delay: float  # seconds from capture to display, median; without the time that coding takes
    first: float  # seconds from the first frame's capture to the first picture
    psnr: float  # dB, of what is shown against the source at that time less the delay
    kbps: float  # of all datagrams, headers of SRTP, UDP and IP included
    motion_kbps: float  # of coded motion and the packets' own headers


def back_and_forth(frames: np.ndarray, count: int) -> np.ndarray:
    """So many frames [count, ...] of a clip [t, ...] that is played to its end, back to its start, and again."""
    there_and_back = [*range(len(frames)), *range(len(frames) - 2, 0, -1)]
    return frames[list(islice(cycle(there_and_back), count))]


class NoPictures(PacketPictures):
    """Runs no network and gives black pictures of one pixel."""

    def begin(self, *_) -> None:
        pass

    def pictures(self, numbers: list[int], *_) -> np.ndarray:
        return np.zeros((len(numbers), 1, 1, 3), np.uint8)


class UndrawnDecoder(StreamDecoder):
    """Decodes all but pictures: what comes when needs none."""

    def __init__(self, session: Session):
        super().__init__(session)
        self.pictures = NoPictures(session)


class SentClip:
    """The datagrams of a clip, frame by frame, and pieces of its references that are sent again when asked for."""

    def __init__(self, codec: Codec, frames: np.ndarray):
        sender = Sender(codec.session, LiveOptions(restart_packets=1))
        self.datagrams = [sender.push(frame, tick, tick * TICK) for tick, frame in enumerate(frames)]
        self.sender = sender
        packets = [unpack_packet(data) for each in self.datagrams for data in each]
        fragments = [packet.fragment for packet in packets if getattr(packet, "fragment", None) is not None]
        self._pieces = {(fragment.content, fragment.index): fragment for fragment in fragments}

    def restarting(self, codec: Codec, every: int) -> SentClip:
        """The same codes, with a restart every so many packets."""
        profile = self.sender.encoder.head.entropy_profile
        reader, writer = (kind(codec.folder.tables, profile) for kind in (MotionReader, MotionWriter))
        other = copy(self)
        other.datagrams, count = [], 0
        for each in self.datagrams:
            others = []
            for data in each:
                packet = unpack_packet(data)
                if isinstance(packet, MediaPacket) and packet.motion is not None:
                    codes = reader.read(packet.motion.coded, packet.motion.coded_frames, True)
                    coded, restart = writer.write(codes, count % every == 0)
                    packet = replace(packet, motion=replace(packet.motion, coded=coded, restart=restart))
                    count += 1
                others.append(pack_packet(packet))
            other.datagrams.append(others)
        return other

    def again(self, report: Report) -> list[bytes]:
        """Datagrams of the pieces that a report asks for."""
        asked = [
            piece
            for (content, index), piece in self._pieces.items()
            if content == report.wanted and (report.missing >> index & 1 or not report.missing)
        ]
        return [pack_packet(ControlPacket(piece)) for piece in asked]


def run(codec: Codec, frames: np.ndarray, sent: SentClip, options: ChannelOptions, drawn: bool, seed: int = 1) -> Run:
    """Send frames uint8 [t, h, w, 3], 25 a second, through a channel; reports come back through another like it."""
    there, back = Channel(options, seed), Channel(options, seed + 1)
    receiver = Receiver(codec.session)
    if not drawn:
        receiver.decoder = UndrawnDecoder(codec.session)
    shown: list[tuple[int, int, bool]] = []  # time in ticks, frame, whether it is interpolated
    seen: list[tuple[int, np.ndarray]] = []
    count = size = motion = 0
    picture, reported = None, -1.0
    for tick in range(len(frames) + 12):
        now = tick * TICK
        going = list(sent.datagrams[tick]) if tick < len(frames) else []
        for data in back.receive(now):
            going += sent.again(unpack_packet(data).report)
        for data in going:
            count, size = count + 1, size + len(data) + SRTP_BYTES
            packet = unpack_packet(data)
            if isinstance(packet, MediaPacket) and packet.motion is not None:
                motion += 4 + len(packet.motion.coded)
            there.send(data, now)
        for data in there.receive(now):
            receiver.take(data, now)
        receiver.decode(now)
        report = receiver.report(now)
        if report is not None and report.wanted is not None and now - reported >= 0.3:
            reported = now
            back.send(pack_packet(ControlPacket(report=report)), now)
        frame = receiver.frame(now + TICK / 4)  # the viewer's clock is not in step with the camera's
        if frame is not None:
            shown.append((tick, frame.number, frame.interpolated))
            picture = frame.picture
        if picture is not None:
            seen.append((tick, picture))
    seconds = len(frames) * TICK
    delay = int(np.median([tick - number for tick, number, _ in shown]))
    ticks = [tick for tick, _, _ in shown]
    times = range(ticks[0], min(ticks[-1], len(frames) + delay) + 1)
    errors = [
        np.square(p.astype(np.float32) - frames[t - delay]).mean()
        for t, p in seen
        if drawn and 0 <= t - delay < len(frames)
    ]
    coded = sum(not between for _, _, between in shown)
    return Run(
        there.lost / count,
        coded / len(times),
        (len(shown) - coded) / len(times),
        1 - len(shown) / len(times),
        float(np.diff(ticks).max()) * TICK - TICK,
        delay * TICK,
        ticks[0] * TICK,
        float(np.mean(10 * np.log10(255**2 / np.array(errors)))) if drawn else np.nan,
        8 * size / seconds / 1000,
        8 * motion / seconds / 1000,
    )


def table(clips: tuple[Path, ...], seconds: float, drawn: bool = True) -> Iterator[str]:
    """Lines of a Markdown table: what a viewer sees of clips under each condition, means over the clips.

    Not `drawn`: no network decodes, and PSNR is left out.
    """
    codec = load("faces")
    loaded = [read_pictures(clip, None, codec.picture_size)[: round(seconds / TICK)] for clip in clips]
    coded = [SentClip(codec, frames) for frames in loaded]
    columns = (
        "lost",
        "own codes",
        "interpolated",
        "held",
        "longest hold, ms",
        "delay, ms",
        "first, ms",
        *(["PSNR, dB"] if drawn else []),
    )
    yield (f"| network | restarts | {' | '.join(columns)} |")
    yield (f"|---|---|{'---:|' * len(columns)}")
    rates = []
    for name, options in CONDITIONS.items():
        for how, every in (("each packet", 1), ("each second", 8)):
            runs = [
                run(codec, frames, sent.restarting(codec, every), options, drawn)
                for frames, sent in zip(loaded, coded, strict=True)
            ]
            mean = {key: float(np.mean([getattr(r, key) for r in runs])) for key in Run.__annotations__}
            yield (
                f"| {name} | {how} | {mean['lost']:.1%} | {mean['coded']:.1%} | {mean['interpolated']:.1%} | "
                f"{mean['held']:.1%} | {1000 * max(r.longest_hold for r in runs):.0f} | {1000 * mean['delay']:.0f} | "
                f"{1000 * mean['first']:.0f} |" + (f" {mean['psnr']:.2f} |" if drawn else "")
            )
            if options == ChannelOptions():
                rates.append(f"{how}: motion with packet headers {mean['motion_kbps']:.2f}, all {mean['kbps']:.2f}")
    yield ("\nkbit/s without loss, " + "; ".join(rates))
