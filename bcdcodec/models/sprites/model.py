"""The `sprites` model (figure 2): encoder, group VQ, content quantiser, preconditioned diffusion decoder."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from bcdcodec.models.base import Reference, Synthesis, UnwarpedModel
from bcdcodec.models.content_quantiser import ContentQuantiser
from bcdcodec.models.edm import preconditioning, sample_heun
from bcdcodec.models.group_vq import GroupVQ
from bcdcodec.models.load_older import rename_on_load
from bcdcodec.models.sprites.config import SpritesConfig
from bcdcodec.models.sprites.dit import SpritesDiT
from bcdcodec.models.sprites.encoder import SpritesEncoder


class SpritesModel(UnwarpedModel):
    """Bitrate-controlled diffusion of normalised pixels [b, t, 3, 64, 64]; content tokens are learned."""

    noise_per_frame = False

    def __init__(self, config: SpritesConfig):
        super().__init__()
        self.config = config
        self.encoder = SpritesEncoder(config)
        self.vq = GroupVQ(config.quantiser)
        self.content_quantiser = ContentQuantiser(config.content)
        self.decoder = SpritesDiT(config)
        rename_on_load(self, {r"decoder\.null_motion": None})

    def encode(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Content tokens [b, n, d] and motion [b, t, m] of latents [b, t, c, h, w]."""
        return self.encoder(z)

    def motion(self, z: Tensor) -> Tensor:
        return self.encoder.motion(z)

    def content(self, frames: Callable[[Tensor], Tensor], m: Tensor) -> tuple[Tensor, None]:
        order = self.vq.from_middle(m)
        picked = order[torch.linspace(0, len(m) - 1, min(self.config.content.frames, len(m))).long()].cpu()
        return self.encode(frames(picked)[None])[0], None

    def denoise(
        self, x: Tensor, sigma: Tensor, content: Tensor, motion: Tensor, keep_content: Tensor | None = None
    ) -> Tensor:
        """D(x; sigma) of EDM's equation 7 for noisy latents x [b, t, c, h, w] and noise levels sigma [b].

        `content` [b, n, d], masked where `keep_content` [b] is 0; quantised `motion` [b, t, m].
        """
        c_skip, c_out, c_in, c_noise = preconditioning(sigma, self.config.diffusion.sigma_data)
        expand = (slice(None), None, None, None, None)
        scaled = (x * c_in[expand]).to(self.decoder.to_residual.weight.dtype)  # a decoder in bfloat16 takes bfloat16
        return c_skip[expand] * x + c_out[expand] * self.decoder(scaled, c_noise, content, motion, keep_content)

    def denoise_at_max(self, noise: Tensor, content: Tensor, motion: Tensor) -> Tensor:
        """One-step decode: D(sigma_max * noise; sigma_max) for unit noise [b, t, c, h, w]."""
        sigma = torch.full((len(noise),), self.config.diffusion.sigma_max, device=noise.device)
        return self.denoise(self.config.diffusion.sigma_max * noise, sigma, content, motion)

    @torch.no_grad()
    def synthesise(self, reference: Reference, m_hat: Tensor, noise: Tensor, steps: int) -> Synthesis:
        self.refuse_no_steps(steps)

        def denoise(x: Tensor, sigma: float) -> Tensor:
            return self.denoise(x, torch.full((x.shape[0],), sigma, device=x.device), reference.tokens, m_hat)

        return Synthesis(sample_heun(denoise, noise, self.config.diffusion, steps))
