"""A clip's content for a file, and the reference that a content of a file holds."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from bcdcodec.coding.picture_content import choose_picture, decoded_picture, make_picture_content
from bcdcodec.coding.rate_control import content_bytes
from bcdcodec.coding.session import Session
from bcdcodec.container import Content
from bcdcodec.container.payloads import pack_content
from bcdcodec.errors import FormatError
from bcdcodec.models.base import Reference
from bcdcodec.models.latents import to_uint8, to_unit


@torch.inference_mode()
def make_content(
    session: Session, pictures: np.ndarray, motion: Tensor, kbps: float | None = None, fit: np.ndarray | None = None
) -> Content:
    """The content of a clip uint8 [t, h, w, 3] with motion [t, m], at the finest step that `content_bytes` allows.

    `kbps`: rate of the motion beside it, kbit/s; None: the model's own. `fit`: bool [t], frames that it may be made of;
    None: all.
    """
    model, config, tables = session.model, session.config.content, session.tables
    if fit is not None and not fit.all():
        pictures, motion = pictures[fit], motion[torch.from_numpy(fit).to(motion.device)]
    if config.picture:
        return make_picture_content(session, choose_picture(session, pictures, motion), kbps)
    budget = content_bytes(config.byte_budget, kbps)
    frames = lambda numbers: session.latents.encode(to_unit(pictures[numbers.numpy()], session.device))  # noqa: E731
    tokens, m = model.content(frames, motion)
    codes = None if m is None else model.vq.encode_clip(m)[0].to(torch.uint8).cpu().numpy()

    def coded(choice: tuple[int, float]) -> Content:
        values = model.content_quantiser.quantise(tokens, *choice)[0].clamp(-32768, 32767).to(torch.int16).cpu().numpy()
        return Content(0, 0, config.rows, config.columns, choice[0], codes, values)

    def fits(choice: tuple[int, float]) -> bool:
        return len(pack_content(coded(choice), tables, tables.content_profile)[0]) <= budget

    choices = model.content_quantiser.choices()
    return coded(choices[min(bisect_left(choices, True, key=fits), len(choices) - 1)])


def dequantise(session: Session, content: Content, base: Content | None = None) -> tuple[Tensor, Tensor | None]:
    """Tokens [1, n, d] and reference motion [1, m] of a content, the latter None for models without it.

    Of models whose reference is a picture that, [1, 3, h, w] from -1 to 1, in place of tokens; `base`: the content that
    an inter frame refers to. Raises FormatError for a content that does not fit the model.
    """
    config = session.config.content
    motion = reference_motion(session, content)
    if config.picture:
        return decoded_picture(session, content, base), motion
    if content.picture is not None:
        raise FormatError(f"content {content.number} holds a reference picture, the model reads tokens alone")
    if (content.rows, content.columns, content.values.shape[1]) != (config.rows, config.columns, config.channels):
        raise FormatError(
            f"content is {content.rows}x{content.columns}x{content.values.shape[1]}, "
            f"the model has {config.rows}x{config.columns}x{config.channels}"
        )
    if content.step >= config.steps:
        raise FormatError(f"content has step index {content.step}, the model knows 0 to {config.steps - 1}")
    values = torch.from_numpy(content.values.astype(np.int32))[None].to(session.device)
    tokens = session.model.content_quantiser.dequantise(values, content.step)
    return tokens, motion


def reference_motion(session: Session, content: Content) -> Tensor | None:
    """The motion [1, m] of a content's reference frame, None for models without it. Raises FormatError as above."""
    if session.config.content.reference_motion != (content.reference_codes is not None):
        raise FormatError("content and model disagree on the reference frame's motion codes")
    if content.reference_codes is None:
        return None
    codes = torch.from_numpy(content.reference_codes.astype(np.int64))[None, None].to(session.device)
    return session.model.vq.lookup(codes)[:, 0]


@torch.inference_mode()
def reference_of(session: Session, content: Content, detailed: bool = False, base: Content | None = None) -> Reference:
    """The reference that a content holds; `base`: the content that its picture refers to, if it is an inter frame.

    `detailed`: with what pictures larger than the latents show; the decoder needs it, the encoder does not.
    """
    return session.model.reference(*dequantise(session, content, base), detailed)


def base_of(content: Content, contents: Iterable[Content]) -> Content | None:
    """The content among others to which that of an inter frame refers; None without one."""
    return next((other for other in contents if other.number == content.base), None)


@torch.inference_mode()
def reference_image(session: Session, content: Content, base: Content | None = None) -> np.ndarray | None:
    """The reference image that a content holds, uint8 [h, w, 3]; None for models whose tokens hold no image."""
    picture = reference_of(session, content, True, base).picture()
    return None if picture is None else to_uint8(session.latents.decode(*picture))[0]
