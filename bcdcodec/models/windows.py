"""Clips of any length through networks that see windows of it; windows overlap and are cross-faded."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from bcdcodec.models.base import Reference, VideoModel
from bcdcodec.models.latents import Latents, to_unit

WINDOWS_AT_ONCE = 4  # run through the network together
REFINED_AT_ONCE = 32  # frames


def overlapped(
    run: Callable[[Tensor], Tensor], frames: Iterator[Tensor], length: int, overlap: int
) -> Iterator[Tensor]:
    """What `run` makes of windows [b, length, ...] of the frames [...], as blocks [t, ...] that follow one another.

    Each window but the first begins `overlap` frames before the end of the one before, and there they are cross-faded;
    else pictures jump where one window ends and the next begins. The result does not depend on how many windows are run
    at once. `overlap` is at most half of `length`.
    """
    step = length - overlap
    rise = torch.arange(1, overlap + 1) / (overlap + 1)  # weight of the later window
    tail: Tensor | None = None  # [overlap, ...] of the last window, to be faded
    held: list[Tensor] = []  # frames from the first of the next window on
    while True:
        held += islice(frames, WINDOWS_AT_ONCE * step + overlap - len(held))
        last = len(held) < WINDOWS_AT_ONCE * step + overlap
        if last and len(held) <= (0 if tail is None else overlap):
            if held:
                yield tail
            return
        t = len(held)
        count = max(1, -(-(t - overlap) // step))
        filled = torch.stack(held + held[-1:] * (overlap + count * step - t))  # the last window too
        made = run(filled.unfold(0, length, step).movedim(-1, 1))  # [count, length, ...]
        pieces = []
        for window in made:
            begins = window[:overlap]
            if tail is not None:
                begins = torch.lerp(tail, begins, rise.to(made).view(-1, *[1] * (window.ndim - 1)))
            pieces += [begins, window[overlap:step]]
            tail = window[step:]
        if last:
            yield torch.cat([*pieces, tail])[:t]
            return
        yield torch.cat(pieces)
        held = held[count * step :]


def motion_blocks(model: VideoModel, latents: Latents, pictures: Iterable[np.ndarray], device: str) -> Iterator[Tensor]:
    """The encoder's motion [t, m] of pictures uint8 [h, w, 3], in blocks that follow one another."""
    window = model.config.window

    def run(frames: Tensor) -> Tensor:  # uint8 [b, t, h, w, 3]
        z = latents.encode(to_unit(frames.flatten(0, 1).numpy(), device))
        return model.motion(z.unflatten(0, frames.shape[:2]))

    frames = (torch.from_numpy(np.require(picture, requirements="W")) for picture in pictures)
    return overlapped(run, frames, window.length, window.overlap)


class RefinedClip(NamedTuple):
    """The motion of a clip after alignment with a reference, of which files hold the codes."""

    motion: Tensor  # [t, m]
    hessian: Tensor | None  # [t, m, m] of the error
    errors: Tensor | None  # [t, 2], `VideoModel.warp_errors`; None of a model that does not warp


def refined_parts(
    model: VideoModel,
    latents: Latents,
    pictures: np.ndarray,
    m: Tensor,
    reference: Reference,
    device: str,
    quick: bool = False,
) -> Iterator[RefinedClip]:
    """`VideoModel.refine` of a clip uint8 [t, h, w, 3] of motion [t, m], REFINED_AT_ONCE frames after another."""
    if not model.warps:
        yield RefinedClip(m, None, None)
        return
    for start in range(0, len(pictures), REFINED_AT_ONCE):
        at = slice(start, start + REFINED_AT_ONCE)
        z = latents.encode(to_unit(pictures[at], device))
        refined = model.refine(z[None], m[None, at], reference, quick)
        yield RefinedClip(refined.motion[0], refined.hessian[0], model.warp_errors(z, refined, reference))


def joined(parts: Iterable[RefinedClip]) -> RefinedClip:
    """Parts that follow one another as one."""
    return RefinedClip(*(None if x[0] is None else torch.cat(x) for x in zip(*parts, strict=True)))
