"""The discriminator of refined pictures: without it, what the refiner cannot know becomes a blurred mean."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

WIDTHS = (32, 64, 128, 128)  # channels, the first three at halves of the size before
FEATURE_WEIGHT = 4.0  # of feature matching, beside the adversarial term


class Discriminator(nn.Module):
    """A patch discriminator (Isola et al. 2017) with spectral norm and hinge loss, given the reference.

    It is not part of the model.
    """

    def __init__(self, channels: int):
        super().__init__()
        layers = []
        before = 2 * channels
        for width, stride in zip(WIDTHS, (2, 2, 2, 1)):
            layers.append(spectral_norm(nn.Conv2d(before, width, 4 if stride == 2 else 3, stride, 1)))
            before = width
        self.layers = nn.ModuleList(layers)
        self.judge = spectral_norm(nn.Conv2d(before, 1, 3, padding=1))

    def forward(self, picture: Tensor, image: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Pictures [n, c, h, w] -> logits [n, 1, h / 8, w / 8], positive for true ones, and the features below them."""
        x, features = torch.cat([picture, image], 1).contiguous(memory_format=torch.channels_last), []
        for layer in self.layers:
            x = F.leaky_relu(layer(x), 0.2)
            features.append(x)
        return self.judge(x), features

    def loss_g(self, refined: Tensor, true: Tensor, image: Tensor) -> Tensor:
        """The refiner's loss: minus the logits of its pictures, and feature matching with the true ones, []."""
        self.requires_grad_(False)
        logits, features = self(refined, image)
        with torch.no_grad():
            _, wanted = self(true, image)
        self.requires_grad_(True)
        unlike = sum(F.l1_loss(a, b) / b.abs().mean().clamp_min(1e-3) for a, b in zip(features, wanted)) / len(wanted)
        return FEATURE_WEIGHT * unlike - logits.float().mean()

    def loss_d(self, refined: Tensor, true: Tensor, image: Tensor) -> Tensor:
        """The discriminator's hinge loss, []."""
        false_logits, _ = self(refined.detach(), image)
        true_logits, _ = self(true, image)
        return F.relu(1 - true_logits.float()).mean() + F.relu(1 + false_logits.float()).mean()


def balanced(error: Tensor, other: Tensor, weight: Tensor) -> Tensor:
    """Factor that makes `other`'s gradient at a layer's weights as long as that of `error` (Esser et al. 2021), []."""
    own, theirs = (torch.autograd.grad(x, weight, retain_graph=True)[0].norm() for x in (error, other))
    return (own / (theirs + 1e-6)).clamp(max=1e3).detach()
