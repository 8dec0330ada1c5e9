"""The Sprites dataset rendered bit-exact from a folder of Liberated Pixel Cup sheets.

A character is one of six choices for each of four attributes, an action is one of nine, a clip has eight
frames of 64x64. Every pair of a character and an action can be rendered, so cross-driven truth is exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bcdcodec.errors import BcdError

SIZE = 64  # pixels, a frame's side
FRAMES = 8  # a clip
CHOICES = 6  # an attribute
ATTRIBUTES = ("body", "bottomwear", "topwear", "hair")  # skin, pants, top, hair: layers from below
CHARACTERS = CHOICES ** len(ATTRIBUTES)
SHOES = "shoes"
SHEET = (1344, 832)  # pixels, rows and columns of a sheet: 21 x 13 cells
SPLIT_SEED, TRAINING_CHARACTERS = 423, 1000

# Sheet columns of a clip's frames, and the sheet rows of its three directions.
_MOVES = {
    "walk": ((8, 1, 2, 3, 4, 5, 6, 7), (9, 10, 11)),
    "spellcard": ((0, 1, 2, 3, 4, 5, 4, 6), (1, 2, 3)),
    "slash": ((0, 1, 2, 3, 4, 5, 4, 0), (13, 14, 15)),
}
_DIRECTIONS = ("left", "front", "right")

ACTIONS = tuple(f"{move} {direction}" for move in _MOVES for direction in _DIRECTIONS)
_CELLS = [[(row, column) for column in columns] for columns, rows in _MOVES.values() for row in rows]
_DISTINCT = sorted({cell for cells in _CELLS for cell in cells})
_MOTIONS = np.array([[_DISTINCT.index(cell) for cell in cells] for cells in _CELLS])  # [actions, frames]
MOTIONS = len(_DISTINCT)


def attributes(character: int) -> tuple[int, int, int, int]:
    """The choices 0..5 for `ATTRIBUTES` of character 0..1295. Raises BcdError outside."""
    if not 0 <= character < CHARACTERS:
        raise BcdError(f"character {character} does not exist: they are 0 to {CHARACTERS - 1}")
    return tuple(int(i) for i in np.unravel_index(character, (CHOICES,) * len(ATTRIBUTES)))


def motion_frame(action: int, t: int) -> int:
    """Which of the 63 distinct motion frames, 0..62, frame `t` (0..7) of `action` (0..8) shows."""
    return int(_MOTIONS[action, t])


def split() -> tuple[np.ndarray, np.ndarray]:
    """The published split: numbers of the 1000 training characters and of the 296 test characters."""
    order = np.random.RandomState(SPLIT_SEED).permutation(CHARACTERS)
    return order[:TRAINING_CHARACTERS], order[TRAINING_CHARACTERS:]


@dataclass(frozen=True)
class Sheets:
    """The 63 motion frames of every layer."""

    layers: np.ndarray  # uint8 [attributes, choices, motions, h, w, RGBA]
    shoes: np.ndarray  # uint8 [motions, h, w, RGBA]

    @staticmethod
    def load(folder: Path) -> Sheets:
        """The sheets of `folder`: ATTRIBUTE/0.png to 5.png, shoes/1.png. Raises BcdError when one is missing or odd."""
        folder = Path(folder)
        layers = [[_motions(folder / name / f"{choice}.png") for choice in range(CHOICES)] for name in ATTRIBUTES]
        return Sheets(np.array(layers), _motions(folder / SHOES / "1.png"))

    def frames(self, characters: np.ndarray, motions: np.ndarray) -> np.ndarray:
        """Frames uint8 [n, 64, 64, 3] of characters [n] in motion frames [n]."""
        characters, motions = np.asarray(characters), np.asarray(motions)
        choices = np.unravel_index(characters, (CHOICES,) * len(ATTRIBUTES))
        picture = np.zeros((len(characters), SIZE, SIZE, 3), np.uint8)
        for layer, choice in zip(self.layers, choices):
            picture = _over(layer[choice, motions], picture)
        return _over(self.shoes[motions], picture)

    def everyone(self, motion: int) -> np.ndarray:
        """Frames uint8 [1296, 64, 64, 3] of all characters in one motion frame; shared layers are drawn once."""
        drawn = (self.layers[:, :, motion, ..., 3] > 0).any((0, 1)) | (self.shoes[motion, ..., 3] > 0)  # [h, w]
        picture = np.zeros((1, np.count_nonzero(drawn), 3), np.uint8)  # [characters so far, drawn pixels, 3]
        for layer in self.layers:
            picture = _over(layer[:, motion][:, drawn], picture[:, None]).reshape(-1, *picture.shape[1:])
        frames = np.zeros((CHARACTERS, SIZE, SIZE, 3), np.uint8)
        frames[:, drawn] = _over(self.shoes[motion][drawn], picture)
        return frames

    def frame(self, character: int, motion: int) -> np.ndarray:
        """Frame uint8 [64, 64, 3] of one character in one of the 63 motion frames."""
        return self.frames(np.array([character]), np.array([motion]))[0]

    def clip(self, character: int, action: int) -> np.ndarray:
        """Clip uint8 [8, 64, 64, 3] of one character doing one action."""
        return self.frames(np.full(FRAMES, character), _MOTIONS[action])


def _over(layer: np.ndarray, below: np.ndarray) -> np.ndarray:
    """RGBA `layer` [..., 4] over RGB [..., 3], in the integer arithmetic of Pillow's alpha_composite."""
    alpha = layer[..., 3:]
    if ((alpha == 0) | (alpha == 255)).all():  # as nearly all of the art is: the same values, several times sooner
        return np.where(alpha == 255, layer[..., :3], below)
    alpha = alpha.astype(np.uint32)
    product = (layer[..., :3] * alpha + below * (255 - alpha)) * 128 + 128 * 128
    return ((product + (product >> 8)) >> 15).astype(np.uint8)


def _motions(path: Path) -> np.ndarray:
    """The 63 motion frames [motions, h, w, RGBA] of one sheet."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            sheet = np.array(image.convert("RGBA"))
    except OSError as error:
        raise BcdError(
            f"no sprite sheet {path}: the data folder holds body, bottomwear, topwear, hair with 0.png to "
            f"5.png and shoes/1.png ({error})"
        ) from error
    if sheet.shape[:2] != SHEET:
        raise BcdError(f"{path} is {sheet.shape[1]}x{sheet.shape[0]} pixels, a sprite sheet is {SHEET[1]}x{SHEET[0]}")
    return np.stack([sheet[r * SIZE : (r + 1) * SIZE, c * SIZE : (c + 1) * SIZE] for r, c in _DISTINCT])
