"""Disentanglement on procedural heads, where the truth is exact: cross-driven errors and linear probes of the codes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bcdcodec.benchmarks.demo import psnr
from bcdcodec.benchmarks.faces import SAMPLES, FaceMeter
from bcdcodec.benchmarks.transfer import medians, transfer_errors
from bcdcodec.codec import Codec
from bcdcodec.training.data.procedural import MOTION_PARAMETERS, Identity, render, sample_motion

SEED = 77_000_000  # people and motions that no training run has seen


@dataclass(frozen=True)
class CrossDriven:
    """PSNR in dB against the rendered truth of person B in A's motion, means over pairs."""

    decoded: float
    still: float  # B's content frame, as it was before coding
    own: float  # A's own pictures
    pairs: int
    transfer: dict[str, dict] | None = None  # medians of TransferErrors by name; None without a meter


@dataclass(frozen=True)
class Probes:
    """What a linear map reads from the codes of unseen people."""

    motion_r2: dict[str, float]  # a motion parameter: share of its variance explained, held-out people
    identity_accuracy: float  # people told apart from codes of motions not fitted on
    identity_chance: float


def cross_driven(
    codec: Codec,
    pairs: int = 12,
    frames: int = 48,
    meter: FaceMeter | None = None,
    kbps: float | None = None,
    profile: str | None = None,
) -> CrossDriven:
    """Encode A and B from real codes, decode A's motion with B's content, compare with the rendered truth.

    `kbps`: of the motion, in `profile` (None: as `Codec.encode`); None: the model's own rate.
    """
    rows, errors = [], {"decoded": [], "still": [], "own": []}
    for pair in range(pairs):
        rng = np.random.default_rng((SEED, pair))
        a, b = Identity.sample(rng), Identity.sample(rng)
        motion_a, motion_b = sample_motion(rng, frames), sample_motion(rng, frames)
        driving = render(a, motion_a, codec.picture_size)
        own_b = render(b, motion_b, codec.picture_size)
        truth = render(b, motion_a, codec.picture_size)
        recording, content = codec.encode(driving, profile=profile, kbps=kbps), codec.encode(own_b)
        still = own_b[np.argmin([np.abs(motion_b[i] - motion_b.mean(0)).sum() for i in range(frames)])]
        decoded = codec.decode(recording, content=content, landmarks=False)  # which are of photographs
        shown = {"decoded": decoded, "still": np.broadcast_to(still, truth.shape), "own": driving}
        rows.append([psnr(pictures, truth) for pictures in shown.values()])
        if meter is not None:
            faces = {name: meter.faces(pictures) for name, pictures in shown.items() if name != "still"}
            faces["still"] = [meter.face(still)] * SAMPLES
            exact, person = meter.faces(truth), meter.faces(own_b)
            for name, found in faces.items():
                errors[name].append(transfer_errors(found, person, faces["own"], exact))
    decoded, still, own = (float(v) for v in np.mean(rows, axis=0))
    transfer = {name: medians(found) for name, found in errors.items()} if meter is not None else None
    return CrossDriven(decoded, still, own, pairs, transfer)


def probe_codes(codec: Codec, people: int = 16, frames: int = 96) -> Probes:
    """Ridge regressions from one-hot codes; people and motions of the test half are not in the fit."""
    rng = np.random.default_rng((SEED, 1_000_000))
    # Everyone performs the same two motions, so that motion says nothing of who it is.
    motions = [sample_motion(rng, frames), sample_motion(rng, frames)]
    codes, parameters, names = [], [], []
    for person in range(people):
        identity = Identity.sample(rng)
        own = sample_motion(rng, frames)
        for part, motion in enumerate([*motions, own]):
            recording = codec.encode(render(identity, motion, codec.picture_size))
            codes.append(np.concatenate([m.codes for m in recording.motions]))
            parameters.append(motion)
            names += [(person, part)] * frames
    one_hot = np.eye(codec.config.quantiser.codes, dtype=np.float32)[np.concatenate(codes)].reshape(len(names), -1)
    values, who = np.concatenate(parameters), np.array(names)
    fit = who[:, 0] < people * 3 // 4
    weights = _ridge(one_hot[fit], values[fit])
    predicted = one_hot[~fit] @ weights[:-1] + weights[-1]
    residual = ((values[~fit] - predicted) ** 2).sum(0)
    total = ((values[~fit] - values[~fit].mean(0)) ** 2).sum(0)
    r2 = {name: float(1 - residual[i] / max(total[i], 1e-9)) for i, name in enumerate(MOTION_PARAMETERS)}
    first, second = who[:, 1] == 0, who[:, 1] == 1
    classes = np.eye(people, dtype=np.float32)[who[:, 0]]
    weights = _ridge(one_hot[first], classes[first])
    guess = (one_hot[second] @ weights[:-1] + weights[-1]).argmax(1)
    return Probes(r2, float((guess == who[second, 0]).mean()), 1 / people)


def _ridge(x: np.ndarray, y: np.ndarray, penalty: float = 30.0) -> np.ndarray:
    """Weights [inputs + 1, outputs] of a ridge regression; the last row is the unpenalised constant."""
    mean_x, mean_y = x.mean(0), y.mean(0)
    centred = x - mean_x
    # Solved in the smaller of the two spaces.
    if len(x) < x.shape[1]:
        w = centred.T @ np.linalg.solve(centred @ centred.T + penalty * np.eye(len(x)), y - mean_y)
    else:
        w = np.linalg.solve(centred.T @ centred + penalty * np.eye(x.shape[1]), centred.T @ (y - mean_y))
    return np.vstack([w, mean_y - mean_x @ w])
