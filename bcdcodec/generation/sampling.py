"""Samples motion from a MotionGPT frame by frame, with cached keys and values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from bcdcodec.container import Content
from bcdcodec.errors import BcdError
from bcdcodec.generation.config import TEMPERATURE, TOP_P
from bcdcodec.generation.network import MotionGPT


@dataclass(frozen=True)
class SamplingOptions:
    """How a code is chosen. Raises BcdError for values out of range."""

    temperature: float = TEMPERATURE  # 0: the most probable code, as in the paper
    top_p: float = TOP_P  # only the most probable codes that together have this share
    seed: int = 0

    def __post_init__(self):
        if not 0 <= self.temperature <= 10:
            raise BcdError(f"temperature is {self.temperature:g}, expected 0 to 10")
        if not 0 < self.top_p <= 1:
            raise BcdError(f"top-p is {self.top_p:g}, expected above 0 and at most 1")


def pose_of(content: Content, groups: int) -> np.ndarray:
    """Codes uint8 [1, g] of the reference frame, from which motion goes on; [0, g] of a model without them."""
    return np.zeros((0, groups), np.uint8) if content.reference_codes is None else content.reference_codes[None]


@torch.inference_mode()
def sample_motion(
    model: MotionGPT, values: np.ndarray, prompt: np.ndarray, frames: int, options: SamplingOptions
) -> Iterator[np.ndarray]:
    """Yield `frames` frames of codes uint8 [g] that follow the content `values` [n, d] and the prompt's codes [t, g].

    When the network's context is full it goes on from the content and the later half of the frames, so that motion
    can be of any length.
    """
    model.eval()
    device = model.heads.weight.device
    generator = torch.Generator().manual_seed(options.seed)
    content = model.embed_content(torch.from_numpy(values.astype(np.float32)).flatten()[None].to(device))
    seen = [torch.from_numpy(row.astype(np.int64)) for row in prompt[-model.config.frames :]]
    cache, waiting = None, [content]
    if seen:
        waiting.append(model.embed_frames(torch.stack(seen)[None].to(device)))
    for _ in range(frames):
        if len(seen) > model.config.frames:
            seen = seen[-max(1, model.config.frames // 2) :]
            cache, waiting = None, [content, model.embed_frames(torch.stack(seen)[None].to(device))]
        logits, cache = model.extend(torch.cat(waiting, 1), cache)
        codes = choose(logits[0].float().cpu(), options, generator)  # [g]
        yield codes.numpy().astype(np.uint8)
        seen.append(codes)
        waiting = [model.embed_frames(codes[None, None].to(device))]


def choose(logits: Tensor, options: SamplingOptions, generator: torch.Generator) -> Tensor:
    """One code a group, int64 [g], from logits [g, k]."""
    if options.temperature == 0:
        return logits.argmax(-1)
    p, order = torch.softmax(logits / options.temperature, -1).sort(-1, descending=True)  # [g, k]
    p = p * (p.cumsum(-1) - p < options.top_p)  # a code stays if those before it have less than the share
    picked = torch.multinomial(p, 1, generator=generator)
    return order.gather(-1, picked)[:, 0]
