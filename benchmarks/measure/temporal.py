"""Temporal measures: flicker where the source rests, and the difference of optical flow."""

from __future__ import annotations

import numpy as np

STILL_LEVELS = 2.0  # of 255: a pixel of the source that changes less from one frame to the next rests
FLOW_SIDE = 128  # pixels; flow is found at this size
FLOW_EVERY = 2  # of the frames, from which the flow to the next is found


def luma(clip: np.ndarray) -> np.ndarray:
    """BT.601 luma float32 [t, h, w] in 0..255 of a clip uint8 [t, h, w, 3]."""
    return clip @ np.array([0.299, 0.587, 0.114], np.float32)


def flicker(decoded: np.ndarray, source: np.ndarray) -> float:
    """Mean change between frames of luma [t, h, w] where the source's rests, levels of 255; 0 for one frame."""
    still = np.abs(np.diff(source, axis=0)) < STILL_LEVELS
    return float(np.abs(np.diff(decoded, axis=0))[still].mean()) if still.any() else 0.0


def flow(clip: np.ndarray) -> np.ndarray | None:
    """Optical flow [n, FLOW_SIDE, FLOW_SIDE, 2] of luma [t, h, w], pixels of its size, of every FLOW_EVERYth frame.

    DIS flow (Kroeger et al. 2016, OpenCV). None without OpenCV or for fewer than two frames.
    """
    try:
        import cv2
    except ImportError:
        return None
    search = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    small = [cv2.resize(f, (FLOW_SIDE, FLOW_SIDE), interpolation=cv2.INTER_AREA).astype(np.uint8) for f in clip]
    pairs = [(small[i], small[i + 1]) for i in range(0, len(small) - 1, FLOW_EVERY)]
    found = [np.zeros((FLOW_SIDE, FLOW_SIDE, 2)) if np.array_equal(a, b) else search.calc(a, b, None) for a, b in pairs]
    return np.stack(found) * (clip.shape[2] / FLOW_SIDE) if found else None


def flow_error(decoded: np.ndarray | None, source: np.ndarray | None) -> float | None:
    """Mean length of the difference of two flows [n, h, w, 2], pixels a frame (average endpoint error)."""
    if decoded is None or source is None:
        return None
    return float(np.linalg.norm(decoded - source, axis=-1).mean())
