"""Fits the network and the tables of content profile `learned` to the contents of training clips."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bcdcodec.entropy.content import SYMBOLS, symbols_of
from bcdcodec.entropy.learned_content import CLASSES, FEATURES, LearnedContentModel
from bcdcodec.entropy.tables import FrequencyTables

UNITS = 24
STEPS, BATCH, LEARNING_RATE = 3000, 16384, 5e-3
LEAST_STEPS, VALUES_A_STEP = 100, 4096  # of a few small contents, fewer steps say all
LATEST = 0.01  # of the learning rate, that is left at the end
LOWEST = -9.0
PSEUDO = 64  # what one symbol seen counts for, beside the pseudo count of one

# Units of the model's integers.
_FEATURE, _WEIGHT, _DIRECT = 32, 1 << 10, 1 << 13
_UNIT, _OUTPUT = _FEATURE * _WEIGHT, 1 << 18


def fit_learned_content(contents: list[np.ndarray], rows: int, columns: int, predicted: int) -> LearnedContentModel:
    """Return the learned model of contents int [n, d], at all steps that files may have.

    The network learns how likely a value is to be zero and, by the same number, how fast greater ones become rarer; the
    tables are then counted in its 64 classes.
    """
    channels = contents[0].shape[1]
    network = _SizeNetwork(channels)
    blank = _whole(network, FrequencyTables.from_counts(np.zeros((predicted + CLASSES, SYMBOLS), np.int64)), predicted)
    residuals = [blank.residuals(np.asarray(content), rows, columns) for content in contents]
    if channels > predicted:
        _teach(network, [_seen(blank, each, rows, columns) for each in residuals], residuals, predicted)
    model = _whole(network, blank.tables, predicted)
    counts = np.zeros((predicted + CLASSES, SYMBOLS), np.int64)
    for each in residuals:
        np.add.at(counts, (model.all_contexts(each, rows, columns), symbols_of(each)), 1)
    return _whole(network, FrequencyTables.from_counts(PSEUDO * counts), predicted)


class _SizeNetwork(nn.Module):
    """The logit of a value not being zero, from what the coder sees; the model of integers is this one, rounded."""

    def __init__(self, channels: int):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        normal = lambda *shape: torch.randn(shape, generator=generator)  # noqa: E731
        self.unit_bias = nn.Parameter(0.1 * normal(channels, UNITS))
        self.unit_weights = nn.Parameter(0.3 / FEATURES**0.5 * normal(FEATURES, UNITS))
        self.output_bias = nn.Parameter(torch.full((channels,), -3.0))
        self.output_weights = nn.Parameter(0.3 * normal(UNITS))
        self.direct_weights = nn.Parameter(torch.zeros(FEATURES))
        self.fall = nn.Parameter(torch.tensor([0.5, -1.0]))  # of the logit of going on from a size to the next

    def forward(self, x: Tensor, channel: Tensor) -> Tensor:
        """Features [n, 16] of values of `channel` [n] -> logits [n]."""
        units = F.relu(self.unit_bias[channel] + x @ self.unit_weights)
        return units @ self.output_weights + x @ self.direct_weights + self.output_bias[channel]

    def bits(self, x: Tensor, channel: Tensor, size: Tensor) -> Tensor:
        """What sizes |v| [n] cost, but for their signs, []: zero or not, and then geometrically distributed."""
        logit = self(x, channel)
        on = self.fall[0] * logit + self.fall[1]
        there = size > 0
        more = F.softplus(on) + (size - 1) * F.softplus(-on)
        return F.binary_cross_entropy_with_logits(logit, there.float()) + torch.where(there, more, 0.0).mean()


def _teach(network: _SizeNetwork, features: list[np.ndarray], residuals: list[np.ndarray], predicted: int) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.from_numpy(np.concatenate(features))  # int16 [contents * (d - predicted) * n, 16]
    sizes = torch.from_numpy(np.concatenate([np.abs(r[:, predicted:]).T.ravel() for r in residuals])).float()
    n = residuals[0].shape[0]
    channel = torch.arange(predicted, residuals[0].shape[1]).repeat_interleave(n).repeat(len(residuals))
    steps = min(STEPS, max(LEAST_STEPS, len(x) // VALUES_A_STEP))
    optimiser = torch.optim.Adam(network.parameters(), LEARNING_RATE)
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = LEARNING_RATE * (1 - (1 - LATEST) * step / steps)
        rows = torch.randint(len(x), (min(BATCH, len(x)),), generator=generator)
        bits = network.bits(x[rows].float() / _FEATURE, channel[rows], sizes[rows])
        optimiser.zero_grad()
        bits.backward()
        optimiser.step()


def _seen(model: LearnedContentModel, residuals: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Features of the channels that are not predicted, channel by channel, int16 [(d - predicted) * n, 16]."""
    contexts = model.contexts(rows, columns)
    contexts.add(residuals.T)
    return contexts.features(np.arange(model.predicted_channels, model.channels)).astype(np.int16).reshape(-1, FEATURES)


def _whole(network: _SizeNetwork, tables: FrequencyTables, predicted: int) -> LearnedContentModel:
    """The network in whole numbers."""

    def rounded(x: Tensor, unit: int, dtype: type) -> np.ndarray:
        limit = 32767 if dtype is np.int16 else 1 << 30
        return np.rint(x.detach().double().numpy() * unit).clip(-limit, limit).astype(dtype)

    return LearnedContentModel(
        tables,
        predicted,
        unit_bias=rounded(network.unit_bias, _UNIT, np.int32),
        unit_weights=rounded(network.unit_weights, _WEIGHT, np.int16),
        output_bias=rounded(network.output_bias - LOWEST, _OUTPUT, np.int32),
        output_weights=rounded(network.output_weights, _WEIGHT, np.int16),
        direct_weights=rounded(network.direct_weights, _DIRECT, np.int16),
    )
