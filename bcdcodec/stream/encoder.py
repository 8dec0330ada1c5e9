"""Frames, one by one as they come, to packets."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
import torch

from bcdcodec.coding.content import reference_of
from bcdcodec.coding.head import Geometry, make_head
from bcdcodec.coding.picture_content import choose_picture, make_picture_content
from bcdcodec.coding.session import Session
from bcdcodec.container import Content
from bcdcodec.container.payloads import MAX_CONTENTS, pack_content
from bcdcodec.errors import FormatError, ModelMismatchError
from bcdcodec.models.base import Reference
from bcdcodec.stream.causal_motion import CausalMotion, check_live
from bcdcodec.stream.fragments import split_content
from bcdcodec.stream.motion_coder import LONGEST, MotionWriter
from bcdcodec.stream.packets import (
    CONTENT_NUMBERS,
    HISTORY,
    MAX_PACKET_FRAMES,
    SEQUENCES,
    ControlPacket,
    Description,
    Fragment,
    MediaPacket,
    MotionPart,
    Packet,
    Report,
    pack_packet,
)
from bcdcodec.stream.rate import LiveRateControl, WireBudget
from bcdcodec.stream.recorder import StreamRecorder
from bcdcodec.stream.reference_choice import Candidate, ReferenceChoice
from bcdcodec.stream.sequence import unwrapped
from bcdcodec.stream.wire import SRTP_BYTES
from bcdcodec.video.av1 import PRESET, QUICK_PRESET

HEADER_BYTES = 4
MOST_SOUND = 2  # Opus packets that wait for pictures
HELD = 4  # references, the latest, that both sides keep
RESEND_PACKETS = 12  # after which fragments are sent again if no report tells of the content
CALM_PACKETS = 40  # without a loss, after which restarts become rare
FIRST_CALM_PACKETS = 12  # likewise before the first loss of a session
SERVES = 0.7  # share of the current reference's error, below which that of another must be
TRY_SECONDS = 0.5  # from one comparison of references to the next: one costs as much as a packet
START_CONTENTS = 2  # references that are sent whatever they take: a quick one, and the better one a second later
LONGEST_GAP_SECONDS = 0.5  # without a frame, that is filled with the frame before; after a longer one time goes on


@dataclass(frozen=True)
class LiveOptions:
    """How a stream is coded."""

    kbps: float | None = None  # of motion and its headers; None: the model's own lambda, at most MOST_KBPS
    wire_kbps: float | None = None  # of all that is sent, headers of the network included; None: no limit
    overhead: int = SRTP_BYTES  # bytes of the network's headers a packet
    profile: str | None = None  # static or context; None: the best that the model has tables for
    packet_frames: int = 3  # 1..8; with sound at most 3
    sound: bool = False  # whether sound will be given
    reports: bool = False  # whether the receiver reports: a new reference is then used once it has it
    restart_packets: int | None = (
        None  # packets from one restart to the next; None: 1, and a second's where none is lost
    )
    time_base: Fraction | None = None  # seconds a tick of pts; None: frames at the model's rate
    background: bool = False  # whether references are encoded beside, in a thread
    width: int | None = None  # of the source picture, pixels, for the description; None: the model's
    height: int | None = None


@dataclass(eq=False)
class _Entry:
    """A reference that was made."""

    number: int
    content: Content
    reference: Reference
    candidate: Candidate | None  # None: the face of another person
    pieces: list[Fragment]
    queue: deque[int]  # pieces to be sent
    whole: bool = False  # whether the receiver has it, as far as is known
    sent_at: int = 0  # packet in which its last piece was


class StreamEncoder:
    """One direction of a stream, on the sender's side."""

    def __init__(self, session: Session, options: LiveOptions | None = None):
        """Raises ModelError for a model that cannot be streamed, or has no tables for the profile."""
        self.options = options = options or LiveOptions()
        check_live(session)
        if not 1 <= options.packet_frames <= (3 if options.sound else MAX_PACKET_FRAMES):
            raise FormatError(
                f"{options.packet_frames} frames a packet are asked for, expected 1 to {MAX_PACKET_FRAMES}, "
                "and with sound at most 3"
            )
        self.session, self._rate = session, session.config.frame_rate
        size = session.picture_size
        width, height = options.width or size, options.height or size
        side = min(width, height)
        geometry = Geometry(width, height, ((width - side) // 2, (height - side) // 2, side, side))
        frame = Fraction(1) / Fraction(self._rate).limit_denominator(1000)
        self.head = make_head(session.folder, geometry, frame, 1, profile=options.profile)
        self.time_base = options.time_base or frame
        self.recorder: StreamRecorder | None = None  # gets what is sent
        self._motion = CausalMotion(session)
        self._writer = MotionWriter(session.tables, self.head.entropy_profile)
        packet_seconds = options.packet_frames / self._rate
        self._control = LiveRateControl(options.kbps, session.model.vq.rate_lambda.item(), packet_seconds)
        self._budget = WireBudget(options.wire_kbps, packet_seconds)
        self._choice = ReferenceChoice(self._rate)
        self._worker = ThreadPoolExecutor(1, "reference") if options.background else None
        self._tried_again = 0  # frame from which references that the receiver has may be compared again
        self._making: tuple[Candidate | None, Future] | None = None
        self._entries: list[_Entry] = []  # the latest HELD
        self._current: _Entry | None = None
        self._coming: _Entry | None = None  # becomes the current one when the receiver has it
        self._face: Content | None = None  # of another person, shown instead
        self._count = 0  # contents
        self._first_pts: int | None = None
        self._next = 0  # number of the frame that comes next
        self._waiting: list[np.ndarray] = []  # pictures of the packet that is being filled
        self._sequence = 0  # of the next packet
        self._joined = 0  # number of the first packet that the receiver can have
        self._since_restart = 0
        self._since_loss = CALM_PACKETS - FIRST_CALM_PACKETS  # packets
        self._sound: deque[bytes | None] = deque()
        self.enhanced = True  # whether the enhancement layer is coded: it takes half of the time
        self._answered = False  # whether the receiver has the description
        self._other_described = False  # whether the other side's has come here
        self._asked = False  # whether the other side still asks for it

    # ---- what goes in

    def push(self, frame: np.ndarray, pts: int) -> list[Packet]:
        """The packets that a frame uint8 [h, w, 3], shown at `pts` ticks, completes.

        Frames are put on a grid of the model's frame rate: one that comes too soon replaces the one before it, and
        where one is missing the one before is shown on. Raises FormatError for another size or times that go back.
        """
        size = self.session.picture_size
        if frame.shape != (size, size, 3) or frame.dtype != np.uint8:
            raise FormatError(f"the frame is {frame.dtype} {list(frame.shape)}, expected uint8 [{size}, {size}, 3]")
        self._first_pts = pts if self._first_pts is None else self._first_pts
        number = round((pts - self._first_pts) * self.time_base * Fraction(self._rate))
        if number < self._next - 1:
            raise FormatError(f"a frame at {pts} ticks comes after one that is shown later")
        if number == self._next - 1:
            if self._waiting:
                self._waiting[-1] = frame
            return []
        gap = number - self._next
        if gap > LONGEST_GAP_SECONDS * self._rate:
            self._first_pts += int(gap / (self.time_base * Fraction(self._rate)))
            gap = 0
        packets = []
        for picture in [self._waiting[-1] if self._waiting else frame] * gap + [frame]:
            self._waiting.append(picture)
            self._next += 1
            if len(self._waiting) == self.options.packet_frames:
                packets += self._packets()
        return packets

    def add_sound(self, packet: bytes | None) -> None:
        """Take the Opus packet of the next media packet's time; None: silence."""
        self._sound.append(packet)
        while len(self._sound) > MOST_SOUND:  # pictures have stopped
            self._sound.popleft()

    def set_rate(self, kbps: float | None) -> None:
        """Code motion at another rate from now on, kbit/s; None: by the model's own lambda."""
        self.options = replace(self.options, kbps=kbps)
        own = self.session.model.vq.rate_lambda.item()
        self._control = LiveRateControl(kbps, own, self.options.packet_frames / self._rate)

    @property
    def next_frame(self) -> int:
        """Number of the frame that comes next."""
        return self._next

    def flush(self) -> list[Packet]:
        """The packets of what is left; the stream ends."""
        packets = self._packets() if self._waiting else []
        if self._worker is not None:
            self._worker.shutdown()
        return packets

    def receive(self, report: Report) -> None:
        """Take a report of the receiver; pieces of a content that it wants are among the next packets."""
        since = unwrapped(report.highest, self._sequence) - self._joined  # packets that the receiver could have got
        lost = min(HISTORY, max(0, since)) - bin(report.received).count("1")
        self._since_loss = 0 if lost > 0 else self._since_loss
        if report.have is not None:
            for entry in self._entries:
                entry.whole |= entry.number == report.have
        for entry in self._entries:
            if entry.number == report.wanted and not entry.queue:
                every = range(len(entry.pieces))
                entry.queue.extend(i for i in every if report.missing >> i & 1 or not report.missing)

    def meet(self, description: Description) -> None:
        """Take note of the other side's description: it need not be sent any more, and may know this side's."""
        self._answered |= description.answered and not self._asked
        self._asked |= not description.answered or not self._other_described
        self._other_described = True

    def joined(self) -> None:
        """Take note that a receiver has come that has got nothing yet: the next packets hold all that it needs."""
        self._answered, self._asked = False, True
        self._since_restart, self._joined = LONGEST, self._sequence
        for entry in self._entries:
            needed = entry is self._current or entry is self._coming
            entry.whole, entry.queue = False, deque(range(len(entry.pieces)) if needed else ())

    def show_face(self, content: Content | None) -> None:
        """Show the face of a content, of another person, from now on; None: one's own again.

        The receiver must be told by a new description, which is among the next packets.
        """
        self._face, self._answered, self._asked = content, False, True
        self.head = replace(self.head, reenacted=content is not None)
        self._current = self._coming = self._making = None
        if content is not None:
            self._add(content, None)
        else:
            self._choice = ReferenceChoice(self._rate)

    def describe(self) -> Description:
        """The description of this direction."""
        return Description(self.head, self.options.packet_frames, self.options.sound, self._other_described)

    @property
    def lambda_(self) -> float:
        """The Lagrangian multiplier now."""
        return self._control.lambda_

    # ---- what comes out

    def _packets(self) -> list[Packet]:
        waiting, self._waiting = self._waiting, []
        packets: list[Packet] = []
        often = max(1, round(self._rate / self.options.packet_frames))  # once a second
        if self._asked or (not self._answered and self._sequence % often == 0):
            self._asked = False
            packets.append(self.describe())
        count, which = self._distinct(waiting)  # a picture that is shown on is looked at once
        pictures = np.stack(waiting)[which]
        base, motion = self._motion.read(pictures)
        self._choose(pictures, motion)
        entry, stride = self._current, self._control.stride
        coded = slice(None, None, stride) if len(which) == len(waiting) else slice(None)
        if entry is None or entry.candidate is None or not self.enhanced:
            codes = self._motion.base_alone(base[coded])
        else:
            codes = self._motion.codes(
                pictures[coded], base[coded], motion[coded], entry.reference, self._control.lambda_
            )
            self._choice.judge(self._motion.warp_error)
        if len(which) < len(waiting):
            codes = codes[count[::stride]]
        part, size = None, HEADER_BYTES
        if entry is not None:
            restart = self._since_restart >= self._restart_packets()
            coded, restart = self._writer.write(codes, restart)
            self._since_restart = 1 if restart else self._since_restart + 1
            part = MotionPart(len(waiting), entry.number % CONTENT_NUMBERS, coded, restart, stride)
            size += len(coded)
            if self.recorder is not None:
                self.recorder.add_motion(entry.content, self._sequence * self.options.packet_frames, codes, part)
        self._control.sent(size, self._budget.motion_kbps(self._coming is not None and bool(self._coming.queue)))
        sound = self._sound.popleft() if self._sound else None
        if sound is not None and self.recorder is not None:
            self.recorder.add_sound(self._sequence * self.options.packet_frames, sound)
        if self._current is not None and not self._current.whole:  # nothing can be shown before: all of it at once
            while (fragment := self._fragment()) is not None:
                packets.append(ControlPacket(fragment))
        packets.append(MediaPacket(self._sequence % SEQUENCES, part, sound, self._fragment()))
        self._spend(packets, size)
        self._sequence += 1
        self._since_loss += 1
        return packets

    def _spend(self, packets: list[Packet], motion: int) -> None:
        """Count packets, with `motion` bytes of motion and its header, against the budget of the wire."""
        every = start = 0
        variable = motion
        for packet in packets:
            size = len(pack_packet(packet)) + self.options.overhead
            piece = packet.fragment if isinstance(packet, MediaPacket | ControlPacket) else None
            extra = size if not isinstance(packet, MediaPacket) else 0 if piece is None else len(piece.data)
            begins = piece is None or piece.content < START_CONTENTS
            every, variable, start = every + size, variable + extra, start + extra * begins
        self._budget.sent(every, variable, start)

    @staticmethod
    def _distinct(pictures: list[np.ndarray]) -> tuple[list[int], list[int]]:
        """For each picture the place of its like among the distinct ones, and the numbers of those."""
        places, which = [], []
        for i, picture in enumerate(pictures):
            if not i or picture is not pictures[i - 1]:
                which.append(i)
            places.append(len(which) - 1)
        return places, which

    def _restart_packets(self) -> int:
        if self.options.restart_packets is not None:
            return self.options.restart_packets
        calm = self.options.reports and self._since_loss > CALM_PACKETS
        return round(self._rate / self.options.packet_frames) if calm else 1

    # ---- references

    def _choose(self, pictures: np.ndarray, motion: torch.Tensor) -> None:
        """Look at the pictures, begin to make a reference that is needed, and use one that the receiver has."""
        if self._face is None:
            numbers = self.session.model.numbers(motion).cpu().numpy()
            first = self._next - len(pictures)  # about, where some are shown on
            for i, (picture, each) in enumerate(zip(pictures, numbers)):
                self._choice.look(first + i, picture, each, motion[i])
            self._collect()
            if self._making is None and self._coming is None and self._count < MAX_CONTENTS:
                self._begin(pictures[-1], motion[-1])
        coming = self._coming
        if coming is not None and coming.whole:
            self._current, self._coming = coming, None
            self._choice.changed()

    def _begin(self, picture: np.ndarray, motion: torch.Tensor) -> None:
        """Begin to make a reference if another one serves better than the current one; the newest frame is given."""
        current = None if self._current is None else self._current.candidate
        held = {e.candidate: e for e in self._entries if e.candidate is not None and e.whole and e is not self._current}
        urgent = self._choice.failing
        if urgent and self._serving(list(held.values()), picture, motion):
            return
        best = self._choice.best(self._next, current, list(held))
        if best is None:
            return
        if best in held:
            self._serving([held[best]], picture, motion)
            return
        first = current is None
        make = lambda: self._made(best, first or urgent)  # noqa: E731
        if self._worker is None or first:
            self._add(make(), best)
        else:
            self._making = best, self._worker.submit(make)

    def _serving(self, held: list[_Entry], picture: np.ndarray, motion: torch.Tensor) -> bool:
        """Use the one of the references held that shows a frame far better than the current one, if there is one."""
        if self._next < self._tried_again:
            return False
        self._tried_again = self._next + round(TRY_SECONDS * self._rate)
        errors = [self._motion.error_with(picture, motion, entry.reference) for entry in held]
        if not errors or min(errors) > SERVES * self._motion.warp_error:
            return False
        self._current = held[int(np.argmin(errors))]
        self._choice.changed()
        return True

    def _made(self, candidate: Candidate, quick: bool) -> Content:
        chosen = choose_picture(self.session, candidate.picture[None], candidate.motion[None])
        return make_picture_content(self.session, chosen, self.options.kbps, preset=QUICK_PRESET if quick else PRESET)

    def _collect(self) -> None:
        if self._making is not None and self._making[1].done():
            candidate, made = self._making
            self._making = None
            self._add(made.result(), candidate)

    def _add(self, content: Content, candidate: Candidate | None) -> None:
        content = replace(content, number=self._count, first_frame=0)
        payload, _ = pack_content(content, self.session.tables, self.head.content_profile)
        pieces = split_content(self._count, payload)
        entry = _Entry(
            self._count, content, reference_of(self.session, content), candidate, pieces, deque(range(len(pieces)))
        )
        self._count += 1
        self._entries = [*self._entries[1 - HELD :], entry]
        if self._current is None:
            self._current = entry
        else:
            self._coming = entry

    def _fragment(self) -> Fragment | None:
        """The next piece of a content to be sent, the newest content first; None where the wire has no room for it."""
        room = self._budget.room()
        for entry in reversed(self._entries):
            if entry.queue:
                if not self._pressing(entry) and len(entry.pieces[entry.queue[0]].data) > room:
                    continue
                piece = entry.pieces[entry.queue.popleft()]
                entry.sent_at = self._sequence
                if not entry.queue and not self.options.reports:
                    entry.whole = True
                return piece
            waited = self._sequence - entry.sent_at
            needed = entry is self._current or entry is self._coming
            if needed and not entry.whole and waited >= RESEND_PACKETS:
                entry.queue.extend(range(len(entry.pieces)))
        return None

    def _pressing(self, entry: _Entry) -> bool:
        """Whether a content is sent whatever it takes: a session begins, or nothing can be shown without it."""
        return entry.number < START_CONTENTS or (entry is self._current and not entry.whole)


def check_described(session: Session, described: Description) -> None:
    """Raise ModelMismatchError unless the other side's model and tables are those of this side."""
    tables, head = session.tables, described.head
    mine = make_head(
        session.folder,
        Geometry(16, 16, (0, 0, 16, 16)),
        Fraction(1, 25),
        1,
        profile="context" if head.entropy_profile and tables.context is not None else "static",
    )
    for name, ours, theirs in (
        ("model", mine.model_fingerprint, head.model_fingerprint),
        ("entropy tables", mine.tables_fingerprint, head.tables_fingerprint),
    ):
        if ours != theirs:
            raise ModelMismatchError(
                f"the other side uses {name} {head.model_name!r} ({theirs.hex()[:12]}), this side "
                f"{session.folder.name!r} ({ours.hex()[:12]}): use the same model on both"
            )
