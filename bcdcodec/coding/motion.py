"""The motion of a clip: from the encoder, refined by alignment with a reference, and as codes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from torch import Tensor

from bcdcodec.coding.session import Session
from bcdcodec.models import windows
from bcdcodec.models.base import Reference


@torch.inference_mode()
def motion_blocks(session: Session, pictures: Iterable[np.ndarray]) -> Iterator[Tensor]:
    """Motion [t, m] that the encoder gives pictures uint8 [h, w, 3], in blocks that follow one another."""
    yield from windows.motion_blocks(session.model, session.latents, pictures, session.device)


def motion_of(session: Session, pictures: np.ndarray) -> Tensor:
    """Motion [t, m] that the encoder gives pictures uint8 [t, h, w, 3]."""
    return torch.cat(list(motion_blocks(session, pictures)))


@torch.inference_mode()
def refined_parts(
    session: Session, pictures: np.ndarray, motion: Tensor, reference: Reference, quick: bool = False
) -> Iterator[windows.RefinedClip]:
    """Motion that fits pictures uint8 [t, h, w, 3] best, from the encoder's [t, m] on, and the errors that are left.

    `VideoModel.refine` and `VideoModel.warp_errors`, part by part. `quick`: coarser, to compare references.
    """
    model, latents, device = session.model, session.latents, session.device
    yield from windows.refined_parts(model, latents, pictures, motion, reference, device, quick)


@torch.inference_mode()
def motion_codes(
    session: Session, motion: Tensor, lambda_: float | None = None, hessian: Tensor | None = None
) -> np.ndarray:
    """Codes uint8 [t, g] of motion [t, m], chosen by rate and distortion.

    `lambda_`: squared distance, times the quantiser's alpha, that one bit is worth; None: the model's own.
    `hessian` [t, m, m] of the distortion; None: squared distance.
    """
    return session.model.vq.encode_clip(motion, lambda_, hessian).to(torch.uint8).cpu().numpy()
