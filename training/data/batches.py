"""Batches for the cross-driven objective: content from one half, motion from the other, and the truth."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from bcdcodec.training.data.clips import ClipStore
from bcdcodec.training.data.procedural_pairs import PEOPLE, PairStore

# Of the pictures that the denoiser learns from.
CROP_LEAST = 0.75  # of a picture's side
CONTRAST, TINT = (0.8, 1.15), 0.08  # in which range, and by how much each channel on average


@dataclass(frozen=True)
class ClipBatches:
    """What a batch of clips of heads is made of."""

    batch: int  # clips
    frames: int  # target frames a clip
    content_frames: int = 2  # frames that give the content
    temporal_stride: int = 2  # source frames between two training frames
    stage1_split: int = 2  # stage 1 takes so many times more clips, of so many times fewer frames
    procedural_share: float = 0.5  # of the batch: procedural heads, cross-identity pairs with exact truth
    still_share: float = 0.12  # of the batch: single portraits moved by similarity transforms
    shift_from: float = 0.5  # share of the run after which target and content are shifted apart
    shift_max: float = 0.04  # of the picture, at the end of the run


@dataclass(frozen=True)
class Batch:
    """Pictures in [-1, 1]. The target shows the content's person in the driving pictures' motion."""

    content: Tensor  # [b, tc, c, h, w]
    driving: Tensor  # [b, t, c, h, w]
    target: Tensor  # [b, t, c, h, w]
    flow: Tensor  # [pairs, t, tc, 4, gh, gw] true flow, target to content, of the first: procedural heads
    own: Tensor  # [pairs, c, h, w] another picture of the person who drives them
    codes: Tensor | None = None  # [b, t, g] that the driving pictures are to have; else the model's own


def to_pictures(frames: np.ndarray) -> Tensor:
    """uint8 [..., h, w, 3] -> float [..., 3, h, w] in [-1, 1]."""
    return torch.from_numpy(np.array(frames)).movedim(-1, -3).float() / 127.5 - 1


def random_tint(rng: np.random.Generator, pictures: Tensor) -> Tensor:
    """Pictures [n, c, h, w] in other contrasts and tints."""
    n = len(pictures)
    gain, tint = rng.uniform(*CONTRAST, (n, 1, 1, 1)), rng.normal(0, TINT, (n, 3, 1, 1))
    return (pictures * torch.from_numpy(gain).float().to(pictures) + torch.from_numpy(tint).float().to(pictures)).clamp(
        -1, 1
    )


class BatchSampler:
    """Batches as a function of (seed, step), so that a resumed run sees the same ones."""

    def __init__(self, batches: ClipBatches, clips: ClipStore, pairs: PairStore | None, seed: int):
        self.batches, self.clips, self.pairs, self.seed = batches, clips, pairs, seed
        span = 2 * batches.temporal_stride
        self.moving = np.flatnonzero(clips.lengths >= span * 2)
        self.stills = np.flatnonzero(clips.lengths < span * 2)
        self.weights = np.minimum(clips.lengths[self.moving], 150).astype(float)

    def batch(self, step: int, progress: float, temporal: bool = True) -> Batch:
        """The batch of one step; `progress` in [0, 1] of the run brings the shifts in.

        Before stage 2 (`temporal`) it has more clips of fewer frames: what one clip's frames teach is much alike.
        """
        rng = np.random.default_rng((self.seed, step))
        c = self.batches
        split = 1 if temporal else c.stage1_split
        b, t = c.batch * split, c.frames // split
        procedural = round(b * c.procedural_share) if self.pairs is not None else 0
        stills = min(round(b * c.still_share), b - procedural) if len(self.stills) else 0
        if not len(self.moving):
            stills = b - procedural
        parts = [self._pair(rng, t) for _ in range(procedural)]
        parts += [self._still(rng, t) for _ in range(stills)]
        parts += [self._clip(rng, t) for _ in range(b - procedural - stills)]
        content, driving, target = (torch.stack(x) for x in list(zip(*parts))[:3])
        shift = c.shift_max * max(0.0, (progress - c.shift_from) / max(1e-6, 1 - c.shift_from))
        flow, own = (torch.stack([p[i] for p in parts[:procedural]]) if procedural else torch.zeros(0) for i in (3, 4))
        return _augment(Batch(content, driving, target, flow, own), rng, shift)

    def pictures(self, rng: np.random.Generator, count: int) -> Tensor:
        """Pictures [count, c, h, w] of footage, every fourth of a procedural head; random mirror, crop, colour."""
        frames = []
        for i in range(count):
            if self.pairs is not None and i % 4 == 0:
                groups, people, each = self.pairs.content.shape[:3]
                frames.append(
                    self.pairs.content[int(rng.integers(groups)), int(rng.integers(people)), int(rng.integers(each))]
                )
            else:
                frames.append(self.clips.draw(rng))
        pictures = to_pictures(np.stack(frames))
        side = torch.from_numpy(rng.uniform(CROP_LEAST, 1, (count, 1))).float()
        theta = torch.zeros(count, 2, 3)
        theta[:, 0, 0] = side[:, 0] * torch.from_numpy(rng.choice((-1.0, 1.0), count)).float()  # mirrored or not
        theta[:, 1, 1] = side[:, 0]
        theta[:, :, 2] = (1 - side) * torch.from_numpy(rng.uniform(-1, 1, (count, 2))).float()
        grid = F.affine_grid(theta, list(pictures.shape), align_corners=False)
        pictures = F.grid_sample(pictures, grid, mode="bicubic", padding_mode="reflection", align_corners=False).clamp(
            -1, 1
        )
        return random_tint(rng, pictures)

    def frame_pairs(self, rng: np.random.Generator, count: int, only_footage: bool = False) -> tuple[Tensor, Tensor]:
        """Two pictures [count, c, h, w] each of one person in two motions.

        Two thirds of footage, the rest procedural heads, unless `only_footage`; where one is missing, the other.
        """
        pairs = []
        for i in range(count):
            if self.pairs is None or (len(self.moving) and (only_footage or i % 3)):
                clip = self.clips.clip(int(rng.choice(self.moving if len(self.moving) else len(self.clips.lengths))))
                pairs.append(clip[rng.integers(0, len(clip), 2)])
            else:
                group, person = int(rng.integers(len(self.pairs.driven))), int(rng.integers(PEOPLE))
                pairs.append(
                    np.stack(
                        [
                            self.pairs.content[group, person, 0],
                            self.pairs.driven[group, person, int(rng.integers(self.pairs.driven.shape[2]))],
                        ]
                    )
                )
        pictures = to_pictures(np.stack(pairs))
        return pictures[:, 0], pictures[:, 1]

    def true_flow_pairs(self, rng: np.random.Generator, count: int) -> tuple[Tensor, Tensor, Tensor]:
        """Procedural heads: people [count, c, h, w], others in other motions, the flow [count, 4, gh, gw]."""
        contents, driven, flows = [], [], []
        for _ in range(count):
            group, a, b = (
                int(rng.integers(len(self.pairs.driven))),
                int(rng.integers(PEOPLE)),
                int(rng.integers(PEOPLE)),
            )
            t, tc = int(rng.integers(self.pairs.driven.shape[2])), int(rng.integers(self.pairs.content.shape[2]))
            parts = (
                to_pictures(self.pairs.content[group, b, tc]),
                to_pictures(self.pairs.driven[group, a, t]),
                torch.from_numpy(self.pairs.flow[group, b, t, tc].astype(np.float32)),
            )
            if rng.random() < 0.5:
                parts = (parts[0].flip(-1), parts[1].flip(-1), mirrored_flow(parts[2]))
            for store, part in zip((contents, driven, flows), parts):
                store.append(part)
        return torch.stack(contents), torch.stack(driven), torch.stack(flows)

    def _clip(self, rng: np.random.Generator, t: int) -> tuple[Tensor, Tensor, Tensor]:
        """Halves of a real clip: content from one, motion and target from the other."""
        c = self.batches
        index = rng.choice(self.moving, p=self.weights / self.weights.sum())
        clip = self.clips.clip(index)
        # Strides up to 1.5 times the preset's, and as far as half of the clip in stage 1, where frames are few.
        most = min(max(1, 3 * c.temporal_stride // 2) * (c.frames // t) ** 2, max(1, len(clip) // (2 * t)))
        stride = int(rng.integers(1, most + 1))
        span = min(t * stride, len(clip) // 2)
        start = int(rng.integers(0, len(clip) - span + 1))
        target = start + np.minimum(np.arange(t) * stride, span - 1)
        outside = np.concatenate([np.arange(0, start), np.arange(start + span, len(clip))])
        content = rng.choice(outside, c.content_frames, replace=len(outside) < c.content_frames)
        pictures = to_pictures(clip[target])
        return to_pictures(clip[np.sort(content)]), pictures, pictures

    def _still(self, rng: np.random.Generator, frames: int) -> tuple[Tensor, Tensor, Tensor]:
        """One portrait under a smooth similarity motion."""
        c = self.batches
        picture = to_pictures(self.clips.clip(int(rng.choice(self.stills)))[:1])  # [1, c, h, w]
        t = frames + c.content_frames
        ends = rng.normal(0, 1, (3, 4)) * (0.06, 0.05, 0.05, 0.08)  # shift x, y, log scale, radians
        ramp = np.linspace(0, 1, frames)[:, None]
        path = np.concatenate([ends[0] * (1 - ramp) + ends[1] * ramp, np.repeat(ends[2:], c.content_frames, 0)])
        moved = _similarity(picture.expand(t, -1, -1, -1), torch.from_numpy(path[:t]).float())
        return moved[frames:], moved[:frames], moved[:frames]

    def _pair(self, rng: np.random.Generator, t: int) -> tuple[Tensor, ...]:
        """Procedural heads: a person's content, another's motion, the truth, true flow, the other's picture."""
        group, a, b = int(rng.integers(len(self.pairs.driven))), int(rng.integers(PEOPLE)), int(rng.integers(PEOPLE))
        picks = np.sort(rng.choice(self.pairs.driven.shape[2], t, replace=False))
        driven, own = self.pairs.driven[group], to_pictures(self.pairs.content[group, a, 0])
        pictures = [to_pictures(x) for x in (self.pairs.content[group, b], driven[a, picks], driven[b, picks])]
        flow = torch.from_numpy(self.pairs.flow[group, b][picks].astype(np.float32))
        if rng.random() < 0.5:
            return (*(x.flip(-1) for x in pictures), mirrored_flow(flow), own.flip(-1))
        return (*pictures, flow, own)


