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

from bcdcodec.coding.rate_control import STRIDES, RateControl
from bcdcodec.coding.references import MOST_SCENES, Block, FileContents, Part, SceneContents
from bcdcodec.coding.scene_cuts import Frame, numbered_scenes
from bcdcodec.container import CHUNK_FRAMES, Content, Motion
from bcdcodec.container.payloads import MAX_FRAMES, MAX_STRIDE
from bcdcodec.entropy.context import encode_context
from bcdcodec.entropy.profiles import PROFILE_CONTEXT

if TYPE_CHECKING:
    from bcdcodec.codec import Codec

RATE_FRAMES = 50  # from whose distances the frame rate is taken ...
REGULAR_SHARE = 0.9  # ... if so many of them are within half of the usual one
MOST_OF_TARGET = 1.1  # of the model's bits a frame, where no rate is asked for: unusual footage would take far more


@dataclass(frozen=True)
class StreamOptions:
    """How pictures become chunks."""

    chunk_frames: int = CHUNK_FRAMES  # codes in one MOTN, at most
    time_base: Fraction | None = None  # seconds a tick of pts; None: the frames come at the model's rate
    kbps: float | None = (
        None  # of motion, by which contents grow; None: the model's own price of a bit, and MOST_OF_TARGET at most
    )
    profile: str | None = None  # of the motion's entropy coder; None: the best that the model has tables for
    scenes: bool = (
        True  # whether another content follows where the picture jumps, or is no longer reached from the present one
    )


def encode_frames(codec: Codec, frames: Iterable[Frame], options: StreamOptions) -> Iterator[Content | Motion]:
    """`(pts, uint8 [h, w, 3])` one by one -> each Content before the Motion chunks, with pts, that show it.

    The first seconds of a scene are held back to choose its content's reference frame among them, `reach.LOOK_AHEAD_SECONDS`.
    """
    frames = iter(frames)
    start = list(islice(frames, RATE_FRAMES))
    seconds, even = _distance([p for p, _ in start], options.time_base, 1 / codec.config.frame_rate)
    seen = min(MAX_STRIDE, max(1, round(1 / (seconds * codec.config.frame_rate)))) if even else 1
    frames = chain(start, frames)
    numbered = numbered_scenes(frames, MOST_SCENES) if options.scenes else ((0, frame) for frame in frames)
    first, known = 0, FileContents()
    for _, scene in groupby(numbered, key=lambda item: item[0]):
        for item in _Scene(codec, options, known, first, seen, seen * seconds).encode(frame for _, frame in scene):
            first += item.frames if isinstance(item, Motion) else 0
            yield item


class _Scene:
    """One scene on its way: which frames are coded, what is not given out yet."""

    def __init__(
        self, codec: Codec, options: StreamOptions, known: FileContents, first: int, seen: int, seconds: float
    ):
        """`first`: frame at which it begins; every `seen`-th frame is looked at, `seconds` apart."""
        self._codec, self._options, self._known, self._first, self._seen = codec, options, known, first, seen
        self._chunk_frames = options.chunk_frames
        self._control = _rate_control(codec, options, seen, seconds)
        self._stride = 0  # every so many frames one is coded; 0: not settled
        self._pts: list[int] = []  # of frames read and not given out
        self._shown_by = 0  # number of the content of what is coded and not given out:
        self._codes = np.zeros((0, codec.config.quantiser.groups), np.uint8)  # [u, g]
        self._frames = 0
        self._looked_at = 0  # pictures under that content

    def encode(self, frames: Iterable[Frame]) -> Iterator[Content | Motion]:
        for items in SceneContents(
            self._codec, self._blocks(frames), self._known, self._options.kbps, self._options.scenes
        ):
            price = self._price([item for item in items if isinstance(item, Part)])
            for item in items:
                if isinstance(item, Content):
                    yield from self._motions()
                    yield replace(item, first_frame=self._first)
                    continue
                if item.content != self._shown_by:
                    yield from self._motions()
                    self._shown_by, self._looked_at = item.content, 0
                self._code(item, price)
                while self._frames >= self._chunk_frames * self._stride:
                    yield self._motion()
        self._frames = len(self._pts)
        yield from self._motions()

    def _blocks(self, frames: Iterable[Frame]) -> Iterator[Block]:
        """Pictures that are looked at and the encoder's motion of them, of which it needs to see some more."""
        waiting: deque[np.ndarray] = deque()

        def watched() -> Iterator[np.ndarray]:
            for i, (pts, picture) in enumerate(frames):
                self._pts.append(pts)
                if i % self._seen == 0:
                    waiting.append(picture)
                    yield picture

        for features in self._codec.motion_blocks(watched()):
            yield np.stack([waiting.popleft() for _ in features]), features

    def _price(self, parts: list[Part]) -> float:
        """What a bit is worth in these parts of the scene; the first settle the stride."""
        motion = torch.cat([part.motion for part in parts])
        curvature = None if parts[0].curvature is None else torch.cat([part.curvature for part in parts])
        if not self._stride:
            self._control.start(motion, curvature)
            self._stride = self._seen * self._control.stride
            self._chunk_frames = min(self._chunk_frames, MAX_FRAMES // self._stride)
        return self._control.follow(motion, curvature)

    def _code(self, part: Part, price: float) -> None:
        every = self._stride // self._seen
        coded = slice(-self._looked_at % every, None, every)
        codes = self._codec.codes_of(
            part.motion[coded], price, None if part.curvature is None else part.curvature[coded]
        )
        self._codes = np.concatenate([self._codes, codes])
        self._looked_at += len(part.motion)
        self._frames += len(part.motion) * self._seen

    def _motions(self) -> Iterator[Motion]:
        """All that is coded."""
        while len(self._codes):
            yield self._motion()
        self._frames = 0

    def _motion(self) -> Motion:
        codes = self._codes[: self._chunk_frames]
        shown = min(self._frames, len(self._pts), len(codes) * self._stride)
        pts = np.array(self._pts[:shown], np.int64)
        chunk = Motion(self._first, self._shown_by, codes, pts, self._stride, shown if self._stride > 1 else None)
        del self._pts[:shown]
        self._codes = self._codes[len(codes) :]
        self._first += shown
        self._frames -= shown
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
