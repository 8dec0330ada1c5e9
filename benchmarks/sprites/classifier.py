"""The second opinion: a small network that tells a clip's action and attributes, trained on the training characters.

The paper's classifier (of C-DSVAE) is not to be had; unlike the exact judge, one like it can be mistaken on true
clips too, so its own accuracy there stands beside what it says of decoded ones.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bcdcodec.benchmarks.sprites.judge import ATTRIBUTES_OF, MOTION_OF
from bcdcodec.training.data.sheets import ACTIONS, CHOICES, Sheets

CLASSES = (len(ACTIONS), CHOICES, CHOICES, CHOICES, CHOICES)  # of judge.COLUMNS
WIDTHS = (16, 32, 48, 64)
STEPS, BATCH, SEEN, PEAK_LR = 500, 32, 3, 3e-3  # SEEN: frames of each clip in a training step
NOISE = 0.05  # deviation added in training to pictures in [0, 1]: a decoder's pictures are not exact either
AT_ONCE = 64  # clips judged together


class Classifier(nn.Module):
    """Clips [b, t, 3, 64, 64] in [0, 1] -> logits of action, skin, pants, top, hair: means over frames."""

    def __init__(self):
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in zip((3, *WIDTHS[:-1]), WIDTHS):
            layers += [nn.Conv2d(before, after, 4, stride=2, padding=1), nn.GroupNorm(8, after), nn.GELU()]
        self.features = nn.Sequential(*layers, nn.Flatten(), nn.Linear(WIDTHS[-1] * 16, 256), nn.GELU())
        self.heads = nn.ModuleList(nn.Linear(256, classes) for classes in CLASSES)

    def forward(self, clips: Tensor) -> list[Tensor]:
        h = self.features(clips.flatten(0, 1)).unflatten(0, clips.shape[:2]).mean(1)  # [b, d]
        return [head(h) for head in self.heads]


def train_classifier(
    sheets: Sheets,
    characters: np.ndarray,
    steps: int = STEPS,
    seed: int = 0,
    progress: Callable[[Iterable], Iterable] = lambda steps: steps,
) -> Classifier:
    """A classifier trained on rendered clips of `characters` and on nothing else."""
    rng, generator = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    model = Classifier()
    optimiser = torch.optim.AdamW(model.parameters(), lr=PEAK_LR)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, PEAK_LR, max(steps, 2))
    for _ in progress(range(steps)):
        who, actions = rng.choice(characters, BATCH), rng.integers(0, len(ACTIONS), BATCH)
        motions = rng.permuted(MOTION_OF[actions], axis=1)[:, :SEEN]
        frames = sheets.frames(who.repeat(SEEN), motions.reshape(-1))
        clips = to_unit(frames.reshape(BATCH, SEEN, *frames.shape[1:]))
        clips = clips + NOISE * torch.randn(clips.shape, generator=generator)
        truth = torch.from_numpy(labels(who, actions))
        loss = sum(F.cross_entropy(logits, truth[:, i]) for i, logits in enumerate(model(clips)))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return model.eval()


def kept_classifier(
    folder: Path,
    sheets: Sheets,
    characters: np.ndarray,
    steps: int = STEPS,
    progress: Callable[[Iterable], Iterable] = lambda steps: steps,
) -> Classifier:
    """The classifier of an earlier call with the same arguments, from `folder`; else one trained now and kept there."""
    from safetensors.torch import load_file, save_file

    digest = hashlib.sha256(
        sheets.layers.tobytes() + sheets.shoes.tobytes() + np.asarray(characters, np.int64).tobytes()
    )
    path = folder / f"classifier-{steps}-{digest.hexdigest()[:12]}.safetensors"
    if path.exists():
        model = Classifier()
        model.load_state_dict(load_file(path))
        return model.eval()
    model = train_classifier(sheets, characters, steps, progress=progress)
    partial = path.with_suffix(".partial")
    save_file(model.state_dict(), partial)
    partial.rename(path)
    return model


@torch.inference_mode()
def classified_right(model: Classifier, clips: np.ndarray, characters: np.ndarray, actions: np.ndarray) -> np.ndarray:
    """Whether the classifier says the truth of clips uint8 [n, 8, 64, 64, 3], bool [n, 5] in the judge's columns."""
    seen = [
        torch.stack([logits.argmax(1) for logits in model(to_unit(clips[i : i + AT_ONCE]))], 1).numpy()
        for i in range(0, len(clips), AT_ONCE)
    ]
    return np.concatenate(seen) == labels(characters, actions)


def labels(characters: np.ndarray, actions: np.ndarray) -> np.ndarray:
    """Classes int64 [n, 5] of characters [n] in actions [n]."""
    return np.concatenate([np.asarray(actions)[:, None], ATTRIBUTES_OF[characters]], 1).astype(np.int64)


def to_unit(clips: np.ndarray) -> Tensor:
    """uint8 [n, t, h, w, 3] -> float [n, t, 3, h, w] in [0, 1]."""
    return torch.from_numpy(np.ascontiguousarray(clips)).movedim(-1, 2).float() / 255
