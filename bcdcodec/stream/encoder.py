"""Frames, one by one as they come, to packets."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
from torch import Tensor

from bcdcodec.coding.head import Geometry, make_head
from bcdcodec.coding.session import Session
from bcdcodec.container import Content
from bcdcodec.errors import FormatError, ModelMismatchError
from bcdcodec.stream.causal_motion import CausalMotion, check_live
from bcdcodec.stream.motion import StreamMotion
from bcdcodec.stream.motion_coder import LONGEST, MotionWriter
from bcdcodec.stream.packets import (
    CONTENT_NUMBERS,
    HISTORY,
    MAX_PACKET_FRAMES,
    SEQUENCES,
    ControlPacket,
    Description,
    MediaPacket,
    MotionPart,
    Packet,
    Report,
    pack_packet,
)
from bcdcodec.stream.rate import LiveRateControl, WireBudget
from bcdcodec.stream.recorder import StreamRecorder
from bcdcodec.stream.sent_references import START_CONTENTS, SentReference, SentReferences
from bcdcodec.stream.sequence import unwrapped
from bcdcodec.stream.wire import SRTP_BYTES

HEADER_BYTES = 4
MOST_SOUND = 2  # Opus packets that wait for pictures
CALM_PACKETS = 40  # without a loss, after which restarts become rare
FIRST_CALM_PACKETS = 12  # likewise before the first loss of a session
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


class StreamEncoder:
    """One direction of a stream, on the sender's side."""

    def __init__(self, session: Session, options: LiveOptions | None = None, motion: StreamMotion | None = None):
        """`motion`: what gives the codes of pictures; None: `CausalMotion` of the session.

        Raises ModelError for a model that cannot be streamed, or has no tables for the profile.
        """
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
        self._motion = CausalMotion(session) if motion is None else motion
        self._writer = MotionWriter(session.tables, self.head.entropy_profile)
        self._control = LiveRateControl(options.kbps, session.model.vq.rate_lambda.item(), self.packet_seconds)
        self._budget = WireBudget(options.wire_kbps, self.packet_seconds)
        self.references = SentReferences(
            session, self._motion, self.head.content_profile, options.reports, options.background
        )
        self.references.kbps = options.kbps
        self._first_pts: int | None = None
        self._next = 0  # number of the frame that comes next
        self._waiting: list[np.ndarray] = []  # pictures of the packet that is being filled
        self._seen: tuple[int, np.ndarray, Tensor] | None = None  # what references were not chosen by yet
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
        self._look()
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
        self.references.kbps = kbps
        own = self.session.model.vq.rate_lambda.item()
        self._control = LiveRateControl(kbps, own, self.packet_seconds)

    @property
    def packet_seconds(self) -> float:
        """Time that a packet takes to be spoken."""
        return self.options.packet_frames / self._rate

    @property
    def next_frame(self) -> int:
        """Number of the frame that comes next."""
        return self._next

    def flush(self) -> list[Packet]:
        """The packets of what is left; the stream ends."""
        packets = self._packets() if self._waiting else []
        self.references.close()
        return packets

    def receive(self, report: Report) -> None:
        """Take a report of the receiver; pieces of a content that it wants are among the next packets."""
        since = unwrapped(report.highest, self._sequence) - self._joined  # packets that the receiver could have got
        lost = min(HISTORY, max(0, since)) - bin(report.received).count("1")
        self._since_loss = 0 if lost > 0 else self._since_loss
        self.references.report(report)

    def meet(self, description: Description) -> None:
        """Take note of the other side's description: it need not be sent any more, and may know this side's."""
        self._answered |= description.answered and not self._asked
        self._asked |= not description.answered or not self._other_described
        self._other_described = True

    def joined(self) -> None:
        """Take note that a receiver has come that has got nothing yet: the next packets hold all that it needs."""
        self._answered, self._asked = False, True
        self._since_restart, self._joined = LONGEST, self._sequence
        self.references.send_again()

    def show_face(self, content: Content | None) -> None:
        """Show the face of a content, of another person, from now on; None: one's own again.

        The receiver must be told by a new description, which is among the next packets.
        """
        self._answered, self._asked = False, True
        self.head = replace(self.head, reenacted=content is not None)
        self.references.show(content)

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
        entry, codes = self._code(waiting)
        stride = self._control.stride
        part, size = None, HEADER_BYTES
        if entry is not None:
            restart = self._since_restart >= self._restart_packets()
            coded, restart = self._writer.write(codes, restart)
            self._since_restart = 1 if restart else self._since_restart + 1
            part = MotionPart(len(waiting), entry.number % CONTENT_NUMBERS, coded, restart, stride)
            size += len(coded)
            if self.recorder is not None:
                base = None if entry.base is None else entry.base.content
                first = self._sequence * self.options.packet_frames
                self.recorder.add_motion(entry.content, base, first, codes, part)
        self._control.sent(size, self._budget.motion_kbps(self.references.waiting))
        sound = self._sound.popleft() if self._sound else None
        if sound is not None and self.recorder is not None:
            self.recorder.add_sound(self._sequence * self.options.packet_frames, sound)
        if entry is not None and not entry.ready:  # nothing can be shown before: all of it at once
            while (piece := self.references.piece(self._sequence, self._budget.room())) is not None:
                packets.append(ControlPacket(piece))
        pieces, taken = [], 0
        for _ in range(self.references.pieces_at_once):
            piece = self.references.piece(self._sequence, self._budget.room() - taken, self._calm)
            if piece is not None:
                pieces.append(piece)
                taken += len(piece.data) + self.options.overhead
        packets += [ControlPacket(piece) for piece in pieces[:-1]]
        packets.append(MediaPacket(self._sequence % SEQUENCES, part, sound, pieces[-1] if pieces else None))
        self._spend(packets, size)
        self._sequence += 1
        self._since_loss += 1
        return packets

    def _code(self, pictures: list[np.ndarray]) -> tuple[SentReference | None, np.ndarray]:
        """The reference of a packet's pictures, and their codes uint8 [u, g]."""
        count, which = self._distinct(pictures)  # a picture that is shown on is looked at once
        distinct = np.stack(pictures)[which]
        base, motion = self._motion.read(distinct)
        self._seen = self._next, distinct, motion
        if self.references.current is None:
            self._look()
        self.references.switch()
        entry, stride = self.references.current, self._control.stride
        coded = slice(None, None, stride) if len(which) == len(pictures) else slice(None)
        if entry is None or entry.candidate is None or not self.enhanced:
            codes = self._motion.base_alone(base[coded])
        else:
            codes = self._motion.codes(
                distinct[coded], base[coded], motion[coded], entry.reference, self._control.lambda_
            )
            self.references.judge(self._motion.warp_error)
        return entry, codes if len(which) == len(pictures) else codes[count[::stride]]

    def _look(self) -> None:
        """Choose references by the last packet's pictures: once that has left, as it takes time."""
        if self._seen is not None:
            self.references.look(*self._seen)
            self._seen = None

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
        return round(self._rate / self.options.packet_frames) if self._calm else 1

    @property
    def _calm(self) -> bool:
        """Whether reports have told of no loss for a while."""
        return self.options.reports and self._since_loss > CALM_PACKETS


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
