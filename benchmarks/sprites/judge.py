"""The exact judge: which renderable frame, and which renderable clip, is nearest to a decoded one.

There are 1296 x 63 frames of 12288 values. The 1296 frames of one motion span only some 80 dimensions, as
layers cover each other pixel by pixel: distances inside that span, found once, are all that is needed. What
float32 cannot tell apart is rendered again and compared in integers, so the verdict is exact.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bcdcodec.training.data.sheets import ACTIONS, CHARACTERS, FRAMES, MOTIONS, Sheets, attributes
from bcdcodec.training.data.sprite_batches import MOTION_OF

COLUMNS = ("action", "skin", "pants", "top", "hair")  # of table A4
BLOCK = 8  # clips judged together
FIRST_SAMPLE = 320  # characters that a motion's span is found from, at first
SPAN_ERROR = 0.1  # of a frame's distance to the span of its motion; in 8-bit values, over the whole frame
ALIKE = 40.0  # dB between two true frames from which nobody tells them apart: a few pixels of 4096 differ
SLACK = 1e-4  # of the largest term: far above what float32 loses

ATTRIBUTES_OF = np.array([attributes(n) for n in range(CHARACTERS)])  # [characters, 4]
ACTION_OF = np.array([np.flatnonzero((MOTION_OF == m).any(1))[0] for m in range(MOTIONS)])  # [motions]


@dataclass(frozen=True)
class Verdict:
    """What the nearest frames and clips are. Where several are equally near, the truth if it is among them."""

    motions: np.ndarray  # int [n, t] of the nearest frame
    characters: np.ndarray  # int [n, t] of the nearest frame
    clip_actions: np.ndarray  # int [n] of the nearest clip
    clip_characters: np.ndarray  # int [n] of the nearest clip
    frames_right: np.ndarray  # bool [n, t, 5]: COLUMNS
    motions_right: np.ndarray  # bool [n, t]: the very motion frame, of 63
    motions_alike: np.ndarray  # bool [n, t]: that, or one whose picture is within ALIKE of it
    clips_right: np.ndarray  # bool [n, 5]: COLUMNS

    @property
    def clip_accuracy(self) -> np.ndarray:
        """Share of clips whose nearest renderable clip has the true value, [5]."""
        return self.clips_right.mean(0)

    @property
    def frame_accuracy(self) -> np.ndarray:
        """Share of frames whose nearest renderable frame has the true value, [5]."""
        return self.frames_right.mean((0, 1))

    @property
    def all_frames_accuracy(self) -> np.ndarray:
        """Share of clips of which every single frame has the true value, [5]."""
        return self.frames_right.all(1).mean(0)


class Judge:
    """Finds nearest frames and clips among all that the sheets can render."""

    def __init__(self, sheets: Sheets):
        self.sheets = sheets
        opaque = (sheets.layers[..., 3] > 0).any((0, 1, 2)) | (sheets.shoes[..., 3] > 0).any(0)  # [h, w]
        # Elsewhere every frame is black: the same for all.
        self._used = np.flatnonzero(opaque)
        self._spans = [Span.of(self._flat(sheets.everyone(motion))) for motion in range(MOTIONS)]
        self._means = np.stack([span.mean for span in self._spans]).astype(np.float64)  # [motions, d]

    def judge(self, clips: np.ndarray, characters: np.ndarray, actions: np.ndarray) -> Verdict:
        """The verdict on clips uint8 [n, 8, 64, 64, 3] whose truth is characters [n] in actions [n]."""
        parts = [
            self._judge_block(clips[i : i + BLOCK], characters[i : i + BLOCK], actions[i : i + BLOCK])
            for i in range(0, len(clips), BLOCK)
        ]
        motions, who, clip_actions, clip_who = (np.concatenate(x) for x in zip(*parts))
        truth = np.concatenate([np.asarray(actions)[:, None], ATTRIBUTES_OF[characters]], 1)  # [n, 5]
        seen = np.concatenate([ACTION_OF[motions][..., None], ATTRIBUTES_OF[who]], 2)  # [n, t, 5]
        clip_seen = np.concatenate([clip_actions[:, None], ATTRIBUTES_OF[clip_who]], 1)
        return Verdict(
            motions,
            who,
            clip_actions,
            clip_who,
            seen == truth[:, None],
            motions == MOTION_OF[actions],
            self._alike(motions, MOTION_OF[actions], characters),
            clip_seen == truth,
        )

    def _alike(self, shown: np.ndarray, wanted: np.ndarray, characters: np.ndarray) -> np.ndarray:
        """Whether motion frames shown [n, t] and wanted [n, t] of characters [n] are the same or differ hardly."""
        most = 255**2 / 10 ** (ALIKE / 10)
        alike = shown == wanted
        for i, t in np.argwhere(~alike):
            one, other = (
                self.sheets.frame(int(characters[i]), int(m)).astype(np.float64) for m in (shown[i, t], wanted[i, t])
            )
            alike[i, t] = np.square(one - other).mean() <= most
        return alike

    def _judge_block(self, clips: np.ndarray, characters: np.ndarray, actions: np.ndarray) -> tuple[np.ndarray, ...]:
        n = len(clips)
        distances = self._distances(self._flat(clips.reshape(-1, *clips.shape[2:]))).reshape(
            n, FRAMES, MOTIONS, CHARACTERS
        )
        slack = SLACK * np.abs(distances).max()
        per_clip = np.stack([distances[:, np.arange(FRAMES), MOTION_OF[a]].sum(1) for a in range(len(ACTIONS))], 1)
        motions, who = np.empty((n, FRAMES), int), np.empty((n, FRAMES), int)
        clip_actions, clip_who = np.empty(n, int), np.empty(n, int)
        for i in range(n):
            for t in range(FRAMES):
                near = np.argwhere(distances[i, t] <= distances[i, t].min() + slack)  # [candidates, 2]
                truth = (MOTION_OF[actions[i], t], characters[i])
                motions[i, t], who[i, t] = self._nearest(near, truth, clips[i, t], lambda m, c: self.sheets.frame(c, m))
            near = np.argwhere(per_clip[i] <= per_clip[i].min() + FRAMES * slack)
            truth = (actions[i], characters[i])
            clip_actions[i], clip_who[i] = self._nearest(near, truth, clips[i], lambda a, c: self.sheets.clip(c, a))
        return motions, who, clip_actions, clip_who

    @staticmethod
    def _nearest(candidates: np.ndarray, truth: tuple[int, int], picture: np.ndarray, render) -> tuple[int, int]:
        """The candidate (first, character) that renders nearest to `picture`, in integers."""
        if len(candidates) == 1:
            return tuple(int(x) for x in candidates[0])
        found = [(int(a), int(b)) for a, b in candidates]
        errors = [int(np.square(render(a, b).astype(np.int64) - picture).sum()) for a, b in found]
        best = [c for c, error in zip(found, errors) if error == min(errors)]
        truth = (int(truth[0]), int(truth[1]))
        return truth if truth in best else best[0]

    def _distances(self, x: np.ndarray) -> np.ndarray:
        """Squared distances [n, motions, characters] of frames [n, d], up to what all distances of a frame share."""
        to_mean = np.square(self._means).sum(1) - 2 * (x.astype(np.float64) @ self._means.T)  # [n, motions]
        out = np.empty((len(x), MOTIONS, CHARACTERS), np.float32)
        for motion, span in enumerate(self._spans):
            np.matmul(span.project(x), -2 * span.coefficients, out=out[:, motion])
            out[:, motion] += to_mean[:, motion, None] + span.norms
        return out

    def _flat(self, frames: np.ndarray) -> np.ndarray:
        """Frames uint8 [n, h, w, 3] as float32 [n, d] where anything is ever drawn."""
        return frames.reshape(len(frames), -1, 3)[:, self._used].reshape(len(frames), -1).astype(np.float32)


@dataclass(frozen=True)
class Span:
    """The frames of one motion as points of the few dimensions they span around their mean."""

    mean: np.ndarray  # float32 [d]
    varying: np.ndarray  # int [v], the values in which the frames differ at all
    basis: np.ndarray  # float32 [r, v], orthonormal
    coefficients: np.ndarray  # float32 [r, characters]
    norms: np.ndarray  # float64 [characters], squared distances from the mean

    @staticmethod
    def of(frames: np.ndarray) -> Span:
        """The span of frames float32 [characters, d]; each is nearer than SPAN_ERROR to its place in it."""
        varying = np.flatnonzero((frames != frames[0]).any(0))
        mean = frames.mean(0)
        rows = frames[:, varying] - mean[varying]
        basis, coefficients = orthonormal(rows)
        return Span(
            mean,
            varying,
            basis,
            np.ascontiguousarray(coefficients.T),
            np.square(coefficients.astype(np.float64)).sum(1),
        )

    def project(self, x: np.ndarray) -> np.ndarray:
        """Coefficients [n, r] of frames [n, d]."""
        return (x[:, self.varying] - self.mean[self.varying]) @ self.basis.T


def orthonormal(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """An orthonormal basis [r, v] of the span of rows [n, v], to within SPAN_ERROR, and coefficients [n, r]."""
    basis, coefficients = np.zeros((0, rows.shape[1]), np.float32), np.zeros((len(rows), 0), np.float32)
    left, chosen = rows, np.random.default_rng(0).permutation(len(rows))[:FIRST_SAMPLE]
    while True:
        sample = left[chosen].astype(np.float64)
        values, vectors = np.linalg.eigh(sample @ sample.T)
        keep = values > max(1e-10 * values[-1], SPAN_ERROR**2 / 100)
        new = ((vectors[:, keep] / np.sqrt(values[keep])).T @ sample).astype(np.float32)  # [r, v]
        basis, coefficients = np.concatenate([basis, new]), np.concatenate([coefficients, left @ new.T], 1)
        left = rows - coefficients @ basis
        outside = np.sqrt(np.square(left).sum(1))
        if outside.max() < SPAN_ERROR:
            return basis, coefficients
        chosen = outside.argsort()[-FIRST_SAMPLE // 4 :]
