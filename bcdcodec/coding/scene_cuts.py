"""Scene cuts: a jump of the picture that stays."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

BLOCKS = 8  # each way, whose mean colours are compared: heads move within few of them, cuts change most
JUMP = 12.0  # of 255, least mean difference of a cut ...
CONTRAST = 4.0  # ... and least multiple of the running mean difference between frames
MEMORY = 0.9  # of the running mean, a frame
LEAST_FRAMES = 12  # of a scene: a content costs as much as some seconds of motion

Frame = tuple[int, np.ndarray]  # pts, uint8 [h, w, 3]


def numbered_scenes(frames: Iterable[Frame], most: int) -> Iterator[tuple[int, Frame]]:
    """Yield every frame with the number of its scene, 0 to at most `most` - 1.

    One frame behind its input, so that a flash of one frame is no cut.
    """
    scene, length, usual = 0, 0, None
    before = None  # mean colours of the last frame given out
    held: tuple[Frame, np.ndarray] | None = None
    for frame in frames:
        colours = mean_colours(frame[1])
        if held is not None:
            cut = False
            if before is not None:
                jump = difference(before, held[1])
                cut = jump >= JUMP and jump >= CONTRAST * usual and difference(before, colours) >= JUMP
                cut = cut and length >= LEAST_FRAMES and scene + 1 < most
                usual = usual if cut else MEMORY * usual + (1 - MEMORY) * jump
            else:
                usual = difference(held[1], colours)
            scene, length = (scene + 1, 1) if cut else (scene, length + 1)
            yield scene, held[0]
            before = held[1]
        held = (frame, colours)
    if held is not None:
        yield scene, held[0]


def mean_colours(picture: np.ndarray) -> np.ndarray:
    """Mean colours [BLOCKS, BLOCKS, 3] of the blocks of a picture uint8 [h, w, 3]; fewer blocks if it is small."""
    h, w = (min(side, BLOCKS) for side in picture.shape[:2])
    rows, columns = np.arange(h) * picture.shape[0] // h, np.arange(w) * picture.shape[1] // w
    sums = np.add.reduceat(np.add.reduceat(picture, rows, 0, dtype=np.int64), columns, 1)
    areas = np.diff([*rows, picture.shape[0]])[:, None] * np.diff([*columns, picture.shape[1]])[None]
    return sums / areas[..., None]


def difference(a: np.ndarray, b: np.ndarray) -> float:
    """Mean absolute difference of two pictures' mean colours, 0 to 255."""
    return float(np.abs(a - b).mean())
