"""Diffusion transformer (section 3.3) of `sprites`: motion in AdaLN and in every patch, content joined to the input."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bcdcodec.models.layers import DiTBlock, grid_positions, patchify, sinusoidal, unpatchify
from bcdcodec.models.sprites.config import SpritesConfig


class SpritesDiT(nn.Module):
    """F(x; sigma, c, m): noisy latents [b, t, c, h, w] -> the same shape. Frames do not see each other."""

    def __init__(self, config: SpritesConfig):
        super().__init__()
        d, latent = config.decoder, config.latent
        self.patch, self.side = d.patch, latent.size // d.patch
        if (config.content.rows, config.content.columns) != (self.side, self.side):
            raise ValueError("content needs one token a patch")
        patch_size = latent.channels * d.patch**2
        self.embed = nn.Linear(patch_size, d.width)
        self.embed_content = nn.Linear(config.content.dim, d.width, bias=False)
        self.register_buffer("positions", grid_positions(self.side, self.side, d.width), persistent=False)
        self.sigma_embed = nn.Sequential(nn.Linear(256, d.width), nn.SiLU(), nn.Linear(d.width, d.width))
        self.motion_embed = nn.Linear(config.motion_channels, d.width)
        self.motion_patches = nn.Linear(config.motion_channels, self.side**2 * d.width)
        self.condition_activation = nn.SiLU()
        self.null_content = nn.Parameter(torch.zeros(d.width))
        self.blocks = nn.ModuleList(DiTBlock(d.width, d.ff, d.heads) for _ in range(d.depth))
        self.norm = nn.LayerNorm(d.width, elementwise_affine=False, eps=1e-6)
        self.modulation = nn.Linear(d.width, 2 * d.width)
        self.to_residual = nn.Linear(d.width, patch_size)
        for head in (self.modulation, self.to_residual):
            nn.init.zeros_(head.weight)
            nn.init.zeros_(head.bias)

    def forward(
        self, x: Tensor, log_sigma: Tensor, content: Tensor, motion: Tensor, keep_content: Tensor | None = None
    ) -> Tensor:
        """X scaled by c_in; log_sigma [b]; content [b, n, d], masked where `keep_content` [b] is 0; m [b, t, m]."""
        b, t = x.shape[:2]
        content, motion = self.embed_content(content.to(x.dtype)), motion.to(x.dtype)  # [b, n, d], [b, t, m]
        if keep_content is not None:
            keep = keep_content.to(x.dtype)[:, None, None]
            content = keep * content + (1 - keep) * self.null_content
        sigma = self.sigma_embed(sinusoidal(log_sigma * 250.0, 256).to(x.dtype))  # [b, d]
        c = self.condition_activation(sigma[:, None] + self.motion_embed(motion)).view(b * t, 1, -1)  # equation 13
        h = self.embed(patchify(x.flatten(0, 1), self.patch))  # [b * t, n, d]
        h = h + self.positions.to(h.dtype) + content.repeat_interleave(t, dim=0)
        h = h + self.motion_patches(motion).view_as(h)
        for block in self.blocks:
            h = block(h, c)
        shift, scale = self.modulation(c).chunk(2, dim=-1)
        residual = self.to_residual(self.norm(h) * (1 + scale) + shift).float()
        return unpatchify(residual, self.patch, self.side, self.side).unflatten(0, (b, t))
