"""Batches of single frames with the teacher's numbers, for the encoder of the base motion."""

from __future__ import annotations

import numpy as np

from bcdcodec.training.data.aligned_pairs import Frames, Portrait, by_person, mirrored_motion


class FrameSource:
    """Makes batches; batch `number` is a function of the data, the seed and the number alone."""

    def __init__(self, clips: dict[str, Frames], portraits: list[Portrait], seed: int):
        self.people = by_person(clips)
        self.portraits = portraits
        self.seed = seed

    def raw(self, number: int, batch: int, share: float) -> dict[str, np.ndarray]:
        """Pictures uint8 [b, 256, 256, 3] and motion [b, 58]; `share` of them from portraits, four pictures of each."""
        rng = np.random.default_rng([self.seed, 1, number])
        pictures, motion = [], []
        for _ in range(round(batch * share / 4) if self.portraits else 0):
            portrait = self.portraits[rng.integers(len(self.portraits))]
            while not portrait.path.exists():  # a set that is being replaced while the run goes on
                portrait = self.portraits[rng.integers(len(self.portraits))]
            picked = rng.choice(portrait.usable, 4)
            pictures += list(portrait.pictures(picked))
            motion += list(portrait.motion[picked])
        while len(pictures) < batch:
            clips = self.people[rng.integers(len(self.people))]
            clip = clips[rng.integers(len(clips))]
            frame = rng.choice(np.flatnonzero(clip.found))
            pictures.append(clip.pictures[frame])
            motion.append(clip.motion[frame])
        mirrored = rng.random(batch) < 0.5
        pictures = [x[:, ::-1] if flip else x for x, flip in zip(pictures, mirrored, strict=True)]
        motion = [mirrored_motion(x) if flip else x for x, flip in zip(motion, mirrored, strict=True)]
        gain = np.exp(rng.normal(size=(batch, 1)) * 0.15 + rng.normal(size=(batch, 3)) * 0.08)
        # The reader's crop is as far off as the locator's, or only as far as the face moves between frames.
        spread = np.where(rng.random((batch, 1)) < 0.5, 1.0, 0.3)
        return {
            "pictures": np.stack(pictures),
            "motion": np.stack(motion),
            "gain": gain.astype(np.float32),
            "bias": (rng.normal(size=(batch, 3)) * 0.1).astype(np.float32),
            "jitter": (spread * rng.normal(size=(batch, 4)) * [0.06, 0.06, 0.10, 0.10]).astype(np.float32),
            # A crop of the whole picture for the locator: centre, log of the side, roll.
            "window": (rng.normal(size=(batch, 4)) * [0.08, 0.08, 0.15, 0.12] + [0.5, 0.5, 0, 0]).astype(np.float32),
        }
