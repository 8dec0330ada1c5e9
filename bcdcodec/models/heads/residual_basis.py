"""What no warp of one still can show: a mouth that opens, eyes that close. Pictures of change, and how much of each a frame has.

The linear appearance of active appearance models (Cootes, Edwards and Taylor, 2001), without landmarks: the encoder's
motion puts every face in its place, where the same pictures serve all (`CommonAppearance`), and a clip has its own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from bcdcodec.models.heads.flow_basis import AMOUNT, FlowBasis
from bcdcodec.models.warp import splat, warp

COVERED = 0.3  # of a frame's weight at a pixel, below which what that frame shows there counts less
OF_COMMON = 4.0  # weight of the common components, in frames, where a clip's own are learned
ENERGY_MOST = 8.0  # of its mean, that a pair's error counts for anywhere in the salience
SALIENT = (
    1.1,
    1.7,
)  # mean error after alignment, of its mean over the picture, from which a place counts, and counts fully
AT_ONCE = 32  # pairs


@dataclass(frozen=True)
class Appearance:
    """What motion adds to a still, before that is warped."""

    components: Tensor  # [b, k, c, h, w] a deviation of each; the last k channels of motion say how much
    salience: Tensor  # [b, 1, h, w] in 0..1: where what is seen matters

    def amounts(self, change: Tensor) -> Tensor:
        """How many deviations of each component [..., k] motion that is off the still's by `change` [..., m] adds."""
        return change[..., -self.components.shape[1] :].float() / AMOUNT

    def added(self, change: Tensor) -> Tensor:
        """What is added to the still, [b, t, c, h, w], for motion that is off its by `change` [b, t, m]."""
        return torch.einsum("btk,bkchw->btchw", self.amounts(change), self.components)


@dataclass(frozen=True)
class Portrait:
    """All that a content shows: made once a scene, used for every window of its frames."""

    still: Tensor  # [b, c, h, w]
    motion: Tensor  # [b, m] of the still
    appearance: Appearance | None = None  # None where the content does not say
    detail: Tensor | None = None  # [b, c, H, W] that the enlarged still lacks: `BCD.detailed`
    joined: Tensor | None = (
        None  # [b, 2, gh, gw] flow from this face to that of the person whose motion moves it, if another's
    )
    larger: float = 1.0  # times that this face is as large as that one

    def looks(self, change: Tensor | None, t: int) -> Tensor:
        """The still with what motion that is off its by `change` [b, t, m] adds to it, [b, t, c, h, w]; `change` is for an appearance.

        No gradient reaches the still.
        """
        looks = self.still.detach()[:, None].expand(-1, t, -1, -1, -1)
        return looks if self.appearance is None else looks + self.appearance.added(change)

    def moved_by(self, flow: Tensor) -> Tensor:
        """The flow [b, t, 2, gh, gw] of a motion where it belongs on this face: every point moves as that one of the joined face does."""
        if self.joined is None:
            return flow
        flat = flow.flatten(0, 1)
        joined = self.joined[:, None].expand(-1, flow.shape[1], -1, -1, -1).flatten(0, 1)
        return self.larger * warp(flat, warp(joined, flat)).view_as(flow)

    def expand(self, b: int) -> Portrait:
        """The portrait of a single content [1, ...] for `b` windows."""
        wide = lambda x: x.expand(b, *x.shape[1:])  # noqa: E731
        looks = self.appearance
        return replace(
            self,
            still=wide(self.still),
            motion=wide(self.motion),
            appearance=None if looks is None else Appearance(wide(looks.components), wide(looks.salience)),
            detail=None if self.detail is None else wide(self.detail),
            joined=None if self.joined is None else wide(self.joined),
        )


class CommonAppearance(nn.Module):
    """Components of all people in one motion, and where footage differs most from a warped still: mouths and eyes."""

    def __init__(self, count: int, channels: int, size: int, motion_channels: int):
        super().__init__()
        self.register_buffer("components", torch.zeros(count, channels, size, size))  # a deviation each
        self.register_buffer("salience", torch.zeros(size, size))  # 0..1
        self.register_buffer("motion", torch.zeros(motion_channels))  # of a head as these show it

    def of(self, basis: FlowBasis, m: Tensor) -> Tensor:
        """The components for stills of motion `m` [b, m], in their place: [b, k, c, h, w]."""
        k, c = self.components.shape[:2]
        placed = warp(self.components.flatten(0, 1).expand(len(m), -1, -1, -1), basis(m - self.motion))
        return placed.unflatten(1, (k, c))

    def salience_of(self, basis: FlowBasis, m: Tensor) -> Tensor:
        """Where stills of motion `m` [b, m] may look other than a warp: [b, 1, h, w] in 0..1."""
        return warp(self.salience.expand(len(m), 1, -1, -1), basis(m - self.motion))

    @torch.no_grad()
    def fit(self, basis: FlowBasis, stills: Tensor, frames: Tensor, change: Tensor, m: Tensor) -> None:
        """Fit to pairs of stills and frames [n, c, h, w], aligned by `change` [n, m], the stills in motion `m` [n, m]."""
        self.motion.copy_(m.mean(0))
        energy, left = torch.zeros_like(self.salience), []
        for i in range(0, len(stills), AT_ONCE):
            at = slice(i, i + AT_ONCE)
            device = self.salience.device
            found = _left(basis, stills[at].to(device), frames[at].to(device), change[at].to(device))
            found = warp(found, basis(self.motion - m[at]))  # as if the head were in the common motion
            square = found.square().mean(1)
            energy += (square / square.mean((1, 2), keepdim=True).clamp_min(1e-6)).clamp(max=ENERGY_MOST).sum(0)
            left.append(found.half())
        low, high = SALIENT
        self.salience.copy_(((energy / len(stills) - low) / (high - low)).clamp(0, 1))
        rows = (torch.cat(left).float() * self.salience).flatten(1)
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
def fit_appearance(
    basis: FlowBasis, common: Tensor, salience: Tensor, still: Tensor, frames: Tensor, change: Tensor
) -> Tensor:
    """Components [k, c, h, w] that say best what frames [t, c, h, w] show beyond the warped still [c, h, w].

    `change` [t, m]: of motion from the still to the frames, as aligned. What warps leave at salient places, [1, h, w], is
    brought to the still's place; its principal components are turned to be most like the `common` ones [k, c, h, w], so
    that little but the difference need be coded, and held to them where frames are few.
    """
    left = (_left(basis, still.expand_as(frames), frames, change) * salience).flatten(1)  # [t, c * h * w]
    t, k = len(frames), len(common)
    shared = common.flatten(1)
    vectors = torch.linalg.eigh((left @ left.T).double())[1].flip(1)[:, :k].float()  # [t, k] at most
    like = left @ (shared / shared.square().sum(1, keepdim=True).clamp_min(1e-6)).T  # [t, k] amounts of the common ones
    u, _, v = torch.linalg.svd(vectors.T @ like, full_matrices=False)
    amounts = vectors @ (u @ v) * t**0.5  # [t, k] of unit deviation
    own = amounts.T @ left / t
    return torch.lerp(shared, own, (t - 1) / (t - 1 + OF_COMMON)).view_as(common)  # a photo alone shows no change


def _left(basis: FlowBasis, stills: Tensor, frames: Tensor, change: Tensor) -> Tensor:
    """What frames [n, c, h, w] show beyond the warped stills, at the place in the stills that it is seen of: [n, c, h, w]."""
    flow = basis(change)
    left = frames - warp(stills, flow)
    return splat(left, flow) / (splat(torch.ones_like(left[:, :1]), flow) + COVERED)
