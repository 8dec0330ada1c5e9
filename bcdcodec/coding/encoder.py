"""Frames one by one into contents and motion chunks: scene by scene, in windows, memory flat."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import chain, groupby, islice

import numpy as np
import torch
from torch import Tensor

from bcdcodec.coding.motion import motion_blocks, motion_codes
from bcdcodec.coding.rate_control import STRIDES, RateControl
from bcdcodec.coding.references import MAX_SCENES, Block, ReferenceBuffer, SceneReferences, Segment
from bcdcodec.coding.scene_cuts import Frame, numbered_scenes
from bcdcodec.coding.session import Session
from bcdcodec.container import CHUNK_FRAMES, Content, Motion
from bcdcodec.container.payloads import MAX_FRAMES, MAX_STRIDE
from bcdcodec.entropy.context import encode_context
from bcdcodec.entropy.profiles import PROFILE_CONTEXT

RATE_FRAMES = 50  # whose distances give the frame rate ...
REGULAR_SHARE = 0.9  # ... if so many of them are within half of the median
MOST_OF_TARGET = 1.1  # of the model's bits a frame, where no rate is asked for: unusual footage would take far more


@dataclass(frozen=True)
class StreamOptions:
    """How frames become chunks."""

    chunk_frames: int = CHUNK_FRAMES  # codes in one MOTN, at most
    time_base: Fraction | None = None  # seconds a tick of pts; None: the frames come at the model's rate
    kbps: float | None = None  # kbit/s of motion, contents grow with it; None: the model's own lambda and target
    profile: str | None = None  # static or context, of the motion; None: the best that the model has tables for
    scenes: bool = True  # whether another reference follows at a scene cut, or where the warp error is too large
    damaged: Container[int] = frozenset()  # numbers of frames that may show damage, known once these are read


def encode_frames(
    session: Session, frames: Iterable[Frame], options: StreamOptions | None = None
) -> Iterator[Content | Motion]:
    """`(pts, uint8 [h, w, 3])` one by one -> each Content before the Motion chunks, with pts, that use it.

    The first LOOK_AHEAD_SECONDS of a scene are held back to choose its reference frame among them.
    """
    options, frame_rate = options or StreamOptions(), session.config.frame_rate
    frames = iter(frames)
    start = list(islice(frames, RATE_FRAMES))
    seconds, even = _distance([p for p, _ in start], options.time_base, 1 / frame_rate)
    every = min(MAX_STRIDE, max(1, round(1 / (seconds * frame_rate)))) if even else 1
    frames = chain(start, frames)
    numbered = numbered_scenes(frames, MAX_SCENES) if options.scenes else ((0, frame) for frame in frames)
    first, buffer = 0, ReferenceBuffer()
    for _, scene in groupby(numbered, key=lambda item: item[0]):
        encoder = _SceneEncoder(session, options, buffer, first, every, every * seconds)
        for item in encoder.encode(frame for _, frame in scene):
            first += item.frames if isinstance(item, Motion) else 0
            yield item


class _SceneEncoder:
    """One scene: which frames are coded, and what is not given out yet."""

    def __init__(
        self, session: Session, options: StreamOptions, buffer: ReferenceBuffer, first: int, every: int, seconds: float
    ):
        """`first`: frame at which it begins; every `every`-th frame is looked at, `seconds` apart."""
        self._session, self._options, self._buffer = session, options, buffer
        self._first, self._every = first, every
        self._chunk_frames = options.chunk_frames
        self._control = make_rate_control(session, options, every, seconds)
        self._stride = 0  # every so many frames one is coded; 0: not chosen yet
        self._pts: list[int] = []  # of frames read and not given out
        self._content = 0  # number of the content of what is coded and not given out:
        self._codes = np.zeros((0, session.config.quantiser.groups), np.uint8)  # [u, g]
        self._frames = 0
        self._looked_at = 0  # frames under that content

    def encode(self, frames: Iterable[Frame]) -> Iterator[Content | Motion]:
        blocks, options = self._blocks(frames), self._options
        for items in SceneReferences(self._session, blocks, self._buffer, options.kbps, options.scenes):
            lambda_ = self._lambda([item for item in items if isinstance(item, Segment)])
            for item in items:
                if isinstance(item, Content):
                    yield from self._motions()
                    yield replace(item, first_frame=self._first)
                    continue
                if item.content != self._content:
                    yield from self._motions()
                    self._content, self._looked_at = item.content, 0
                self._code(item, lambda_)
                while self._frames >= self._chunk_frames * self._stride:
                    yield self._motion()
        self._frames = len(self._pts)
        yield from self._motions()

    def _blocks(self, frames: Iterable[Frame]) -> Iterator[Block]:
        """Pictures that are looked at, with the encoder's motion of them, which lags behind by a window's overlap."""
        waiting: deque[np.ndarray] = deque()
        damaged: deque[bool] = deque()
        begin = self._first

        def watched() -> Iterator[np.ndarray]:
            for i, (pts, picture) in enumerate(frames):
                self._pts.append(pts)
                if i % self._every == 0:
                    waiting.append(picture)
                    damaged.append(begin + i in self._options.damaged)
                    yield picture

        for motion in motion_blocks(self._session, watched()):
            pictures = np.stack([waiting.popleft() for _ in motion])
            yield Block(pictures, motion, np.array([damaged.popleft() for _ in motion]))

    def _lambda(self, segments: list[Segment]) -> float:
        """The Lagrangian multiplier of these segments; the first ones settle the stride."""
        motion = torch.cat([segment.motion for segment in segments])
        hessian = None if segments[0].hessian is None else torch.cat([segment.hessian for segment in segments])
        if not self._stride:
            self._control.start(motion, hessian)
            self._stride = self._every * self._control.stride
            self._chunk_frames = min(self._chunk_frames, MAX_FRAMES // self._stride)
        return self._control.follow(motion, hessian)

    def _code(self, segment: Segment, lambda_: float) -> None:
        step = self._stride // self._every
        coded = slice(-self._looked_at % step, None, step)
        hessian = None if segment.hessian is None else segment.hessian[coded]
        codes = motion_codes(self._session, segment.motion[coded], lambda_, hessian)
        self._codes = np.concatenate([self._codes, codes])
        self._looked_at += len(segment.motion)
        self._frames += len(segment.motion) * self._every

    def _motions(self) -> Iterator[Motion]:
        """All that is coded."""
        while len(self._codes):
            yield self._motion()
        self._frames = 0

    def _motion(self) -> Motion:
        codes = self._codes[: self._chunk_frames]
        shown = min(self._frames, len(self._pts), len(codes) * self._stride)
        pts = np.array(self._pts[:shown], np.int64)
        chunk = Motion(self._first, self._content, codes, pts, self._stride, shown if self._stride > 1 else None)
        del self._pts[:shown]
        self._codes = self._codes[len(codes) :]
        self._first += shown
        self._frames -= shown
        return chunk


def _distance(pts: list[int], time_base: Fraction | None, default: float) -> tuple[float, bool]:
    """Seconds between frames, and whether these are even enough for some frames to be left out.

    Taken from the frames: what a file states of its rate is often wrong.
    """
    if time_base is None or len(pts) < 2:
        return default, False
    steps = np.diff(pts)
    usual = np.median(steps)
    even = np.mean(np.abs(steps - usual) <= usual / 2) >= REGULAR_SHARE
    return float((usual if even else np.mean(steps)) * time_base), bool(even)


def make_rate_control(session: Session, options: StreamOptions, every: int, seconds: float) -> RateControl:
    """Rate control for motion whose frames are `seconds` apart, each the `every`-th of the video.

    With no rate asked for, it only keeps unusual footage from taking far more than the model's target.
    """
    vq = session.model.vq
    groups = torch.arange(vq.config.groups, device=session.device)

    def bits(codes: Tensor) -> float:
        if options.kbps is not None and session.tables.motion_profile(options.profile) == PROFILE_CONTEXT:
            return 8 * len(encode_context(codes.to(torch.uint8).cpu().numpy(), session.tables.context_tables()))
        return -vq.log2_p[groups, codes].sum().item()

    if options.kbps is None:  # whatever the profile, so that both hold the same codes
        q = session.config.quantiser
        # Where the target is all bits there are, clips of rare codes are above it, and no footage takes far more.
        most = MOST_OF_TARGET * q.target_bits if q.target_bits < q.groups * math.log2(q.codes) else math.inf
        return RateControl(vq, most, bits, (1,), least_lambda=vq.rate_lambda.item())
    strides = tuple(stride for stride in STRIDES if stride * every <= MAX_STRIDE)
    return RateControl(vq, options.kbps * 1000 * seconds, bits, strides)
