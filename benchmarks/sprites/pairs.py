"""Which clip drives which content: the four cases of cross-driven decoding, each with its rendered truth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bcdcodec.training.data.sheets import ACTIONS, Sheets

SELF, OTHER_ACTION, OTHER_CHARACTER, BOTH = "self", "other action", "other character", "both"
CASES = (SELF, OTHER_ACTION, OTHER_CHARACTER, BOTH)  # what differs between the content's clip and the driving one


@dataclass(frozen=True)
class ClipSet:
    """Every action of some characters: clip number = place of the character * actions + action."""

    characters: np.ndarray  # int [people]
    frames: np.ndarray  # uint8 [people * actions, t, h, w, 3]

    @staticmethod
    def render(sheets: Sheets, characters: np.ndarray) -> ClipSet:
        return ClipSet(
            np.asarray(characters),
            np.stack(
                [sheets.clip(int(character), action) for character in characters for action in range(len(ACTIONS))]
            ),
        )

    def __len__(self) -> int:
        return len(self.frames)

    def character(self, clips: np.ndarray) -> np.ndarray:
        """Characters 0..1295 of clips."""
        return self.characters[np.asarray(clips) // len(ACTIONS)]

    def action(self, clips: np.ndarray) -> np.ndarray:
        """Actions 0..8 of clips."""
        return np.asarray(clips) % len(ACTIONS)

    def name(self, clip: int) -> str:
        return f"character {self.character(clip)}, {ACTIONS[self.action(clip)]}"


@dataclass(frozen=True)
class Pairs:
    """Clips that give the motion, the content, and the truth: the content's character in the driving clip's action."""

    case: str  # one of CASES
    driving: np.ndarray  # int [n]
    content: np.ndarray  # int [n]

    @property
    def truth(self) -> np.ndarray:
        """Clip numbers [n] of what a perfect decoder shows."""
        actions = len(ACTIONS)
        return self.content // actions * actions + self.driving % actions

    def __getitem__(self, rows: slice | np.ndarray) -> Pairs:
        return Pairs(self.case, self.driving[rows], self.content[rows])


def draw_pairs(clips: ClipSet, case: str, driving: np.ndarray, seed: int) -> Pairs:
    """A random content for each driving clip; it differs in what the case says, and in nothing else."""
    actions, people = len(ACTIONS), len(clips.characters)
    rng = np.random.default_rng((seed, CASES.index(case)))
    driving = np.asarray(driving)
    action_step = rng.integers(1, actions, len(driving)) * (case in (OTHER_ACTION, BOTH))
    person_step = rng.integers(1, people, len(driving)) * (case in (OTHER_CHARACTER, BOTH))
    person = (driving // actions + person_step) % people
    return Pairs(case, driving, person * actions + (driving % actions + action_step) % actions)


def spread(count: int, most: int | None) -> np.ndarray:
    """Numbers of at most `most` of `count` clips, evenly picked; None: all."""
    return np.arange(count) if most is None or most >= count else np.linspace(0, count - 1, most).round().astype(int)
