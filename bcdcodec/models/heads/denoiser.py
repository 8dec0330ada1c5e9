"""The denoiser: takes quantisation noise off the reference image, once a scene."""

from __future__ import annotations

from torch import Tensor

from bcdcodec.models.unet import UNet


class Denoiser(UNet):
    """Reference images [b, c, h, w], as their coefficients give them -> the same without quantisation noise."""

    def __init__(self, channels: int, widths: tuple[int, int, int]):
        super().__init__(channels, channels, widths)

    def forward(self, picture: Tensor) -> Tensor:
        return picture + super().forward(picture)
