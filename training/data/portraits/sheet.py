"""A contact sheet of portraits, to look at."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from bcdcodec.errors import BcdError
from bcdcodec.training.data.portraits.store import picture

COLUMNS = 10


def contact_sheet(folder: Path, count: int, path: Path, seed: int) -> None:
    """Writes `count` moved pictures, of different portraits as far as there are so many, as one image.

    Raises BcdError for a folder without portraits and for a file name that OpenCV has no format for.
    """
    files = sorted(folder.glob("*.npz"))
    if not files:
        raise BcdError(f"{folder}: no portraits yet")
    rng = np.random.default_rng(seed)
    tiles = []
    for index in rng.choice(len(files), count, replace=len(files) < count):
        with np.load(files[index], allow_pickle=False) as arrays:
            tiles.append(picture(arrays, int(rng.integers(1, len(arrays["found"])))))
    tiles += [np.zeros_like(tiles[0])] * (-count % COLUMNS)
    rows = [np.hstack(tiles[k : k + COLUMNS]) for k in range(0, len(tiles), COLUMNS)]
    try:
        cv2.imwrite(str(path), np.vstack(rows)[..., ::-1])
    except cv2.error as error:
        raise BcdError(f"{path}: no image format of that name; take .png") from error
