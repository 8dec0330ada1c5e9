"""Analysis by synthesis: the encoder decodes what it is about to write and moves the motion to where that fits better."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from bcdcodec.models.bcd import BCD
from bcdcodec.models.dit import Condition

LEARNING_RATE = 0.1  # of Adam, a step, in motion channels of about unit deviation
COARSE = 4  # pixels: on pictures so averaged errors reach farther than to the next pixel


def refine_motion(model: BCD, z: Tensor, m: Tensor, condition: Condition, noise: Tensor, steps: int, price: float) -> Tensor:
    """Motion [b, t, m] whose codes decode nearer to the latents z [b, t, c, h, w] than those of `m` [b, t, m].

    `condition`: content and reference motion of the windows; its motion is not looked at. `noise` [b, t, c, h, w] as the
    decoder will draw it, `price` as in `GroupVQ.encode`. Gradients pass the choice of codes as if it were none, and
    the decoder in one step: for models that decode in one. What is painted over the estimate is left out: the
    motion that it leads to is as good, at half of the time.
    """
    config = model.config.diffusion
    with torch.inference_mode(False), torch.enable_grad():
        z, noise = z.clone(), noise * config.sigma_max
        sigma = torch.full((len(z),), config.sigma_max, device=z.device)
        content = condition.content.clone()
        reference = None if condition.reference_motion is None else condition.reference_motion.clone()
        found = m.clone().requires_grad_()
        optimiser = torch.optim.Adam([found], lr=LEARNING_RATE)
        for _ in range(steps):
            features = model.vq.features(found).flatten(2)
            m_hat = model.vq.lookup(model.vq.encode(found.detach(), price)) + features - features.detach()
            out = model.denoise(noise, sigma, Condition(content, m_hat, reference), painted=False)
            latents = out.latents if out.warped is None else out.latents + out.warped - out.warped.detach()
            error = F.mse_loss(latents, z) + F.mse_loss(_coarse(latents), _coarse(z))
            (found.grad,) = torch.autograd.grad(error, found)
            optimiser.step()
    return found.detach()


def _coarse(z: Tensor) -> Tensor:
    return F.avg_pool2d(z.flatten(0, 1), COARSE)
