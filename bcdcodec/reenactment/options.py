"""How a reenactment is made, and which models make one."""

from __future__ import annotations

from dataclasses import dataclass

from bcdcodec.config import ModelConfig
from bcdcodec.errors import ModelError
from bcdcodec.models.faces import parts

PARTS = tuple(parts.PARTS)


@dataclass(frozen=True)
class ReenactmentOptions:
    """How the motion of one recording drives the reference of another."""

    relative: bool = False  # keep the reference's own pose, and add to it the changes since the driver's first frame
    parts: tuple[str, ...] = PARTS  # that move
    strength: float = 1.0  # of their motion: 0 none, 1 the driver's

    @property
    def plain(self) -> bool:
        """Whether all motion is shown as the driver's is."""
        return not self.relative and self.parts == PARTS and self.strength == 1


def check_reenactment(config: ModelConfig, options: ReenactmentOptions) -> None:
    """Raise ModelError for a model that shows no other person's motion, or not with these options."""
    if not config.reenacts:
        raise ModelError(
            f"model {config.name!r} does not show one person in another's motion: encode both videos with --model faces"
        )
    if not options.plain and not config.content.picture:
        raise ModelError(
            f"--relative, --drive and --strength need a model whose codes tell pose, mouth, eyes and brows apart: "
            f"{config.name!r} does not, faces does"
        )
