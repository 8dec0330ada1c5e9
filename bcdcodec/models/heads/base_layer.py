"""The base layer: frames to codes, and codes with one reference image back to whole pictures.

The face comes from the geometry network, in the face-aligned frame. Around it the reference moves as the head does,
less the further away: hair and neck follow, shoulders and background rest. A soft mask joins the two.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from bcdcodec.errors import ModelError
from bcdcodec.models.heads.alignment_frame import crop, paste, positions, soft_mask, to_frame, to_picture
from bcdcodec.models.heads.base_motion import BaseMotion, BaseMotionConfig
from bcdcodec.models.heads.geometry import GeometryConfig, GeometryNetwork, compose, warp

# Ellipse of the head in the face-aligned frame, and how many radii from its middle the picture rests.
HEAD_RADII, FOLLOWS, RESTS = (0.8, 1.0), 1.1, 2.4


class BaseLayer(nn.Module):
    """Base motion and geometry together."""

    def __init__(self, motion: BaseMotionConfig, geometry: GeometryConfig):
        super().__init__()
        self.base_motion, self.geometry = BaseMotion(motion), GeometryNetwork(geometry)

    @torch.no_grad()
    def encode(self, pictures: Tensor) -> Tensor:
        """Codes int64 [t, groups] of pictures [t, 3, h, h], -1 to 1."""
        features, similarity = self.base_motion.read(pictures)
        return self.base_motion.encode(features.float(), similarity.float())

    @torch.no_grad()
    def decode(self, reference: Tensor, reference_codes: Tensor, codes: Tensor) -> Tensor:
        """Pictures [t, 3, h, h] of codes [t, groups], from a reference [3, h, h] and its own codes [groups]."""
        return self.synthesise(
            reference, self.base_motion.decode(reference_codes[None]), self.base_motion.decode(codes)
        )

    @torch.no_grad()
    def synthesise(self, reference: Tensor, reference_motion: Tensor, motion: Tensor) -> Tensor:
        """The same from the 58 numbers of motion: [3, h, h], [1, 58], [t, 58] -> [t, 3, h, h]."""
        m, size, t = self.geometry.config.motion, self.geometry.config.frame, len(motion)
        face = crop(reference[None], reference_motion[:, m:], size).expand(t, -1, -1, -1)
        geometry = self.geometry(face, reference_motion[:, :m].expand(t, -1), motion[:, :m])
        face = compose(warp(face, geometry.flow), geometry).float()
        around = move_around(reference, reference_motion[:, m:], motion[:, m:])
        return paste(face, soft_mask(size).to(face), motion[:, m:], around).clamp(-1, 1)


def move_around(reference: Tensor, similarity_reference: Tensor, similarity: Tensor) -> Tensor:
    """The reference [3, h, h] moved from similarity [1, 4] to [t, 4] near the head -> [t, 3, h, h]."""
    here = positions(reference.shape[-1], reference).expand(len(similarity), -1, -1, -1)
    in_frame = to_frame(similarity, here)
    there = to_picture(similarity_reference.expand(len(similarity), -1), in_frame)
    radii = (in_frame / torch.tensor(HEAD_RADII).to(in_frame)).norm(dim=-1, keepdim=True)
    share = ((RESTS - radii) / (RESTS - FOLLOWS)).clamp(0, 1)
    share = share * share * (3 - 2 * share)
    at = here + share * (there - here)
    pictures = reference.expand(len(similarity), -1, -1, -1)
    return F.grid_sample(pictures, at, mode="bilinear", padding_mode="border", align_corners=False)


def load_base_layer(folder: Path) -> BaseLayer:
    """The base layer of an exported folder. Raises ModelError where it is not one."""
    try:
        config = json.loads((folder / "config.json").read_text())
        motion = {key: tuple(v) if isinstance(v, list) else v for key, v in config["base_motion"].items()}
        layer = BaseLayer(BaseMotionConfig(**motion), GeometryConfig(**config["geometry"]))
        tensors = {name: tensor.float() if tensor.is_floating_point() else tensor
                   for name, tensor in load_file(folder / "weights.safetensors").items()}  # fmt: skip
        layer.load_state_dict(tensors)
    except (OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ModelError(f"{folder} is no exported base layer: {error}") from error
    return layer.eval()
