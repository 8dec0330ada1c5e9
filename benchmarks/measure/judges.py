"""All measures of one decoded clip against its source, by what is installed and by the user's networks."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
from torch import Tensor

from bcdcodec.benchmarks.measure import identity, networks, perceptual, pictures, temporal, within_clip
from bcdcodec.benchmarks.measure.faces import Face, face_measures, face_meter, motion_signals
from bcdcodec.benchmarks.measure.landmarks import Landmarks, clip_landmarks, find_task
from bcdcodec.errors import BcdError
from bcdcodec.training.data.landmarker import Landmarker

RUNS, RUN_FRAMES = 3, 4  # runs of consecutive frames that SSIM, MS-SSIM and VMAF are taken of, as they are slow


@dataclass(frozen=True)
class Seen:
    """What the judges find in a clip; the source's is found once for all its codings."""

    frames: np.ndarray  # uint8 [t, h, w, 3]
    luma: np.ndarray  # float32 [t, h, w] in 0..255
    points: Landmarks | None
    signals: dict[str, np.ndarray]
    head: np.ndarray | None  # `within_clip.mean_head`
    faces: list[Face | None] | None
    embedding: Tensor | None
    features: list[Tensor] | None
    flow: np.ndarray | None


class Judges:
    """The measures that can be taken. `folder`: of the user's networks; `faces`: whether faces are measured at all."""

    def __init__(self, folder: Path | None = None, faces: bool = True):
        self.folder, self.missing = folder, {}
        self._landmarker = self._meter = None
        if not faces:
            self.missing["faces"] = "left out by --no-faces"
            return
        for name, make in (("landmarks", lambda: Landmarker(find_task(folder))), ("dlib", face_meter)):
            try:
                made = make()
            except BcdError as error:
                self.missing[name] = str(error)
                continue
            if name == "dlib":
                self._meter = made
            else:
                self._landmarker = made
        if self._landmarker is None:
            self.missing["SFace"] = "needs the landmarks"
        elif not identity.has_sface(folder):
            self.missing["SFace"] = f"needs {' and '.join(identity.FILES)}: --networks FOLDER"

    @cached_property
    def name(self) -> str:
        """What the measures depend on beside the pictures: another name, other rows."""
        names = [f"landmarks {self._landmarker.digest}" if self._landmarker else "", "dlib" if self._meter else ""]
        files = [*identity.FILES, *networks.FILES.values()] if self.folder else []
        names += [f"{f} {(self.folder / f).stat().st_size}" for f in files if (self.folder / f).is_file()]
        packages = (perceptual.PACKAGE, "pytorch_msssim", "vmaf_torch", "cv2")
        return ", ".join(filter(None, names + [p for p in packages if importlib.util.find_spec(p)]))

    def look(self, frames: np.ndarray, source: Seen | None = None) -> Seen:
        """What is in a clip uint8 [t, h, w, 3]; `source`: of the same moments, where it is a decoded one."""
        points = None if self._landmarker is None else clip_landmarks(self._landmarker, frames)
        head = within_clip.mean_head(points) if source is None and points is not None else source and source.head
        luma = temporal.luma(frames)
        signals = {} if points is None else within_clip.signals_of(points, head)
        if self._meter is not None:
            signals |= motion_signals(self._meter.landmarks(frames))
        sface = "SFace" not in self.missing and points is not None
        return Seen(
            frames,
            luma,
            points,
            signals,
            head,
            None if self._meter is None else self._meter.faces(frames),
            identity.embedding(frames, points, self.folder) if sface else None,
            perceptual.features(frames),
            temporal.flow(luma),
        )

    def compare(self, decoded: Seen, source: Seen, quick: bool = False) -> dict[str, float]:
        """Measures by name, those that could be taken. `quick`: without SSIM, MS-SSIM and VMAF."""
        found: dict[str, float | None] = {"psnr": pictures.psnr(decoded.frames, source.frames)}
        if not quick:
            runs = [(decoded.luma[at], source.luma[at]) for at in _runs(len(source.luma))]
            found["ssim"], found["ms_ssim"] = pictures.ssim_and_ms_ssim(*map(np.concatenate, zip(*runs)))
            scores = [pictures.vmaf(*run) for run in runs]
            found["vmaf"] = None if None in scores else float(np.mean(scores))
        found["feature_distance"] = perceptual.feature_distance(decoded.features, source.features)
        found["flicker"] = temporal.flicker(decoded.luma, source.luma)
        found["flow_error"] = temporal.flow_error(decoded.flow, source.flow)
        found["sface_cosine"] = identity.cosine(decoded.embedding, source.embedding)
        if decoded.faces is not None:
            found |= face_measures(decoded.faces, source.faces)
        if decoded.points is not None:
            found |= _landmark_measures(decoded.points, source.points)
        for name, result in within_clip.compare_signals(decoded.signals, source.signals).items():
            found |= {f"{name}.{part}": getattr(result, part) for part in ("slope", "correlation", "deviation")}
            found[f"{name}.extreme_error"] = result.extreme_error
        if self.folder is not None:
            found |= networks.measure_networks(
                self.folder, decoded.frames, source.frames, decoded.points, source.points
            )
        return {name: float(value) for name, value in found.items() if value is not None}


@lru_cache(maxsize=2)
def judges_of(folder: Path | None, faces: bool) -> Judges:
    """Judges, made once a process."""
    return Judges(folder, faces)


def _runs(t: int) -> list[slice]:
    """RUNS runs of RUN_FRAMES frames, evenly placed in `t` frames; of a short clip all frames in one."""
    if t <= RUNS * RUN_FRAMES:
        return [slice(0, t)]
    return [slice(start, start + RUN_FRAMES) for start in np.linspace(0, t - RUN_FRAMES, RUNS).astype(int)]


def _landmark_measures(decoded: Landmarks, source: Landmarks) -> dict[str, float]:
    """`faces`: share of the source's faces that are found; `landmark_error`: mean distance in eye distances."""
    if not source.found.any():
        return {}
    both = source.found & decoded.found
    found = {"faces": float(both.sum() / source.found.sum())}
    if both.any():
        a, b = (side.points[both, :, :2] for side in (decoded, source))
        unit = np.linalg.norm(np.subtract(*(b[:, i] for i in within_clip.EYE_CORNERS)), axis=-1)
        found["landmark_error"] = float((np.linalg.norm(a - b, axis=-1).mean(1) / unit).mean())
    return found
