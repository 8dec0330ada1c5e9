"""Batches for the cross-driven objective: content from one half, motion from the other, and the truth."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from bcdcodec.config import ModelConfig
from bcdcodec.training.clips import ClipStore
from bcdcodec.training.procedural.motion import MOTION_PARAMETERS
from bcdcodec.training.procedural_pairs import PEOPLE, PairStore


_SIDES = {"left": "right", "right": "left"}
_MIRROR = [MOTION_PARAMETERS.index(name[: -len(side)] + _SIDES[side]) if (side := name.rpartition("_")[2]) in _SIDES else i
           for i, name in enumerate(MOTION_PARAMETERS)]  # where each parameter is found in a mirror
_MIRROR_SIGN = torch.tensor([-1.0 if name in ("yaw", "roll", "tx", "gaze_x") else 1.0 for name in MOTION_PARAMETERS])
DECODER_SHARE = 0.7  # of the batch at least are procedural heads before the motion joins


@dataclass(frozen=True)
class Batch:
    """Pictures in [-1, 1]. The target shows the content's person in the driving pictures' motion."""

    content: Tensor  # [b, tc, c, h, w]
    driving: Tensor  # [b, t, c, h, w]
    target: Tensor  # [b, t, c, h, w]
    motion: Tensor  # [pairs, tc + t, p] true motion of the first clips of the batch, those of procedural heads
    flow: Tensor  # [pairs, t, tc, 4, gh, gw] their true flow from target to content pictures, see `flow_between`


def to_pictures(frames: np.ndarray) -> Tensor:
    """uint8 [..., h, w, 3] -> float [..., 3, h, w] in [-1, 1]."""
    return torch.from_numpy(np.array(frames)).movedim(-1, -3).float() / 127.5 - 1


class BatchSampler:
    """Batches as a function of (seed, step), so that a resumed run sees the same ones."""

    def __init__(self, config: ModelConfig, clips: ClipStore, pairs: PairStore | None, seed: int):
        self.training, self.clips, self.pairs, self.seed = config.training, clips, pairs, seed
        span = 2 * config.training.temporal_stride
        self.moving = np.flatnonzero(clips.lengths >= span * 2)
        self.stills = np.flatnonzero(clips.lengths < span * 2)
        self.weights = np.minimum(clips.lengths[self.moving], 150).astype(float)

    def batch(self, step: int, progress: float, temporal: bool = True) -> Batch:
        """The batch of one step; `progress` in [0, 1] of the run brings the shifts in.

        Before stage 2 (`temporal`) it has more clips of fewer frames: what one clip's frames teach is much alike.
        """
        rng = np.random.default_rng((self.seed, step))
        c = self.training
        split = 1 if temporal else c.stage1_split
        b, t = c.batch * split, c.frames // split
        # While only the decoder learns, its flow is to learn from the true one.
        share = c.procedural_share if progress >= c.motion_joins else max(c.procedural_share, DECODER_SHARE)
        procedural = round(b * share) if self.pairs is not None else 0
        stills = min(round(b * c.still_share), b - procedural) if len(self.stills) else 0
        if not len(self.moving):
            stills = b - procedural
        parts = [self._pair(rng, t) for _ in range(procedural)]
        parts += [(*self._still(rng, t), None) for _ in range(stills)]
        parts += [(*self._clip(rng, t), None) for _ in range(b - procedural - stills)]
        content, driving, target = (torch.stack(x) for x in list(zip(*parts))[:3])
        shift = c.shift_max * max(0.0, (progress - c.shift_from) / max(1e-6, 1 - c.shift_from))
        motion, flow = ((torch.stack([p[i] for p in parts[:procedural]]) if procedural else torch.zeros(0)) for i in (3, 4))
        return _augment(Batch(content, driving, target, motion, flow), rng, shift)

    def motion_pictures(self, step: int, count: int) -> tuple[Tensor, Tensor]:
        """Single pictures [n, 1, c, h, w] with random colours and the true motion [3 n / 4, 1, p] of the first.

        The last quarter is footage, so that features are normalised by what they will meet.
        """
        rng = np.random.default_rng((self.seed, 1, step))
        pictures, motions = [], []
        for _ in range(count - count // 4):
            group, person = int(rng.integers(len(self.pairs.driven))), int(rng.integers(PEOPLE))
            t, tc = self.pairs.motion.shape[1], self.pairs.content_motion.shape[2]
            i = int(rng.integers(-tc, t)) if rng.random() < 0.5 else int(rng.integers(-tc, 0))
            pictures.append(self.pairs.driven[group, person, i] if i >= 0 else self.pairs.content[group, person, i])
            motions.append(self.pairs.motion[group, i] if i >= 0 else self.pairs.content_motion[group, person, i])
        for _ in range(count // 4):
            clip = self.clips.clip(int(rng.integers(len(self.clips.lengths))))
            pictures.append(clip[int(rng.integers(len(clip)))])
        gain, offset = _colour(rng, count, 0.2)
        z, motion = to_pictures(np.stack(pictures))[:, None], torch.from_numpy(np.stack(motions))[:, None]
        flip = torch.from_numpy(rng.random(count) < 0.5)[:, None, None]
        z = torch.where(flip[..., None, None], z.flip(-1), z)
        motion = torch.where(flip[: len(motion)], mirrored_motion(motion), motion)
        return (z * gain + offset).clamp(-1, 1), motion

    def _clip(self, rng: np.random.Generator, t: int) -> tuple[Tensor, Tensor, Tensor]:
        """Halves of a real clip: content from one, motion and target from the other."""
        c = self.training
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
        c = self.training
        picture = to_pictures(self.clips.clip(int(rng.choice(self.stills)))[:1])  # [1, c, h, w]
        t = frames + c.content_frames
        ends = rng.normal(0, 1, (3, 4)) * (0.06, 0.05, 0.05, 0.08)  # shift x, y, log scale, radians
        ramp = np.linspace(0, 1, frames)[:, None]
        path = np.concatenate([ends[0] * (1 - ramp) + ends[1] * ramp, np.repeat(ends[2:], c.content_frames, 0)])
        moved = _similarity(picture.expand(t, -1, -1, -1), torch.from_numpy(path[:t]).float())
        return moved[frames:], moved[:frames], moved[:frames]

    def _pair(self, rng: np.random.Generator, t: int) -> tuple[Tensor, ...]:
        """Procedural heads: motion of one person, content and truth of another; true motion of both; true flow."""
        group, a, b = int(rng.integers(len(self.pairs.driven))), int(rng.integers(PEOPLE)), int(rng.integers(PEOPLE))
        picks = np.sort(rng.choice(self.pairs.motion.shape[1], t, replace=False))
        driven = self.pairs.driven[group]
        motion = np.concatenate([self.pairs.content_motion[group, b], self.pairs.motion[group, picks]])
        pictures = [to_pictures(x) for x in (self.pairs.content[group, b], driven[a, picks], driven[b, picks])]
        motion, flow = torch.from_numpy(motion), torch.from_numpy(self.pairs.flow[group, b][picks].astype(np.float32))
        if rng.random() < 0.5:
            return (*(x.flip(-1) for x in pictures), mirrored_motion(motion), mirrored_flow(flow))
        return (*pictures, motion, flow)


def mirrored_motion(motion: Tensor) -> Tensor:
    """Motion [..., p] of the same pictures seen in a mirror; in units of deviation, as means are near enough to symmetric."""
    return motion[..., _MIRROR] * _MIRROR_SIGN


def mirrored_flow(flow: Tensor) -> Tensor:
    """Flow [..., 4, gh, gw] of the same pictures seen in a mirror."""
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
    # Procedural heads keep their true motion and flow.
    flip[: len(batch.motion)] = False
    together[: len(batch.motion)] = apart[: len(batch.motion)] = 0
    target_path = torch.from_numpy(together).float()
    content_path = torch.from_numpy(together + apart).float()
    gain, offset = _colour(rng, b, 0.10)
    driving_gain, driving_offset = _colour(rng, b, 0.15)

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
        colour(driving, driving_gain, driving_offset), colour(target, gain, offset), batch.motion, batch.flow)


def _colour(rng: np.random.Generator, b: int, strength: float) -> tuple[Tensor, Tensor]:
    """Random contrast and tint, each [b, 1, 3, 1, 1]."""
    gain = math.e ** rng.normal(0, strength, (b, 1, 1)) * math.e ** rng.normal(0, strength / 2, (b, 1, 3))
    offset = rng.normal(0, strength, (b, 1, 1)) + rng.normal(0, strength / 2, (b, 1, 3))
    return tuple(torch.from_numpy(x).float()[..., None, None] for x in (gain, offset))
