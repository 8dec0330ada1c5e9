"""Rate control of the encoder: the stride of coded frames, and the Lagrangian multiplier of rate and distortion."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from bcdcodec.models.group_vq import GroupVQ

STRIDES = (1, 2, 3, 4, 6, 8)  # of the frames at the model's rate
CONTENT_SECONDS = 4.4  # of the motion asked for: bytes of a content beside it, where that is above the model's budget
HISTORY_FRAMES = 250  # over which the rate is held: a short burst may take more, calm frames make up for it
SPENT = 0.8
_LAMBDAS = 1e-7, 64.0  # its unit is that of the model's distortion
_HALVINGS = 12  # of the interval of its logarithm: to half a percent

Bits = Callable[[Tensor], float]  # of codes [u, g], in all


@dataclass(frozen=True)
class RatePoint:
    """One way to code a clip, with its rate and distortion."""

    stride: int  # every so many frames one is coded
    lambda_: float  # the distance, times the quantiser's alpha, that one bit is worth
    bits: float  # a frame, coded or not
    distortion: float  # squared distance of the decoded motion to the true one, a frame, without its mean over the clip


def content_bytes(budget: int, kbps: float | None) -> int:
    """Bytes that a content may take beside motion of `kbps` kbit/s; None: the model's own rate, with its `budget`.

    All frames are warped from the reference image, so at higher rates a part is better spent on it.
    """
    return budget if kbps is None else max(budget, int(CONTENT_SECONDS * kbps * 1000 / 8))


def between(vectors: Tensor, frames: int, stride: int, following: Tensor | None = None) -> Tensor:
    """Vectors [frames, ...] of all frames, interpolated linearly from those of every `stride`-th, [u, ...].

    After the last coded frame towards `following`, the next coded one, [...]; without it the last is repeated.
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
    least_lambda: float = 0.0,
    hessian: Tensor | None = None,
) -> RatePoint:
    """The way to code motion `m` [t, m] within `bits_per_frame`; distortion by its `hessian` [t, m, m], or squared.

    For every stride lambda is the least, from `least_lambda` on, that keeps the rate. Of the strides that use at
    least SPENT of what the most costly of them does, the one of least distortion is taken; where none keeps the
    rate, the cheapest.
    """
    features = vq.features(m[None])[0].flatten(1)  # [t, g * d]

    def at(lambda_: float, stride: int) -> RatePoint:
        codes = vq.encode_clip(m[::stride], lambda_, None if hessian is None else hessian[::stride])  # [u, g]
        vectors = vq.lookup(codes[None])[0]  # [u, g * d]
        error = between(vectors, len(features), stride) - features
        error = error - error.mean(0)
        distortion = error.square().sum() if hessian is None else torch.einsum("ti,tij,tj->", error, hessian, error)
        return RatePoint(stride, lambda_, bits(codes) / len(features), distortion.item() / len(features))

    points = []
    for stride in strides:
        best = at(least_lambda, stride)
        if best.bits > bits_per_frame:
            low, high = max(least_lambda, _LAMBDAS[0]), _LAMBDAS[1]
            best = at(high, stride)
            for _ in range(_HALVINGS):
                middle = at(math.sqrt(low * high), stride)
                if middle.bits > bits_per_frame:
                    low = middle.lambda_
                else:
                    high, best = middle.lambda_, middle
        points.append(best)
    within = [point for point in points if point.bits <= bits_per_frame]
    if not within:
        return min(points, key=lambda point: point.bits)
    most = max(point.bits for point in within)
    return min((point for point in within if point.bits >= SPENT * most), key=lambda point: point.distortion)


class RateControl:
    """Holds a rate over a clip: the stride is chosen at its start, lambda anew as motion comes."""

    def __init__(
        self,
        vq: GroupVQ,
        bits_per_frame: float,
        bits: Bits,
        strides: tuple[int, ...] = STRIDES,
        least_lambda: float = 0.0,
    ):
        self._vq, self._bits_per_frame, self._bits, self._strides = vq, bits_per_frame, bits, strides
        self._least_lambda = least_lambda
        self._recent: tuple[Tensor, Tensor | None] | None = None
        self.stride = 1

    def start(self, m: Tensor, hessian: Tensor | None = None) -> None:
        """Settle the stride by the first motion [t, m] and the Hessian [t, m, m] of its distortion."""
        one = len(self._strides) == 1  # nothing to choose among
        self.stride = self._strides[0] if one else self._choose(m, hessian, self._strides).stride
        self._recent = (m[:0], None if hessian is None else hessian[:0])

    def follow(self, m: Tensor, hessian: Tensor | None = None) -> float:
        """Lambda for the motion that comes next, from the first on, in the order in which it is coded."""
        motion, hessians = self._recent
        motion = torch.cat([motion, m])[-HISTORY_FRAMES:]
        hessians = None if hessian is None else torch.cat([hessians, hessian])[-HISTORY_FRAMES:]
        self._recent = motion, hessians
        return self._choose(motion, hessians, (self.stride,)).lambda_

    def _choose(self, m: Tensor, hessian: Tensor | None, strides: tuple[int, ...]) -> RatePoint:
        return choose_rate(self._vq, m, self._bits_per_frame, self._bits, strides, self._least_lambda, hessian)
