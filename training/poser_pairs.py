"""What the poser learns from: reference images and their targets, and pictures in other colours and lights."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

FLOW_EPS = 0.01  # half a picture: below, the flow's error counts by its square
DISGUISED_SHARE = 0.5  # of the pictures that are read


@dataclass(frozen=True)
class Pairs:
    """Stills and what they are to become, [n, ...] all."""

    image: Tensor  # [n, c, h, w] as decoded
    driving: Tensor  # [n, c, h, w]
    target: Tensor  # [n, c, h, w]
    flow: Tensor  # [n, 2, gh, gw] from target to image
    known: Tensor  # [n, gh, gw] weight of that flow
    motion: Tensor  # [n, p] parameters of procedural heads, of unit deviation; nan of footage

    def flow_error(self, flow: Tensor) -> Tensor:
        """Mean distance of flow [n, 2, gh, gw] from the true one where that is known, half pictures, []."""
        error = ((flow - self.flow).square().sum(1) + FLOW_EPS**2).sqrt() - FLOW_EPS  # [n, gh, gw]
        return (self.known * error).sum() / self.known.sum().clamp_min(1.0)


def recoloured(pairs: Pairs) -> Pairs:
    """References and targets with their colours mixed alike, so that flow is not read from colours."""
    mix = colour_mixes(len(pairs.image), pairs.image)
    return replace(
        pairs,
        image=torch.einsum("nij,njhw->nihw", mix, pairs.image),
        target=torch.einsum("nij,njhw->nihw", mix, pairs.target),
    )


def colour_mixes(n: int, like: Tensor) -> Tensor:
    """Random maps of the colours of pictures [., c, h, w], from nearly none to wild ones: [n, c, c]."""
    c = like.shape[1]
    return torch.lerp(
        torch.eye(c).to(like), torch.randn(n, c, c).to(like) / c**0.5, 0.7 * torch.rand(n, 1, 1).to(like) ** 2
    )


def disguised(pictures: Tensor) -> Tensor:
    """Augmentation for the reader: half of the pictures [n, c, h, w] with mixed colours, other light, blur or noise."""
    hidden = torch.rand(len(pictures), device=pictures.device) < DISGUISED_SHARE
    shown = pictures[hidden]
    n, c, h, w = shown.shape
    like = {"device": pictures.device}
    x = torch.einsum("nij,njhw->nihw", colour_mixes(n, shown), shown)
    slope = 0.3 * torch.randn(n, 2, 1, 1, **like)  # of a light from one side
    across, down = torch.linspace(-1, 1, w, **like), torch.linspace(-1, 1, h, **like)[:, None]
    x = x * (1 + slope[:, :1] * across + slope[:, 1:] * down) * (
        0.25 * torch.randn(n, 1, 1, 1, **like)
    ).exp() + 0.15 * torch.randn(n, c, 1, 1, **like)
    soft = F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), 3, 1)
    x = torch.lerp(x, soft, torch.rand(n, 1, 1, 1, **like)) + 0.06 * torch.rand(n, 1, 1, 1, **like) * torch.randn_like(
        x
    )
    out = pictures.clone()
    out[hidden] = x.clamp(-1.2, 1.2)
    return out
