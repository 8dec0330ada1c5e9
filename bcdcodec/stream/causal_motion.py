"""Motion codes of a few frames at a time, given those of the frames before: what the file encoder does, causally."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from bcdcodec.coding.session import Session
from bcdcodec.errors import ModelError
from bcdcodec.models.faces.alignment import align
from bcdcodec.models.faces.base_motion import corrected, correction_between
from bcdcodec.models.faces.reference import FacesReference
from bcdcodec.models.latents import to_unit
from bcdcodec.models.rdoq import rdoq
from bcdcodec.models.warp import warp

FAR = 0.15  # correction from where the head was before (sides, log of the side, radians), from which it is sought anew
ASTRAY = 0.3  # likewise of the coarse place from the whole picture
EVERYWHERE = 0.2  # what the squared error of the whole picture counts beside that at the face: a camera that moves


def check_live(session: Session) -> None:
    """Raise ModelError for a model that cannot be streamed."""
    if not session.config.content.picture:
        raise ModelError(
            f"model {session.folder.name!r} cannot be streamed: its content is chosen with ten seconds of look-ahead; "
            "use faces"
        )


class CausalMotion:
    """The encoder's motion with its state: the base layer's codes and the enhancement layer's error of a frame."""

    def __init__(self, session: Session):
        check_live(session)
        self._session = session
        # In bfloat16 where the decoding networks are: its numbers change by a fortieth of a frame's step.
        self._kind = session.model.base.geometry.embed.weight.dtype
        self._reader = deepcopy(session.model.base.base_motion.reader).to(self._kind)
        self._base_codes: Tensor | None = None  # [base groups] of the frame before
        self._place: Tensor | None = None  # [1, 4] similarity of the frame before
        self._error: Tensor | None = None  # [1, enhancement groups] of the frame before, in the channels' units
        self._reference: FacesReference | None = None  # that the error is counted with
        self._change: Tensor | None = None  # [1, enhancement groups] of the frame before, not quantised
        self._share = session.config.latent.size // session.config.enhancement.side
        self.warp_error = 0.0  # of the last frames: how badly the reference serves
        self._small: FacesReference | None = None  # the same at the size at which pictures are aligned

    @torch.inference_mode()
    def read(self, pictures: np.ndarray) -> tuple[Tensor, Tensor]:
        """Codes [t, base groups] of the next pictures uint8 [t, h, w, 3], and their motion [t, m] without enhancement.

        As `FacesModel.motion` of a whole clip: a code stays unless another one is clearly nearer. But the head is
        sought near its place in the frame before, in half the time.
        """
        model = self._session.model
        z = self._session.latents.encode(to_unit(pictures, self._session.device)).float()
        features, places = self._read(z)
        wanted = model.base.base_motion.with_mirrored(self._reader, z, features, places)
        codes = model.base_codes(features, places, self._base_codes, wanted)
        self._base_codes, self._place = codes[-1], places[-1:]
        channels = model.base.base_motion.lookup(codes)
        return codes, F.pad(channels, (0, model.config.motion_channels - channels.shape[-1]))

    def _read(self, z: Tensor) -> tuple[Tensor, Tensor]:
        base, near = self._session.model.base.base_motion, self._place
        if near is None or correction_between(near, base.locate(z[-1:])).abs().max() > ASTRAY:
            return base.read(z)
        near = near.expand(len(z), -1)
        features, correction = self._reader(base.view(z, near).to(self._kind))
        return (features, corrected(near, correction)) if correction.abs().max() < FAR else base.read(z)

    @torch.inference_mode()
    def codes(
        self, pictures: np.ndarray, base: Tensor, motion: Tensor, reference: FacesReference, lambda_: float
    ) -> np.ndarray:
        """Codes uint8 [t, g] of pictures for which `read` gave `base` and `motion`, with the enhancement layer.

        `lambda_`: the Lagrangian multiplier, see `rdoq`. The alignment is that of `FacesModel.refine`, but with what
        the base layer shows of a reference that was made small before: the change is the same to a thousandth.
        """
        vq = self._session.model.vq
        if reference is not self._reference:
            self._error, self._reference, self._small = None, reference, self._made_small(reference)
            self._change = None
        last, hessian, self.warp_error = self._aligned(pictures[-1:], motion[-1:], self._small)
        count = len(pictures)
        before = last if self._change is None else self._change
        share = (torch.arange(count, device=last.device) + 1)[:, None] / count
        change, hessian = torch.lerp(before, last, share), hessian.expand(count, -1, -1)
        self._change = last
        lengths = -lambda_ * vq.log2_p[vq.base_groups :]
        codes = rdoq(vq.entries, lengths, change[None], hessian[None], self._error)[0]  # [t, groups]
        chosen = vq.entries[torch.arange(len(vq.entries), device=codes.device), codes[-1]]
        self._error = (chosen - change[-1])[None]
        return _joined(base, codes)

    @torch.inference_mode()
    def error_with(self, picture: np.ndarray, motion: Tensor, reference: FacesReference) -> float:
        """The `warp_error` that a picture uint8 [h, w, 3] in motion [m] would have with another reference."""
        return self._aligned(picture[None], motion[None], self._made_small(reference))[2]

    def _made_small(self, reference: FacesReference) -> FacesReference:
        return replace(reference, tokens=F.avg_pool2d(reference.tokens, self._share))

    def _aligned(self, pictures: np.ndarray, motion: Tensor, small: FacesReference) -> tuple[Tensor, Tensor, float]:
        """The enhancement layer's change [t, groups], its Hessian [t, groups, groups], and the error that is left."""
        model = self._session.model
        goal = F.avg_pool2d(self._session.latents.encode(to_unit(pictures, self._session.device)), self._share)
        drawn = model.shown(small, motion[None])[0]
        change, hessian = align(model.flow_basis, drawn, goal, drawn.new_zeros(len(drawn), len(model.vq.entries)))
        at_face, everywhere = model.errors(warp(drawn, model.flow_basis(change)), goal, motion)
        return change, hessian, max(float(at_face.mean()), EVERYWHERE * float(everywhere.mean()))

    @torch.inference_mode()
    def base_alone(self, base: Tensor) -> np.ndarray:
        """Codes uint8 [t, g] of base codes [t, base groups] with the enhancement layer at rest."""
        rest = self._session.model.vq.entries.abs().argmin(-1)  # [groups]
        self._error = self._reference = None
        return _joined(base, rest.expand(len(base), -1))


def _joined(base: Tensor, enhancement: Tensor) -> np.ndarray:
    return torch.cat([base, enhancement], -1).to(torch.uint8).cpu().numpy()
