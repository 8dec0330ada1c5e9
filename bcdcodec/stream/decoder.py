"""Packets to frames, as they come."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import torch
from torch import Tensor

from bcdcodec.coding.session import Session
from bcdcodec.errors import BcdError
from bcdcodec.models.base import Reference
from bcdcodec.stream.causal_motion import check_live
from bcdcodec.stream.encoder import check_described
from bcdcodec.stream.motion_coder import MotionReader
from bcdcodec.stream.packet_pictures import PacketPictures
from bcdcodec.stream.packets import ControlPacket, Description, EndPacket, Fragment, MediaPacket, MotionPart, Packet
from bcdcodec.stream.received_references import ReceivedReferences
from bcdcodec.stream.sequence import content_number, unwrapped

EASED = 0.6  # of the way from the picture that stayed to the first one after a loss, that this one shows
INTERPOLATED_SECONDS = 0.5  # between coded frames: what is lost for longer is not shown at all


@dataclass(frozen=True, eq=False)
class Frame:
    """A decoded frame."""

    number: int
    seconds: float  # from the start of the stream
    picture: np.ndarray  # uint8 [h, w, 3]
    interpolated: bool = False  # no codes of it came


class StreamDecoder:
    """One direction of a stream, on the receiver's side. Packets come in the order in which they were sent."""

    def __init__(self, session: Session):
        """Raises ModelError for a model that cannot be streamed."""
        check_live(session)
        self.session = session
        self.description: Description | None = None
        self.ended: str | None = None  # reason of the other side's end, empty for a plain one
        self.pictures = PacketPictures(session)
        self.references = ReceivedReferences(session)
        self._reader: MotionReader | None = None
        self._sequence: int | None = None  # of the packet before
        self._last: tuple[int, Tensor, int] | None = None  # newest coded frame: its number, motion [m], content

    @property
    def frame_seconds(self) -> float:
        """Seconds from a frame to the next; 0 before the description."""
        head = None if self.description is None else self.description.head
        return 0.0 if head is None else float(Fraction(head.time_base_num, head.time_base_den) * head.frame_duration)

    def push(self, packet: Packet, since: int = 0) -> list[Frame]:
        """The frames that a packet brings, and those between, which are interpolated.

        Those before `since` are left out, but for the last one of a packet.

        Packets that were lost cost those after them that are coded with them. Raises ModelMismatchError for a session
        of another model, FormatError and its kinds for a packet that cannot be used; those after it can.
        """
        return list(self.frames(packet, since, first_alone=False))

    def frames(self, packet: Packet, since: int = 0, first_alone: bool = True) -> Iterator[Frame]:
        """As `push`, as they are decoded.

        `first_alone`: the first is there in less than half the time, and all take a tenth longer. Each alone would take
        nearly as long as a packet lasts on two cores, so that a packet that comes late would delay all after it.
        """
        if isinstance(packet, Description):
            self._describe(packet)
        elif isinstance(packet, EndPacket):
            self.ended = packet.reason
        elif isinstance(packet, ControlPacket):
            self._take(packet.fragment)
        else:
            yield from self._media(packet, since, first_alone)

    def lost(self, sequence: int) -> list[Frame]:
        """Take note that a media packet, by its number modulo 65536, will not come.

        There is nothing to be shown for it yet: the last frame stays, and what lies between it and the next one that
        comes is interpolated.
        """
        if self._reader is not None and self._sequence is not None:
            number = unwrapped(sequence, self._sequence + 1)
            if number > self._sequence:
                self._reader.miss()
                self._sequence = number
        return []

    def _describe(self, description: Description) -> None:
        check_described(self.session, description)
        before, self.description = self.description, description
        if before is None or before.head.entropy_profile != description.head.entropy_profile:
            self._reader = MotionReader(self.session.tables, description.head.entropy_profile)

    def _take(self, fragment: Fragment | None) -> None:
        if fragment is not None and self.description is not None:
            self.references.take(fragment, self.description.head)

    def _media(self, packet: MediaPacket, since: int, first_alone: bool) -> Iterator[Frame]:
        if self._reader is None:
            return  # not described yet
        near = 0 if self._sequence is None else self._sequence + 1
        sequence = unwrapped(packet.sequence, near)
        if self._sequence is not None and sequence <= self._sequence:
            return  # it came before, or too late
        if self._sequence is not None and sequence != self._sequence + 1:
            self._reader.miss()
        self._sequence = sequence
        try:
            self._take(packet.fragment)
        except BcdError:
            pass  # asked for again
        if packet.motion is None:
            self._reader.miss()
            return
        part = packet.motion
        codes = self._reader.read(part.coded, part.coded_frames, part.restart)
        shown, reference, own = ([], None, False) if codes is None else self._motion(sequence, codes, part, since)
        if reference is None:
            return
        second = self.frame_seconds
        self.pictures.begin(reference, shown[-1][0], shown[-1][1])
        for some in (shown[:1], shown[1:]) if first_alone else (shown,):
            if not some:
                continue
            numbers, motion = [number for number, _, _ in some], torch.stack([vector for _, vector, _ in some])
            for (number, _, between), picture in zip(some, self.pictures.pictures(numbers, motion, own), strict=True):
                yield Frame(number, number * second, picture, between)

    @torch.inference_mode()
    def _motion(
        self, sequence: int, codes: np.ndarray, part: MotionPart, since: int
    ) -> tuple[list[tuple[int, Tensor, bool]], Reference | None, bool]:
        """Number, motion [m] of the frames to be shown, and whether they lie between coded ones; with what reference.

        And whether that is the reference of the motion.
        """
        first = sequence * self.description.packet_frames
        vectors = self.session.model.vq.lookup(torch.from_numpy(codes.astype(np.int64))[None].to(self.session.device))
        have = self.references.have
        number = content_number(part.content, -1 if have is None else have)
        found = self.references.find(number)
        coded = [(first + i * part.stride, vector) for i, vector in enumerate(vectors[0])]
        shown: list[tuple[int, Tensor, bool]] = []
        for at, vector in coded:
            if self._last is not None:
                before, old, content = self._last
                gap = at - before
                if 1 < gap <= INTERPOLATED_SECONDS / self.frame_seconds and content == number:
                    between = range(max(before + 1, since), at)
                    shown += [(i, torch.lerp(old, vector, (i - before) / gap), True) for i in between]
                    if since >= at:  # it is too late for those between: one step on the way instead of a jump
                        vector = torch.lerp(old, vector, EASED)
            shown.append((at, vector, False))
            self._last = at, vector, number
        shown = [each for each in shown if each[0] >= since] or shown[-1:]  # something, however late
        return shown, *(found or (None, False))
