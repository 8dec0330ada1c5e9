"""The reference of the `faces` model, and how another recording's motion is carried over to it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from bcdcodec.models.base import Reference, widened
from bcdcodec.models.faces.parts import BLENDSHAPES, PARTS

MOST_TURN = 0.7  # radians of pitch or yaw that are shown of another's


@dataclass(frozen=True)
class Transfer:
    """What of another recording's motion is shown."""

    driver: Tensor | None  # [58] of the picture that its motion is counted from; None: not known
    relative: bool = False  # changes since then are added to the reference's own expression and pose
    parts: tuple[str, ...] = tuple(PARTS)
    strength: float = 1.0  # 0 keeps the reference's own, 1 takes the other's


@dataclass(frozen=True)
class FacesReference(Reference):
    """A picture [b, 3, h, w], -1 to 1, as the tokens, and the motion [b, m] that it is in."""

    motion: Tensor  # [b, m]
    transfer: Transfer | None = None  # None: the motion is of the same recording

    def of_another(self) -> FacesReference:
        return replace(self, transfer=Transfer(None))

    def picture(self) -> tuple[Tensor, None]:
        return self.tokens, None

    def expand(self, b: int) -> FacesReference:
        return replace(self, tokens=widened(self.tokens, b), motion=widened(self.motion, b))


def transferred(transfer: Transfer, own: Tensor, motion: Tensor) -> Tensor:
    """The 58 numbers [..., 58] that a face shows whose own are `own` [..., 58], in another recording's `motion`.

    Blendshapes, pitch, yaw and roll mean the same for everyone. The place in the picture and the size only change as
    the other's do, in units of the face's size.
    """
    driver = transfer.driver
    known = motion if driver is None else driver.expand_as(motion)
    shown = motion.clone()
    shown[..., 52:54] = motion[..., 52:54].clamp(-MOST_TURN, MOST_TURN)
    if transfer.relative:
        shown = own + motion - known
        shown[..., :BLENDSHAPES] = shown[..., :BLENDSHAPES].clamp(0, 1)
    size = (own[..., 56:57] - known[..., 56:57]).exp()
    shown[..., 54:56] = own[..., 54:56] + size * (motion[..., 54:56] - known[..., 54:56])
    shown[..., 56] = own[..., 56] + motion[..., 56] - known[..., 56]
    share = torch.zeros(motion.shape[-1], device=motion.device)
    for part in transfer.parts:
        share[list(PARTS[part])] = transfer.strength
    return own + share * (shown - own)
