"""The reference of the `heads` model: an image, the motion it is in, and what motion adds to it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from bcdcodec.models.base import Reference, widened
from bcdcodec.models.heads.residual_basis import ResidualBasis


@dataclass(frozen=True)
class HeadsReference(Reference):
    """A reference image that motion warps."""

    motion: Tensor  # [b, m] of the image
    image: Tensor  # [b, c, h, w]
    residual_basis: ResidualBasis | None = None  # None where the content has none
    detail: Tensor | None = None  # [b, c, H, W] that the enlarged image lacks
    cross_identity: Tensor | None = None  # [b] 1 where the decoder's own flow is added: another person's motion

    def with_residual(self, change: Tensor) -> Tensor:
        """The image with what motion adds that is off its own by `change` [b, t, m]: [b, t, c, h, w].

        No gradient reaches the image.
        """
        images = self.image.detach()[:, None].expand(-1, change.shape[1], -1, -1, -1)
        return images if self.residual_basis is None else images + self.residual_basis.residual(change)

    def of_another(self) -> HeadsReference:
        """It is moved by flow alone, to which the decoder adds its own."""
        everyone = torch.ones(len(self.tokens), device=self.tokens.device)
        return replace(self, residual_basis=None, cross_identity=everyone)

    def picture(self) -> tuple[Tensor, Tensor | None]:
        return self.image, self.detail

    def expand(self, b: int) -> HeadsReference:
        basis = self.residual_basis
        return replace(
            super().expand(b),
            image=widened(self.image, b),
            residual_basis=None if basis is None else basis.expand(b),
            detail=widened(self.detail, b),
            cross_identity=widened(self.cross_identity, b),
        )
