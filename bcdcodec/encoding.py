"""Pictures one by one into contents and motion chunks: scene by scene, in windows, memory flat."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import chain, groupby, islice
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from bcdcodec.container import CHUNK_FRAMES, Content, Motion
from bcdcodec.container.payloads import MAX_CONTENTS, MAX_FRAMES, MAX_STRIDE
from bcdcodec.entropy.context import encode_context
from bcdcodec.entropy.profiles import PROFILE_CONTEXT
from bcdcodec.rate import STRIDES, RateControl
from bcdcodec.scenes import Frame, numbered_scenes

if TYPE_CHECKING:
    from bcdcodec.codec import Codec

LOOK_AHEAD_SECONDS = 10.0  # of a scene among which the reference frame is chosen
RATE_FRAMES = 50  # from whose distances the frame rate is taken ...
REGULAR_SHARE = 0.9  # ... if so many of them are within half of the usual one
MOST_OF_TARGET = 1.1  # of the model's bits a frame, where no rate is asked for: unusual footage would take far more


@dataclass(frozen=True)
class StreamOptions:
    """How pictures become chunks."""

    chunk_frames: int = CHUNK_FRAMES  # codes in one MOTN, at most
    time_base: Fraction | None = None  # seconds a tick of pts; None: the frames come at the model's rate
    kbps: float | None = None  # of motion; None: the model's own price of a bit, and MOST_OF_TARGET at most
    profile: str | None = None  # of the motion's entropy coder; None: the best that the model has tables for
    scenes: bool = True  # whether another content begins where the picture jumps


def encode_frames(codec: Codec, frames: Iterable[Frame], options: StreamOptions) -> Iterator[Content | Motion]:
    """`(pts, uint8 [h, w, 3])` one by one -> of each scene the Content, then Motion chunks with pts.

    The first LOOK_AHEAD_SECONDS of a scene are held back to choose its content's reference frame among them.
    """
    frames = iter(frames)
    start = list(islice(frames, RATE_FRAMES))
    seconds, even = _distance([p for p, _ in start], options.time_base, 1 / codec.config.frame_rate)
    seen = min(MAX_STRIDE, max(1, round(1 / (seconds * codec.config.frame_rate)))) if even else 1
    frames = chain(start, frames)
    numbered = numbered_scenes(frames, MAX_CONTENTS) if options.scenes else ((0, frame) for frame in frames)
    first = 0
    for number, scene in groupby(numbered, key=lambda item: item[0]):
        for item in _Scene(codec, options, number, first, seen, seen * seconds).encode(frame for _, frame in scene):
            first += item.frames if isinstance(item, Motion) else 0
            yield item


class _Scene:
    """One scene on its way: which frames are coded, what is not given out yet."""

    def __init__(self, codec: Codec, options: StreamOptions, number: int, first: int, seen: int, seconds: float):
        """`first`: frame at which it begins; every `seen`-th frame is looked at, `seconds` apart."""
        self._codec, self._number, self._first, self._seen = codec, number, first, seen
        self._chunk_frames = options.chunk_frames
        self._control = _rate_control(codec, options, seen, seconds)
        self._stride = seen
        self._pts: list[int] = []  # of frames read and not given out
        self._looked_at = 0  # pictures whose codes are chosen

    def encode(self, frames: Iterable[Frame]) -> Iterator[Content | Motion]:
        codec, waiting = self._codec, deque()  # pictures whose motion is not known yet

        def watched() -> Iterator[np.ndarray]:
            for picture in chain(held, source):
                waiting.append(picture)
                yield picture

        source = self._pictures(frames)
        held = list(islice(source, int(LOOK_AHEAD_SECONDS * codec.config.frame_rate)))
        blocks = codec.motion_blocks(watched())
        known = []  # motion of what is held, and of some frames more
        while sum(map(len, known)) < len(held):
            known.append(next(blocks))
        features = torch.cat(known)  # [t, m]
        content = codec.content_of(np.stack(held), features[: len(held)])
        yield replace(content, number=self._number, first_frame=self._first)
        portrait = codec.portrait(content)
        del held[:], known
        codes = np.zeros((0, codec.config.quantiser.groups), np.uint8)  # [u, g], not given out
        for features in chain([features], blocks):
            pictures = np.stack([waiting.popleft() for _ in features])
            motion, curvature = codec.aligned(pictures, features, portrait)
            if not self._looked_at:
                self._control.start(motion, curvature)
                self._stride = self._seen * self._control.stride
                self._chunk_frames = min(self._chunk_frames, MAX_FRAMES // self._stride)
            price = self._control.follow(motion, curvature)
            codes = np.concatenate([codes, self._coded(motion, curvature, price)])
            while len(codes) >= self._chunk_frames and len(self._pts) >= self._chunk_frames * self._stride:
                yield self._motion(codes[: self._chunk_frames])
                codes = codes[self._chunk_frames :]
        for at in range(0, len(codes), self._chunk_frames):
            yield self._motion(codes[at : at + self._chunk_frames])

    def _pictures(self, frames: Iterable[Frame]) -> Iterator[np.ndarray]:
        for i, (pts, picture) in enumerate(frames):
            self._pts.append(pts)
            if i % self._seen == 0:
                yield picture

    def _coded(self, motion: Tensor, curvature: Tensor | None, price: float) -> np.ndarray:
        """Codes uint8 [u, g] of those of the next pictures that are coded."""
        every = self._stride // self._seen
        coded = slice(-self._looked_at % every, None, every)
        self._looked_at += len(motion)
        return self._codec.codes_of(motion[coded], price, None if curvature is None else curvature[coded])

    def _motion(self, codes: np.ndarray) -> Motion:
        shown = min(len(self._pts), len(codes) * self._stride)
        pts = np.array(self._pts[:shown], np.int64)
        chunk = Motion(self._first, self._number, codes, pts, self._stride, shown if self._stride > 1 else None)
        del self._pts[:shown]
        self._first += shown
        return chunk


def _distance(pts: list[int], time_base: Fraction | None, default: float) -> tuple[float, bool]:
    """Seconds between frames, and whether these are even enough for some to be left out.

    Taken from the frames: what a file states of its rate is often wrong.
    """
    if time_base is None or len(pts) < 2:
        return default, False
    steps = np.diff(pts)
    usual = np.median(steps)
    even = np.mean(np.abs(steps - usual) <= usual / 2) >= REGULAR_SHARE
    return float((usual if even else np.mean(steps)) * time_base), bool(even)


def _rate_control(codec: Codec, options: StreamOptions, seen: int, seconds: float) -> RateControl:
    """What keeps motion at the rate asked for, with pictures `seconds` apart, each the `seen`-th frame.

    With none asked for, it only keeps footage unlike what the model knows from taking more than the model's target.
    """
    vq = codec.model.vq
    groups = torch.arange(vq.config.groups, device=codec.device)

    def bits(codes: Tensor) -> float:
        if options.kbps is not None and codec.folder.tables.motion_profile(options.profile) == PROFILE_CONTEXT:
            return 8 * len(encode_context(codes.to(torch.uint8).cpu().numpy(), codec.folder.tables.context_tables()))
        return -vq.log2_p[groups, codes].sum().item()

    if options.kbps is None:  # whatever the profile, so that both hold the same codes
        q = codec.config.quantiser
        # Where the target is as many bits as there are, clips of rare codes alone are above it, and no footage takes far more.
        most = MOST_OF_TARGET * q.target_bits if q.target_bits < q.groups * math.log2(q.codes) else math.inf
        return RateControl(vq, most, bits, (1,), least_price=vq.rate_lambda.item())
    strides = tuple(stride for stride in STRIDES if stride * seen <= MAX_STRIDE)
    return RateControl(vq, options.kbps * 1000 * seconds, bits, strides)
