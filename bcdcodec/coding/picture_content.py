"""Contents whose reference is a picture in AV1: made of a frame, and decoded."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from bcdcodec.coding.rate_control import content_bytes
from bcdcodec.coding.session import Session
from bcdcodec.container import Content
from bcdcodec.container.picture import Picture
from bcdcodec.errors import FormatError
from bcdcodec.models.faces.alignment_frame import HEAD_RADII
from bcdcodec.models.latents import to_unit
from bcdcodec.video.av1 import PRESET, QUICK_PRESET, decode_picture, encode_inter, rough_key
from bcdcodec.video.reference_image import ReferenceSearch, ellipse_weights, soften, weighted_error
from bcdcodec.video.scaling import scale

FIELD_BYTES = 12  # of a content beside picture and codes
BLUR = 1.0  # pixels of 256, standard deviation, of what is neither head nor near it
LATER_SHARE = 0.6  # of the bytes of a first picture, for one that follows it: fewer frames are shown from it


@dataclass(frozen=True, eq=False)
class ReferencePicture:
    """A frame that is to be the reference, before it is coded."""

    image: np.ndarray  # uint8 [h, w, 3], blurred away from the head
    weights: np.ndarray  # [h, w], 1 on the head, 0 far from it
    codes: np.ndarray  # uint8 [g], the motion it is in


def choose_picture(
    session: Session, pictures: np.ndarray, motion: Tensor, weights: Tensor | None = None
) -> ReferencePicture:
    """The frame that serves a clip uint8 [t, h, w, 3] with motion [t, m] best; `weights` [t]: what each counts."""
    model = session.model
    number = model.reference_frame(motion, weights)
    codes = model.vq.encode_clip(motion[number : number + 1])[0].to(torch.uint8).cpu().numpy()
    image = pictures[number]
    height, width = image.shape[:2]
    x, y, log_side, _ = model.numbers(motion[number])[54:].tolist()
    radii = (HEAD_RADII[0] * np.exp(log_side) * width / 2, HEAD_RADII[1] * np.exp(log_side) * height / 2)
    weights = ellipse_weights(width, height, (x * width, y * height), radii)
    return ReferencePicture(soften(image, weights, BLUR * width / 256), weights, codes)


def make_picture_content(
    session: Session,
    chosen: ReferencePicture,
    kbps: float | None,
    base: tuple[ReferencePicture, Content] | None = None,
    preset: int = PRESET,
    later: bool = False,
    inter_share: float = LATER_SHARE,
) -> Content:
    """The content of a picture, within the budget of `content_bytes`, or LATER_SHARE of it where it comes `later`.

    `base`: what a key frame was made of before at the same `preset` of the AV1 encoder, and its content. Then the
    picture is a later one, an inter frame of `inter_share` that refers to it, unless a key frame of LATER_SHARE is
    better.
    """
    bits = -session.model.vq.log2_p[torch.arange(len(chosen.codes)), torch.from_numpy(chosen.codes).long()].sum().item()

    def budget(share: float) -> int:
        return int(share * content_bytes(session.config.content.byte_budget, kbps)) - int(bits / 8) - FIELD_BYTES

    most = budget(LATER_SHARE if later or base is not None else 1)
    alone = ReferenceSearch(chosen.image, most, chosen.weights)
    picture = None if base is None else _inter(chosen, (budget(inter_share), most), *base, alone.quickest_error, preset)
    picture = picture or alone.best(preset)
    return Content(0, 0, 0, 0, 0, chosen.codes, np.zeros((0, 0), np.int16), picture)


def _inter(
    chosen: ReferencePicture,
    budgets: tuple[int, int],
    base: ReferencePicture,
    content: Content,
    key_error: float,
    preset: int,
) -> Picture | None:
    """The inter frame of a picture; None where a key frame of more bytes serves better, both made quickly.

    `budgets`: bytes that it should take, and may: it cannot be much coarser than its base.
    `key_error`: that key frame's, see `weighted_error`. None also where SVT-AV1 uses a tool that the format does not
    hold, such as global motion, which it cannot be told.
    """
    key, (budget, most) = content.picture, budgets
    image, before = (scale(x.image, key.width, key.height) for x in (chosen, base))
    rough = key if preset == QUICK_PRESET else rough_key(before, key)
    try:
        inter = encode_inter(image, before, rough, content.number, budget, QUICK_PRESET)
        if len(inter.unit) > most:
            return None
        if weighted_error(decode_picture(inter, rough), chosen.image, chosen.weights) > key_error:
            return None
        if preset != QUICK_PRESET:
            inter = encode_inter(image, before, key, content.number, budget, preset, inter)
    except FormatError:
        return None
    return inter if len(inter.unit) <= most else None


def decoded_picture(session: Session, content: Content, base: Content | None = None) -> Tensor:
    """The picture [1, 3, h, w], -1 to 1, of a content; `base`: that which an inter frame refers to.

    Raises FormatError where it has none, or refers to one that is not there.
    """
    if content.picture is None:
        raise FormatError(f"content {content.number} holds no reference picture, which the model needs")
    if content.picture.base is not None and base is None:
        raise FormatError(
            f"content {content.number} is an inter frame of content {content.picture.base}, which is not at hand"
        )
    size = session.picture_size
    image = decode_picture(content.picture, None if base is None else base.picture)
    return to_unit(scale(image, size, size)[None], session.device)
