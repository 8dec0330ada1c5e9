"""What the talking people do that drive the portraits: expression, gaze and pose of every frame of their clips."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from bcdcodec.errors import BcdError
from bcdcodec.training.data.landmarker import POINTS, Landmarker
from bcdcodec.training.data.portraits.eyes import EYEBALL, blink_gains
from bcdcodec.training.data.portraits.fit import fit_expressions
from bcdcodec.training.data.portraits.head import Head
from bcdcodec.training.data.portraits.store import write

FRAMES_LEAST = 16  # of a clip in which the face is seen
REST = 25  # percentile over a clip's frames of an expression's weight, taken as its face at rest
SMOOTH, SMOOTH_BLINK = 0.7, 0.5  # frames, of the temporal Gaussian
# The landmarker's points move less than a face does: lids that are shut don't meet, an iris is drawn to the middle of
# its eye. With these gains it sees a rendered face move about as far as it sees the driver's.
GAIN, GAINS = 1.2, {"eyeBlink": 1.6, "brow": 1.6}  # of expressions, by the beginning of their names
GAZE_GAIN = 2.0
EYE_WIDTH = 2.6  # units of the head, between the corners


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
            write(path, _landmarks_of_clip(clip, landmarker))
        with np.load(path, allow_pickle=False) as values:
            drivers.append(Driver(clip.stem, values["points"], values["blendshapes"], values["found"]))
    return drivers


def _landmarks_of_clip(clip: Path, landmarker: Landmarker) -> dict[str, np.ndarray]:
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


@dataclass(frozen=True)
class DriverMotion:
    """A driver's motion as expressions of the head."""

    name: str
    expression: np.ndarray  # float32 [t, 57] weights
    rest: np.ndarray  # float32 [57]
    gaze: np.ndarray  # float32 [t, 2] radians to the picture's right and down, from the median
    rotation: np.ndarray  # float32 [t, 3] rotation vectors from the mean pose, axes of the camera
    usable: np.ndarray  # bool [t]


def driver_motion(driver: Driver, head: Head, cache: Path) -> DriverMotion | None:
    """A driver's motion, smoothed over time; None where its face is seen in too few frames. Cached by its name."""
    path = cache / f"{driver.name}.fit.npz"
    if driver.found.sum() < FRAMES_LEAST:
        return None
    if not path.is_file():
        expression, rotation, neutral = fit_expressions(head, driver.points[driver.found].astype(np.float64))
        gains = blink_gains(head, neutral)
        for name, gain in zip(("eyeBlink_R", "eyeBlink_L"), gains, strict=True):
            expression[:, head.names.index(name)] /= gain  # 1 shuts this person's eye
        write(path, {"expression": expression, "rotation": rotation})
    with np.load(path, allow_pickle=False) as values:
        expression, rotation = values["expression"], values["rotation"]
    for k, name in enumerate(head.names):
        expression[:, k] *= next((g for start, g in GAINS.items() if name.startswith(start)), GAIN)
    smooth = smooth_over_time(expression, SMOOTH)
    blinks = [head.names.index(n) for n in ("eyeBlink_L", "eyeBlink_R")]
    smooth[:, blinks] = smooth_over_time(expression[:, blinks], SMOOTH_BLINK)
    rotation = smooth_over_time(rotation, SMOOTH)
    middle = _nearest_rotation(rotation.mean(0))
    turns = np.stack([cv2.Rodrigues(_nearest_rotation(m) @ middle.T)[0][:, 0] for m in rotation]).astype(np.float32)
    gaze = np.stack([_gaze(p) for p in driver.points[driver.found]])
    gaze = smooth_over_time((gaze - np.median(gaze, axis=0)) * GAZE_GAIN, SMOOTH_BLINK)
    every = len(driver.found)
    whole = [np.zeros((every, *v.shape[1:]), np.float32) for v in (smooth, gaze, turns)]
    for target, value in zip(whole, (smooth, gaze, turns), strict=True):
        target[driver.found] = value
    rest = np.percentile(smooth, REST, axis=0).astype(np.float32)
    return DriverMotion(driver.name, whole[0], rest, whole[1], whole[2], driver.found)


def smooth_over_time(values: np.ndarray, sigma: float) -> np.ndarray:
    """Values [t, ...] under a Gaussian of `sigma` frames; the ends are held."""
    reach = int(3 * sigma + 1)
    kernel = np.exp(-((np.arange(-reach, reach + 1) / sigma) ** 2) / 2)
    padded = np.concatenate([values[:1].repeat(reach, 0), values, values[-1:].repeat(reach, 0)])
    return sum(k * padded[i : i + len(values)] for i, k in enumerate(kernel / kernel.sum()))


def _nearest_rotation(matrix: np.ndarray) -> np.ndarray:
    u, _, vt = np.linalg.svd(matrix)
    return u @ vt


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
