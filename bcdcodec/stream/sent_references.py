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
from bcdcodec.coding.picture_content import choose_picture, make_picture_content
from bcdcodec.coding.session import Session
from bcdcodec.container import Content
from bcdcodec.container.payloads import MAX_CONTENTS, pack_content
from bcdcodec.models.base import Reference
from bcdcodec.models.faces.model import TURN
from bcdcodec.stream.fragments import split_content
from bcdcodec.stream.motion import StreamMotion
from bcdcodec.stream.packets import Fragment, Report
from bcdcodec.stream.reference_choice import Candidate, ReferenceChoice
from bcdcodec.video.av1 import PRESET, QUICK_PRESET

HELD = 8  # references, the latest, that both sides keep
COMPARED = 3  # of them, the most alike in pose, whose pictures are compared with a frame: each takes 40 ms
RESEND_PACKETS = 12  # after which pieces are sent again if no report tells of the content
SERVES = 0.7  # share of the current reference's error, below which that of another must be
TRY_SECONDS = 0.5  # from one comparison of references to the next: one costs as much as a packet
URGENT_PIECES = 3  # that go with a packet where the reference in use fails
START_CONTENTS = 2  # references that are sent whatever they take: a quick one, and the better one a second later


@dataclass(eq=False)
class SentReference:
    """A reference that was made."""

    number: int
    content: Content
    reference: Reference
    candidate: Candidate | None  # None: the face of another person
    pieces: list[Fragment]
    queue: deque[int]  # pieces to be sent
    urgent: bool = False  # whether the reference before it fails
    whole: bool = False  # whether the receiver has it, as far as is known
    sent_at: int = 0  # packet in which its last piece was

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
        self._tried_again = 0  # frame from which references that the receiver has may be compared again
        self._making: tuple[Candidate, bool, Future] | None = None  # of what, and whether it is urgent
        self._entries: list[SentReference] = []  # the latest HELD
        self._coming: SentReference | None = None  # becomes the current one when the receiver has it
        self._face = False  # whether another person's is shown
        self.current: SentReference | None = None
        self.count = 0  # references made so far
        self.kbps: float | None = None  # of motion, with which their size grows

    # ---- which one is used

    def switch(self) -> None:
        """Use the reference that was waited for, if the receiver has it."""
        if self._coming is not None and self._coming.whole:
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
        self._collect()
        if self._making is None and self._coming is None and self.count < MAX_CONTENTS:
            self._begin(next_frame, pictures[-1], motion[-1])

    def judge(self, error: float) -> None:
        """Take note of the error of a packet's frames with the current reference."""
        self._choice.judge(error)

    def show(self, content: Content | None) -> None:
        """Use the face of a content, of another person, from now on; None: references of one's own again."""
        self._face = content is not None
        self.current = self._coming = self._making = None
        if content is not None:
            self._add(content, None)
        else:
            self._choice = ReferenceChoice(self._rate)

    def close(self) -> None:
        """Wait for what is being made."""
        if self._worker is not None:
            self._worker.shutdown()

    def _begin(self, frame: int, picture: np.ndarray, motion: torch.Tensor) -> None:
        """Begin to make a reference if another one serves better than the current one; the newest frame is given."""
        current = None if self.current is None else self.current.candidate
        held = {e.candidate: e for e in self._entries if e.candidate is not None and e.whole and e is not self.current}
        urgent = self._choice.failing
        if urgent and self._serving(frame, list(held.values()), picture, motion):
            return
        best = self._choice.best(frame, current, list(held))
        if best is None:
            return
        if best in held:
            self._serving(frame, [held[best]], picture, motion)
            return
        first = current is None
        if self._worker is None or first:
            self._add(self.made(best, first or urgent), best, urgent)
        else:
            self._making = best, urgent, self._worker.submit(self.made, best, urgent)

    def _serving(self, frame: int, held: list[SentReference], picture: np.ndarray, motion: torch.Tensor) -> bool:
        """Use the one of the references held that shows a frame far better than the current one, if there is one."""
        if frame < self._tried_again:
            return False
        self._tried_again = frame + round(TRY_SECONDS * self._rate)
        turned = self._session.model.numbers(motion).cpu().numpy()[TURN]
        held = sorted(held, key=lambda entry: np.abs(entry.candidate.numbers[TURN] - turned).sum())[:COMPARED]
        errors = [self._motion.error_with(picture, motion, entry.reference) for entry in held]
        if not errors or min(errors) > SERVES * self._motion.warp_error:
            return False
        self.current = held[int(np.argmin(errors))]
        self._choice.changed()
        return True

    def made(self, candidate: Candidate, quick: bool) -> Content:
        """The content of a candidate; `quick`: by a faster search."""
        chosen = choose_picture(self._session, candidate.picture[None], candidate.motion[None])
        preset, later = QUICK_PRESET if quick else PRESET, self.count >= START_CONTENTS
        return make_picture_content(self._session, chosen, self.kbps, preset=preset, later=later)

    def _collect(self) -> None:
        if self._making is not None and self._making[2].done():
            candidate, urgent, made = self._making
            self._making = None
            self._add(made.result(), candidate, urgent)

    def _add(self, content: Content, candidate: Candidate | None, urgent: bool = False) -> None:
        content = replace(content, number=self.count, first_frame=0)
        payload, _ = pack_content(content, self._session.tables, self._profile)
        pieces = split_content(self.count, payload)
        reference = reference_of(self._session, content)
        entry = SentReference(self.count, content, reference, candidate, pieces, deque(range(len(pieces))), urgent)
        self.count += 1
        self._entries = [*self._entries[1 - HELD :], entry]
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
        return URGENT_PIECES if self.waiting and self._coming.urgent else 1

    def report(self, report: Report) -> None:
        """Take a report of the receiver; pieces of a content that it wants are handed out next."""
        for entry in self._entries:
            entry.whole |= entry.number == report.have
            if entry.number == report.wanted and not entry.queue:
                entry.whole, every = False, range(len(entry.pieces))
                entry.queue.extend(i for i in every if report.missing >> i & 1 or not report.missing)

    def send_again(self) -> None:
        """Take note that a receiver has come that has got nothing yet."""
        for entry in self._entries:
            needed = entry is self.current or entry is self._coming
            entry.whole, entry.queue = False, deque(range(len(entry.pieces)) if needed else ())

    def piece(self, sequence: int, room: float, calm: bool = False) -> Fragment | None:
        """The next piece to be sent, for packet `sequence`, the newest content first.

        None where the wire has no `room` for it, in bytes. `calm`: nothing was lost of late.
        """
        for entry in reversed(self._entries):
            if entry.queue:
                if not self._pressing(entry) and len(entry.pieces[entry.queue[0]].data) > room:
                    continue
                piece = entry.pieces[entry.queue.popleft()]
                entry.sent_at = sequence
                if not entry.queue and (calm or not self._reports):
                    entry.whole = True
                return piece
            needed = entry is self.current or entry is self._coming
            if needed and not entry.whole and sequence - entry.sent_at >= RESEND_PACKETS:
                entry.queue.extend(range(len(entry.pieces)))
        return None

    def _pressing(self, entry: SentReference) -> bool:
        """Whether a content is sent whatever it takes: a session begins, or nothing can be shown without it."""
        return entry.number < START_CONTENTS or (entry is self.current and not entry.whole)
