"""Conditional diffusion transformer (section 3.3): motion in AdaLN, content joined to the noisy input."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bcdcodec.config import ModelConfig
from bcdcodec.models.heads.residual_basis import Portrait
from bcdcodec.models.layers import FeedForward, MultiHeadAttention, grid_positions, patchify, sinusoidal, unpatchify

# One optimiser step moves every weight by the learning rate: without the scale, by pixels in the picture.
FLOW_SCALE = 0.1


@dataclass(frozen=True)
class Condition:
    """What the decoder knows of a clip."""

    content: Tensor  # [b, n, d] dequantised tokens
    motion: Tensor  # [b, t, g * d'] quantised features
    reference_motion: Tensor | None  # [b, g * d'] of the frame the content shows
    keep: Tensor | None = None  # [b] 1 keeps the condition, 0 masks it (classifier-free guidance)
    keep_content: Tensor | None = None  # [b] 0 masks the content alone
    foreign: Tensor | None = None  # [b] 1 where the decoder is to bend the flow of another person's motion to this face
    portrait: Portrait | None = None  # of the content, where it is known already

    def of_windows(self, motion: Tensor) -> Condition:
        """This clip's condition for windows of motion [b, t, g * d'] of it; it is that of a single one, [1, ...]."""
        b = len(motion)
        wide = lambda x: None if x is None else x.expand(b, *x.shape[1:])  # noqa: E731
        return Condition(
            wide(self.content),
            motion,
            wide(self.reference_motion),
            wide(self.keep),
            wide(self.keep_content),
            wide(self.foreign),
            None if self.portrait is None else self.portrait.expand(b),
        )


@dataclass(frozen=True)
class DenoiserOutput:
    """Raw network output F, before preconditioning."""

    residual: Tensor  # [b, t, c, h, w]
    flow: Tensor | None  # [b, t, 2, gh, gw], displacement in units of half a picture
    tokens: Tensor  # [b, t, n, d] of the last block, normalised
    condition: Tensor  # [b, t, d] noise level and motion, as the blocks see them


class DiTBlock(nn.Module):
    """Attention and feed-forward modulated by the condition (AdaLN-zero), equation 13."""

    def __init__(self, width: int, ff: int, heads: int):
        super().__init__()
        self.norm_attention = nn.LayerNorm(width, elementwise_affine=False, eps=1e-6)
        self.attention = MultiHeadAttention(width, heads, bias=True)
        self.norm_ff = nn.LayerNorm(width, elementwise_affine=False, eps=1e-6)
        self.ff = FeedForward(width, ff)
        self.modulation = nn.Linear(width, 6 * width)
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """X [b, n, d], condition [b, 1 or n, d]."""
        shift_a, scale_a, gate_a, shift_f, scale_f, gate_f = self.modulation(condition).chunk(6, dim=-1)
        x = x + gate_a * self.attention(self.norm_attention(x) * (1 + scale_a) + shift_a)
        return x + gate_f * self.ff(self.norm_ff(x) * (1 + scale_f) + shift_f)


class DiT(nn.Module):
    """F(x; sigma, c, m): noisy latents [b, t, c, h, w] -> DenoiserOutput."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        d, latent = config.decoder, config.latent
        self.patch, self.side = d.patch, latent.size // d.patch
        self.channels, self.warp_grid, self.klt_output = latent.channels, d.warp_grid, d.klt_output
        if (config.content.rows, config.content.columns) != (self.side, self.side):
            raise ValueError("content needs one token a patch")
        patch_size = latent.channels * d.patch**2
        self.embed = nn.Linear(patch_size, d.width)
        self.content_dim = config.content.dim  # the channels after those are of the appearance
        self.embed_content = nn.Linear(self.content_dim, d.width, bias=False)
        self.register_buffer("positions", grid_positions(self.side, self.side, d.width), persistent=False)
        self.sigma_embed = nn.Sequential(nn.Linear(256, d.width), nn.SiLU(), nn.Linear(d.width, d.width))
        self.motion_embed = nn.Linear(config.motion_channels, d.width)
        self.motion_in_patches = d.motion_in_patches
        if self.motion_in_patches:
            rank, places = d.motion_patch_rank, self.side**2 * d.width
            self.motion_patches: nn.Module = nn.Linear(config.motion_channels, places)
            if rank:
                self.motion_patches = nn.Sequential(nn.Linear(config.motion_channels, rank), nn.Linear(rank, places))
        self.with_reference = config.content.reference_motion
        if self.with_reference:
            self.reference_embed = nn.Linear(config.motion_channels, d.width)
            # Motion starts as the difference to the reference frame.
            with torch.no_grad():
                self.reference_embed.weight.copy_(-self.motion_embed.weight)
        self.condition_activation = nn.SiLU()
        self.null_motion = nn.Parameter(torch.zeros(d.width))
        self.null_content = nn.Parameter(torch.zeros(d.width))
        self.blocks = nn.ModuleList(DiTBlock(d.width, d.ff, d.heads) for _ in range(d.depth))
        self.temporal = nn.ModuleDict({str(i): DiTBlock(d.width, d.ff, d.heads) for i in d.temporal_indices})
        self.norm = nn.LayerNorm(d.width, elementwise_affine=False, eps=1e-6)
        self.modulation = nn.Linear(d.width, 2 * d.width)
        self.to_residual = nn.Linear(d.width, d.klt_output or patch_size)
        for head in (self.modulation, self.to_residual):
            nn.init.zeros_(head.weight)
            nn.init.zeros_(head.bias)
        if d.warp_grid:
            # Not zero: the flow of the reference's own motion is subtracted, and from zero times zero nothing is learned.
            self.to_flow = nn.Linear(d.width, 2 * d.warp_grid**2)
            nn.init.normal_(self.to_flow.weight, std=0.02)
            nn.init.zeros_(self.to_flow.bias)

    def forward(
        self, x: Tensor, log_sigma: Tensor, condition: Condition, temporal: bool, transform: nn.Module | None = None
    ) -> DenoiserOutput:
        """X [b, t, c, h, w] scaled by c_in; log_sigma [b]; `temporal`: whether temporal blocks act (stage 2)."""
        b, t = x.shape[:2]
        n = self.side**2
        content = self.embed_content(condition.content[..., : self.content_dim].to(x.dtype))  # [b, n, d]
        motion = self.motion_embed(condition.motion.to(x.dtype))  # [b, t, d]
        if self.with_reference:
            motion = motion + self.reference_embed(condition.reference_motion.to(x.dtype))[:, None]
        if condition.keep is not None:
            keep = condition.keep.to(x.dtype)[:, None, None]
            content = keep * content + (1 - keep) * self.null_content
            motion = keep * motion + (1 - keep) * self.null_motion
        if condition.keep_content is not None:
            keep = condition.keep_content.to(x.dtype)[:, None, None]
            content = keep * content + (1 - keep) * self.null_content
        sigma = self.sigma_embed(sinusoidal(log_sigma * 250.0, 256).to(x.dtype))  # [b, d]
        c = self.condition_activation(sigma[:, None] + motion).view(b * t, 1, -1)  # equation 13's two inputs
        h = self.embed(patchify(x.flatten(0, 1), self.patch))  # [b * t, n, d]
        h = h + self.positions.to(h.dtype) + content.repeat_interleave(t, dim=0)
        d = h.shape[-1]
        if self.motion_in_patches:
            change = condition.motion.to(x.dtype)
            if self.with_reference:
                change = change - condition.reference_motion.to(x.dtype)[:, None]
            moved = self.motion_patches(change).view(b, t, n, d)
            if condition.keep is not None:
                moved = condition.keep.to(x.dtype)[:, None, None, None] * moved
            h = h + moved.flatten(0, 1)
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
        if transform is not None and self.klt_output:
            # Flatter than the components' own deviations: what is left after the warp has less in the leading ones.
            k = self.klt_output
            residual = (residual * transform.deviation[:k].sqrt()) @ transform.basis[:, :k].T
        residual = unpatchify(residual, self.patch, self.side, self.side).unflatten(0, (b, t))
        flow = None
        if self.warp_grid:
            flow = unpatchify(FLOW_SCALE * self.to_flow(h).float(), self.warp_grid, self.side, self.side).unflatten(
                0, (b, t)
            )
        return DenoiserOutput(residual, flow, h.unflatten(0, (b, t)), c.view(b, t, -1))
