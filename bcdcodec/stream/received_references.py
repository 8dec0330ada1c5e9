"""The references of a stream on the receiver's side: put together of pieces, decoded, and kept."""

from __future__ import annotations

from collections import OrderedDict

from bcdcodec.coding.content import reference_of
from bcdcodec.coding.session import Session
from bcdcodec.container import Content, Head
from bcdcodec.container.payloads import unpack_content
from bcdcodec.errors import FormatError
from bcdcodec.models.base import Reference
from bcdcodec.models.faces.reference import FacesReference
from bcdcodec.stream.fragments import ContentAssembly
from bcdcodec.stream.packets import Fragment

KEPT = 8  # contents, the latest, that both sides keep
MOST_WAITING = 4  # inter frames at a time whose key frame has not come


class ReceivedReferences:
    """Takes pieces of contents, and tells what has come and what is missing."""

    def __init__(self, session: Session):
        self._session = session
        self.have: int | None = None  # number of the newest content that can be shown
        self.wanted: int | None = None  # number of a content that is needed and is not whole
        self._assembly = ContentAssembly()
        self._kept: OrderedDict[int, tuple[Content, Reference]] = OrderedDict()
        self._waiting: OrderedDict[int, Content] = OrderedDict()  # for the key frame that they refer to

    @property
    def missing(self) -> int:
        """Fragments that are missing of the content that is `wanted`, bit i for index i; 0: all."""
        return 0 if self.wanted is None else self._assembly.missing(self.wanted)

    def take(self, fragment: Fragment, head: Head) -> None:
        """Take a piece. Raises FormatError and its kinds for a content that cannot be used."""
        payload = self._assembly.add(fragment)
        open_ = self._assembly.newest_open()
        self.wanted = open_ if payload is None and open_ is not None else self.wanted
        if payload is None:
            return
        if self.wanted == fragment.content:
            self.wanted = None
        content = unpack_content(payload, self._session.tables, head.content_profile)
        if content.number != fragment.content:
            raise FormatError(f"fragments of content {fragment.content} hold content {content.number}")
        self._decode(content, head)
        for waiting in list(self._waiting.values()):
            if waiting.base == content.number:
                self._decode(self._waiting.pop(waiting.number), head)

    def find(self, number: int) -> tuple[Reference, bool] | None:
        """The reference of a content, and whether it is that; else the newest; None if there is none yet."""
        if number in self._kept:
            return self._kept[number][1], True
        if number in self._waiting:
            self.wanted = self._waiting[number].base
        elif number not in (self.wanted, self.have) and (self.have is None or number > self.have):
            self.wanted = number
        if not self._kept:
            return None
        return next(reversed(self._kept.values()))[1], False

    def _decode(self, content: Content, head: Head) -> None:
        """Decode a content and keep it, or let it wait for its key frame."""
        if content.base is not None and content.base not in self._kept:
            self._waiting[content.number] = content
            while len(self._waiting) > MOST_WAITING:
                self._waiting.popitem(last=False)
            self.wanted = content.base
            return
        base = None if content.base is None else self._kept[content.base][0]
        reference = reference_of(self._session, content, detailed=True, base=base)
        if head.reenacted and isinstance(reference, FacesReference):
            reference = reference.of_another()
        self._kept[content.number] = content, reference
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        self.have = content.number if self.have is None else max(self.have, content.number)
