"""Contents whose reference is a picture in AV1: made of a frame, and decoded."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from bcdcodec.coding.rate_control import content_bytes
from bcdcodec.coding.session import Session
from bcdcodec.container import Content
from bcdcodec.errors import FormatError
from bcdcodec.models.faces.alignment_frame import HEAD_RADII
from bcdcodec.models.latents import to_unit
from bcdcodec.video.av1 import PRESET, decode_picture
from bcdcodec.video.reference_image import ellipse_weights, encode_reference, soften
from bcdcodec.video.scaling import scale

FIELD_BYTES = 12  # of a content beside picture and codes
BLUR = 1.0  # pixels of 256, standard deviation, of what is neither head nor near it


def make_picture_content(
    session: Session, pictures: np.ndarray, motion: Tensor, kbps: float | None, preset: int = PRESET
) -> Content:
    """The content of a clip uint8 [t, h, w, 3] with motion [t, m]: the frame that serves best, within the budget.

    `preset`: of the AV1 encoder.
    """
    model, config = session.model, session.config.content
    number = model.reference_frame(motion)
    codes = model.vq.encode_clip(motion[number : number + 1])[0].to(torch.uint8).cpu().numpy()
    image = pictures[number]
    height, width = image.shape[:2]
    x, y, log_side, _ = model.numbers(motion[number])[54:].tolist()
    radii = (HEAD_RADII[0] * np.exp(log_side) * width / 2, HEAD_RADII[1] * np.exp(log_side) * height / 2)
    weights = ellipse_weights(width, height, (x * width, y * height), radii)
    bits = -model.vq.log2_p[torch.arange(len(codes)), torch.from_numpy(codes).long()].sum().item()
    budget = content_bytes(config.byte_budget, kbps) - int(bits / 8) - FIELD_BYTES
    picture = encode_reference(soften(image, weights, BLUR * width / 256), budget, weights, preset)
    return Content(0, 0, 0, 0, 0, codes, np.zeros((0, 0), np.int16), picture)


def decoded_picture(session: Session, content: Content) -> Tensor:
    """The picture [1, 3, h, w], -1 to 1, of a content. Raises FormatError where it has none, or is an inter frame."""
    if content.picture is None:
        raise FormatError(f"content {content.number} holds no reference picture, which the model needs")
    if content.picture.base is not None:
        raise FormatError(f"content {content.number} refers to another content's picture, which this model does not")
    size = session.picture_size
    return to_unit(scale(decode_picture(content.picture), size, size)[None], session.device)
