"""One portrait as one `.npz`: pictures as JPEG, flow, masks and labels. Read lazily, never pickled."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np

QUALITY = 92  # of the JPEG


def jpegs(pictures: list[np.ndarray]) -> dict[str, np.ndarray]:
    """Pictures uint8 [h, w, 3], RGB, as `jpeg` (their bytes one after the other) and `jpeg_offset` [n + 1]."""
    coded = [cv2.imencode(".jpg", p[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].reshape(-1) for p in pictures]
    return {"jpeg": np.concatenate(coded), "jpeg_offset": np.r_[0, np.cumsum([len(c) for c in coded])].astype(np.int64)}


def write(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Writes a file whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            np.savez(file, **arrays)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def picture(arrays, index: int) -> np.ndarray:
    """Picture `index` of an open file, uint8 [256, 256, 3], RGB."""
    start, end = arrays["jpeg_offset"][index : index + 2]
    return cv2.imdecode(np.asarray(arrays["jpeg"][start:end]), cv2.IMREAD_COLOR)[..., ::-1]
