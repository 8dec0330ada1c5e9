"""Base motion: what the encoder reads from each frame, quantised by group VQ, and what it says (sections 3.1 and 3.2).

A locator finds the head in the picture. A reader looks at the head's crop: a convolutional stem, then T5 blocks in
which one query gathers the motion of the frame. Linear heads on the quantised motion give the teacher's numbers:
52 blendshapes, pitch and yaw, and the similarity of the face-aligned frame. They mean the same for every person.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bcdcodec.config import QuantiserConfig
from bcdcodec.models.faces.alignment_frame import crop
from bcdcodec.models.faces.config import BaseMotionConfig
from bcdcodec.models.faces.parts import LEFT_RIGHT, YAW
from bcdcodec.models.group_vq import GroupVQ, RateTerms
from bcdcodec.models.layers import RMSNorm
from bcdcodec.models.t5 import RelativeBias, T5Layer

HOLD = 1.0  # steps by which another place must be nearer than that of the frame before


class Stem(nn.Module):
    """Strided convolutions with batch norm: [b, 3, h, h] -> [b, n, d], the cells of a grid."""

    def __init__(self, widths: tuple[int, ...], side: int):
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(3, widths[0], 8, stride=4, padding=2)]
        for before, after in zip(widths[:-1], widths[1:], strict=True):
            layers += [nn.BatchNorm2d(before), nn.ReLU(), nn.Conv2d(before, after, 4, stride=2, padding=1)]
        self.layers = nn.Sequential(*layers, nn.BatchNorm2d(widths[-1]), nn.ReLU())
        cells = side // 4 // 2 ** (len(widths) - 1)
        self.position = nn.Parameter(0.02 * torch.randn(cells**2, widths[-1]))

    def forward(self, x: Tensor) -> Tensor:
        x = self.layers(x.contiguous(memory_format=torch.channels_last))
        return x.flatten(2).transpose(1, 2) + self.position


class Locator(nn.Module):
    """The similarity of the face-aligned frame, coarsely: picture [b, 3, 64, 64] (-1 to 1) -> [b, 4]."""

    def __init__(self, config: BaseMotionConfig):
        super().__init__()
        self.stem = Stem(config.locator_stem, config.picture)
        cells = self.stem.position.shape[0]
        width = config.locator_stem[-1]
        self.head = nn.Sequential(
            nn.Linear(cells * width, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Linear(width, 4)
        )
        self.register_buffer("mean", torch.tensor([0.5, 0.5, -0.3, 0.0]))
        self.register_buffer("scale", torch.tensor([0.1, 0.1, 0.2, 0.15]))

    def forward(self, picture: Tensor) -> Tensor:
        return self.mean + self.scale * self.head(self.stem(picture).flatten(1)).float()


class Reader(nn.Module):
    """Motion of a crop [b, 3, 112, 112]: features [b, groups * dim] and the correction of its similarity [b, 4]."""

    def __init__(self, config: BaseMotionConfig):
        super().__init__()
        self.stem = Stem(config.stem, config.crop)
        width = config.width
        self.query = nn.Parameter(0.02 * torch.randn(1, 1, width))
        self.bias = RelativeBias(config.heads)
        self.layers = nn.ModuleList(T5Layer(width, config.ff, config.heads) for _ in range(config.layers))
        for layer in self.layers:  # what the stem shows must first pass unhurt
            nn.init.zeros_(layer.attention.out.weight)
            nn.init.zeros_(layer.ff_out.weight)
        self.norm = RMSNorm(width)
        cells = self.stem.position.shape[0]
        self.project = nn.Sequential(nn.Linear(cells * config.stem[-1], width), nn.BatchNorm1d(width), nn.ReLU())
        self.drop = nn.Dropout(0.1)  # in training
        self.to_features = nn.Linear(2 * width, config.groups * config.dim)
        self.to_correction = nn.Linear(2 * width, 4)

    def forward(self, face: Tensor) -> tuple[Tensor, Tensor]:
        x = torch.cat([self.query.expand(len(face), -1, -1), self.stem(face)], 1)  # [b, 1 + n, d]
        bias = self.bias(x.shape[1])
        for layer in self.layers:
            x = layer(x, bias)
        x = self.norm(x)
        x = torch.cat([x[:, 0], self.project(self.drop(x[:, 1:].flatten(1)))], -1)
        return self.to_features(x).float(), 0.05 * self.to_correction(x).float()


class BaseMotion(nn.Module):
    """Frames -> codes -> the numbers of the teacher."""

    def __init__(self, config: BaseMotionConfig):
        super().__init__()
        self.config = c = config
        self.locator, self.reader = Locator(c), Reader(c)
        # The nearest code; alpha and temperature only shape the histogram of the rate term.
        self.quantiser = GroupVQ(QuantiserConfig(c.groups, c.codes, c.dim, alpha=1.0, nearest=True))
        self.to_expression = nn.Linear(c.groups * c.dim, c.expression)
        self.register_buffer("expression_mean", torch.zeros(c.expression))
        self.register_buffer("expression_scale", torch.ones(c.expression))
        # Range of the similarity that the place groups cover, in equal steps.
        self.register_buffer("place_low", torch.tensor([0.2, 0.2, -1.2, -0.6]))
        self.register_buffer("place_high", torch.tensor([0.8, 0.8, 0.3, 0.6]))

    def view(self, pictures: Tensor, similarity: Tensor) -> Tensor:
        """The reader's crop around a similarity: [b, 3, h, h], [b, 4] -> [b, 3, s, s]."""
        wider = similarity.clone()
        wider[:, 2] = wider[:, 2] + torch.tensor(self.config.context).log()
        return crop(pictures, wider, self.config.crop)

    def locate(self, pictures: Tensor) -> Tensor:
        """Similarities [b, 4] of pictures [b, 3, h, h], -1 to 1, coarsely."""
        return self.locator(F.interpolate(pictures, size=(self.config.picture,) * 2, mode="bilinear", antialias=True))

    def read(self, pictures: Tensor, similarity: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Features [b, g * d] and similarity [b, 4] of pictures [b, 3, h, h], -1 to 1; near a `similarity` if given."""
        if similarity is None:
            similarity = self.locate(pictures)
            _, correction = self.reader(self.view(pictures, similarity))
            similarity = corrected(similarity, correction)
        features, correction = self.reader(self.view(pictures, similarity))
        return features, corrected(similarity, correction)

    def read_both(self, pictures: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """`read`, and what `with_mirrored` gives of it."""
        features, similarity = self.read(pictures)
        return features, similarity, self.with_mirrored(self.reader, pictures, features, similarity)

    def with_mirrored(self, reader: nn.Module, pictures: Tensor, features: Tensor, similarity: Tensor) -> Tensor:
        """The expression and turn [b, 54] that pictures and mirrored pictures [b, 3, h, h] say in the mean.

        The network errs otherwise in a mirror, so the mean is nearer to the teacher's. `reader`: this one's, or a copy
        in another precision; it gave the `features` [b, g * d] near a `similarity` [b, 4].
        """
        there = similarity * similarity.new_tensor([-1, 1, 1, -1]) + similarity.new_tensor([1, 0, 0, 0])
        kind = next(reader.parameters()).dtype
        mirrored, _ = reader(self.view(pictures.flip(-1), there).to(kind))
        one, other = (self.expression(self.continuous(x)) for x in (features, mirrored))
        return (one + mirrored_expression(other)) / 2

    def expression(self, features: Tensor) -> Tensor:
        """The teacher's expression and turn of normalised features, quantised or not: [..., g * d] -> [..., 54]."""
        return self.expression_mean + self.expression_scale * self.to_expression(features)

    def continuous(self, features: Tensor) -> Tensor:
        """Features [b, g * d] normalised, not quantised."""
        return self.quantiser.features(features[:, None]).flatten(1)

    def quantised(self, features: Tensor, temperature: float) -> tuple[Tensor, RateTerms]:
        """Training: features [b, g * d] as their nearest codes, with straight-through gradients, and the rate terms."""
        m_hat, _, rate = self.quantiser(features[:, None], temperature)
        return m_hat[:, 0], rate

    def nearest(self, features: Tensor) -> Tensor:
        """The nearest code of each group by itself, as in training: features [t, g * d] -> codes [t, groups]."""
        return self.quantiser.distances(self.quantiser.features(features[:, None]))[:, 0].argmin(-1)

    def place_codes(self, similarity: Tensor, before: Tensor | None = None) -> Tensor:
        """Codes [t, place_groups] of the similarity [t, 4] of consecutive frames, coarse and then fine.

        A step stays that of the frame before unless another one is nearer by HOLD. Codes that stay cost next to
        nothing, and noise does not show. `before` [place_groups]: codes of the frame before these, where there is one.
        """
        c = self.config
        place = (similarity - self.place_low) / (self.place_high - self.place_low) * (c.codes * c.place_fine)
        place = place.clamp(0, c.codes * c.place_fine - 1)  # [t, 4] in steps
        held, rows = None, []
        if before is not None:
            coarse, fine = before.split(4)
            held = (coarse * c.place_fine + fine).to(place)
        for steps in place:
            step = steps.floor()
            if held is not None:
                step = torch.where((steps - held - 0.5).abs() < 0.5 + HOLD, held, step)
            rows.append(step)
            held = step
        step = torch.stack(rows).long()
        return torch.cat([step // c.place_fine, step % c.place_fine], 1)

    def lookup(self, codes: Tensor) -> Tensor:
        """Channels of codes [..., groups + place_groups]: features [..., g * d], then digits of the similarity."""
        g = self.config.groups
        features = self.quantiser.lookup(codes[..., :g].view(-1, 1, g)).view(*codes.shape[:-1], -1)
        return torch.cat([features, codes[..., g:].float()], -1)

    def numbers(self, channels: Tensor) -> Tensor:
        """The teacher's 58 numbers of channels [..., g * d + 8]: expression, turn, similarity."""
        c = self.config
        features, coarse, fine = channels.split([c.groups * c.dim, 4, 4], -1)
        place = (coarse * c.place_fine + fine + 0.5) / (c.codes * c.place_fine)
        return torch.cat([self.expression(features), self.place_low + place * (self.place_high - self.place_low)], -1)

    def decode(self, codes: Tensor) -> Tensor:
        """The teacher's 58 numbers of codes [..., groups + place_groups]."""
        return self.numbers(self.lookup(codes))


def mirrored_expression(numbers: Tensor) -> Tensor:
    """Expression and turn [..., 54] of the mirrored picture."""
    order = torch.arange(numbers.shape[-1], device=numbers.device)
    left, right = torch.tensor(LEFT_RIGHT, device=numbers.device).T
    order[left], order[right] = right, left
    out = numbers[..., order]
    out[..., YAW] = -out[..., YAW]
    return out


def corrected(similarity: Tensor, correction: Tensor) -> Tensor:
    """A similarity [b, 4] moved by a correction in its own frame: shift in sides, log of the side, roll."""
    side, roll = similarity[:, 2].exp(), similarity[:, 3]
    x, y = correction[:, 0], correction[:, 1]
    shift = torch.stack([side * (roll.cos() * x - roll.sin() * y), side * (roll.sin() * x + roll.cos() * y)], -1)
    return torch.cat([similarity[:, :2] + shift, similarity[:, 2:] + correction[:, 2:]], -1)


def correction_between(near: Tensor, right: Tensor) -> Tensor:
    """The correction that `corrected` needs to make `right` of `near`: [b, 4], [b, 4] -> [b, 4]."""
    side, roll = near[:, 2].exp(), near[:, 3]
    dx, dy = ((right - near)[:, :2] / side[:, None]).unbind(-1)
    shift = torch.stack([roll.cos() * dx + roll.sin() * dy, -roll.sin() * dx + roll.cos() * dy], -1)
    return torch.cat([shift, (right - near)[:, 2:]], -1)
