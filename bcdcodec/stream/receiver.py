"""A stream as it arrives: datagrams in, frames when they are due out, and reports for the sender."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace

from bcdcodec.coding.session import Session
from bcdcodec.errors import FormatError
from bcdcodec.stream.decoder import Frame, StreamDecoder
from bcdcodec.stream.effort import Effort
from bcdcodec.stream.jitter_buffer import JitterBuffer
from bcdcodec.stream.packets import ControlPacket, Description, EndPacket, MediaPacket, Report, unpack_packet

LAG_PACKETS = 16  # over which the time that decoding takes is looked at ...
LAG_SHARE = 0.8  # ... and the share of them whose frames are ready when they are due
MOST_LAG_SECONDS = 0.12  # a packet's time: a machine that takes longer leaves frames out, and delay does not grow
# Share of a packet's time that decoding takes, below which faces are drawn over the warp, and above which they are not.
DRAWN_BELOW, WARPED_ABOVE = 0.35, 0.9


@dataclass(frozen=True)
class Sound:
    """The sound of a media packet."""

    seconds: float  # of the stream, at which it begins
    packet: bytes | None  # Opus; None: silence
    lost: bool = False  # the packet did not come: what is heard is to be concealed


class Receiver:
    """Times are seconds of any clock of the receiver's."""

    def __init__(
        self,
        session: Session,
        on_report: Callable[[Report], object] = lambda report: None,
        clock: Callable[[], float] | None = None,
    ):
        """`clock`: tells how long decoding takes, so that frames are due that much later; None: that does not count."""
        self.decoder = StreamDecoder(session)
        self.refused = 0  # datagrams that were no packets, or could not be used
        self.shown = -1  # number of the newest frame that was given out
        self._on_report = on_report
        self._buffer: JitterBuffer | None = None
        self._frames: deque[tuple[float, Frame]] = deque()  # with when they are due
        self._sound: list[Sound] = []
        self._clock = clock
        self._lags: deque[float] = deque(maxlen=LAG_PACKETS)  # how late frames of a packet would have been at most
        self._effort = Effort(DRAWN_BELOW, WARPED_ABOVE)

    @property
    def described(self) -> Description | None:
        """What the other side says of its stream."""
        return self.decoder.description

    @property
    def buffer(self) -> JitterBuffer | None:
        """What puts packets in order; None before the description."""
        return self._buffer

    def take(self, data: bytes, now: float) -> None:
        """Take a datagram. Damaged ones are counted and dropped; raises ModelMismatchError for another model."""
        try:
            packet = unpack_packet(data)
            if isinstance(packet, Description | EndPacket):
                self.decoder.push(packet)
                if self._buffer is None and self.described is not None:
                    self._buffer = JitterBuffer(self._packet_seconds)
                return
            if packet.report is not None:
                self._on_report(packet.report)
            if packet.fragment is not None:
                self.decoder.push(ControlPacket(packet.fragment))
            if isinstance(packet, MediaPacket) and self._buffer is not None:
                self._buffer.push(replace(packet, report=None, fragment=None), now)
        except FormatError:
            self.refused += 1

    def report(self, now: float) -> Report | None:
        """What has come, for the sender; None before the first media packet."""
        report = None if self._buffer is None else self._buffer.report(now)
        if report is None:
            return None
        known = self.decoder.references
        return replace(report, have=known.have, wanted=known.wanted, missing=known.missing)

    def decode(self, now: float) -> int:
        """Decode what is there, so many frames; `frame` and `sound` give it out."""
        found = 0
        if self._buffer is None:
            return found
        for item in self._buffer.pop(now):
            try:
                if isinstance(item, int):
                    self.decoder.lost(item)
                    self._hear(item, None, lost=True)
                    continue
                self._hear(item.sequence, item.sound)
                taken, lag, begin = 0.0, 0.0, found
                in_time = self._clock is not None and self._lag < MOST_LAG_SECONDS
                at = now if self._clock is None else self._clock()
                for frame in self.decoder.frames(item, self._wanted_from(at), first_alone=in_time):
                    self._frames.append((self._buffer.due(frame.seconds) + self._lag, frame))
                    if self._clock is not None:
                        taken = self._clock() - at
                        lag = max(lag, taken - (found - begin) * self.decoder.frame_seconds)
                    found += 1
                if found > begin:
                    self._lags.append(lag)
                    if self._clock is not None:
                        self._draw(self._effort.took(taken / self._packet_seconds))
            except FormatError:
                self.refused += 1
        return found

    def _draw(self, drawing: bool) -> None:
        """Draw over the warp or not; what decoding took until then tells nothing of what it takes from now on."""
        if drawing != self.decoder.pictures.drawing:
            self.decoder.pictures.drawing = drawing
            self._lags.clear()

    @property
    def _packet_seconds(self) -> float:
        return self.described.packet_frames * self.decoder.frame_seconds

    @property
    def _lag(self) -> float:
        """How much later than by their arrival frames are due, as they have to be decoded first."""
        found = sorted(self._lags)[int(LAG_SHARE * (len(self._lags) - 1))] if self._lags else 0.0
        return min(found, MOST_LAG_SECONDS)

    def _wanted_from(self, now: float) -> int:
        """Number of the first frame that is not shown yet and that it is not too late for."""
        newest = self._frames[-1][1].number if self._frames else self.shown
        tick = self.decoder.frame_seconds
        return max(newest + 1, math.floor((now - self._lag - self._buffer.due(0.0)) / tick))

    def frame(self, now: float) -> Frame | None:
        """The newest frame that is due and was not given out, if there is one; those before it are skipped."""
        found = None
        while self._frames and self._frames[0][0] <= now:
            found = self._frames.popleft()[1]
        if found is not None:
            self.shown = found.number
        return found

    def sound(self) -> list[Sound]:
        """The sound of the packets decoded since the last call, in order."""
        found, self._sound = self._sound, []
        return found

    def _hear(self, sequence: int, packet: bytes | None, lost: bool = False) -> None:
        if self.described.sound:
            self._sound.append(Sound(sequence * self._packet_seconds, packet, lost))
