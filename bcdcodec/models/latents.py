"""Pictures to what the diffusion model sees, and back: pixels as they are, or an image autoencoder's latents."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from bcdcodec.config import LatentConfig
from bcdcodec.errors import ModelError

ENCODED_AT_ONCE = 32  # pictures, by an image autoencoder: its features are a hundred times larger than they are


class Latents(Protocol):
    """Pictures in [-1, 1], [n, 3, h, w], <-> latents [n, c, h', w']."""

    def encode(self, pictures: Tensor) -> Tensor: ...

    def decode(self, z: Tensor, detail: Tensor | None = None) -> Tensor:
        """`detail` [n, c, h, w]: what larger pictures show beyond the latents."""


def to_unit(pictures: np.ndarray, device: str = "cpu") -> Tensor:
    """uint8 [t, h, w, 3] -> float [t, 3, h, w] in [-1, 1]."""
    return torch.from_numpy(np.array(pictures)).to(device).permute(0, 3, 1, 2).float() / 127.5 - 1


def to_uint8(pictures: Tensor) -> np.ndarray:
    """Float [t, 3, h, w] in [-1, 1] -> uint8 [t, h, w, 3]."""
    # In place: new memory takes longer than the sums.
    levels = pictures.float().clamp(-1, 1).add_(1).mul_(127.5).round_()
    return levels.to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()


def enlarged(z: Tensor, factor: int) -> Tensor:
    """Pixels [n, c, h, w] at `factor` times the size."""
    return z if factor == 1 else F.interpolate(z.float(), scale_factor=factor, mode="bicubic", align_corners=False)


class Pixels:
    """Pixels, normalised by the config's mean and deviation. Larger pictures are averaged down."""

    def __init__(self, config: LatentConfig):
        self.mean, self.deviation, self.factor = config.mean, config.deviation, config.factor

    def encode(self, pictures: Tensor) -> Tensor:
        return ((pictures if self.factor == 1 else F.avg_pool2d(pictures, self.factor)) - self.mean) / self.deviation

    def decode(self, z: Tensor, detail: Tensor | None = None) -> Tensor:
        z = enlarged(z, self.factor)
        z = z if detail is None else z + detail
        return z if (self.mean, self.deviation) == (0.0, 1.0) else z * self.deviation + self.mean


class VaeLatents:
    """diffusers' AutoencoderKL (Stable Diffusion 2.0's for the paper's model), means scaled to unit deviation."""

    def __init__(self, name_or_folder: str, device: str):
        try:
            from diffusers import AutoencoderKL
        except ImportError as error:
            raise ModelError(
                f"the model works on the latents of an image autoencoder ({name_or_folder}), which needs diffusers: "
                "pip install 'bcdcodec[vae]'"
            ) from error
        try:
            # A whole Stable Diffusion pipeline keeps its autoencoder in a subfolder.
            within = "vae" if (Path(name_or_folder) / "vae").is_dir() or not Path(name_or_folder).exists() else None
            self.vae = AutoencoderKL.from_pretrained(name_or_folder, subfolder=within).to(device).eval()
        except (OSError, ValueError) as error:
            raise ModelError(
                f"no autoencoder at {name_or_folder!r}: give --vae a local folder or a hub name "
                f"({str(error).splitlines()[0]})"
            ) from error
        self.vae.requires_grad_(False)

    def sha256(self) -> str:
        """SHA-256 of the weights in float32, in name order, hexadecimal."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self.vae.state_dict().items()):
            digest.update(f"{name}|{','.join(map(str, tensor.shape))}|".encode())
            digest.update(tensor.float().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    @torch.no_grad()
    def encode(self, pictures: Tensor) -> Tensor:
        parts = [self.vae.encode(part).latent_dist.mean for part in pictures.split(ENCODED_AT_ONCE)]
        return torch.cat(parts) * self.vae.config.scaling_factor

    @torch.no_grad()
    def decode(self, z: Tensor, detail: Tensor | None = None) -> Tensor:
        return self.vae.decode(z / self.vae.config.scaling_factor).sample


def open_latents(config: LatentConfig, device: str, vae: str | None = None) -> Latents:
    """What the config asks for. Raises ModelError when the autoencoder is not to be had or not the model's."""
    if config.kind == "vae":
        latents = VaeLatents(vae or config.vae, device)
        if config.vae_sha256 and latents.sha256() != config.vae_sha256:
            raise ModelError(
                f"the autoencoder {vae or config.vae!r} has weights {latents.sha256()[:12]}, the model was trained "
                f"with {config.vae_sha256[:12]}: give that one with --vae"
            )
        return latents
    return Pixels(config)
