"""Expressions of the talking people that drive the portraits: the landmarker's points and blendshapes, a file a clip."""

from __future__ import annotations

import csv
import os
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from bcdcodec.training.data.landmarker import BLENDSHAPES, POINTS, Landmarker
from bcdcodec.training.data.portraits.fit import solve_pose
from bcdcodec.training.data.portraits.head import Head

from bcdcodec.errors import BcdError

SIDE = 256  # pixels, the clips' pictures


@dataclass(frozen=True)
class Driver:
    """One clip as the landmarker sees it."""

    name: str
    points: np.ndarray  # float32 [t, 478, 3], pixels of 256
    blendshapes: np.ndarray  # float32 [t, 52]
    found: np.ndarray  # bool [t]


def training_clips(folder: Path) -> list[Path]:
    """The clips of the split `train` in a folder with `manifest.csv`, in its order. Raises BcdError without any."""
    manifest = Path(folder) / "manifest.csv"
    if not manifest.is_file():
        raise BcdError(f"{manifest}: no such file; --clips names a folder with a manifest.csv")
    with manifest.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "train" and row["file"].endswith(".mp4")]
    if not rows:
        raise BcdError(f"{manifest}: no clip of split `train`")
    return [Path(folder) / row["file"] for row in rows]


def read_drivers(clips: list[Path], landmarker: Landmarker, cache: Path) -> list[Driver]:
    """All clips' points and blendshapes; what is not in the folder `cache` is found now and written there."""
    cache.mkdir(parents=True, exist_ok=True)
    drivers = []
    for clip in clips:
        path = cache / f"{clip.stem}.npz"
        if not path.is_file():
            temporary = path.with_suffix(f".{os.getpid()}.tmp")
            with temporary.open("wb") as file:
                np.savez(file, **_watch(clip, landmarker))
            os.replace(temporary, path)
        with np.load(path, allow_pickle=False) as values:
            drivers.append(Driver(clip.stem, values["points"], values["blendshapes"], values["found"]))
    return drivers


def _watch(clip: Path, landmarker: Landmarker) -> dict[str, np.ndarray]:
    """The landmarker's view of every frame of a clip: arrays of `Driver` by name."""
    import av

    points, shapes, found, near = [], [], [], None
    with av.open(str(clip)) as file:
        for frame in file.decode(video=0):
            picture = frame.to_ndarray(format="rgb24")
            face = landmarker(picture, near) or landmarker(picture)
            near = None if face is None else face.points
            found.append(face is not None)
            points.append(np.zeros((POINTS, 3), np.float32) if face is None else face.points)
            shapes.append(np.zeros(52, np.float32) if face is None else face.blendshapes)
    return {"points": np.stack(points), "blendshapes": np.stack(shapes).astype(np.float32), "found": np.array(found)}


# The landmarker's blendshapes as expressions of the head: `browInnerUp` and `cheekPuff` are one there and two here.
_SIDES = {"Left": "_L", "Right": "_R"}
STILL = (
    10,
    151,
    9,
    8,
    168,
    6,
    197,
    195,
    5,
    4,
    1,
    33,
    133,
    362,
    263,
    127,
    356,
    234,
    454,
    162,
    389,
    109,
    338,
    67,
    297,
    103,
    332,
    54,
    284,
)  # fmt: skip - points that expressions hardly move
NEUTRAL = 25  # percentile over a clip's frames of a blendshape, taken as its face at rest
SMOOTH, SMOOTH_BLINK = 1.0, 0.5  # frames, of the temporal Gaussian
EYE_WIDTH = 2.6  # units of the head, between the corners
EYEBALL = 1.25


@dataclass(frozen=True)
class Performance:
    """A driver's motion: differences to its face at rest."""

    name: str
    expression: np.ndarray  # float32 [t, 57]
    gaze: np.ndarray  # float32 [t, 2] radians, right and down
    rotation: np.ndarray  # float32 [t, 3] rotation vectors
    usable: np.ndarray  # bool [t]


def expressions(blendshapes: np.ndarray, names: tuple[str, ...]) -> np.ndarray:
    """Blendshapes [t, 52] as weights of the head's expressions [t, 57]."""
    weights = np.zeros((len(blendshapes), len(names)), np.float32)
    for k, name in enumerate(BLENDSHAPES):
        short = name
        for side, end in _SIDES.items():
            if name.endswith(side) and name not in ("jawLeft", "jawRight", "mouthLeft", "mouthRight"):
                short = name[: -len(side)] + end
        for i, own in enumerate(names):
            if own == short or own[:-2] == short:
                weights[:, i] = blendshapes[:, k]
    return weights


def performance(driver: Driver, head: Head) -> Performance:
    """A driver's motion, smoothed over time, relative to its own rest."""
    from scipy.ndimage import gaussian_filter1d

    shapes = driver.blendshapes.astype(np.float32)
    smooth = gaussian_filter1d(shapes, SMOOTH, axis=0, mode="nearest")
    blink = [BLENDSHAPES.index(n) for n in ("eyeBlinkLeft", "eyeBlinkRight")]
    smooth[:, blink] = gaussian_filter1d(shapes[:, blink], SMOOTH_BLINK, axis=0, mode="nearest")
    rest = np.percentile(smooth[driver.found], NEUTRAL, axis=0) if driver.found.any() else smooth.mean(0)
    points = gaussian_filter1d(driver.points.astype(np.float64), SMOOTH, axis=0, mode="nearest")
    still = np.array(STILL)
    shape = head.vertices[head.surface[still]].astype(np.float64)
    weight = np.ones(len(still))
    matrices = []
    for t in range(len(points)):
        if driver.found[t]:
            matrices.append(solve_pose(shape, points[t, still, :2], weight).rotation)
        else:
            matrices.append(matrices[-1] if matrices else np.eye(3))
    matrices = np.stack(matrices)
    u, _, vt = np.linalg.svd(matrices.mean(0))
    middle = u @ vt
    turns = np.stack([cv2.Rodrigues(m @ middle.T)[0][:, 0] for m in matrices]).astype(np.float32)
    gaze = np.stack([_gaze(p) for p in points])
    gaze = gaze - np.median(gaze[driver.found], axis=0) if driver.found.any() else gaze * 0
    return Performance(
        driver.name, expressions(smooth - rest, head.names), gaze.astype(np.float32), turns, driver.found
    )


def _gaze(points: np.ndarray) -> np.ndarray:
    """Direction of the eyes [2], radians to the picture's right and down, relative to the eyes' corners."""
    result = np.zeros(2)
    for iris, corners in zip((468, 473), ((33, 133), (362, 263)), strict=True):
        a, b = points[corners[0], :2], points[corners[1], :2]
        axis = (b - a) / max(float(np.linalg.norm(b - a)), 1e-6)
        away = (points[iris, :2] - (a + b) / 2) / max(float(np.linalg.norm(b - a)), 1e-6)
        local = np.array([away @ axis, away @ np.array([-axis[1], axis[0]])])
        result += np.arcsin(np.clip(local * EYE_WIDTH / EYEBALL, -0.8, 0.8)) / 2
    return result
