"""What every model is to the codec: motion and content from latents, and latents from motion and content."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from torch import Tensor

from bcdcodec.config import ModelConfig
from bcdcodec.models.content_quantiser import ContentQuantiser
from bcdcodec.models.group_vq import GroupVQ

if TYPE_CHECKING:
    from bcdcodec.models.heads.residual_basis import Portrait


@dataclass(frozen=True)
class Condition:
    """What the decoder knows of a clip."""

    content: Tensor  # [b, n, d] dequantised tokens
    motion: Tensor  # [b, t, g * d'] quantised features
    reference_motion: Tensor | None  # [b, g * d'] of the frame the content shows
    foreign: Tensor | None = None  # [b] 1 where the decoder is to bend the flow of another person's motion to this face
    portrait: Portrait | None = None  # of the content, where it is known already

    def of_windows(self, motion: Tensor) -> Condition:
        """This clip's condition for windows of motion [b, t, g * d'] of it; it is that of a single one, [1, ...]."""
        b = len(motion)
        wide = lambda x: None if x is None else x.expand(b, *x.shape[1:])  # noqa: E731
        return replace(
            self,
            content=wide(self.content),
            motion=motion,
            reference_motion=wide(self.reference_motion),
            foreign=wide(self.foreign),
            portrait=None if self.portrait is None else self.portrait.expand(b),
        )


@dataclass(frozen=True)
class Decoded:
    """What sampling gives; for larger pictures, what it adds to the still, which is moved at their size."""

    latents: Tensor  # [b, t, c, h, w]
    large: Tensor | None  # [b, t, c, H, W] the moved still; None where pictures are no larger


class VideoModel(Protocol):
    """A model over latents [b, t, c, h, w] (pixels in [-1, 1], or an autoencoder's latents)."""

    config: ModelConfig
    vq: GroupVQ
    content: ContentQuantiser

    def encode(self, z: Tensor, reference: int = 0) -> tuple[Tensor, Tensor]:
        """Content tokens [b, n, d] and motion [b, t, m]; `reference`: the frame whose picture the tokens hold."""

    def encode_motion(self, z: Tensor) -> Tensor:
        """The motion of `encode` alone, [b, t, m]."""

    def portrait(self, content: Tensor, reference_motion: Tensor | None) -> Portrait | None:
        """What content tokens [b, n, channels] show, in `reference_motion` [b, m]; None where they are no picture."""

    def decode(self, condition: Condition, noise: Tensor, steps: int) -> Decoded:
        """Sample latents from unit noise [b, t, c, h, w] in `steps` EDM steps."""
