"""Conditional diffusion decoder (section 3.3): a diffusion transformer with temporal blocks and AdaLN, equation 13."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bcdcodec.errors import ModelError
from bcdcodec.models.bcd.config import BCDConfig
from bcdcodec.models.layers import FeedForward, MultiHeadAttention, grid_positions, patchify, sinusoidal, unpatchify


class Modulation(nn.Module):
    """Equation 13: y = P_t(t) + P_m(m), linear projections of timestep embedding [b, d] and motion [b, t, m].

    That is the main text's sum of motion feature and timestep embedding; two projections, as the two differ in width.
    Gives `parts` tensors [b, t, 1, d], zero before training (AdaLN-Zero of DiT).
    """

    def __init__(self, width: int, motion: int, parts: int):
        super().__init__()
        self.parts = parts
        self.from_time = nn.Linear(width, parts * width)
        self.from_motion = nn.Linear(motion, parts * width, bias=False)
        for tensor in (self.from_time.weight, self.from_time.bias, self.from_motion.weight):
            nn.init.zeros_(tensor)

    def forward(self, time: Tensor, motion: Tensor) -> tuple[Tensor, ...]:
        y = self.from_time(time)[:, None] + self.from_motion(motion)  # [b, t, parts * d]
        return y[:, :, None].chunk(self.parts, dim=-1)


def ada_norm(h: Tensor, y_s: Tensor, y_b: Tensor) -> Tensor:
    """Equation 13: h normalised, then scaled and shifted. LayerNorm, as in DiT; the paper writes GroupNorm."""
    return torch.nn.functional.layer_norm(h, h.shape[-1:], eps=1e-6) * (1 + y_s) + y_b


class Block(nn.Module):
    """DiT block on h [b, t, n, d]. Attention runs over the patches of a frame, or over time at each patch."""

    def __init__(self, config: BCDConfig, over_time: bool):
        super().__init__()
        d = config.decoder
        self.over_time = over_time
        self.attention = MultiHeadAttention(d.width, d.heads, bias=True)
        self.ff = FeedForward(d.width, d.ff)
        self.modulation = Modulation(d.width, config.motion_channels, 6)

    def forward(self, h: Tensor, time: Tensor, motion: Tensor) -> Tensor:
        y_s, y_b, gate, y_s2, y_b2, gate2 = self.modulation(time, motion)
        h = h + gate * self._attend(ada_norm(h, y_s, y_b))
        return h + gate2 * self.ff(ada_norm(h, y_s2, y_b2))

    def _attend(self, h: Tensor) -> Tensor:
        if not self.over_time:
            return self.attention(h.flatten(0, 1)).view(h.shape)
        h = h.transpose(1, 2)  # [b, n, t, d]
        positions = sinusoidal(torch.arange(h.shape[2], device=h.device), h.shape[3]).to(h.dtype)
        return self.attention((h + positions).flatten(0, 1)).view(h.shape).transpose(1, 2)


class DiT(nn.Module):
    """F(x; sigma, c, m): noisy latents [b, t, c, h, w] -> the same shape."""

    def __init__(self, config: BCDConfig):
        super().__init__()
        d, latent = config.decoder, config.latent
        self.patch, self.side, self.length = d.patch, latent.size // d.patch, config.window.length
        patch_size = latent.channels * d.patch**2
        self.embed = nn.Linear(patch_size + config.content.dim, d.width)
        self.register_buffer("positions", grid_positions(self.side, self.side, d.width), persistent=False)
        self.embed_time = nn.Sequential(nn.Linear(256, d.width), nn.SiLU(), nn.Linear(d.width, d.width), nn.SiLU())
        self.null_content = nn.Parameter(torch.zeros(config.content.dim))
        self.null_motion = nn.Parameter(torch.zeros(config.motion_channels))
        self.blocks = nn.ModuleList(Block(config, over_time=False) for _ in range(d.depth))
        self.temporal = nn.ModuleDict({str(i): Block(config, over_time=True) for i in d.temporal_indices})
        self.modulation = Modulation(d.width, config.motion_channels, 2)
        self.to_residual = nn.Linear(d.width, patch_size)
        nn.init.zeros_(self.to_residual.weight)
        nn.init.zeros_(self.to_residual.bias)

    def forward(
        self, x: Tensor, c_noise: Tensor, content: Tensor, motion: Tensor, keep: Tensor | None, temporal: bool
    ) -> Tensor:
        """X scaled by c_in; c_noise [b]; content [b, n, channels] and motion [b, t, m], both masked where not `keep`.

        `keep`: bool [b]; None: all. `temporal`: whether temporal blocks act. Raises ModelError for more frames than a
        window has: at those positions the temporal blocks are untrained.
        """
        b, t = x.shape[:2]
        if t > self.length:
            raise ModelError(f"{t} frames at once, the temporal blocks were trained on {self.length}: give windows")
        content, motion = content.to(x.dtype), motion.to(x.dtype)
        if keep is not None:
            keep = keep[:, None, None]
            content = torch.where(keep, content, self.null_content.to(x.dtype))
            motion = torch.where(keep, motion, self.null_motion.to(x.dtype))
        time = self.embed_time(sinusoidal(c_noise * 250.0, 256).to(x.dtype))  # [b, d]
        patches = patchify(x.flatten(0, 1), self.patch).unflatten(0, (b, t))  # [b, t, n, patch_size]
        # The content is concatenated with the noisy input, each token with the patch at its place.
        h = self.embed(torch.cat([patches, content[:, None].expand(-1, t, -1, -1)], dim=-1))
        h = h + self.positions.to(h.dtype)
        for i, block in enumerate(self.blocks):
            h = block(h, time, motion)
            if temporal and str(i) in self.temporal:
                h = self.temporal[str(i)](h, time, motion)
        y_s, y_b = self.modulation(time, motion)
        residual = self.to_residual(ada_norm(h, y_s, y_b)).float()
        return unpatchify(residual.flatten(0, 1), self.patch, self.side, self.side).unflatten(0, (b, t))
