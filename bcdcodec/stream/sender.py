"""A stream as it leaves: pictures in, datagrams out, counted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from bcdcodec.coding.session import Session
from bcdcodec.stream.effort import Effort
from bcdcodec.stream.encoder import LiveOptions, StreamEncoder
from bcdcodec.stream.motion import StreamMotion
from bcdcodec.stream.packets import ControlPacket, EndPacket, MediaPacket, Packet, Report, pack_packet
from bcdcodec.stream.wire import SRTP_BYTES, WireCounter

REPORT_SECONDS = 1.0  # from one report to the next, sooner where something is wanted or has come
HURRIED_REPORT_SECONDS = 0.3
# Share of a packet's time that coding takes, below which the enhancement layer is coded, and above which it is not.
ENHANCED_BELOW, BASE_ABOVE = 0.5, 0.88
AT_ONCE = 5.0  # of one packet, from which nothing is averaged


class Sender:
    """Times are seconds of any clock of the sender's."""

    def __init__(
        self,
        session: Session,
        options: LiveOptions,
        report: Callable[[float], Report | None] | None = None,
        motion: StreamMotion | None = None,
    ):
        """`report`: gives what is to be reported of the other direction; `motion`: see `StreamEncoder`."""
        self.encoder = StreamEncoder(session, options, motion)
        self.wire = WireCounter()
        self._report, self._reported = report, -1e9
        self._have: int | None = None  # content that was reported last
        self.effort = Effort(ENHANCED_BELOW, BASE_ABOVE, AT_ONCE)

    def took(self, seconds: float) -> None:
        """Take note of how long the frames of a packet took to be coded: less is done where there is no time."""
        self.encoder.enhanced = self.effort.took(seconds / self.encoder.packet_seconds)

    def push(self, frame: np.ndarray, pts: int, now: float) -> list[bytes]:
        """Datagrams that a picture completes, see `StreamEncoder.push`."""
        return self._out(self.encoder.push(frame, pts), now)

    def flush(self, now: float) -> list[bytes]:
        """Datagrams of what is left, and the end."""
        return self._out([*self.encoder.flush(), EndPacket()], now)

    def end(self, reason: str, now: float) -> list[bytes]:
        """The end, at once."""
        return self._out([EndPacket(reason[:80])], now)

    def _out(self, packets: list[Packet], now: float) -> list[bytes]:
        datagrams = []
        for packet in packets:
            if isinstance(packet, MediaPacket | ControlPacket):
                packet = self._reporting(packet, now)
            data = pack_packet(packet)
            self.wire.add(packet, len(data) + SRTP_BYTES, now)
            datagrams.append(data)
        return datagrams

    def _reporting(self, packet: MediaPacket | ControlPacket, now: float) -> MediaPacket | ControlPacket:
        if self._report is None or now - self._reported < HURRIED_REPORT_SECONDS:
            return packet
        report = self._report(now)
        if report is None:
            return packet
        pressing = report.wanted is not None or report.have != self._have
        if not pressing and now - self._reported < REPORT_SECONDS:
            return packet
        self._reported, self._have = now, report.have
        return replace(packet, report=report)
