"""A clip of any length through networks that see windows of it: windows overlap and are faded into each other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from bcdcodec.models.base import VideoModel
from bcdcodec.models.heads.alignment import LEVELS, Levels
from bcdcodec.models.heads.residual_basis import Portrait
from bcdcodec.models.latents import Latents, to_unit

WINDOWS_AT_ONCE = 4  # run through the network together
ALIGNED_AT_ONCE = 32  # frames


def overlapped(
    run: Callable[[Tensor], Tensor], frames: Iterator[Tensor], length: int, overlap: int
) -> Iterator[Tensor]:
    """What `run` makes of windows [b, length, ...] of the frames [...], as blocks [t, ...] that follow one another.

    Each window but the first begins `overlap` frames before the last one's end, and there they are faded into each
    other: without, a picture jumps where one window ends and another, which has seen other frames, begins. The result
    does not depend on how many windows are run at once. `overlap` is at most half of `length`.
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
    """Motion [t, m] of pictures uint8 [h, w, 3], in blocks that follow one another."""
    window = model.config.window

    def run(frames: Tensor) -> Tensor:  # uint8 [b, t, h, w, 3]
        z = latents.encode(to_unit(frames.flatten(0, 1).numpy(), device))
        return model.encode_motion(z.unflatten(0, frames.shape[:2]))

    frames = (torch.from_numpy(np.require(picture, requirements="W")) for picture in pictures)
    return overlapped(run, frames, window.length, window.overlap)


def aligned_clip(
    model: VideoModel,
    latents: Latents,
    pictures: np.ndarray,
    m: Tensor,
    portrait: Portrait,
    device: str,
    levels: Levels = LEVELS,
) -> tuple[Tensor, Tensor]:
    """`VideoModel.aligned_motion` [t, m] of a clip uint8 [t, h, w, 3] and its curvature [t, m, m], block by block.

    `m` [t, m] is the encoder's, `portrait` what the clip's content shows.
    """
    blocks = _some_at_once(len(m))
    parts = [
        model.aligned_motion(latents.encode(to_unit(pictures[at], device))[None], m[None, at], portrait, levels)
        for at in blocks
    ]
    return torch.cat([motion[0] for motion, _ in parts]), torch.cat([curvature[0] for _, curvature in parts])


def unreached_clip(
    model: VideoModel, latents: Latents, pictures: np.ndarray, m: Tensor, portrait: Portrait, device: str
) -> Tensor:
    """`VideoModel.unreached` [t, 2] of a clip uint8 [t, h, w, 3] in motion `m` [t, m], block by block."""
    return torch.cat(
        [
            model.unreached(latents.encode(to_unit(pictures[at], device)), m[at], portrait)
            for at in _some_at_once(len(m))
        ]
    )


def _some_at_once(count: int) -> list[slice]:
    return [slice(start, start + ALIGNED_AT_ONCE) for start in range(0, count, ALIGNED_AT_ONCE)]
