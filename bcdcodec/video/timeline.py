"""One clock for a container whose timestamps jump: joined streams, paused recordings, clocks that wrap."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

BACK = Fraction(1, 10)  # seconds that a stream's times may go back without a jump
LONGEST_GAP = 1800  # seconds from a frame or packet of sound to the next; more is a jump of the clock
LONGEST_TRANSPORT_GAP = 10  # the same in formats made to be joined, such as MPEG-TS; FFmpeg's dts_delta_threshold
NEAR = Fraction(1, 5)  # seconds, within which a timestamp continues an earlier stretch
USUAL_STEP = Fraction(1, 25)  # seconds from one to the next, where a stream states none


@dataclass
class _Place:
    """Where a stream is."""

    stretch: int  # between which jumps
    last: Fraction  # seconds on the common clock, of its last frame or packet
    step: Fraction  # seconds from there to the next one, as far as is known


class Timeline:
    """Moves timestamps so that no stream jumps; all streams of a stretch are moved alike, so they stay in step.

    Frames come in the order they are shown, packets of sound as they are stored. The first after a jump goes where its
    stream would have gone on. The other streams follow by the same amount.
    """

    def __init__(self, joinable: bool):
        """`joinable`: whether the container's format is made to be joined, so that shorter gaps are jumps."""
        self._gap = LONGEST_TRANSPORT_GAP if joinable else LONGEST_GAP
        self._offsets = [Fraction(0)]  # seconds that are added, stretch by stretch
        self._places: dict[int, _Place] = {}  # by number of the stream

    @property
    def jumps(self) -> int:
        """How often the clock jumped so far."""
        return len(self._offsets) - 1

    def moved(self, stream: int, pts: int | None, duration: int | None, time_base: Fraction) -> int | None:
        """Returns the timestamp, in ticks of `time_base`, of a stream's next frame or packet; None for None."""
        if pts is None:
            return None
        stated = pts * time_base
        place = self._places.get(stream)
        if place is None:
            place = self._places[stream] = _Place(0, stated, USUAL_STEP)
        else:
            place.stretch = self._stretch(place, stated)
        time = stated + self._offsets[place.stretch]
        if duration:
            place.step = duration * time_base
        elif 0 < time - place.last < 1:
            place.step = time - place.last
        place.last = max(time, place.last)
        return pts + round(self._offsets[place.stretch] / time_base)

    def _stretch(self, place: _Place, stated: Fraction) -> int:
        """Returns the stretch that a timestamp belongs to, a new one after a jump."""

        def ahead(stretch: int) -> Fraction:
            return stated + self._offsets[stretch] - place.last

        now = ahead(place.stretch)
        before = place.stretch - 1
        if place.stretch and now > 1 and -BACK <= ahead(before) <= NEAR:
            return before  # one before it was wrong, or this one came late
        if -BACK <= now and (now <= self._gap or self._others_went_on(place, now)):
            return place.stretch
        following = place.stretch + 1
        if following < len(self._offsets) and -BACK <= ahead(following) <= self._gap:
            return following
        if place.stretch and -BACK <= ahead(before) <= self._gap:
            return before
        self._offsets.append(place.last + place.step - stated)
        return len(self._offsets) - 1

    def _others_went_on(self, place: _Place, gap: Fraction) -> bool:
        """Returns whether another stream goes on in a gap of this one, which then is no jump."""
        return any(
            other is not place and other.stretch == place.stretch and other.last > place.last + gap / 2
            for other in self._places.values()
        )
