"""Which frame of a stream becomes its reference, and when a better one replaces it."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

import numpy as np

from bcdcodec.coding.fitness import detail_of
from bcdcodec.models.faces.model import JAW, LIDS, MOVED, OPEN_MOUTH, TURNED

HISTORY_SECONDS = 4.0  # of motion that a reference is to serve
CANDIDATES = 4  # frames that are kept as possible references
BLURRED = 2.0  # badness of a frame without any detail; half of the usual detail: 1
FIRST_SECONDS = 1.0  # after which the first reference is replaced by a better frame, if there is one
NEXT_SECONDS = 4.0  # least time between later ones: one costs as much as two seconds of motion
NEXT_GAIN = 0.2  # of badness, that a new reference must bring
REUSE_GAIN = 0.15  # likewise for one that the receiver has already
MAX_ERROR = 0.003  # `CausalMotion.warp_error` up to which the reference serves; the file encoder's, at half the size
MAX_RATIO = 2.0  # times the least error so far, which is allowed too
FAILED_PACKETS = 2  # whose mean error is looked at
NEWEST_FRAMES = 4  # one of which follows a reference that fails
URGENT_SECONDS = 0.5  # least time between two references, where one fails


@dataclass(frozen=True, eq=False)
class Candidate:
    """A frame, and what tells how good a reference it is."""

    frame: int
    picture: np.ndarray  # uint8 [h, w, 3]
    numbers: np.ndarray  # [58] of its motion
    motion: object  # Tensor [m]
    detail: float

    def own_badness(self, usual_detail: float) -> float:
        """What is bad about it whatever it serves: shut eyes, open mouth, a turned head, blur."""
        n = self.numbers
        blur = max(0.0, 1 - self.detail / max(usual_detail, 1e-6))
        return float(n[list(LIDS)].mean() + OPEN_MOUTH * n[JAW] + TURNED * np.abs(n[52:54]).sum() + BLURRED * blur)


class ReferenceChoice:
    """Looks at every frame and keeps the best ones; badness is that of `FacesModel.reference_frame`, and blur."""

    def __init__(self, frame_rate: float):
        self._rate = frame_rate
        self._history: deque[np.ndarray] = deque(maxlen=round(HISTORY_SECONDS * frame_rate))  # numbers [58] of frames
        self._candidates: list[Candidate] = []
        self._newest: deque[Candidate] = deque(maxlen=NEWEST_FRAMES)
        self._errors: deque[float] = deque(maxlen=FAILED_PACKETS)  # of the current reference
        self._least = math.inf  # mean of so many, of any reference
        self.failed = 0  # packets in a row that the current reference has shown badly
        self._usual_detail = 0.0
        self._made = 0  # references so far
        self._last = 0  # frame at which the last one was made

    def look(self, frame: int, picture: np.ndarray, numbers: np.ndarray, motion: object) -> None:
        """Take note of a frame with the 58 numbers of its motion."""
        candidate = Candidate(frame, picture, numbers, motion, detail_of(picture))
        self._usual_detail = max(0.99 * self._usual_detail, candidate.detail)
        self._history.append(numbers)
        self._newest.append(candidate)
        oldest = frame - NEXT_SECONDS * self._rate
        self._candidates = [c for c in self._candidates if c.frame >= oldest] + [candidate]
        self._candidates.sort(key=self.badness)
        del self._candidates[CANDIDATES:]

    def judge(self, error: float) -> None:
        """Take note of the error of a packet's frames with the current reference."""
        self._errors.append(error)
        if len(self._errors) == FAILED_PACKETS:
            self._least = min(self._least, float(np.mean(self._errors)))
        self.failed = self.failed + 1 if self.failing else 0

    def changed(self) -> None:
        """Take note that another reference is the current one."""
        self._errors.clear()
        self.failed = 0

    @property
    def failing(self) -> bool:
        """Whether the current reference shows the last frames badly: a head has turned."""
        known = len(self._errors) == FAILED_PACKETS
        return known and float(np.mean(self._errors)) > max(MAX_ERROR, MAX_RATIO * self._least)

    def badness(self, candidate: Candidate) -> float:
        """How badly a frame serves the motion of the last seconds."""
        seen, n = np.stack(self._history), candidate.numbers
        turn = np.abs(seen[:, 52:54] - n[52:54]).sum(1)
        moved = np.linalg.norm(seen[:, 54:56] - n[54:56], axis=1) / np.exp(n[56])
        return float((turn + MOVED * moved).mean()) + candidate.own_badness(self._usual_detail)

    def best(self, frame: int, current: Candidate | None, held: list[Candidate]) -> Candidate | None:
        """The frame that should become the reference now, one of those that are `held` already or a new one; or None.

        `current`: the one in use; `held`: others that the receiver has. Where the current one fails, the caller looks
        first whether one of these serves.
        """
        if not self._candidates:
            return None
        if current is None:
            return self._candidates[0]
        since = (frame - self._last) / self._rate
        if self.failing:
            return self._successor() if since >= URGENT_SECONDS else None
        now = self.badness(current)
        again = min(held, key=self.badness, default=None)
        if again is not None and now - self.badness(again) > REUSE_GAIN:
            return again
        best = self._candidates[0]
        due = since >= (FIRST_SECONDS if self._made == 1 else NEXT_SECONDS)
        return best if due and best is not current and now - self.badness(best) > NEXT_GAIN else None

    def _successor(self) -> Candidate:
        """One of the newest frames, eyes open if they can be."""
        return min(self._newest, key=lambda found: found.numbers[list(LIDS)].mean())

    def taken(self, frame: int) -> None:
        """Take note that what `best` gave becomes a reference."""
        self._made += 1
        self._last = frame
