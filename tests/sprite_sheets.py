"""Where the Sprites sheets are, if they are, and a folder of made-up sheets of the same shape."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bcdcodec.presets import preset

REAL = Path(os.environ.get("BCD_SPRITES", Path(__file__).resolve().parents[2] / "shared" / "data" / "sprites"))
needs_sheets = pytest.mark.skipif(
    not (REAL / "body" / "0.png").exists(), reason=f"no Sprites sheets in {REAL} (set BCD_SPRITES to their folder)"
)


SMALL = preset("sprites-small")
TINY_SPRITES = replace(
    SMALL,
    encoder=replace(SMALL.encoder, width=32, ff=64, layers=1, heads=2, stem_channels=(8, 16, 16)),
    quantiser=replace(SMALL.quantiser, dim=8),
    decoder=replace(SMALL.decoder, width=32, ff=64, depth=2, heads=2),
)


def write_sheets(folder):
    """Sheets of coloured boxes: each layer a box, each choice a colour, moved by the cell's row and column."""
    places = {
        "body": (20, 20, 32, 24),
        "bottomwear": (40, 22, 10, 20),
        "topwear": (28, 20, 12, 12),
        "hair": (12, 26, 8, 12),
    }
    for name, (top, left, height, width) in places.items():
        (folder / name).mkdir(parents=True)
        for choice in range(6):
            sheet = np.zeros((21, 64, 13, 64, 4), np.uint8)
            for row in range(21):
                for column in range(13):
                    y, x = top + row % 5 - 2, left + column - 6
                    sheet[row, y : y + height, column, x : x + width] = (
                        40 * choice + 40,
                        255 - 40 * choice,
                        len(name) * 20,
                        255,
                    )
            sheet[0, 0, 0, 0] = (200, 100, 50, 128)
            Image.fromarray(sheet.reshape(1344, 832, 4)).save(folder / name / f"{choice}.png")
    (folder / "shoes").mkdir()
    Image.fromarray(np.zeros((1344, 832, 4), np.uint8)).save(folder / "shoes" / "1.png")
    return folder
