"""The latest frames of a stream and how its reference shows them: whether another one would show them better."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
import torch

from bcdcodec.coding.session import Session
from bcdcodec.models.base import Reference
from bcdcodec.models.latents import to_unit
from bcdcodec.stream.motion import StreamMotion
from bcdcodec.stream.reference_choice import Candidate

# A new reference is made if the frames that the current one shows badly had had so much less error with it: it waits
# until as much is lost as one costs. Without that a head that goes on turning gets one after another in vain.
LEAST_SAVING = 0.12  # sum over frames; `MAX_ERROR` for 40 of them
MOST_LEFT = 0.8  # share of their error that may be left
SERVES = 0.7  # likewise of the newest frame, where the receiver has the other reference already
COMPARED = 4  # frames, by which a new one is judged
PACKETS = 32  # whose frames are kept


@dataclass(frozen=True, eq=False)
class ShownFrame:
    """The last frame of a packet."""

    picture: np.ndarray  # uint8 [h, w, 3]
    motion: torch.Tensor  # [m]
    error: float  # `StreamMotion.warp_error` with the reference in use
    frames: int  # of the packet


class RecentFrames:
    """The last frame of each of the latest packets."""

    def __init__(self, session: Session, motion: StreamMotion):
        self._session, self._motion = session, motion
        self._frames: deque[ShownFrame] = deque(maxlen=PACKETS)

    def add(self, pictures: np.ndarray, motion: torch.Tensor, error: float) -> None:
        """Take note of a packet's pictures uint8 [t, h, w, 3] in motion [t, m], and of the last one's error."""
        self._frames.append(ShownFrame(pictures[-1], motion[-1], error, len(pictures)))

    def serving(self, references: list[Reference]) -> int | None:
        """The number of the reference that shows the newest frame far better than the one in use; None: none does."""
        if not self._frames:
            return None
        newest = self._frames[-1]
        errors = [self._motion.error_with(newest.picture, newest.motion, reference) for reference in references]
        return int(np.argmin(errors)) if errors and min(errors) <= SERVES * newest.error else None

    def saves(self, candidate: Candidate, packets: int) -> bool:
        """Whether a candidate is worth a new reference, as the one in use shows the last `packets` badly."""
        failed = list(self._frames)[-packets:]
        if sum(each.frames * each.error for each in failed) < LEAST_SAVING:
            return False
        some = [failed[i] for i in np.unique(np.linspace(0, len(failed) - 1, COMPARED).round().astype(int))]
        picture = to_unit(candidate.picture[None], self._session.device)
        reference = self._session.model.reference(picture, candidate.motion[None])
        now = sum(each.error for each in some)
        left = sum(self._motion.error_with(each.picture, each.motion, reference) for each in some)
        frames = sum(each.frames for each in failed) / len(some)
        return left <= MOST_LEFT * now and frames * (now - left) >= LEAST_SAVING
