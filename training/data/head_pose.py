"""Head pose from 478 landmarks against MediaPipe's canonical face: rotation, scale and place of the head."""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path

import numpy as np

# Points that expressions hardly move and their weights: MediaPipe's own, without jaw and cheeks.
MOVED_BY_EXPRESSIONS = (132, 136, 147, 205, 361, 365, 376, 425)
# Where the head is: this point of the canonical face (centimetres, x right, y down, z away from the viewer).
HEAD_CENTRE = np.array([0.0, 0.5, -3.0])


def canonical_face(task: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """Points [468, 3] of the canonical face (centimetres, x right, y down, z away) and weights [468], 0 for most.

    Both are in `geometry_pipeline_metadata_landmarks.binarypb` of `face_landmarker.task`, a protocol buffer.
    """
    with zipfile.ZipFile(task) as archive:
        metadata = archive.read("geometry_pipeline_metadata_landmarks.binarypb")
    fields = list(_fields(metadata))
    (mesh,) = (value for number, value in fields if number == 1)
    vertices = np.array([value for number, value in _fields(mesh) if number == 3]).reshape(468, 5)[:, :3]
    weights = np.zeros(468)
    for number, value in fields:
        if number == 2:
            entry = dict(_fields(value))
            weights[entry.get(1, 0)] = entry[2]
    weights[list(MOVED_BY_EXPRESSIONS)] = 0
    return vertices * [1, -1, -1], weights / weights.sum()


def head_pose(points: np.ndarray, face: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rotation [n, 3, 3], scale [n] (pixels a centimetre) and centre [n, 2] (pixels) of heads with points [n, 478, 3].

    Weighted least squares similarity (Umeyama 1991) from the canonical face to the points.
    """
    P = points[:, :468].astype(float)
    p_mean, c_mean = np.einsum("k,nkd->nd", weights, P), weights @ face
    P, C = P - p_mean[:, None], face - c_mean
    cross = np.einsum("k,nki,kj->nij", weights, P, C)
    U, S, Vt = np.linalg.svd(cross)
    sign = np.ones((len(P), 3))
    sign[:, 2] = np.sign(np.linalg.det(U) * np.linalg.det(Vt))
    R = np.einsum("nij,nj,njk->nik", U, sign, Vt)
    scale = (S * sign).sum(1) / (weights @ (C**2).sum(1))
    centre = p_mean + scale[:, None] * np.einsum("nij,j->ni", R, HEAD_CENTRE - c_mean)
    return R, scale, centre[:, :2]


def roll_and_turn(R: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rotations [n, 3, 3] as roll in the picture's plane [n] and the turn out of it, pitch and yaw [n, 2]; radians.

    R = Rz(roll) Ry(yaw) Rx(pitch): yaw is positive when the head turns to the right of the picture, pitch when it nods.
    """
    roll = np.arctan2(R[:, 1, 0], R[:, 0, 0])
    yaw = np.arcsin(np.clip(-R[:, 2, 0], -1, 1))
    pitch = np.arctan2(R[:, 2, 1], R[:, 2, 2])
    return roll, np.stack([pitch, yaw], 1)


def _fields(message: bytes):
    """Number and value of each field of a protocol buffer message."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        number, kind = key >> 3, key & 7
        if kind == 0:
            value, at = _varint(message, at)
        elif kind == 5:
            (value,), at = struct.unpack_from("<f", message, at), at + 4
        elif kind == 2:
            size, at = _varint(message, at)
            value, at = message[at : at + size], at + size
        else:
            raise ValueError(f"wire type {kind} is not expected in this message")
        yield number, value


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at