def mirrored_flow(flow: Tensor) -> Tensor:
    """Flow [..., x y and what goes with it, gh, gw] of the same pictures seen in a mirror."""
    flow = flow.flip(-1)
    return torch.cat([-flow[..., :1, :, :], flow[..., 1:, :, :]], -3)


def _similarity(pictures: Tensor, path: Tensor) -> Tensor:
    """Pictures [n, c, h, w] moved by [n, 4]: shift x, shift y (fractions), log scale, radians."""
    x, y, log_scale, angle = path.unbind(1)
    cos, sin = torch.cos(angle) / log_scale.exp(), torch.sin(angle) / log_scale.exp()
    theta = torch.stack([torch.stack([cos, sin, -2 * x], 1), torch.stack([-sin, cos, -2 * y], 1)], 1)
    grid = F.affine_grid(theta, list(pictures.shape), align_corners=False)
    return F.grid_sample(pictures, grid, padding_mode="reflection", align_corners=False)


def _augment(batch: Batch, rng: np.random.Generator, shift: float) -> Batch:
    """Flip, scale and colour alike for a clip; shift content apart from target; colour the driving pictures apart."""
    b = len(batch.content)
    flip = torch.from_numpy(rng.random(b) < 0.5)[:, None, None, None, None]
    together = rng.normal(0, 1, (b, 4)) * (0.02, 0.02, 0.06, 0.04)
    apart = rng.normal(0, 1, (b, 4)) * (shift, shift, shift, shift)
    # Procedural heads keep their true flow.
    flip[: len(batch.flow)] = False
    together[: len(batch.flow)] = apart[: len(batch.flow)] = 0
    target_path = torch.from_numpy(together).float()
    content_path = torch.from_numpy(together + apart).float()
    gain, offset = random_colour(rng, b, 0.10)
    driving_gain, driving_offset = random_colour(rng, b, 0.15)

    def place(pictures: Tensor, path: Tensor) -> Tensor:
        t = pictures.shape[1]
        pictures = torch.where(flip, pictures.flip(-1), pictures)
        return _similarity(pictures.flatten(0, 1), path.repeat_interleave(t, 0)).unflatten(0, (b, t))

    same = batch.driving is batch.target or torch.equal(batch.driving, batch.target)
    target = place(batch.target, target_path)
    driving = target if same else place(batch.driving, target_path)
    colour = lambda x, g, o: (x * g + o).clamp(-1, 1)  # noqa: E731
    return Batch(
        colour(place(batch.content, content_path), gain, offset),
        colour(driving, driving_gain, driving_offset),
        colour(target, gain, offset),
        batch.flow,
        colour(batch.own, driving_gain[: len(batch.own), 0], driving_offset[: len(batch.own), 0]),
    )


def random_colour(rng: np.random.Generator, b: int, strength: float) -> tuple[Tensor, Tensor]:
    """Random contrast and tint, each [b, 1, 3, 1, 1]."""
    gain = math.e ** rng.normal(0, strength, (b, 1, 1)) * math.e ** rng.normal(0, strength / 2, (b, 1, 3))
    offset = rng.normal(0, strength, (b, 1, 1)) + rng.normal(0, strength / 2, (b, 1, 3))
    return tuple(torch.from_numpy(x).float()[..., None, None] for x in (gain, offset))
