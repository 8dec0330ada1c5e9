"""One portrait as one `.npz`: pictures as JPEG, flow, masks and labels. Read lazily, never pickled."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
from bcdcodec.training.data.landmarker import POINTS, Landmarker
from bcdcodec.training.data.portraits.person import FIELD, Person
from bcdcodec.training.data.portraits.render import Frame
from bcdcodec.training.data.portraits.script import Take

QUALITY = 92  # of the JPEG


def records(
    person: Person, frames: list[Frame], scenes: list[Take], names: list[str], landmarker: Landmarker
) -> dict[str, np.ndarray]:
    """The arrays of a portrait's file. Picture 0 is the photograph; then `frames`, which show `scenes`."""
    own = np.zeros((FIELD, FIELD, 2), np.float16)
    cover = np.zeros((256, 256), np.float32)
    cover[person.mouth.box] = person.mouth.cover
    mouth = cv2.resize(cover, (FIELD, FIELD), interpolation=cv2.INTER_AREA)
    first = Frame(
        person.photograph, own, own, np.full((FIELD, FIELD), 255, np.uint8), (mouth * 255 + 0.5).astype(np.uint8)
    )
    every = [first, *frames]
    jpegs = [
        cv2.imencode(".jpg", frame.picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].reshape(-1)
        for frame in every
    ]
    faces = []
    near = None
    for frame in every:
        face = landmarker(frame.picture, near)
        near = face.points if near is None and face is not None else near
        faces.append(face)
    empty = np.zeros((POINTS, 3), np.float32)
    pose = [np.zeros(6)] + [np.r_[s.motion.turn, s.motion.shift, s.motion.log_scale] for s in scenes]
    return {
        "jpeg": np.concatenate(jpegs),
        "jpeg_offset": np.r_[0, np.cumsum([len(j) for j in jpegs])].astype(np.int64),
        "flow": np.stack([f.flow for f in every]),
        "inverse": np.stack([f.inverse for f in every]),
        "visible": np.stack([f.visible for f in every]),
        "mouth": np.stack([f.mouth for f in every]),
        "expression": np.stack([person.fit.expression] + [s.motion.expression for s in scenes]).astype(np.float32),
        "gaze": np.stack([np.zeros(2)] + [s.motion.gaze for s in scenes]).astype(np.float32),
        "pose": np.stack(pose).astype(np.float32),
        "landmarks": np.stack([empty if f is None else f.points for f in faces]),
        "blendshapes": np.stack([np.zeros(52, np.float32) if f is None else f.blendshapes for f in faces]),
        "found": np.array([f is not None for f in faces]),
        "driver": np.array([-1] + [s.driver for s in scenes], np.int64),
        "frame": np.array([-1] + [s.frame for s in scenes], np.int64),
        "names": np.array(names),
    }


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
