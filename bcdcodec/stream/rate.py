"""Rate control of a stream: the Lagrangian multiplier of motion, and what all packets together may take."""

from __future__ import annotations

import math
from collections import deque

LEAST_LAMBDA, MOST_LAMBDA = 1e-6, 64.0
GAIN = 0.5  # exponent of the excess by which lambda grows with each packet
MOST_KBPS = 3.0  # of motion and its packets' own headers, where no rate is asked for
LEAST_KBPS = 1.0  # likewise, however little the budget of the wire leaves
STRIDE_KBPS = 1.2  # of motion, below which only every third frame is coded: the base layer alone takes this
LOW_STRIDE = 3
FIXED_SECONDS = 2.0  # over which the rate of what is neither motion nor reference is taken
MOST_CREDIT = 2000  # bytes that were saved, in pauses of speech, and may be spent at any time
MOST_DEBT = 1500  # bytes that may be spent before they are saved: one reference, where a head turns
REFERENCE_KBPS = 0.5  # of motion, given up while a reference waits, or until it is paid for


class LiveRateControl:
    """Follows the bytes of motion in the packets of one second, their headers included."""

    def __init__(self, kbps: float | None, own_lambda: float, packet_seconds: float):
        """`kbps`: kbit/s; None: the model's own lambda, and MOST_KBPS at most."""
        self._kbps, self._own_lambda = kbps, own_lambda
        self._recent: deque[int] = deque(maxlen=max(1, round(1 / packet_seconds)))
        self._packet_seconds = packet_seconds
        self.lambda_ = own_lambda
        self.stride = LOW_STRIDE if kbps is not None and kbps < STRIDE_KBPS else 1

    def sent(self, size: int, most_kbps: float = math.inf) -> None:
        """Take note of the bytes of motion in a packet; sets `lambda_` for the next one.

        `most_kbps`: what the wire leaves for motion, see `WireBudget`; at least LEAST_KBPS are used.
        """
        self._recent.append(size)
        wanted = min(MOST_KBPS if self._kbps is None else self._kbps, max(most_kbps, LEAST_KBPS))
        used = 8 / 1000 * sum(self._recent) / (len(self._recent) * self._packet_seconds)  # kbit/s
        grown = self.lambda_ * math.pow(used / wanted, GAIN)
        least = self._own_lambda if self._kbps is None else LEAST_LAMBDA
        self.lambda_ = min(max(grown, least), MOST_LAMBDA)


class WireBudget:
    """Keeps all that is sent, headers of every layer included, below a rate in the mean (a token bucket)."""

    def __init__(self, kbps: float | None, packet_seconds: float):
        """`kbps`: kbit/s; None: no limit."""
        self._kbps, self._packet_seconds = kbps, packet_seconds
        self._credit = 0.0  # bytes
        self._fixed: deque[int] = deque(maxlen=round(FIXED_SECONDS / packet_seconds))

    def sent(self, size: int, variable: int, start: int = 0) -> None:
        """Take note of the bytes of the time of a media packet, `variable` of them of motion and references.

        `start`: of them, that begin a session and are sent whatever they take.
        """
        self._fixed.append(size - variable)
        if self._kbps is not None:
            self._credit += self._kbps * 1000 / 8 * self._packet_seconds - (size - start)
            self._credit = min(self._credit, MOST_CREDIT)

    def motion_kbps(self, waiting: bool) -> float:
        """What is left for motion, kbit/s; `waiting`: for a reference, too."""
        if self._kbps is None or not self._fixed:
            return math.inf
        fixed = 8 / 1000 * sum(self._fixed) / (len(self._fixed) * self._packet_seconds)
        return self._kbps - fixed - REFERENCE_KBPS * (waiting or self._credit < 0)

    def room(self) -> float:
        """Bytes that may be sent beside the usual ones now."""
        return math.inf if self._kbps is None else self._credit + MOST_DEBT
