"""References for reenactment: what a content shows when the motion is another recording's (cross-identity)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from weakref import WeakKeyDictionary

import numpy as np
import torch

from bcdcodec.coding.content import reference_motion, reference_of
from bcdcodec.coding.decoder import Key, References
from bcdcodec.coding.session import Session
from bcdcodec.container import Content, Head
from bcdcodec.models.base import Reference
from bcdcodec.models.faces.reference import FacesReference, Transfer
from bcdcodec.models.heads.reference import HeadsReference
from bcdcodec.models.latents import to_uint8
from bcdcodec.reenactment.expression import landmarks_moved, retargeted, turned
from bcdcodec.reenactment.head_pose import turned_landmarks
from bcdcodec.reenactment.landmarks import can_find_landmarks, landmark_finder
from bcdcodec.reenactment.options import ReenactmentOptions
from bcdcodec.reenactment.poser import Poser
from bcdcodec.reenactment.poser_folder import load_poser

_posers: WeakKeyDictionary[Session, Poser | None] = WeakKeyDictionary()


def poser_of(session: Session) -> Poser | None:
    """The poser of a model, loaded when it is first asked for. Raises ModelError for a damaged one."""
    if session not in _posers:
        _posers[session] = load_poser(session.folder, session.device)
    return _posers[session]


class RetargetedReferences(References):
    """The contents of one recording, shown in the motion of another, whose own contents are the `drivers`."""

    def __init__(
        self,
        session: Session,
        contents: Sequence[Content],
        drivers: Sequence[Content] = (),
        options: ReenactmentOptions | None = None,
    ):
        """`drivers`: none where they are not known, as of a file that is itself reenacted."""
        super().__init__(session, contents)
        self._drivers = {content.number: content for content in drivers}
        self._first = drivers[0] if drivers else None
        self._options = options or ReenactmentOptions()

    def key(self, number: int) -> Key:
        return super().key(number)[0], number if number in self._drivers else None

    def reference(self, key: Key, frame: int) -> Reference:
        driver, options = self._drivers.get(key[1]), self._options
        reference = retarget(self._session, self._content(key[0], frame), driver, options, self._first)
        if not isinstance(reference, HeadsReference) or reference.transport_flow is not None:
            # Transport flow by landmarks fits the other face better than the flow that the decoder adds.
            return reference
        return replace(reference, cross_identity=torch.ones(1, device=self._session.device))


def references_of(
    session: Session,
    head: Head,
    own: Sequence[Content],
    other: Sequence[Content] | None = None,
    options: ReenactmentOptions | None = None,
) -> References:
    """What motion of the recording of `head` and its `own` contents is decoded with.

    `other`: contents of another recording to be shown in that motion; None: its own.
    """
    made = head.reenacted or head.generated  # then its own contents are not those of the motion
    if other is None and not made:
        return References(session, own)
    drivers = () if other is None or made else own
    return RetargetedReferences(session, own if other is None else other, drivers, options)


@torch.inference_mode()
def retarget(
    session: Session,
    content: Content,
    driver: Content | None,
    options: ReenactmentOptions,
    first: Content | None = None,
) -> Reference:
    """The reference of a content for motion of another recording, whose content is the `driver`, where it is known.

    Where landmarks of both are found, the head is turned as the driver's is, unless the motion is to be `relative`,
    gets a transport flow from its face to the driver's, and the driver's residual basis. Else the poser turns it, and
    it has no residual basis, as another person's coefficients mislead. `first`: the content with which the driver's
    recording begins; as the driver's head has moved since, so is this one moved.
    """
    reference = reference_of(session, content, detailed=True)
    if isinstance(reference, FacesReference):
        began = first or driver
        motion = None if began is None else session.model.numbers(reference_motion(session, began)[0])
        transfer = Transfer(motion, options.relative, options.parts, options.strength)
        return replace(reference, transfer=transfer)
    if not isinstance(reference, HeadsReference) or reference.residual_basis is None:
        return reference
    if driver is None:
        return replace(reference, residual_basis=None)
    other = reference_of(session, driver)
    own, theirs = (_landmarks(session, x) if options.landmarks else None for x in (reference, other))
    if own is None or theirs is None:
        poser = None if options.relative else poser_of(session)
        return replace(reference if poser is None else poser.posed(reference, other), residual_basis=None)
    now = theirs  # where the driver's face is in the picture that motion is counted from
    if options.relative:
        now = landmarks_moved(theirs, session.model.flow_basis(reference.motion - other.motion))
    else:
        same = first is None or first.number == driver.number
        began = None if same else _landmarks(session, reference_of(session, first))
        here, there = turned_landmarks(own, theirs, began)
        reference, own = replace(turned(reference, here, there), motion=other.motion), there[: len(own)]
    return retargeted(reference, own, other.residual_basis, theirs, now)


def _landmarks(session: Session, reference: HeadsReference) -> np.ndarray | None:
    """Those [68, 2] of a reference image, fractions of the picture; None where they are not or cannot be found."""
    if not can_find_landmarks():
        return None
    return landmark_finder()(to_uint8(session.latents.decode(reference.image, None))[0])
