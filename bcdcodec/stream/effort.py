"""Whether a thread does all its work for each packet, or leaves a part out as it takes too long."""

from __future__ import annotations

import math
from collections import deque

STEADY_PACKETS = 8  # over which times are averaged
MOST_WAIT = 64 * STEADY_PACKETS  # packets: about a minute


class Effort:
    """Yes or no, by the time that packets take. Shares are of a packet's own time, which it takes to be spoken.

    A part that was left out is tried again later each time, so that a machine which is nearly fast enough does not go
    back and forth.
    """

    def __init__(self, whole_below: float, part_above: float, at_once: float = math.inf):
        """`whole_below`: mean share without the part, below which it is done again; `part_above`: with it.

        A packet that takes more than `at_once` is not averaged with those before.
        """
        self.whole = True
        self._whole_below, self._part_above, self._at_once = whole_below, part_above, at_once
        self._shares: deque[float] = deque(maxlen=STEADY_PACKETS)
        self._wait = STEADY_PACKETS // 2  # packets for which the part is left out, at least
        self._since = 0  # packets since it was last left out or taken up

    def took(self, share: float) -> bool:
        """Take note of a packet; whether all work is to be done from now on."""
        self._shares.append(share)
        self._since += 1
        if len(self._shares) == STEADY_PACKETS or share > self._at_once:
            if self.whole and self.share > self._part_above:
                self._wait = min(2 * self._wait, MOST_WAIT)
                self._turn(False)
            elif not self.whole and self.share < self._whole_below and self._since >= self._wait:
                self._turn(True)
            elif self.whole and self._since > MOST_WAIT:
                self._wait = STEADY_PACKETS // 2
        return self.whole

    def _turn(self, whole: bool) -> None:
        self.whole, self._since = whole, 0
        self._shares.clear()

    @property
    def share(self) -> float:
        """Mean share of a packet's time that the latest packets took."""
        return sum(self._shares) / len(self._shares) if self._shares else 0.0
