"""The motion of a clip: from the encoder, aligned with a reference, and as codes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from torch import Tensor

from bcdcodec.coding.session import Session
from bcdcodec.models import windows
from bcdcodec.models.heads.alignment import LEVELS, Levels
from bcdcodec.models.heads.residual_basis import Portrait


@torch.inference_mode()
def motion_blocks(session: Session, pictures: Iterable[np.ndarray]) -> Iterator[Tensor]:
    """Motion [t, m] that the encoder gives pictures uint8 [h, w, 3], in blocks that follow one another."""
    yield from windows.motion_blocks(session.model, session.latents, pictures, session.device)


def motion_of(session: Session, pictures: np.ndarray) -> Tensor:
    """Motion [t, m] that the encoder gives pictures uint8 [t, h, w, 3]."""
    return torch.cat(list(motion_blocks(session, pictures)))


@torch.inference_mode()
def align(
    session: Session, pictures: np.ndarray, motion: Tensor, reference: Portrait | None, levels: Levels = LEVELS
) -> tuple[Tensor, Tensor | None]:
    """Motion [t, m] that warps the reference image to pictures uint8 [t, h, w, 3], searched from the encoder's [t, m].

    And the Hessian [t, m, m] of the error about it. Without a flow basis the encoder's motion and None.
    """
    if session.model.flow_basis is None:
        return motion, None
    return windows.aligned_clip(session.model, session.latents, pictures, motion, reference, session.device, levels)


@torch.inference_mode()
def warp_errors(session: Session, pictures: np.ndarray, motion: Tensor, reference: Portrait) -> Tensor:
    """Mean squared errors [t, 2] of the reference warped by aligned `motion` [t, m] to pictures uint8 [t, h, w, 3].

    Of pictures in 0..1: first at mouth and eyes, then everywhere.
    """
    return windows.unreached_clip(session.model, session.latents, pictures, motion, reference, session.device)


@torch.inference_mode()
def motion_codes(
    session: Session, motion: Tensor, lambda_: float | None = None, hessian: Tensor | None = None
) -> np.ndarray:
    """Codes uint8 [t, g] of motion [t, m], chosen by rate and distortion.

    `lambda_`: squared distance, times the quantiser's alpha, that one bit is worth; None: the model's own.
    `hessian` [t, m, m] of the distortion; None: squared distance.
    """
    return session.model.vq.encode_clip(motion, lambda_, hessian).to(torch.uint8).cpu().numpy()
