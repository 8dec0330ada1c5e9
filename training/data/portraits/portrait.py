"""One photograph's file: fitted, moved, drawn and labelled."""

from __future__ import annotations

import zlib
from pathlib import Path

import cv2
import numpy as np

from bcdcodec.errors import BcdError
from bcdcodec.training.data.landmarker import POINTS, Landmarker
from bcdcodec.training.data.portraits.driving import DriverMotion
from bcdcodec.training.data.portraits.head import Head
from bcdcodec.training.data.portraits.person import Person, prepare
from bcdcodec.training.data.portraits.pictures import FIELD, SIDE
from bcdcodec.training.data.portraits.render import Frame, render
from bcdcodec.training.data.portraits.sampling import Sample, sample_motions
from bcdcodec.training.data.portraits.store import jpegs


def make_portrait(
    head: Head, landmarker: Landmarker, driver_motions: list[DriverMotion], path: Path, frames: int, seed: int
) -> dict[str, np.ndarray] | None:
    """The arrays of one photograph's file; None without a face that fits. The same for the same name and seed.

    Raises BcdError for a file that isn't a picture.
    """
    photograph = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if photograph is None:
        raise BcdError(f"{path}: not a picture that OpenCV reads")
    photograph = np.ascontiguousarray(photograph[..., ::-1])
    face = landmarker(photograph)
    if face is None:
        return None
    rng = np.random.default_rng([seed, zlib.crc32(path.stem.encode())])
    person = prepare(head, photograph, face.points, rng)
    if person is None:
        return None
    samples = sample_motions(head, person, driver_motions, frames - 1, rng)
    drawn = [render(head, person, sample.motion) for sample in samples]
    return _arrays(person, [_photograph(person), *drawn], samples, [p.name for p in driver_motions], landmarker)


def _photograph(person: Person) -> Frame:
    """Picture 0: the photograph itself."""
    still = np.zeros((FIELD, FIELD, 2), np.float16)
    cover = np.zeros((SIDE, SIDE), np.float32)
    cover[person.mouth.box] = person.mouth.cover
    mouth = cv2.resize(cover, (FIELD, FIELD), interpolation=cv2.INTER_AREA)
    seen = np.full((FIELD, FIELD), 255, np.uint8)
    return Frame(person.photograph, still, still, seen, (mouth * 255 + 0.5).astype(np.uint8))


def _arrays(
    person: Person, frames: list[Frame], samples: list[Sample], names: list[str], landmarker: Landmarker
) -> dict[str, np.ndarray]:
    """The file's arrays of picture 0 and of those that show `samples`."""
    first = landmarker(frames[0].picture)
    near = None if first is None else first.points
    faces = [first] + [landmarker(f.picture, near) for f in frames[1:]]
    pose = [np.zeros(6)] + [np.r_[s.motion.turn, s.motion.shift, s.motion.log_scale] for s in samples]
    return jpegs([f.picture for f in frames]) | {
        "flow": np.stack([f.flow for f in frames]),
        "inverse": np.stack([f.inverse for f in frames]),
        "visible": np.stack([f.visible for f in frames]),
        "mouth": np.stack([f.mouth for f in frames]),
        "expression": np.stack([person.fit.expression] + [s.motion.expression for s in samples]).astype(np.float32),
        "gaze": np.stack([np.zeros(2)] + [s.motion.gaze for s in samples]).astype(np.float32),
        "pose": np.stack(pose).astype(np.float32),
        "landmarks": np.stack([np.zeros((POINTS, 3), np.float32) if f is None else f.points for f in faces]),
        "blendshapes": np.stack([np.zeros(52, np.float32) if f is None else f.blendshapes for f in faces]),
        "found": np.array([f is not None for f in faces]),
        "driver": np.array([-1] + [s.driver for s in samples], np.int64),
        "frame": np.array([-1] + [s.frame for s in samples], np.int64),
        "names": np.array(names),
    }
