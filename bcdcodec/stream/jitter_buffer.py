"""Puts media packets in order, gives up on those that are too late, and says when their frames are due."""

from __future__ import annotations

from collections import deque

from bcdcodec.stream.packets import HISTORY, SEQUENCES, MediaPacket, Report
from bcdcodec.stream.sequence import unwrapped

MAX_DELAY_SECONDS = 0.12  # that a packet is waited for, beyond the fastest ones
MEMORY_SECONDS = 4.0  # of arrivals from which the delay is taken; at first the later half of them
LATE_SHARE = 0.15  # of the packets that may come after their frames are due
MAX_GAP = 100  # numbers; a larger step is that of a stray packet ...
STRAYS = 3  # ... unless so many follow each other: then the sender has begun anew


class JitterBuffer:
    """Times are seconds of any clock of the receiver's."""

    def __init__(self, packet_seconds: float):
        self._packet_seconds = packet_seconds
        self._next: int | None = None  # number of the packet that comes next in order
        self._held: dict[int, MediaPacket] = {}
        self._arrivals: deque[tuple[float, float]] = deque()  # arrival, and how long after the packet's own time
        self._strays = 0
        self._begun: float | None = None  # when the first packet came
        self._highest: int | None = None
        self._highest_at = 0.0
        self._came = 0  # bit i: the packet i before the highest came
        self.duplicates = self.late = self.lost = self.taken = 0  # packets

    def push(self, packet: MediaPacket, now: float) -> None:
        """Take a packet as it arrives."""
        near = self._next if self._highest is None else self._highest + 1
        number = unwrapped(packet.sequence, packet.sequence if near is None else near)
        if self._next is not None and abs(number - self._next) > MAX_GAP:
            self._strays += 1
            if self._strays < STRAYS:
                return
            self._next = self._highest = None
            self._arrivals.clear()
        self._strays = 0
        self._note(number, now)
        if self._next is None:
            self._next, self._held = number, {}
        if number < self._next:
            self.late += 1
        elif number in self._held:
            self.duplicates += 1
        else:
            self._held[number] = packet

    def pop(self, now: float) -> list[MediaPacket | int]:
        """Packets in order, and the numbers, modulo 65536, of those that are given up on."""
        found: list[MediaPacket | int] = []
        while self._held:
            packet = self._held.pop(self._next, None)
            if packet is None:
                if now < self._base + self._next * self._packet_seconds + MAX_DELAY_SECONDS:
                    break
                found.append(self._next % SEQUENCES)
                self.lost += 1
            else:
                found.append(packet)
                self.taken += 1
            self._next += 1
        return found

    def due(self, stream_seconds: float) -> float:
        """When a frame of that time of the stream is to be shown: as early as most packets allow."""
        return self._base + stream_seconds + self.delay

    @property
    def delay(self) -> float:
        """Seconds that frames wait, beyond the time of the fastest packets."""
        late = sorted(after - self._base for _, after in self._arrivals)
        return min(late[int((1 - LATE_SHARE) * (len(late) - 1))], MAX_DELAY_SECONDS) if late else 0.0

    def report(self, now: float) -> Report | None:
        """What has come, for the sender; None before the first packet."""
        if self._highest is None:
            return None
        delay = min(60_000, max(0, round(1000 * (now - self._highest_at))))
        return Report(self._highest % SEQUENCES, self._came >> 1 & SEQUENCES - 1, delay)

    @property
    def _base(self) -> float:
        """Clock less stream time of the fastest packet of late."""
        return min(after for _, after in self._arrivals)

    def _note(self, number: int, now: float) -> None:
        after = now - number * self._packet_seconds
        self._arrivals.append((now, after))
        self._begun = now if self._begun is None else self._begun
        # A session begins late, with the first reference: that is soon forgotten.
        memory = min(MEMORY_SECONDS, (now - self._begun) / 2)
        while now - self._arrivals[0][0] > memory:
            self._arrivals.popleft()
        if self._highest is None or number > self._highest:
            step = 0 if self._highest is None else min(number - self._highest, HISTORY + 1)
            self._came = (self._came << step | 1) & (1 << HISTORY + 1) - 1
            self._highest, self._highest_at = number, now
        elif self._highest - number <= HISTORY:
            self._came |= 1 << self._highest - number
