"""Diffusion transformer (section 3.3) of `heads`: motion in AdaLN and in every patch, content added to the input."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bcdcodec.models.heads.config import HeadsConfig
from bcdcodec.models.heads.reference_image import PatchTransform
from bcdcodec.models.layers import DiTBlock, grid_positions, patchify, sinusoidal, unpatchify

# One optimiser step moves every weight by the learning rate: without the scale, by pixels in the picture.
FLOW_SCALE = 0.1


@dataclass(frozen=True)
class HeadsOutput:
    """Raw network output F, before preconditioning."""

    residual: Tensor  # [b, t, c, h, w]
    flow: Tensor  # [b, t, 2, gh, gw], displacement in units of half a picture
    tokens: Tensor  # [b, t, n, d] of the last block, normalised
    condition: Tensor  # [b, t, d] noise level and motion, as the blocks see them


class HeadsDiT(nn.Module):
    """F(x; sigma, c, m): noisy latents [b, t, c, h, w] -> HeadsOutput."""

    def __init__(self, config: HeadsConfig):
        super().__init__()
        d, latent = config.decoder, config.latent
        self.patch, self.side = d.patch, latent.size // d.patch
        self.flow_grid, self.transform_output = d.flow_grid, d.transform_output
        if (config.content.rows, config.content.columns) != (self.side, self.side):
            raise ValueError("content needs one token a patch")
        patch_size = latent.channels * d.patch**2
        self.embed = nn.Linear(patch_size, d.width)
        self.content_dim = config.content.dim  # the channels after those are of the residual basis
        self.embed_content = nn.Linear(self.content_dim, d.width, bias=False)
        self.register_buffer("positions", grid_positions(self.side, self.side, d.width), persistent=False)
        self.sigma_embed = nn.Sequential(nn.Linear(256, d.width), nn.SiLU(), nn.Linear(d.width, d.width))
        self.motion_embed = nn.Linear(config.motion_channels, d.width)
        rank, places = d.motion_patch_rank, self.side**2 * d.width
        nn.Linear(config.motion_channels, places)  # of no use but that a seed draws the weights that it always drew
        self.motion_patches = nn.Sequential(nn.Linear(config.motion_channels, rank), nn.Linear(rank, places))
        self.reference_embed = nn.Linear(config.motion_channels, d.width)
        with torch.no_grad():  # motion starts as the difference to the reference frame
            self.reference_embed.weight.copy_(-self.motion_embed.weight)
        self.condition_activation = nn.SiLU()
        self.blocks = nn.ModuleList(DiTBlock(d.width, d.ff, d.heads) for _ in range(d.depth))
        self.temporal = nn.ModuleDict({str(i): DiTBlock(d.width, d.ff, d.heads) for i in d.temporal_indices})
        self.norm = nn.LayerNorm(d.width, elementwise_affine=False, eps=1e-6)
        self.modulation = nn.Linear(d.width, 2 * d.width)
        self.to_residual = nn.Linear(d.width, d.transform_output or patch_size)
        for head in (self.modulation, self.to_residual):
            nn.init.zeros_(head.weight)
            nn.init.zeros_(head.bias)
        # Not zero: the flow of the reference's own motion is subtracted, and from zero times zero nothing is learned.
        self.to_flow = nn.Linear(d.width, 2 * d.flow_grid**2)
        nn.init.normal_(self.to_flow.weight, std=0.02)
        nn.init.zeros_(self.to_flow.bias)

    def forward(
        self,
        x: Tensor,
        log_sigma: Tensor,
        tokens: Tensor,
        motion: Tensor,
        reference_motion: Tensor,
        transform: PatchTransform,
        temporal: bool = False,
    ) -> HeadsOutput:
        """X [b, t, c, h, w] scaled by c_in; log_sigma [b]; content tokens [b, n, d]; motion [b, t, m] and [b, m].

        `temporal`: whether temporal blocks act (stage 2).
        """
        b, t = x.shape[:2]
        n = self.side**2
        content = self.embed_content(tokens[..., : self.content_dim].to(x.dtype))  # [b, n, d]
        motion, reference = motion.to(x.dtype), reference_motion.to(x.dtype)[:, None]
        embedded = self.motion_embed(motion) + self.reference_embed(reference)  # [b, t, d]
        sigma = self.sigma_embed(sinusoidal(log_sigma * 250.0, 256).to(x.dtype))  # [b, d]
        c = self.condition_activation(sigma[:, None] + embedded).view(b * t, 1, -1)  # equation 13's two inputs
        h = self.embed(patchify(x.flatten(0, 1), self.patch))  # [b * t, n, d]
        h = h + self.positions.to(h.dtype) + content.repeat_interleave(t, dim=0)
        d = h.shape[-1]
        h = h + self.motion_patches(motion - reference).view(b * t, n, d)
        if temporal:
            c_frames = c.view(b, 1, t, d).expand(b, n, t, d).reshape(b * n, t, d)
            frame_positions = sinusoidal(torch.arange(t, device=x.device), d).to(h.dtype)
        for index, block in enumerate(self.blocks):
            h = block(h, c)
            if temporal and str(index) in self.temporal:
                rows = h.view(b, t, n, d).transpose(1, 2).reshape(b * n, t, d)
                moved = self.temporal[str(index)](rows + frame_positions, c_frames) - frame_positions
                h = moved.view(b, n, t, d).transpose(1, 2).reshape(b * t, n, d)
        shift, scale = self.modulation(c).chunk(2, dim=-1)
        h = self.norm(h) * (1 + scale) + shift
        residual = self.to_residual(h).float()
        if self.transform_output:
            # Flatter than the components' own deviations: what is left after the warp has less in the leading ones.
            k = self.transform_output
            residual = (residual * transform.deviation[:k].sqrt()) @ transform.basis[:, :k].T
        residual = unpatchify(residual, self.patch, self.side, self.side).unflatten(0, (b, t))
        flow = unpatchify(FLOW_SCALE * self.to_flow(h).float(), self.flow_grid, self.side, self.side)
        return HeadsOutput(residual, flow.unflatten(0, (b, t)), h.unflatten(0, (b, t)), c.view(b, t, -1))
