"""Batches of the Sprites training split: content from some frames of a clip, motion from others, as in the paper."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bcdcodec.errors import ModelError
from bcdcodec.training.data.batches import to_pictures
from bcdcodec.training.data.sheets import ACTIONS, FRAMES, Sheets, motion_frame, split

MOTION_OF = np.array([[motion_frame(action, t) for t in range(FRAMES)] for action in range(len(ACTIONS))])


@dataclass(frozen=True)
class SpriteClips:
    """The clips of some characters, all actions of each, as numbered clips of frames like `ClipStore`'s."""

    sheets: Sheets
    characters: np.ndarray

    @property
    def lengths(self) -> np.ndarray:
        """Frames of every clip, [characters * actions]."""
        return np.full(len(self.characters) * len(ACTIONS), FRAMES)

    def clip(self, index: int) -> np.ndarray:
        """uint8 [8, 64, 64, 3]."""
        return self.sheets.clip(int(self.characters[index // len(ACTIONS)]), index % len(ACTIONS))


@dataclass(frozen=True)
class SpriteBatches:
    """What a batch of sprite clips is made of."""

    batch: int = 48  # clips
    frames: int = 2  # target frames a clip
    augmentation: bool = True  # flip the content frames, recolour the driving frames


@dataclass(frozen=True)
class SpriteBatch:
    """Pictures in [-1, 1], or latents of them."""

    content: Tensor  # [b, tc, c, h, w]
    driving: Tensor  # [b, t, c, h, w]
    target: Tensor  # [b, t, c, h, w] the same frames as the driving ones, as they were
    codes: Tensor | None = None  # [b, t, g] that the driving frames are to have; else the model's own


class SpriteSampler:
    """Batches as a function of (seed, step), so that a resumed run sees the same ones.

    Nothing is used that a folder of unlabelled clips would not give: content and driving frames are
    of the same clip, and no other character in the same motion is ever shown.
    """

    def __init__(self, batches: SpriteBatches, content_frames: int, sheets: Sheets, seed: int):
        self.batches, self.content_frames, self.sheets, self.seed = batches, content_frames, sheets, seed
        self.characters, _ = split()

    @classmethod
    def open(cls, preset: str, batches: SpriteBatches, content_frames: int, folder: Path | None, seed: int):
        """A sampler over a folder of sheets. Raises ModelError without a folder, BcdError for a wrong one."""
        if folder is None:
            raise ModelError(f"preset {preset!r} trains on sprite sheets: give their folder with --data")
        return cls(batches, content_frames, Sheets.load(folder), seed)

    def batch(self, step: int) -> SpriteBatch:
        """The batch of one step."""
        rng = np.random.default_rng((self.seed, step))
        b, t, tc = self.batches.batch, self.batches.frames, self.content_frames
        characters = rng.choice(self.characters, b)
        actions = rng.integers(0, len(ACTIONS), b)
        order = rng.permuted(np.tile(np.arange(FRAMES), (b, 1)), axis=1)[:, : tc + t]
        motions = MOTION_OF[actions[:, None], order]  # [b, tc + t]
        frames = self.sheets.frames(np.repeat(characters, motions.shape[1]), motions.flatten())
        pictures = to_pictures(frames).unflatten(0, motions.shape)
        content, target = pictures[:, :tc], pictures[:, tc:]
        if self.batches.augmentation:
            flip = torch.from_numpy(rng.random(b) < 0.5)[:, None, None, None, None]
            content = torch.where(flip, content.flip(-1), content)
            driving = _recoloured(target, rng)
        else:
            driving = target
        return SpriteBatch(content, driving, target)


def _recoloured(pictures: Tensor, rng: np.random.Generator) -> Tensor:
    """Pictures [b, t, 3, h, w] with their channels exchanged and scaled, alike within a clip; black stays black."""
    b = len(pictures)
    order = torch.from_numpy(rng.permuted(np.tile(np.arange(3), (b, 1)), axis=1))[:, None, :, None, None]
    gain = torch.from_numpy(np.exp(rng.normal(0, 0.3, (b, 1, 3, 1, 1)))).float()
    exchanged = pictures.gather(2, order.expand_as(pictures))
    # Some clips stay as they are, as in use.
    change = torch.from_numpy(rng.random(b) < 0.75)[:, None, None, None, None]
    return torch.where(change, (exchanged + 1) * gain - 1, pictures).clamp(-1, 1)
