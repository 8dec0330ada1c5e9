"""Pictures of the frames of a packet, in which the network of the surroundings runs once.

It takes a third of the time that a frame takes. Hair and shoulders move little within a packet: the maps of frames
before its last one are interpolated between those of the last frames of two packets.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from bcdcodec.coding.decoder import noise_of
from bcdcodec.coding.session import Session
from bcdcodec.models.faces.reference import FacesReference
from bcdcodec.models.faces.surroundings import Surroundings
from bcdcodec.models.latents import to_uint8

MOST_FRAMES = 6  # over which maps are interpolated, two packets: one was lost


class _Maps(NamedTuple):
    number: int  # of the frame
    said: Surroundings | None  # of one frame; None: the model has no such network


class PacketPictures:
    """The decoding networks of a stream, with their state."""

    def __init__(self, session: Session):
        self.drawing = True  # whether the drawing network draws; a slow machine shows the warp alone
        self._session = session
        self._noise = noise_of(session, 0)
        self._reference: FacesReference | None = None
        self._before: _Maps | None = None  # of the last frame of the packet before, with the same reference
        self._last: _Maps | None = None  # of the last frame of this packet

    @torch.inference_mode()
    def begin(self, reference: FacesReference, number: int, motion: Tensor) -> None:
        """Begin a packet whose last frame has this number and motion [m]."""
        known = reference is self._reference and self._last is not None and number - self._last.number <= MOST_FRAMES
        self._before = self._last if known else None
        self._reference = reference
        self._last = _Maps(number, self._session.model.maps_around(reference, motion[None, None]))

    @torch.inference_mode()
    def pictures(self, numbers: list[int], motion: Tensor, own: bool) -> np.ndarray:
        """Pictures uint8 [t, h, w, 3] of frames of the packet in motion [t, m]; not `own`: by the base layer alone."""
        model, base = self._session.model, self._session.model.config.base_channels
        if not own:
            motion = torch.cat([motion[:, :base], 0 * motion[:, base:]], -1)
        noise = self._noise.expand(1, len(motion), -1, -1, -1) if self.drawing else None
        steps = self._session.config.diffusion.steps
        decoded = model.synthesise(self._reference, motion[None], noise, steps, self._around(numbers))
        return to_uint8(self._session.latents.decode(decoded.latents[0]))

    def _around(self, numbers: list[int]) -> Surroundings | None:
        """Maps of frames; None: the network has to be asked."""
        before, last = self._before, self._last
        if last.said is None or (before is None and numbers != [last.number]):
            return None
        if before is None:
            return last.said
        shares = [(number - before.number) / (last.number - before.number) for number in numbers]
        return before.said.towards(last.said, torch.tensor(shares, device=last.said.flow.device))
