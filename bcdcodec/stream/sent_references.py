"""The references of a stream on the sender's side: made, sent in pieces, and used once the receiver has them.

While reports tell of no loss, what was sent counts as received: a report would come up to a second later. A receiver
that lacks it asks for it, and until it comes shows the motion of the base layer with the newest reference that it has.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import torch

from bcdcodec.coding.content import reference_of
from bcdcodec.coding.picture_content import ReferencePicture, choose_picture, make_picture_content
from bcdcodec.coding.session import Session
from bcdcodec.container import Content
from bcdcodec.container.payloads import MAX_CONTENTS, pack_content
from bcdcodec.models.base import Reference
from bcdcodec.models.faces.model import TURN
from bcdcodec.stream.fragments import split_content
from bcdcodec.stream.motion import StreamMotion
from bcdcodec.stream.packets import Fragment, Report
from bcdcodec.stream.received_references import KEPT
from bcdcodec.stream.recent_frames import RecentFrames
from bcdcodec.stream.reference_choice import Candidate, ReferenceChoice
from bcdcodec.video.av1 import QUICK_PRESET

# The latest of them that may be shown again: a packet states the number modulo 8, which is at most 4 below the newest
# that the receiver knows, and one more may come meanwhile.
SHOWN_AGAIN = 4
RESEND_PACKETS = 12  # after which pieces are sent again if no report tells of the content
TRY_SECONDS = 0.5  # from one comparison of references to the next: some frames are aligned for it
URGENT_PIECES = 3  # that go with a packet where the reference in use fails
# Of the bytes of a first reference, for an inter frame; files take LATER_SHARE, which is 2 dB better: a stream has to
# wait for the wire's room.
INTER_SHARE = 0.4
START_CONTENTS = 2  # references that are sent whatever they take: that of the first frame, and a better one


@dataclass(eq=False)
class SentReference:
    """A reference that was made."""

    number: int
    content: Content
    reference: Reference
    candidate: Candidate | None  # None: the face of another person
    key: ReferencePicture | None  # what its key frame was made of, to which inter frames may refer; None: they may not
    base: SentReference | None  # whose key frame it refers to
    pieces: list[Fragment]
    queue: deque[int]  # pieces to be sent
    urgent: bool = False  # whether the reference before it fails
    whole: bool = False  # whether the receiver has it, as far as is known
    sent_at: int = 0  # packet in which its last piece was

    @property
    def ready(self) -> bool:
        """Whether the receiver can show it, as far as is known."""
        return self.whole and (self.base is None or self.base.whole)

    @property
    def size(self) -> int:
        """Bytes of all its pieces."""
        return sum(len(piece.data) for piece in self.pieces)


class SentReferences:
    """Looks at what was coded, makes references of it, and hands out their pieces."""

    def __init__(self, session: Session, motion: StreamMotion, profile: int, reports: bool, background: bool):
        """`profile`: of contents; `reports`: whether the receiver reports; `background`: whether a thread encodes."""
        self._session, self._motion, self._rate = session, motion, session.config.frame_rate
        self._profile, self._reports = profile, reports
        self._worker = ThreadPoolExecutor(1, "reference") if background else None
        self._choice = ReferenceChoice(self._rate)
        self._tried_again = 0  # frame from which references may be compared again
        self._recent = RecentFrames(session, motion)
        self._error: float | None = None  # of the packet that is looked at next
        self._making: Future[SentReference] | None = None
        self._entries: list[SentReference] = []  # the latest KEPT
        self._coming: SentReference | None = None  # becomes the current one when the receiver has it
        self._face = False  # whether another person's is shown
        self.current: SentReference | None = None
        self.count = 0  # references made so far
        self.kbps: float | None = None  # of motion, with which their size grows

    # ---- which one is used

    def switch(self) -> None:
        """Use the reference that was waited for, if the receiver has it."""
        if self._coming is not None and self._coming.ready:
            self.current, self._coming = self._coming, None
            self._choice.changed()

    def look(self, next_frame: int, pictures: np.ndarray, motion: torch.Tensor) -> None:
        """Look at pictures uint8 [t, h, w, 3] in motion [t, m], the latest before `next_frame`; make what is needed."""
        if self._face:
            return
        numbers = self._session.model.numbers(motion).cpu().numpy()
        first = next_frame - len(pictures)  # about, where some are shown on
        for i, (picture, each) in enumerate(zip(pictures, numbers, strict=True)):
            self._choice.look(first + i, picture, each, motion[i])
        if self._error is not None:
            self._recent.add(pictures, motion, self._error)
            self._error = None
        self._collect()
        if self._making is None and self._coming is None and self.count < MAX_CONTENTS:
            self._begin(next_frame)

    def judge(self, error: float) -> None:
        """Take note of the error of a packet's frames with the current reference."""
        self._choice.judge(error)
        self._error = error

    def show(self, content: Content | None) -> None:
        """Use the face of a content, of another person, from now on; None: references of one's own again."""
        self._face = content is not None
        self.current = self._coming = self._making = None
        if content is not None:
            self._add(self.entry(content))
        else:
            self._choice = ReferenceChoice(self._rate)

    def close(self) -> None:
        """Wait for what is being made."""
        if self._worker is not None:
            self._worker.shutdown()

    def _begin(self, frame: int) -> None:
        """Begin to make a reference before `frame` if another one serves better than the current one."""
        current = None if self.current is None else self.current.candidate
        found = [entry for entry in self._entries if entry.candidate is not None and entry.ready]
        again = [e for e in found if e is not self.current and e.number >= self.count - SHOWN_AGAIN]
        held = {entry.candidate: entry for entry in again}
        urgent = self._choice.failing
        if urgent and (not self._may_compare(frame) or self._serving(list(held.values()))):
            return
        best = self._choice.best(frame, current, list(held))
        if best is None or (urgent and not self._recent.saves(best, self._choice.failed)):
            return
        if best in held:
            if self._may_compare(frame):
                self._serving([held[best]])
            return
        self._choice.taken(frame)
        keys = [entry for entry in found if entry.key is not None and entry.number > self.count - KEPT]
        base = min(keys, key=lambda entry: _turn_between(entry.candidate, best), default=None)
        if self._worker is None or current is None:
            self._add(self.made(best, urgent, base))
        else:
            self._making = self._worker.submit(self.made, best, urgent, base)

    def _may_compare(self, frame: int) -> bool:
        """Whether references may be compared before `frame`, as a while has passed."""
        if frame < self._tried_again:
            return False
        self._tried_again = frame + round(TRY_SECONDS * self._rate)
        return True

    def _serving(self, held: list[SentReference]) -> bool:
        """Use the one of the references held that shows the newest frame far better, if there is one."""
        found = self._recent.serving([entry.reference for entry in held])
        if found is None:
            return False
        self.current = held[found]
        self._choice.changed()
        return True

    def made(self, candidate: Candidate, urgent: bool, base: SentReference | None) -> SentReference:
        """The reference of a candidate; `base`: to which it may refer."""
        chosen = choose_picture(self._session, candidate.picture[None], candidate.motion[None])
        before = None if base is None else (base.key, base.content)
        content = make_picture_content(
            self._session, chosen, self.kbps, before, QUICK_PRESET, self.count >= START_CONTENTS, INTER_SHARE
        )
        if content.base is not None:
            return self.entry(content, candidate, urgent, base=base)
        return self.entry(content, candidate, urgent, key=chosen)

    def _collect(self) -> None:
        if self._making is not None and self._making.done():
            made, self._making = self._making.result(), None
            self._add(made)

    def entry(
        self,
        content: Content,
        candidate: Candidate | None = None,
        urgent: bool = False,
        key: ReferencePicture | None = None,
        base: SentReference | None = None,
    ) -> SentReference:
        """A content as the next reference; the rest as in `SentReference`."""
        content = replace(content, number=self.count, first_frame=0)
        payload, _ = pack_content(content, self._session.tables, self._profile)
        pieces = split_content(self.count, payload)
        reference = reference_of(self._session, content, base=None if base is None else base.content)
        queue = deque(range(len(pieces)))
        return SentReference(self.count, content, reference, candidate, key, base, pieces, queue, urgent)

    def _add(self, entry: SentReference) -> None:
        self.count += 1
        self._entries = [*self._entries[1 - KEPT :], entry]
        if self.current is None:
            self.current = entry
        else:
            self._coming = entry

    # ---- how they are sent

    @property
    def waiting(self) -> bool:
        """Whether pieces of the next reference are to be sent."""
        return self._coming is not None and bool(self._coming.queue)

    @property
    def pieces_at_once(self) -> int:
        """How many pieces may go with a packet."""
        return URGENT_PIECES if self.waiting and (self._coming.urgent or self._choice.failing) else 1

    def report(self, report: Report) -> None:
        """Take a report of the receiver; pieces of a content that it wants are handed out next."""
        for entry in self._handed_out():
            entry.whole |= entry.number == report.have
            if entry.number == report.wanted and not entry.queue:
                entry.whole, every = False, range(len(entry.pieces))
                entry.queue.extend(i for i in every if report.missing >> i & 1 or not report.missing)

    def send_again(self) -> None:
        """Take note that a receiver has come that has got nothing yet."""
        needed = self._needed()
        for entry in self._handed_out():
            entry.whole, entry.queue = False, deque(range(len(entry.pieces)) if entry in needed else ())

    def piece(self, sequence: int, room: float, calm: bool = False) -> Fragment | None:
        """The next piece to be sent, for packet `sequence`, the newest content first.

        None where the wire has no `room` for it, in bytes. `calm`: nothing was lost of late.
        """
        needed = self._needed()
        for entry in reversed(self._handed_out()):
            if entry.queue:
                if not self._pressing(entry) and len(entry.pieces[entry.queue[0]].data) > room:
                    continue
                piece = entry.pieces[entry.queue.popleft()]
                entry.sent_at = sequence
                if not entry.queue and (calm or not self._reports):
                    entry.whole = True
                return piece
            if entry in needed and not entry.whole and sequence - entry.sent_at >= RESEND_PACKETS:
                entry.queue.extend(range(len(entry.pieces)))
        return None

    def _pressing(self, entry: SentReference) -> bool:
        """Whether a content is sent whatever it takes: a session begins, or nothing can be shown without it."""
        shown = () if self.current is None else (self.current, self.current.base)
        return entry.number < START_CONTENTS or (entry in shown and not entry.whole)

    def _needed(self) -> list[SentReference]:
        """The current reference, the one that is to follow it, and what they refer to."""
        needed = [entry for entry in (self.current, self._coming) if entry is not None]
        return needed + [entry.base for entry in needed if entry.base is not None]

    def _handed_out(self) -> list[SentReference]:
        """The latest, and before them what those in use refer to."""
        return [entry for entry in self._needed() if entry not in self._entries] + self._entries


def _turn_between(one: Candidate, other: Candidate) -> float:
    """Radians of pitch and yaw between two frames."""
    return float(np.abs(one.numbers[TURN] - other.numbers[TURN]).sum())
