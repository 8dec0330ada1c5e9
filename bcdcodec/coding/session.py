"""A loaded model and what coding needs beside it; handed down to every function that encodes, decodes or reenacts."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from bcdcodec.config import ModelConfig
from bcdcodec.entropy.model_tables import ModelTables
from bcdcodec.model_folder import ModelFolder, load_weights
from bcdcodec.models.base import VideoModel
from bcdcodec.models.latents import Latents, open_latents


@dataclass(frozen=True, eq=False)
class Session:
    """A model on a device, ready for inference."""

    folder: ModelFolder  # its name, fingerprint and configuration
    model: VideoModel  # in evaluation mode, without gradients
    latents: Latents  # between pictures and what the model sees
    device: str  # of torch

    @property
    def config(self) -> ModelConfig:
        return self.folder.config

    @property
    def tables(self) -> ModelTables:
        return self.folder.tables

    @property
    def picture_size(self) -> int:
        """Side of the coded square, pixels."""
        return self.config.latent.picture_size


def open_session(folder: ModelFolder, device: str = "cpu", vae: str | None = None) -> Session:
    """Load a model's weights; `vae`: hub name or folder of the image autoencoder, for models over latents.

    Raises ModelError.
    """
    model = load_weights(folder).to(device).eval().requires_grad_(False)
    if _fast_bf16(device):  # weights are converted once; autocast would convert them at every call
        for network in model.decoding_networks():
            network.to(torch.bfloat16)
    return Session(folder, model, open_latents(folder.config.latent, device, vae), device)


def _fast_bf16(device: str) -> bool:
    """Whether bfloat16 matrix products are faster than float32 there; without hardware they are far slower."""
    return device.startswith("cuda") or torch.cpu._is_avx512_bf16_supported()
