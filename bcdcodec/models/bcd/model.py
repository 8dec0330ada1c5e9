"""Bitrate-controlled diffusion (figure 2): encoder, group VQ and conditional diffusion decoder."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from bcdcodec.models.base import Reference, Synthesis, UnwarpedModel
from bcdcodec.models.bcd.config import BCDConfig
from bcdcodec.models.bcd.dit import DiT
from bcdcodec.models.bcd.edm import guided, sample
from bcdcodec.models.bcd.encoder import Encoder
from bcdcodec.models.bcd.group_vq import GroupVQ
from bcdcodec.models.content_quantiser import ContentQuantiser
from bcdcodec.models.edm import preconditioning


class BCDModel(UnwarpedModel):
    """The paper's model over latents [b, t, c, h, w]."""

    noise_per_frame = True  # as in training: the forward process adds independent noise to every frame

    def __init__(self, config: BCDConfig):
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.vq = GroupVQ(config.quantiser)
        self.content_quantiser = ContentQuantiser(config.content)  # for files; training leaves it out, as the paper
        self.decoder = DiT(config)

    def encode(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Content tokens [b, n, channels] and motion [b, t, m] of latents [b, t, c, h, w]."""
        return self.encoder(z)

    def motion(self, z: Tensor) -> Tensor:
        return self.encoder(z)[1]

    def content(self, frames: Callable[[Tensor], Tensor], m: Tensor) -> tuple[Tensor, None]:
        """Of frames at equal distances over the clip, at most as many as a training clip gave content from."""
        picked = torch.linspace(0, len(m) - 1, min(self.config.content.frames, len(m))).long()
        return self.encoder(frames(picked)[None])[0], None

    def denoise(
        self,
        x: Tensor,
        sigma: Tensor,
        content: Tensor,
        motion: Tensor,
        keep: Tensor | None = None,
        temporal: bool = True,
    ) -> Tensor:
        """D(x; sigma) for noisy latents x [b, t, c, h, w] and noise levels sigma [b].

        Conditioned on content [b, n, channels] and quantised motion [b, t, m], except where `keep` (bool [b]) is false.
        `temporal`: whether temporal blocks act.
        """
        c_skip, c_out, c_in, c_noise = preconditioning(sigma, self.config.diffusion.sigma_data)
        c_skip, c_out, c_in = (c[:, None, None, None, None] for c in (c_skip, c_out, c_in))
        scaled = (c_in * x).to(self.decoder.to_residual.weight.dtype)  # a decoder in bfloat16 takes bfloat16
        return c_skip * x + c_out * self.decoder(scaled, c_noise, content, motion, keep, temporal)

    @torch.no_grad()
    def synthesise(self, reference: Reference, m_hat: Tensor, noise: Tensor, steps: int) -> Synthesis:
        self.refuse_no_steps(steps)
        b, diffusion = len(m_hat), self.config.diffusion
        keep = torch.tensor([True, False], device=m_hat.device).repeat_interleave(b)
        tokens, motion = (torch.cat([part, part]) for part in (reference.tokens, m_hat))

        def denoise(x: Tensor, sigma: float) -> Tensor:
            levels = torch.full((2 * b,), sigma, device=x.device)
            return guided(*self.denoise(torch.cat([x, x]), levels, tokens, motion, keep).chunk(2), diffusion.guidance)

        return Synthesis(sample(denoise, noise, diffusion, steps))
