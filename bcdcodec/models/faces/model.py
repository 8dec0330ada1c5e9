"""The `faces` model: the base layer draws the face from a picture, the enhancement layer corrects it by flow."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bcdcodec.models.alignment import LEVELS, QUICK
from bcdcodec.models.base import Refined, Synthesis
from bcdcodec.models.faces.alignment import align
from bcdcodec.models.faces.alignment_frame import crop, head_radii, positions
from bcdcodec.models.faces.base_layer import BaseLayer
from bcdcodec.models.faces.config import FacesConfig
from bcdcodec.models.faces.joint_choice import JointChoice
from bcdcodec.models.faces.layered_vq import LayeredVQ
from bcdcodec.models.faces.reference import FacesReference, transferred
from bcdcodec.models.faces.surroundings import Surroundings, interpolated
from bcdcodec.models.flow_basis import FlowBasis
from bcdcodec.models.warp import warp

AT_ONCE = 16  # frames drawn together
SURROUNDINGS_EVERY = 4  # frames: the network of the surroundings is asked of one in so many
BASE_WEIGHT = 1.0  # of squared errors of the base layer's features in the distortion, where frames are interpolated
STEP_WEIGHT = 0.02  # of those of steps of the similarity
JAW, LIDS, TURN = 25, (9, 10), slice(52, 54)  # among the 58 numbers of motion: jawOpen, eyeBlink, pitch and yaw
# What makes a reference bad, in radians between its turn and a frame's.
OPEN_MOUTH = 0.5  # a mouth wide open; shut eyes: 1
MOVED = 0.5  # a side of the face-aligned frame between the places of both heads
TURNED = 0.5  # a radian of its own: no warp turns a profile to the front
# Where eyes and mouth are in the face-aligned frame, and their radii, -1 to 1.
FEATURES = (((-0.29, -0.29), (0.2, 0.13)), ((0.29, -0.29), (0.2, 0.13)), ((0.0, 0.36), (0.33, 0.24)))
HEAD = 0.25  # weight of the rest of the head beside theirs: cheeks and hair tear where a head turns
JUDGED = 64  # pixels, side of the frame in which errors of the head are taken


class FacesModel(nn.Module):
    """A codec of faces over pictures [b, t, 3, h, h] in [-1, 1], whose reference is a picture."""

    warps = True
    noise_per_frame = False

    def __init__(self, config: FacesConfig):
        super().__init__()
        self.config = config
        self.base = BaseLayer(config.base, config.geometry, config.drawing, config.surroundings)
        self.choice = JointChoice(config.base)
        self.vq = LayeredVQ(config)
        self.flow_basis = FlowBasis(config.quantiser.groups - config.base_groups, config.enhancement.grid)

    # ---- the encoder

    def motion(self, z: Tensor) -> Tensor:
        """The base layer's motion, quantised; zeros for the enhancement layer, which `refine` finds.

        Rows are windows of one clip that follow one another.
        """
        b, t = z.shape[:2]
        parts = [self.base.base_motion.read_both(part) for part in z.flatten(0, 1).float().split(AT_ONCE)]
        features, similarity, wanted = (torch.cat(x) for x in zip(*parts, strict=True))
        codes = self.base_codes(features, similarity, wanted=wanted).unflatten(0, (b, t))
        channels = self.base.base_motion.lookup(codes)
        return F.pad(channels, (0, self.config.motion_channels - channels.shape[-1]))

    def base_codes(
        self, features: Tensor, similarity: Tensor, before: Tensor | None = None, wanted: Tensor | None = None
    ) -> Tensor:
        """The base layer's codes [t, groups] of consecutive frames, of what `BaseMotion.read` gives of them.

        `before` [groups]: codes of the frame before these, where there is one; `wanted`: see `JointChoice`.
        """
        expression = None if before is None else before[: self.config.base.groups]
        place = None if before is None else before[self.config.base.groups :]
        motion = self.base.base_motion
        return torch.cat([self.choice(motion, features, expression, wanted), motion.place_codes(similarity, place)], 1)

    def numbers(self, m: Tensor) -> Tensor:
        """The 58 numbers of base motion [..., 58] of motion [..., m]."""
        return self.base.base_motion.numbers(m[..., : self.config.base_channels])

    def reference_frame(self, m: Tensor, weights: Tensor | None = None) -> int:
        """The frame that serves a clip of motion [t, m] best: turned and placed as most are, eyes open, mouth shut.

        `weights` [t]: what each frame to be served counts; None: all alike.
        """
        numbers = self.numbers(m)
        turn, places, size = numbers[:, TURN], numbers[:, 54:56], numbers[:, 56].exp()
        away = (turn[:, None] - turn).abs().sum(2) + MOVED * (places[:, None] - places).norm(dim=2) / size
        if weights is None:
            served = away.mean(1) + TURNED * turn.abs().sum(1)
        else:  # it stands beside a frontal one
            served = (away * weights).sum(1) / weights.sum()
        badness = served + numbers[:, LIDS].mean(1) + OPEN_MOUTH * numbers[:, JAW]
        return int(badness.argmin())

    def reference(self, tokens: Tensor, motion: Tensor, detailed: bool = False) -> FacesReference:
        """The reference of pictures [b, 3, h, h], -1 to 1, in motion [b, m]."""
        return FacesReference(tokens, motion)

    @torch.no_grad()
    def refine(self, z: Tensor, m: Tensor, reference: FacesReference, quick: bool = False) -> Refined:
        """The enhancement layer: alignment of what the base layer shows with z; see `VideoModel.refine`."""
        c, (b, t) = self.config, z.shape[:2]
        share = c.latent.size // c.enhancement.side
        drawn = self.shown(reference, m)
        start = m.new_zeros(b * t, c.motion_channels - c.base_channels)
        small, goal = (F.avg_pool2d(x, share) for x in (drawn.flatten(0, 1), z.flatten(0, 1)))
        change, inner = align(self.flow_basis, small, goal, start, QUICK if quick else LEVELS)
        hessian = inner.new_zeros(b * t, c.motion_channels, c.motion_channels)
        hessian[:, c.base_channels :, c.base_channels :] = inner
        weights = torch.full((c.base_channels,), BASE_WEIGHT)
        weights[-8:-4], weights[-4:] = STEP_WEIGHT * c.base.place_fine**2, STEP_WEIGHT
        at = torch.arange(c.base_channels)
        hessian[:, at, at] = weights.to(hessian)
        refined = torch.cat([m[..., : c.base_channels], change.unflatten(0, (b, t))], -1)
        return Refined(refined, hessian.unflatten(0, (b, t)), drawn)

    @torch.no_grad()
    def warp_errors(self, z: Tensor, refined: Refined, reference: FacesReference) -> Tensor:
        shown = self._corrected(refined.drawn, refined.motion)[0]
        return torch.stack(self.errors(shown, z, refined.motion[0]), -1)

    def errors(self, shown: Tensor, z: Tensor, m: Tensor) -> tuple[Tensor, Tensor]:
        """Mean squared errors in 0..1 of pictures [t, 3, h, h] in motion [t, m]: at the face [t], everywhere [t]."""
        error = (shown - z).square().mean(1, keepdim=True) / 4
        faces = crop(error, self.numbers(m)[:, 54:], JUDGED)
        weight = feature_weight(JUDGED).to(error)
        return (weight * faces).sum((1, 2, 3)) / weight.sum(), error.mean((1, 2, 3))

    # ---- the decoder

    def shown(
        self,
        reference: FacesReference,
        m: Tensor,
        noise: Tensor | None = None,
        steps: int = 0,
        moved: bool = True,
        around: Surroundings | None = None,
    ) -> Tensor:
        """What the base layer shows of motion [b, t, m]: [b, t, 3, h, h]; see `BaseLayer.synthesise`.

        The encoder looks at 0 steps: what is drawn hardly changes where the enhancement layer has to move it.
        `around`: maps of the b * t frames, see `maps_around`.
        """
        own, numbers = self._numbers_shown(reference, m)
        rows, t = [], m.shape[1]
        for i, row in enumerate(numbers):
            at, parts = slice(i, i + 1), []
            if around is not None:
                said = around.at(slice(i * t, (i + 1) * t))
            else:
                said = self._interpolated(reference.tokens[at], own[at], row) if moved else None
            # Codes often rest, and the noise is the same: frames that follow one another in one motion are one picture.
            row, place, counts = torch.unique_consecutive(row, dim=0, return_inverse=True, return_counts=True)
            first = counts.cumsum(0) - counts
            for part, index in zip(row.split(AT_ONCE), first.split(AT_ONCE), strict=True):
                given = (reference.tokens[at], own[at], part[None])
                own_noise = None if noise is None else noise[at, :1].expand(-1, len(part), -1, -1, -1)
                maps = None if said is None else said.at(index)
                parts.append(self.base.synthesise(*given, own_noise, steps, moved, maps)[0])
            rows.append(torch.cat(parts)[place])
        return torch.stack(rows)

    def _interpolated(self, reference: Tensor, own: Tensor, numbers: Tensor) -> Surroundings | None:
        """Maps of the frames [t, 58] of a row: the network is asked of every few, and maps between are interpolated."""
        t = len(numbers)
        at = torch.arange(0, t + SURROUNDINGS_EVERY - 1, SURROUNDINGS_EVERY, device=numbers.device).clamp(max=t - 1)
        asked, place = torch.unique_consecutive(numbers[at], dim=0, return_inverse=True)
        parts = [self.base.maps_around(reference, own.expand(len(x), -1), x) for x in asked.split(AT_ONCE)]
        if parts[0] is None:
            return None
        return interpolated(Surroundings(*map(torch.cat, zip(*parts, strict=True))).at(place), at)

    def maps_around(self, reference: FacesReference, m: Tensor) -> Surroundings | None:
        """What the network of the surroundings says of motion [b, t, m]; a stream interpolates between such maps."""
        own, numbers = self._numbers_shown(reference, m)
        return self.base.maps_around(reference.tokens, own.repeat_interleave(m.shape[1], 0), numbers.flatten(0, 1))

    def _numbers_shown(self, reference: FacesReference, m: Tensor) -> tuple[Tensor, Tensor]:
        """The 58 numbers of references [b, 58], and those that they show of motion [b, t, m]: [b, t, 58]."""
        own, numbers = self.numbers(reference.motion), self.numbers(m)
        if reference.transfer is not None:
            numbers = transferred(reference.transfer, own[:, None], numbers)
        return own, numbers

    def _corrected(self, shown: Tensor, m: Tensor) -> Tensor:
        """Pictures [b, t, 3, h, h] through the flow of the enhancement layer."""
        flow = self.flow_basis(m[..., self.config.base_channels :])
        return warp(shown.flatten(0, 1), flow.flatten(0, 1), cubic=True).view_as(shown)

    @torch.no_grad()
    def synthesise(
        self,
        reference: FacesReference,
        m_hat: Tensor,
        noise: Tensor | None,
        steps: int,
        around: Surroundings | None = None,
    ) -> Synthesis:
        """Pictures of quantised motion; of another recording's only the base layer is used.

        The geometry network runs once, whatever the `steps`; in 0 steps no network runs. Without `noise` nothing is
        drawn over the warp. `around`: see `shown`.
        """
        shown = self.shown(reference, m_hat, noise, steps, steps > 0, around)
        return Synthesis(shown if reference.transfer is not None else self._corrected(shown, m_hat))

    def decoding_networks(self) -> list[nn.Module]:
        parts = (self.base.geometry, self.base.surroundings, self.base.drawing)
        return [layer for part in parts if part is not None for layer in part.layers()]


@cache
def feature_weight(size: int) -> Tensor:
    """What errors count in the face-aligned frame, most at eyes and mouth: [1, 1, size, size]."""
    here = positions(size)[0]
    weight = HEAD * (head_radii(here) < 1)
    for centre, radii in FEATURES:
        weight += (-((here - torch.tensor(centre)) / torch.tensor(radii)).square().sum(-1)).exp()
    return weight[None, None]
