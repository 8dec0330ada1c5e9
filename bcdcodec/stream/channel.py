"""A network that loses, delays, reorders and duplicates datagrams, for tests and for trying it out."""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class ChannelOptions:
    """What a simulated network does to datagrams."""

    loss: float = 0.0  # share of the datagrams, at random
    burst_seconds: float = 0.0  # length of outages ...
    burst_every: float = 10.0  # ... in seconds from the begin of one to the next, the first after half of that
    delay: float = 0.04  # seconds, of all
    jitter: float = 0.0  # seconds, standard deviation of a normal distribution's positive half: also reorders
    duplicates: float = 0.0  # share of the datagrams that arrive twice


class Channel:
    """One direction. Times are seconds of the caller's clock."""

    def __init__(self, options: ChannelOptions, seed: int = 0):
        self._options, self._random = options, np.random.default_rng(seed)
        self._on_the_way: list[tuple[float, int, bytes]] = []
        self._count = 0
        self._begun: float | None = None
        self.lost = 0

    def send(self, data: bytes, now: float) -> None:
        """Take a datagram."""
        o, random = self._options, self._random
        self._begun = now if self._begun is None else self._begun
        within = (now - self._begun + o.burst_every / 2) % o.burst_every
        out = bool(o.burst_seconds) and within < o.burst_seconds
        lost, extra, twice = random.random() < o.loss, abs(random.normal()) * o.jitter, random.random() < o.duplicates
        if lost or out:
            self.lost += 1
            return
        for again in range(1 + twice):
            self._count += 1
            heapq.heappush(self._on_the_way, (now + o.delay + extra + 0.03 * again, self._count, data))

    def receive(self, now: float) -> list[bytes]:
        """What has arrived until now."""
        found = []
        while self._on_the_way and self._on_the_way[0][0] <= now:
            found.append(heapq.heappop(self._on_the_way)[2])
        return found
