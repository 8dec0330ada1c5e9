"""Contents redrawn by the model itself in another clip's motion, and errors of codes under them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from bcdcodec.models.sprites.model import SpritesModel
from bcdcodec.training.data.sprite_batches import SpriteBatch


@torch.no_grad()
def redrawn_content(ema: SpritesModel, batch: SpriteBatch, share: float) -> SpriteBatch:
    """The batch, its first `share` of content frames redrawn in one step by the `ema` copy in another clip's motion.

    Both halves of a clip show one action. Unless redrawn, the content gives it away, and the decoder relies on that.
    The target stays a true picture.
    """
    rows = slice(round(len(batch.content) * share))
    z = batch.content[rows]
    redrawn = in_one_step(ema, as_filed(ema, z), ema.vq.quantise(ema.motion(z.roll(1, dims=0))))
    return replace(batch, content=torch.cat([redrawn.to(z), batch.content[rows.stop :]]))


@torch.no_grad()
def redrawn_errors(ema: SpritesModel, batch: SpriteBatch) -> Tensor:
    """Mean squared error [b, t] of the targets drawn in one step from their codes and redrawn contents."""
    tokens = as_filed(ema, redrawn_content(ema, batch, 1.0).content)
    return drawing_errors(ema, tokens, ema.vq.quantise(ema.motion(batch.driving)), batch.target)


def as_filed(ema: SpritesModel, content: Tensor) -> Tensor:
    """Tokens of content frames [b, tc, c, h, w] as files hold them."""
    index = ema.config.content.default_step
    return ema.content_quantiser.dequantise(ema.content_quantiser.quantise(ema.encode(content)[0], index), index)


def in_one_step(ema: SpritesModel, tokens: Tensor, m_hat: Tensor) -> Tensor:
    """Latents [b, t, c, h, w] of content tokens [b, ...] in motion [b, t, g * d]."""
    latent = ema.config.latent
    noise = torch.randn((*m_hat.shape[:2], latent.channels, latent.size, latent.size), device=tokens.device)
    return ema.denoise_at_max(noise, tokens, m_hat)


def drawing_errors(ema: SpritesModel, tokens: Tensor, m_hat: Tensor, target: Tensor) -> Tensor:
    """Mean squared errors [b, t] of what `in_one_step` draws against the latents `target` [b, t, c, h, w]."""
    return (in_one_step(ema, tokens, m_hat) - target).square().mean(dim=(2, 3, 4))


class RedrawnFrames:
    """Driving frames of some batches, drawn from redrawn contents and any codes, and their errors."""

    @torch.no_grad()
    def __init__(self, ema: SpritesModel, batches: Sequence[SpriteBatch]):
        self._model = ema
        self._tokens = torch.cat([as_filed(ema, redrawn_content(ema, batch, 1.0).content) for batch in batches])
        self._targets = torch.cat([batch.target for batch in batches])

    def errors(self, frames: Tensor, m_hat: Tensor) -> Tensor:
        """Mean squared errors [r] of `frames` [r], numbered 0 to n * t, in motion [r, g * d], or [g * d] for all."""
        m_hat = m_hat.expand(len(frames), -1)
        tokens, targets = self._tokens[frames // self._targets.shape[1]], self._targets.flatten(0, 1)[frames]
        return drawing_errors(self._model, tokens, m_hat[:, None], targets[:, None])[:, 0]
