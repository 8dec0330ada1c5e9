"""References for reenactment: what a content shows when the motion is another recording's (cross-identity)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from bcdcodec.coding.content import reference_motion, reference_of
from bcdcodec.coding.decoder import Key, References
from bcdcodec.coding.session import Session
from bcdcodec.container import Content, Head
from bcdcodec.models.base import Reference
from bcdcodec.models.faces.reference import FacesReference, Transfer
from bcdcodec.reenactment.options import ReenactmentOptions, check_reenactment


class RetargetedReferences(References):
    """The contents of one recording, shown in the motion of another."""

    def __init__(
        self, session: Session, contents: Sequence[Content], driver: Content | None, options: ReenactmentOptions
    ):
        """`driver`: the content with which the other recording begins; None: not known, as of a reenacted file."""
        super().__init__(session, contents)
        self._driver, self._options = driver, options

    def key(self, number: int) -> Key:
        return super().key(number)[0], number

    def reference(self, key: Key, frame: int) -> Reference:
        return retarget(self._session, self._content(key[0], frame), self._driver, self._options)


def references_of(
    session: Session,
    head: Head,
    own: Sequence[Content],
    other: Sequence[Content] | None = None,
    options: ReenactmentOptions | None = None,
) -> References:
    """What motion of the recording of `head` and its `own` contents is decoded with.

    `other`: contents of another recording to be shown in that motion; None: its own. Raises ModelError for a model
    that shows no other person's motion.
    """
    options = options or ReenactmentOptions()
    if other is not None:
        check_reenactment(session.config, options)
    made = head.reenacted or head.generated  # then its own contents are not those of the motion
    if other is None and not made:
        return References(session, own)
    driver = None if made or not own else own[0]
    return RetargetedReferences(session, own if other is None else other, driver, options)


@torch.inference_mode()
def retarget(session: Session, content: Content, driver: Content | None, options: ReenactmentOptions) -> Reference:
    """The reference of a content for motion of another recording, which begins with the content `driver`, if known."""
    reference = reference_of(session, content, detailed=True)
    if not isinstance(reference, FacesReference):
        return reference.of_another()
    motion = None if driver is None else session.model.numbers(reference_motion(session, driver)[0])
    return replace(reference, transfer=Transfer(motion, options.relative, options.parts, options.strength))
