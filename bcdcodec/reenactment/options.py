"""How a reenactment is made."""

from __future__ import annotations

from dataclasses import dataclass

from bcdcodec.models.faces import parts

PARTS = tuple(parts.PARTS)


@dataclass(frozen=True)
class ReenactmentOptions:
    """How the motion of one recording drives the reference of another."""

    relative: bool = False  # keep the reference's own pose, and add to it the changes since the driver's first frame
    landmarks: bool = True  # find facial landmarks where they can be found; False for drawn faces, which detectors miss
    parts: tuple[str, ...] = PARTS  # that move, of models whose motion tells them apart
    strength: float = 1.0  # of their motion: 0 none, 1 the driver's

    @property
    def partial(self) -> bool:
        """Whether not all parts move, or not as far as the driver's."""
        return self.parts != PARTS or self.strength != 1
