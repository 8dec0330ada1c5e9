"""Rate control of a stream: the Lagrangian multiplier that keeps the last second near the rate that is asked for."""

from __future__ import annotations

import math
from collections import deque

LEAST_LAMBDA, MOST_LAMBDA = 1e-3, 64.0
GAIN = 0.5  # exponent of the excess by which lambda grows with each packet
STRIDE_KBPS = 1.2  # of motion, below which only every third frame is coded: the base layer alone takes this
LOW_STRIDE = 3


class LiveRateControl:
    """Follows the bytes of motion in the packets of one second, their headers included."""

    def __init__(self, kbps: float | None, own_lambda: float, packet_seconds: float):
        """`kbps`: kbit/s; None: the model's own lambda, whatever it takes."""
        self._target = None if kbps is None else kbps * 1000 / 8  # bytes of a second
        self._recent: deque[int] = deque(maxlen=max(1, round(1 / packet_seconds)))
        self._packet_seconds = packet_seconds
        self.lambda_ = own_lambda
        self.stride = LOW_STRIDE if kbps is not None and kbps < STRIDE_KBPS else 1

    def sent(self, size: int) -> None:
        """Take note of the bytes of motion in a packet; sets `lambda_` for the next one."""
        self._recent.append(size)
        if self._target is None:
            return
        used = sum(self._recent) / (len(self._recent) * self._packet_seconds)  # bytes a second
        grown = self.lambda_ * math.pow(used / self._target, GAIN)
        self.lambda_ = min(max(grown, LEAST_LAMBDA), MOST_LAMBDA)
