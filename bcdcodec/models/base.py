"""What the codec asks of every model: motion and content from latents, and latents from motion and content."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol, TypeVar

from torch import Tensor, nn

from bcdcodec.config import ModelConfig
from bcdcodec.errors import ModelError
from bcdcodec.models.content_quantiser import ContentQuantiser
from bcdcodec.models.group_vq import GroupVQ

AnyReference = TypeVar("AnyReference", bound="Reference")


@dataclass(frozen=True)
class Reference:
    """What the decoder knows of a scene besides the motion: made once, used for all windows of its frames."""

    tokens: Tensor  # [b, n, d] dequantised content
    motion: Tensor | None  # [b, m] of the reference frame; None for models without one

    def expand(self: AnyReference, b: int) -> AnyReference:
        """The reference [1, ...] of a scene for `b` windows."""
        return replace(self, tokens=widened(self.tokens, b), motion=widened(self.motion, b))

    def of_another(self: AnyReference) -> AnyReference:
        """The reference for motion of a person who is not known."""
        return self

    def picture(self) -> tuple[Tensor, Tensor | None] | None:
        """Latents [b, c, h, w] of the image that it holds, and what larger pictures show beyond them; None without."""
        return None


class Refined(NamedTuple):
    """What alignment with a reference gives."""

    motion: Tensor  # [b, t, m] that fits the latents best
    hessian: Tensor | None  # [b, t, m, m] of the error; None: squared error
    drawn: Tensor | None = None  # [b, t, c, h, w] what the flow is laid over, where that is not the reference itself


@dataclass(frozen=True)
class Synthesis:
    """What the decoder gives for a window."""

    latents: Tensor  # [b, t, c, h, w]
    large: Tensor | None = None  # [b, t, c, H, W] to be added at the size of the pictures, where that is larger


class VideoModel(Protocol):
    """A model over latents [b, t, c, h, w]: pixels in [-1, 1], or those of an image autoencoder.

    One whose reference is a picture (`config.content.picture`) has `reference_frame`, the number of the frame that
    serves a clip best, where each frame counts by a weight, in place of `content` and `content_quantiser`.
    """

    config: ModelConfig
    vq: GroupVQ
    content_quantiser: ContentQuantiser
    warps: bool  # whether motion is a flow that warps a reference image: alignment, warp errors and 0 steps need that
    noise_per_frame: bool  # whether each frame of a window is decoded from noise of its own

    def motion(self, z: Tensor) -> Tensor:
        """The encoder's motion [b, t, m] of latents [b, t, c, h, w]."""

    def content(self, frames: Callable[[Tensor], Tensor], m: Tensor) -> tuple[Tensor, Tensor | None]:
        """Content tokens [1, n, channels] of a clip of motion `m` [t, m], and the motion [1, m] of its reference frame.

        `frames`: from numbers of frames [k] to their latents [k, c, h, w].
        """

    def reference(self, tokens: Tensor, motion: Tensor | None, detailed: bool = False) -> Reference:
        """The reference of dequantised content tokens [b, n, channels], whose frame has `motion` [b, m].

        `detailed`: with what pictures larger than the latents show; the decoder needs it, the encoder does not.
        """

    def refine(self, z: Tensor, m: Tensor, reference: Reference, quick: bool = False) -> Refined:
        """The motion that fits latents z [b, t, c, h, w] best, from the encoder's `m` [b, t, m] on.

        `quick`: coarser, to compare references. A model that does not warp gives `m`.
        """

    def warp_errors(self, z: Tensor, refined: Refined, reference: Reference) -> Tensor:
        """Mean squared errors [t, 2] of a reference [1, ...] in refined motion to z [t, c, h, w]; b is 1.

        Of pictures in 0..1: first at mouth and eyes, then everywhere. For models that warp.
        """

    def synthesise(self, reference: Reference, m_hat: Tensor, noise: Tensor, steps: int) -> Synthesis:
        """Sample with quantised motion `m_hat` [b, t, m] from unit noise [b, t, c, h, w] in `steps` EDM steps.

        In 0 steps: the warped reference, without any network. Raises ModelError for that of a model that does not warp.
        """

    def decoding_networks(self) -> list[nn.Module]:
        """The networks that every frame is decoded with, which may be in bfloat16."""


class UnwarpedModel(nn.Module):
    """What models share whose motion is no flow: the reference is the content tokens, the motion the encoder's."""

    warps = False

    def reference(self, tokens: Tensor, motion: None, detailed: bool = False) -> Reference:
        return Reference(tokens, None)

    def refine(self, z: Tensor, m: Tensor, reference: Reference, quick: bool = False) -> Refined:
        return Refined(m, None)

    def refuse_no_steps(self, steps: int) -> None:
        """Raises ModelError for 0 steps."""
        if not steps:
            raise ModelError(
                f"0 steps show the reference image as the motion warps it; the motion of model {self.config.name!r} "
                "is no flow: give 1 step or more"
            )

    def decoding_networks(self) -> list[nn.Module]:
        return [self.decoder]


def widened(x: Tensor | None, b: int) -> Tensor | None:
    """A tensor [1, ...] as [b, ...]."""
    return None if x is None else x.expand(b, *x.shape[1:])
