"""Bytes of a call at the socket: `python -m bcdcodec.benchmarks live CLIP... --wire --sound FILE`.

A clip is coded as `bcd call` does, with its receiver's reports, by a simulated clock. Its packets are then sent in real
time through a connection of two ends on this machine, and counted where the operating system gets them: SRTP, and the
connection checks of ICE. IPv4 and UDP add 28 bytes to each.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bcdcodec.benchmarks.live import UndrawnDecoder, back_and_forth
from bcdcodec.codec import Codec, load
from bcdcodec.container.audio import OPUS_RATE
from bcdcodec.live.engine import BLOCK, call_options
from bcdcodec.stream.opus_voice import VoiceEncoder
from bcdcodec.stream.packets import unpack_packet
from bcdcodec.stream.receiver import Receiver
from bcdcodec.stream.sender import Sender
from bcdcodec.stream.wire import IP_UDP_BYTES, KINDS, byte_shares
from bcdcodec.video import read_pictures

TICK = 0.04  # seconds a frame
START_SECONDS = 10.0  # of a call, after which it is in its steady state
WINDOW_SECONDS = 10.0
DELAY_TICKS = 2  # of the network, and of the reports' way back


@dataclass(frozen=True)
class Sent:
    """A datagram at the socket."""

    at: float  # seconds from the start
    size: int  # bytes, with IPv4 and UDP
    srtp: bool  # else a connection check of ICE, or its answer


class CountingTransport:
    """A transport of asyncio that notes what is sent."""

    def __init__(self, transport: asyncio.DatagramTransport, note):
        self._transport, self._note = transport, note

    def sendto(self, data: bytes, address=None) -> None:
        self._note(data)
        self._transport.sendto(data, address)

    def __getattr__(self, name: str):
        return getattr(self._transport, name)


def watch(link, note) -> None:
    """Call `note` with the payload of each UDP datagram that an end of a connection sends from now on."""
    for protocol in link._gatherer._connection._protocols:
        protocol.transport = CountingTransport(protocol.transport, note)


def coded(codec: Codec, frames: np.ndarray, samples: np.ndarray | None) -> list[list[bytes]]:
    """Datagrams by frame of frames uint8 [t, h, w, 3], 25 a second, with their sound int16 [n] at 48 kHz."""
    receiver: list[Receiver] = []
    options = call_options(None, samples is not None)
    sender = Sender(codec.session, options, lambda now: receiver[0].report(now))
    receiver.append(Receiver(codec.session, sender.encoder.receive))
    receiver[0].decoder = UndrawnDecoder(codec.session)
    voice = None if samples is None else VoiceEncoder(BLOCK)
    step = round(TICK * OPUS_RATE)
    found: list[list[bytes]] = []
    for tick, frame in enumerate(frames):
        now = tick * TICK
        if voice is not None:
            for packet in voice.push(samples[tick * step : (tick + 1) * step]):
                sender.encoder.add_sound(packet)
        found.append(sender.push(frame, round(1000 * now), now))
        for data in found[tick - DELAY_TICKS] if tick >= DELAY_TICKS else []:
            receiver[0].take(data, now)
            described = receiver[0].described
            if described is not None and tick < 12:
                sender.encoder.meet(described)
        receiver[0].decode(now)
        receiver[0].frame(now)
        receiver[0].sound()
    return found


async def played(datagrams: list[list[bytes]]) -> list[Sent]:
    """What leaves the socket while datagrams, by frame, are sent in real time."""
    from bcdcodec.live.link import Link

    here, there = Link(lambda data: None, True), Link(lambda data: None, False)
    own, other = await here.description(), await there.description()
    await asyncio.gather(here.connect(other), there.connect(own))
    found: list[Sent] = []
    begun = time.monotonic()

    def note(data: bytes) -> None:
        found.append(Sent(time.monotonic() - begun, len(data) + IP_UDP_BYTES, 127 < data[0] < 192))

    watch(here, note)
    for tick, each in enumerate(datagrams):
        await asyncio.sleep(max(0.0, begun + tick * TICK - time.monotonic()))
        for data in each:
            await here.send(data)
    await here.close()
    await there.close()
    return found


def spoken(path: Path, samples: int) -> np.ndarray:
    """Sound of a file, again and again, int16 [samples] at 48 kHz, mono."""
    import av

    with av.open(str(path)) as container:
        resampler = av.AudioResampler(format="s16", layout="mono", rate=OPUS_RATE)
        blocks = [b.to_ndarray()[0] for frame in container.decode(audio=0) for b in resampler.resample(frame)]
    return np.resize(np.concatenate(blocks), samples)


def wire_table(clips: tuple[Path, ...], seconds: float, sound: Path | None) -> Iterator[str]:
    """Lines of a Markdown table, kbit/s: the steady state by what it is for, its worst window, and the start."""
    codec = load("faces")
    columns = (*KINDS, "ICE", "all", "worst 10 s", f"first {START_SECONDS:.0f} s")
    yield f"| clip | {' | '.join(columns)} |"
    yield f"|---|{'---:|' * len(columns)}"
    for clip in clips:
        frames = back_and_forth(read_pictures(clip, None, codec.picture_size), round(seconds / TICK))
        samples = None if sound is None else spoken(sound, round(len(frames) * TICK * OPUS_RATE))
        datagrams = coded(codec, frames, samples)
        sent = asyncio.run(played(datagrams))
        yield f"| {clip.stem} | {' | '.join(f'{rate:.2f}' for rate in _rates(datagrams, sent))} |"


def _rates(datagrams: list[list[bytes]], sent: list[Sent]) -> list[float]:
    end = len(datagrams) * TICK
    steady = [each for each in sent if each.at >= START_SECONDS]
    shares: Counter[str] = Counter()
    srtp = iter([each.size for each in sent if each.srtp])
    for tick, each in enumerate(datagrams):
        for data in each:
            size = next(srtp)  # those of the socket, one for each datagram, in order
            if tick * TICK >= START_SECONDS:
                shares += byte_shares(unpack_packet(data), size)

    def kbps(size: float, span: float) -> float:
        return 8 * size / span / 1000

    span = end - START_SECONDS
    windows = [
        sum(each.size for each in steady if begin <= each.at < begin + WINDOW_SECONDS)
        for begin in np.arange(START_SECONDS, max(end - WINDOW_SECONDS, START_SECONDS) + 0.01, 1.0)
    ]
    return [
        *(kbps(shares[kind], span) for kind in KINDS),
        kbps(sum(each.size for each in steady if not each.srtp), span),
        kbps(sum(each.size for each in steady), span),
        kbps(max(windows), WINDOW_SECONDS),
        kbps(sum(each.size for each in sent if each.at < START_SECONDS), START_SECONDS),
    ]
