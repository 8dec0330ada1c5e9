"""The `sprites` model (figure 2): encoder, group VQ, content quantiser, preconditioned diffusion decoder."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bcdcodec.errors import ModelError
from bcdcodec.models.base import Condition, Decoded
from bcdcodec.models.content_quantiser import ContentQuantiser
from bcdcodec.models.edm import preconditioning, sample_heun
from bcdcodec.models.group_vq import GroupVQ
from bcdcodec.models.load_older import rename_on_load
from bcdcodec.models.sprites.config import SpritesConfig
from bcdcodec.models.sprites.dit import SpritesDiT
from bcdcodec.models.sprites.encoder import SpritesEncoder


class SpritesModel(nn.Module):
    """Bitrate-controlled diffusion of normalised pixels [b, t, 3, 64, 64]; content tokens are learned."""

    flow_basis = painter = None  # parts of other models that the codec asks for

    def __init__(self, config: SpritesConfig):
        super().__init__()
        self.config = config
        self.encoder = SpritesEncoder(config)
        self.vq = GroupVQ(config.quantiser)
        self.content = ContentQuantiser(config.content)
        self.decoder = SpritesDiT(config)
        rename_on_load(self, {r"decoder\.null_motion": None})

    def encode(self, z: Tensor, reference: int = 0) -> tuple[Tensor, Tensor]:
        """Content tokens [b, n, d] and motion [b, t, m] of latents [b, t, c, h, w]; no frame is a reference."""
        return self.encoder(z)

    def encode_motion(self, z: Tensor) -> Tensor:
        """The motion of `encode` alone, [b, t, m]."""
        return self.encoder.motion(z)

    def portrait(self, content: Tensor, reference_motion: Tensor | None) -> None:
        """Content tokens of this model are no picture."""

    def detailed(self, portrait: None) -> None:
        """Content tokens of this model are no picture."""

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
    def decode(self, condition: Condition, noise: Tensor, steps: int) -> Decoded:
        """Sample latents from unit noise [b, t, c, h, w] in `steps` EDM steps. Raises ModelError for 0 steps."""
        if not steps:
            raise ModelError(
                f"in 0 steps the content's picture is moved by the motion alone; the motion of model "
                f"{self.config.name!r} is no flow, which needs its networks: give 1 step or more"
            )

        def denoise(x: Tensor, sigma: float) -> Tensor:
            levels = torch.full((x.shape[0],), sigma, device=x.device)
            return self.denoise(x, levels, condition.content, condition.motion)

        return Decoded(sample_heun(denoise, noise, self.config.diffusion, steps), None)
