"""The base layer: frames to codes, and codes with one reference image back to whole pictures.

The face comes from the geometry network, in the face-aligned frame; over it the drawing network draws what a warp of
the reference cannot show. What is around it comes from the network of the surroundings. A soft mask joins the two.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bcdcodec.models.faces.alignment_frame import (
    crop,
    head_radii,
    paste,
    positions,
    smooth_step,
    soft_mask,
    to_frame,
    to_picture,
)
from bcdcodec.models.faces.base_motion import BaseMotion
from bcdcodec.models.faces.config import BaseMotionConfig, DrawingConfig, GeometryConfig, SurroundingsConfig
from bcdcodec.models.faces.drawing import DrawingInput, DrawingNetwork, draw
from bcdcodec.models.faces.geometry import GeometryNetwork, compose, warp
from bcdcodec.models.faces.surroundings import Surroundings, SurroundingsNetwork

DRAWN, FADED = 0.9, 1.15  # radii of the head up to which the frame is shown, and from which the picture around it
FOLLOWS, RESTS = 1.1, 2.4  # radii up to which the picture around it follows the head, and from which it rests


class BaseLayer(nn.Module):
    """Base motion, geometry, drawing and surroundings together."""

    def __init__(
        self,
        motion: BaseMotionConfig,
        geometry: GeometryConfig,
        drawing: DrawingConfig | None = None,
        surroundings: SurroundingsConfig | None = None,
    ):
        super().__init__()
        self.base_motion, self.geometry = BaseMotion(motion), GeometryNetwork(geometry)
        self.surroundings = SurroundingsNetwork(surroundings) if surroundings else None
        self.drawing = DrawingNetwork(drawing) if drawing else None

    def synthesise(
        self,
        reference: Tensor,
        reference_motion: Tensor,
        motion: Tensor,
        noise: Tensor | None = None,
        steps: int = 0,
        moved: bool = True,
        around: Surroundings | None = None,
    ) -> Tensor:
        """Pictures [b, t, 3, h, h], -1 to 1, of references [b, 3, h, h] in the motion of the 58 numbers [b, t, 58].

        `reference_motion`: those [b, 58] of the references. The drawing network draws in `steps` steps from unit
        `noise` [b, t, 3, h, h]; in 0 steps or without noise the warp is shown. Not `moved`: place, size
        and roll alone, without any network. `around`: what `maps_around` gives, where it is known.
        """
        m, size, (b, t) = self.geometry.config.motion, self.geometry.config.frame, motion.shape[:2]
        face = crop(reference, reference_motion[:, m:], size)
        own, motion = reference_motion.repeat_interleave(t, 0), motion.flatten(0, 1)
        if moved:
            geometry = self.geometry(face, own[:, :m], motion[:, :m])
            warped = compose(warp(_repeated(face, t), geometry.flow), geometry)
            if self.drawing is not None and steps and noise is not None:
                noise = noise.flatten(0, 1)[..., :size, :size]
                known = DrawingInput(warped, face, geometry, own[:, :m], motion[:, :m])
                warped = draw(self.drawing, known, noise, steps)
            face = warped
        else:
            face = _repeated(face, t)
        if moved and around is None:
            around = self.maps_around(reference, own, motion)
        whole = _repeated(reference, t)
        if moved and around is not None:
            picture = compose(warp(whole, around.flow, cubic=True), around)
        else:
            picture = move_around(whole, own[:, m:], motion[:, m:])
        return paste(face, head_mask(size).to(face), motion[:, m:], picture).clamp(-1, 1).unflatten(0, (b, t))

    def maps_around(self, reference: Tensor, own: Tensor, motion: Tensor) -> Surroundings | None:
        """What the network of the surroundings says of references [b, 3, h, h] in motion `own` and `motion` [n, 58].

        n / b motions of each reference; None without the network.
        """
        if self.surroundings is None:
            return None
        small = F.avg_pool2d(reference, reference.shape[-1] // self.surroundings.config.picture)
        return self.surroundings(small.repeat_interleave(len(motion) // len(reference), 0), own, motion)


def _repeated(pictures: Tensor, t: int) -> Tensor:
    """Each of pictures [b, c, h, h] t times: [b * t, c, h, h]; of a single one no copy is made."""
    return pictures[:, None].expand(-1, t, -1, -1, -1).flatten(0, 1)


@cache
def head_mask(size: int) -> Tensor:
    """Where the frame is shown: 1 on the head, falling to 0 around it: [1, 1, size, size]."""
    with torch.inference_mode(False):  # kept for training, too
        radii = head_radii(positions(size))[:, None]
        return smooth_step((FADED - radii) / (FADED - DRAWN)) * soft_mask(size)


def move_around(reference: Tensor, similarity_reference: Tensor, similarity: Tensor) -> Tensor:
    """References [n, 3, h, h] moved from similarities [n, 4] to others [n, 4] near the head -> [n, 3, h, h]."""
    here = positions(reference.shape[-1], reference).expand(len(similarity), -1, -1, -1)
    in_frame = to_frame(similarity, here)
    there = to_picture(similarity_reference, in_frame)
    at = here + smooth_step((RESTS - head_radii(in_frame)[..., None]) / (RESTS - FOLLOWS)) * (there - here)
    return F.grid_sample(reference, at, mode="bicubic", padding_mode="border", align_corners=False)
