"""The encoder's choice of codes for a given rate: every how many frames one is coded, and what a bit is worth in distance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from bcdcodec.models.group_vq import GroupVQ

STRIDES = (1, 2, 3, 4, 6, 8)  # of the frames at the model's rate
CONTENT_SECONDS = (
    4.4  # of the motion asked for: the bytes of a content beside it, where they are more than the model's budget
)
HISTORY_FRAMES = 250  # among which a price holds the rate: what a short burst costs, calm frames pay for
SPENT = 0.8
_HALVINGS = 14  # of the interval of prices: to 1/16384
_LARGEST_PRICE = 64.0

Bits = Callable[[Tensor], float]  # of codes [u, g], in all


@dataclass(frozen=True)
class RatePoint:
    """One way to code a clip, and what it gives."""

    stride: int  # every so many frames one is coded
    price: float  # lambda: the distance, times the quantiser's alpha, that one bit is worth
    bits: float  # a frame, coded or not
    distortion: float  # squared distance of the decoder's motion to the true one, a frame; what is constant over the clip left out


def content_bytes(budget: int, kbps: float | None) -> int:
    """Bytes that a content may take beside motion of `kbps` kbit/s, None: the model's own rate, for which it has `budget` bytes.

    All frames are made of the still: where much is spent on its motion, some of that is better spent on it.
    """
    return budget if kbps is None else max(budget, int(CONTENT_SECONDS * kbps * 1000 / 8))


def between(vectors: Tensor, frames: int, stride: int, following: Tensor | None = None) -> Tensor:
    """Vectors [frames, ...] of all frames from those of every `stride`-th, [u, ...], on straight lines between these.

    After the last coded frame the line goes to `following`, the next coded one, [...]; without it the last is repeated.
    """
    after = torch.cat([vectors[1:], (vectors[-1] if following is None else following)[None]])
    frame = torch.arange(frames, device=vectors.device)
    coded = frame // stride
    last = len(vectors) - 1
    distance = torch.where(coded == last, frames - last * stride, stride)
    share = ((frame % stride) / distance).to(vectors.dtype).view(-1, *[1] * (vectors.dim() - 1))
    return torch.lerp(vectors[coded], after[coded], share)


@torch.inference_mode()
def choose_rate(
    vq: GroupVQ,
    m: Tensor,
    bits_per_frame: float,
    bits: Bits,
    strides: tuple[int, ...] = STRIDES,
    least_price: float = 0.0,
    curvature: Tensor | None = None,
) -> RatePoint:
    """The way to code motion `m` [t, m] within `bits_per_frame`; errors cost as `curvature` [t, m, m] says, or all alike.

    For every stride the price is the lowest, from `least_price` on, that keeps the rate. Of the strides that use at
    least SPENT of what the most costly of them does, the one of least distortion is taken; where none keeps the
    rate, the cheapest.
    """
    features = vq.features(m[None])[0]  # [t, g, d]
    groups = torch.arange(vq.config.groups, device=m.device)
    points = []
    for stride in strides:
        coded, costs = m[::stride], None if curvature is None else curvature[::stride]

        def at(price: float, coded: Tensor = coded, costs: Tensor | None = costs, stride: int = stride) -> RatePoint:
            codes = vq.encode_clip(coded, price, costs)  # [u, g]
            vectors = vq.codebooks.float()[groups, codes]  # [u, g, d]
            error = between(vectors, len(features), stride) - features
            error = (error - error.mean(0)).flatten(1)
            distortion = (
                error.square().sum() if curvature is None else torch.einsum("ti,tij,tj->", error, curvature, error)
            )
            return RatePoint(stride, price, bits(codes) / len(features), distortion.item() / len(features))

        low, high = least_price, _LARGEST_PRICE
        best = at(low)
        if best.bits > bits_per_frame:
            best = at(high)
            for _ in range(_HALVINGS):
                middle = at((low + high) / 2)
                if middle.bits > bits_per_frame:
                    low = middle.price
                else:
                    high, best = middle.price, middle
        points.append(best)
    within = [point for point in points if point.bits <= bits_per_frame]
    if not within:
        return min(points, key=lambda point: point.bits)
    most = max(point.bits for point in within)
    return min((point for point in within if point.bits >= SPENT * most), key=lambda point: point.distortion)


class RateControl:
    """Holds a rate over a clip: the stride is chosen at its start, the price anew as motion comes."""

    def __init__(
        self,
        vq: GroupVQ,
        bits_per_frame: float,
        bits: Bits,
        strides: tuple[int, ...] = STRIDES,
        least_price: float = 0.0,
    ):
        self._vq, self._bits_per_frame, self._bits, self._strides = vq, bits_per_frame, bits, strides
        self._least_price = least_price
        self._recent: tuple[Tensor, Tensor | None] | None = None
        self.stride = 1

    def start(self, m: Tensor, curvature: Tensor | None = None) -> None:
        """Settle the stride by the first motion [t, m] and what its errors cost [t, m, m]."""
        self.stride = self._choose(m, curvature, self._strides).stride
        self._recent = (m[:0], None if curvature is None else curvature[:0])

    def follow(self, m: Tensor, curvature: Tensor | None = None) -> float:
        """The price for the motion that comes next, from the first on, as it is to be coded."""
        motion, costs = self._recent
        motion = torch.cat([motion, m])[-HISTORY_FRAMES:]
        costs = None if curvature is None else torch.cat([costs, curvature])[-HISTORY_FRAMES:]
        self._recent = motion, costs
        return self._choose(motion, costs, (self.stride,)).price

    def _choose(self, m: Tensor, curvature: Tensor | None, strides: tuple[int, ...]) -> RatePoint:
        return choose_rate(self._vq, m, self._bits_per_frame, self._bits, strides, self._least_price, curvature)
