"""The residual basis: what no warp of one image can show, such as a mouth that opens, as components and coefficients.

The linear appearance of active appearance models (Cootes, Edwards and Taylor, 2001), without landmarks: the encoder's
motion aligns all faces, so that one set of components serves all (`SharedBasis`); a clip has its own.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bcdcodec.models.base import widened
from bcdcodec.models.flow_basis import RESIDUAL_SCALE, FlowBasis
from bcdcodec.models.warp import splat, warp

MIN_WEIGHT = 0.3  # of a frame at a pixel: below, what that frame shows there counts less
SHARED_FRAMES = 4.0  # frames that the shared components weigh as much as, where a clip's own are fitted
MAX_ENERGY = 8.0  # of its mean, that a pair's error counts for anywhere in the salience
# Mean error after alignment, over its mean in the picture, from which a place counts, and from which it counts fully.
SALIENT = (1.1, 1.7)
AT_ONCE = 32  # pairs


@dataclass(frozen=True)
class ResidualBasis:
    """What motion adds to a reference image before that is warped."""

    components: Tensor  # [b, k, c, h, w] a deviation of each; the last k channels of motion are their coefficients
    salience: Tensor  # [b, 1, h, w] in 0..1: where errors matter, at mouth and eyes

    def coefficients(self, change: Tensor) -> Tensor:
        """Of the components, in deviations, [..., k]; for motion that is off the reference's by `change` [..., m]."""
        return change[..., -self.components.shape[1] :].float() / RESIDUAL_SCALE

    def residual(self, change: Tensor) -> Tensor:
        """What is added to the image, [b, t, c, h, w], for motion that is off its own by `change` [b, t, m]."""
        return torch.einsum("btk,bkchw->btchw", self.coefficients(change), self.components)

    def expand(self, b: int) -> ResidualBasis:
        return ResidualBasis(widened(self.components, b), widened(self.salience, b))


class SharedBasis(nn.Module):
    """The residual basis of all people in one motion; a content codes the difference from it."""

    def __init__(self, count: int, channels: int, size: int, motion_channels: int):
        super().__init__()
        self.register_buffer("components", torch.zeros(count, channels, size, size))  # a deviation each
        self.register_buffer("salience", torch.zeros(size, size))  # 0..1
        self.register_buffer("motion", torch.zeros(motion_channels))  # of the head that these fit

    def at(self, basis: FlowBasis, m: Tensor) -> ResidualBasis:
        """The basis for images of motion `m` [b, m], warped to where their heads are."""
        k, c = self.components.shape[:2]
        components = warp(self.components.flatten(0, 1).expand(len(m), -1, -1, -1), basis(m - self.motion))
        return ResidualBasis(components.unflatten(1, (k, c)), self.salience_at(basis, m))

    def salience_at(self, basis: FlowBasis, m: Tensor) -> Tensor:
        """The salience [b, 1, h, w] alone."""
        return warp(self.salience.expand(len(m), 1, -1, -1), basis(m - self.motion))

    @torch.no_grad()
    def fit(self, basis: FlowBasis, images: Tensor, frames: Tensor, change: Tensor, m: Tensor) -> None:
        """Fit to pairs of images, in motion `m` [n, m], and frames [n, c, h, w], aligned by `change` [n, m]."""
        self.motion.copy_(m.mean(0))
        energy, residuals = torch.zeros_like(self.salience), []
        for i in range(0, len(images), AT_ONCE):
            at = slice(i, i + AT_ONCE)
            device = self.salience.device
            found = _residual(basis, images[at].to(device), frames[at].to(device), change[at].to(device))
            found = warp(found, basis(self.motion - m[at]))  # as if the head were in the common motion
            square = found.square().mean(1)
            energy += (square / square.mean((1, 2), keepdim=True).clamp_min(1e-6)).clamp(max=MAX_ENERGY).sum(0)
            residuals.append(found.half())
        low, high = SALIENT
        self.salience.copy_(((energy / len(images) - low) / (high - low)).clamp(0, 1))
        rows = (torch.cat(residuals).float() * self.salience).flatten(1)
        size = rows.norm(dim=1)
        even = rows / (size + size.median() + 1e-6)[:, None]  # no pair is to count for many
        count = len(self.components)
        vectors = torch.linalg.eigh((even @ even.T).double())[1].flip(1)[:, :count].float()
        pictures = vectors.T @ even  # [k, c * h * w]
        pictures = pictures / pictures.norm(dim=1, keepdim=True).clamp_min(1e-6)
        pictures = pictures * torch.sign(pictures.sum(1, keepdim=True) + 1e-12)  # a function of the pairs alone
        deviation = (rows @ pictures.T).square().mean(0).sqrt()
        self.components.copy_((pictures * deviation[:, None]).view_as(self.components))


@torch.no_grad()
def fit_residual_basis(
    basis: FlowBasis, shared: ResidualBasis, image: Tensor, frames: Tensor, change: Tensor
) -> Tensor:
    """Components [k, c, h, w] that explain best what frames [t, c, h, w] show beyond the warped image [c, h, w].

    `change` [t, m]: of motion from the image to the frames, as aligned. The residuals at salient places are brought to
    the image's place; their principal components are rotated to be most like those of the `shared` basis [1, ...], so
    that little but the difference need be coded, and held to them where frames are few.
    """
    components, salience = shared.components[0], shared.salience[0]
    rows = (_residual(basis, image.expand_as(frames), frames, change) * salience).flatten(1)  # [t, c * h * w]
    t, k = len(frames), len(components)
    common = components.flatten(1)
    vectors = torch.linalg.eigh((rows @ rows.T).double())[1].flip(1)[:, :k].float()  # [t, k] at most
    like = rows @ (common / common.square().sum(1, keepdim=True).clamp_min(1e-6)).T  # [t, k] shared coefficients
    u, _, v = torch.linalg.svd(vectors.T @ like, full_matrices=False)
    coefficients = vectors @ (u @ v) * t**0.5  # [t, k] of unit deviation
    own = coefficients.T @ rows / t
    # A photo alone has no residual.
    return torch.lerp(common, own, (t - 1) / (t - 1 + SHARED_FRAMES)).view_as(components)


def _residual(basis: FlowBasis, images: Tensor, frames: Tensor, change: Tensor) -> Tensor:
    """What frames [n, c, h, w] show beyond the warped images, moved back to the place in the images: [n, c, h, w]."""
    flow = basis(change)
    left = frames - warp(images, flow)
    return splat(left, flow) / (splat(torch.ones_like(left[:, :1]), flow) + MIN_WEIGHT)
