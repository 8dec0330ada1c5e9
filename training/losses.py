"""Errors of pictures and flows that recipes are made of."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from bcdcodec.models.warp import warp

FLOW_EPS = 0.01  # half a picture: below, the flow's error counts by its square
COLOUR_LEVELS = 12  # a channel: with six, two shades of skin are one colour


def robust(squared: Tensor, huber: float) -> Tensor:
    """Squared errors that grow linearly beyond the error `huber`: few misplaced pixels do not call for blur."""
    return 2 * huber * ((squared + huber**2).sqrt() - huber)


def motion_emphasis(target: Tensor, strength: float) -> Tensor:
    """Weights of mean 1 that are larger where a clip [b, t, c, h, w] moves: [b, t, 1, h, w]."""
    moving = (target - target.mean(1, keepdim=True)).abs().mean(2, keepdim=True)
    moving = F.avg_pool2d(moving.flatten(0, 1), 5, 1, 2).view_as(moving)
    weight = 1 + strength * (moving / (moving.mean(dim=(1, 2, 3, 4), keepdim=True) + 0.02)).clamp(max=4)
    return weight / weight.mean(dim=(1, 2, 3, 4), keepdim=True)


def gradient_error(x: Tensor, y: Tensor, where: Tensor) -> Tensor:
    """Mean absolute error of neighbouring pixels' differences, [b]: rewards edges that a squared error blurs.

    Pictures [b, t, c, h, w], weights `where` [b, t, 1, h, w].
    """
    d = x - y
    where = where.expand(*d.shape[:2], 1, *d.shape[3:])
    vertical = (d[..., 1:, :] - d[..., :-1, :]).abs() * where[..., 1:, :]
    horizontal = (d[..., 1:] - d[..., :-1]).abs() * where[..., 1:]
    return 0.1 * (vertical.mean(dim=(1, 2, 3, 4)) + horizontal.mean(dim=(1, 2, 3, 4)))


def flow_error(flow: Tensor, truth: Tensor) -> Tensor:
    """Mean distance of flow [b, t, 2, gh, gw] from the true flow [b, t, 4, h, w] where that is known, []."""
    truth = F.interpolate(truth.flatten(0, 1), size=flow.shape[-2:], mode="bilinear")
    error = ((flow.flatten(0, 1) - truth[:, :2]).square().sum(1) + FLOW_EPS**2).sqrt() - FLOW_EPS  # [b * t, gh, gw]
    weight = truth[:, 2] * truth[:, 3]
    return (weight * error).sum() / weight.sum().clamp_min(1.0)


def coarse_warp_error(picture: Tensor, flow: Tensor, target: Tensor) -> Tensor:
    """Mean squared error of the warped reference image at two coarse scales, [].

    Photometric gradients reach only neighbouring pixels; on averaged pictures they reach far.
    picture [b, c, h, w], flow [b, t, 2, gh, gw], target [b, t, c, h, w].
    """
    picture = picture.detach()
    b, t = target.shape[:2]
    frames, target = picture[:, None].expand(b, t, *picture.shape[1:]).flatten(0, 1), target.flatten(0, 1)
    flow = flow.flatten(0, 1)
    total = target.new_zeros(())
    for factor in (4, 8):
        size = target.shape[-1] // factor
        coarse_flow = F.adaptive_avg_pool2d(flow, min(size, flow.shape[-1]))
        total = total + F.mse_loss(warp(F.avg_pool2d(frames, factor), coarse_flow), F.avg_pool2d(target, factor))
    return total


def rarity(pictures: Tensor, exponent: float) -> Tensor:
    """Weights of mean 1 that fall with the share of a clip's pixels that have a pixel's colour: [b, t, 1, h, w].

    Pictures [b, t, 3, h, w] in [-1, 1]. Without them, trousers of which a robe shows few pixels get a mean colour.
    """
    colours, count = _colours(pictures)
    weight = count.gather(1, colours).pow(-exponent)
    weight = weight / weight.mean(1, keepdim=True)
    return weight.unflatten(1, (pictures.shape[1], 1, *pictures.shape[3:]))


class PaletteReader(torch.nn.Module):
    """A linear map from content tokens to the clip's colours; it is not part of the model.

    Colours of few pixels (skin, trousers) matter little to the squared error and are learned late without it.
    """

    def __init__(self, values: int):
        super().__init__()
        self.linear = torch.nn.Linear(values, COLOUR_LEVELS**3)

    def error(self, tokens: Tensor, pictures: Tensor) -> Tensor:
        """Mean squared error of the square roots of a colour histogram, normalised to unit deviation.

        Tokens [b, n, d], pictures [b, t, 3, h, w] in [-1, 1].
        """
        root = _colours(pictures)[1].sqrt()
        spread = root.std(0, unbiased=False)
        there = spread > 0.5  # colours that some clips have and others lack
        if not there.any():
            return tokens.new_zeros(())
        target = (root - root.mean(0))[:, there] / spread[there]
        return F.mse_loss(self.linear(tokens.flatten(1))[:, there], target)


def _colours(pictures: Tensor) -> tuple[Tensor, Tensor]:
    """Coarse colours [b, t * h * w] of pictures [b, t, 3, h, w] in [-1, 1], and their counts [b, colours]."""
    level = ((pictures + 1) * (COLOUR_LEVELS / 2)).long().clamp(0, COLOUR_LEVELS - 1)
    colours = ((level[:, :, 0] * COLOUR_LEVELS + level[:, :, 1]) * COLOUR_LEVELS + level[:, :, 2]).flatten(1)
    count = torch.zeros(len(colours), COLOUR_LEVELS**3, device=colours.device)
    return colours, count.scatter_add_(1, colours, torch.ones_like(colours, dtype=count.dtype))
