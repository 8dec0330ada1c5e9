"""Reenactment as in the paper's tables 1 and 3: identity, motion and cross error of one person in another's motion.

The paper fits a face model that is not public. Here the errors are those of dlib's 68 landmarks: on rendered heads
against exact truth (the same person rendered with the driving motion's own parameters), on real faces, where no truth
exists, against the recordings of the person shown and of the driver apart.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bcdcodec.benchmarks.codec_runs import codec_run
from bcdcodec.benchmarks.measure.faces import SAMPLES, Face, FaceMeter, face_meter, identity_distance, mouth_opening
from bcdcodec.benchmarks.measure.head_pose import angle_between, head_pose
from bcdcodec.benchmarks.measure.pictures import psnr
from bcdcodec.benchmarks.statistics import median
from bcdcodec.training.data.procedural import MOTION_PARAMETERS, Identity, render, sample_motion

CROSS_DRIVEN, PROBES = "cross_driven", "probes"  # names of the measures on rendered heads
SEED = 77_000_000  # of people and motions that no training run has seen
CLIP_SAMPLES = 48  # frames a clip; of twelve, medians over pairs are unsteady
MOVING = (
    0.02  # deviation of a mouth's opening, in eye distances, below which it rests and what correlates with it is noise
)

# The paper's tables: FID, CSIM, identity error x 10, motion and cross error x 100, in the square of the unit of the
# paper's mesh, on 4-second pairs of LRS3.
PUBLISHED = {
    "FOMM": (98.5, 0.76, 0.75, 24.3, 24.1),
    "MCNET": (98.6, 0.76, 0.85, 23.9, 23.6),
    "HyperReenact": (106.8, 0.58, 0.57, 3.94, 4.68),
    "LIA": (104.4, 0.71, 0.57, 36.1, 34.1),
    "LivePortrait": (100.3, 0.69, 0.66, 24.6, 23.7),
    "BCD, 4 kbit/s": (86.0, 0.69, 0.41, 3.13, 3.67),
    "BCD, 2 kbit/s": (88.5, 0.71, 0.34, 5.26, 5.68),
    "BCD, 6 kbit/s": (87.6, 0.68, 0.56, 3.23, 4.13),
    "BCD, 8 kbit/s": (89.3, 0.66, 0.49, 3.04, 3.74),
    "BCD, 4 kbit/s, one content frame": (None, None, 0.47, 3.13, 3.81),
    "BCD, 4 kbit/s, without cross-driven training": (None, None, 0.58, 41.5, 40.4),
}


@dataclass(frozen=True)
class ReenactmentErrors:
    """Mean squared landmark distances in squared eye distances; None where there is no truth or no face."""

    identity_distance: float | None  # dlib descriptors, to the content's person
    identity_error: float | None  # of the mean face, brought to upright and to size
    motion_error: float | None  # of the landmarks' way from their mean place
    cross_error: float | None  # of the landmarks as they are
    pose_error: float | None  # degrees; against truth where there is one
    faces: float  # share of frames with a face
    driver_distance: float | None = None  # dlib descriptors, to the person of the motion
    mouth: float | None = None  # correlation of its opening with that of the motion's pictures, if that one moves
    turn_error: float | None = None  # degrees, of the way from the mean pose to each frame's
    turn_still: float | None = None  # the same of a head that does not turn


def reenactment_errors(
    shown: list[Face | None], person: list[Face | None], motion: list[Face | None], truth: list[Face | None] | None
) -> ReenactmentErrors:
    """Errors of pictures that should show `person` in `motion`, at the same moments as `motion` and `truth`.

    `truth`: of that person in that motion; None when there is none.
    """
    share = sum(f is not None for f in shown) / len(shown)
    known = [f for f in person if f is not None]
    moments = [i for i, f in enumerate(shown) if f is not None and motion[i] is not None]
    if truth is not None:
        moments = [i for i in moments if truth[i] is not None]
    if len(moments) < 2 or not known:
        return ReenactmentErrors(None, None, None, None, None, share)
    seen = np.array([shown[i].landmarks for i in moments])  # [t, 68, 2]
    model = np.array([motion[i].landmarks for i in moments])
    look = np.array([f.landmarks for f in known]) if truth is None else np.array([truth[i].landmarks for i in moments])
    cross = None
    if truth is not None:
        cross = _mean_square(seen / _eyes(look) - look / _eyes(look))
    poses, exact = (
        np.array([head_pose(marks).rotation for marks in found]) for found in (seen, model if truth is None else look)
    )
    turn, turn_asked = _turns(poses), _turns(exact)
    return ReenactmentErrors(
        identity_distance([shown[i] for i in moments], known),
        _mean_square(_upright(seen).mean(0) - _upright(look).mean(0)),
        _mean_square(_way(seen) - _way(model if truth is None else look)),
        cross,
        _mean_angle(poses, exact),
        share,
        identity_distance([shown[i] for i in moments], [motion[i] for i in moments]),
        _mouth(seen, model),
        _mean_angle(turn, turn_asked),
        _mean_angle(np.broadcast_to(np.eye(3), turn.shape), turn_asked),
    )


@dataclass(frozen=True)
class CrossDriven:
    """PSNR in dB against the rendered truth of person B in A's motion, means over pairs."""

    decoded: float
    still: float  # B's frame nearest to B's mean motion, as it was before coding
    own: float  # A's own pictures
    pairs: int
    errors: dict[str, dict] | None  # medians of ReenactmentErrors by the same names; None without dlib


@dataclass(frozen=True)
class Probes:
    """What a linear map reads from the codes of unseen people."""

    motion_r2: dict[str, float]  # a motion parameter: share of its variance explained, held-out people
    identity_accuracy: float  # people told apart from codes of motions not fitted on
    identity_chance: float


def clip_pair(model: str, driver: Path, person: Path) -> ReenactmentErrors:
    """One clip's person in another clip's motion. Raises BcdError for clips that cannot be read."""
    run, meter = codec_run(model), face_meter()
    driving, shown = run.pictures(driver), run.pictures(person)
    decoded = run.codec.decode(run.codec.encode(driving), content=run.codec.encode(shown))
    return reenactment_errors(*(meter.faces(clip, CLIP_SAMPLES) for clip in (decoded, shown, driving)), None)


def cross_driven(
    model: str,
    pairs: int = 12,
    frames: int = 48,
    faces: bool = False,
    kbps: float | None = None,
    profile: str | None = None,
    meter: FaceMeter | None = None,
) -> CrossDriven:
    """Rendered heads: A's motion decoded with B's reference, against B rendered in A's motion.

    `kbps`: of the motion, in `profile`; None: the model's default rate. `faces`: landmark errors by dlib, too.
    """
    run, meter = codec_run(model), meter or (face_meter() if faces else None)
    rows, errors = [], {"decoded": [], "still": [], "own": []}
    for pair in range(pairs):
        rng = np.random.default_rng((SEED, pair))
        a, b = Identity.sample(rng), Identity.sample(rng)
        motion_a, motion_b = sample_motion(rng, frames), sample_motion(rng, frames)
        driving, own_b, truth = (render(*of, run.size) for of in ((a, motion_a), (b, motion_b), (b, motion_a)))
        recording = run.codec.encode(driving, profile=profile, kbps=kbps)
        decoded = run.codec.decode(recording, content=run.codec.encode(own_b))
        still = own_b[np.abs(motion_b - motion_b.mean(0)).sum(1).argmin()]
        shown = {"decoded": decoded, "still": np.broadcast_to(still, truth.shape), "own": driving}
        rows.append([psnr(pictures, truth) for pictures in shown.values()])
        if meter is not None:
            exact, person, driver = (meter.faces(clip) for clip in (truth, own_b, driving))
            for name, clip in shown.items():
                seen = [meter.face(still)] * SAMPLES if name == "still" else meter.faces(clip)
                errors[name].append(reenactment_errors(seen, person, driver, exact))
    found = {name: medians(some) for name, some in errors.items()} if meter is not None else None
    return CrossDriven(*(float(v) for v in np.mean(rows, axis=0)), pairs, found)


def probe_codes(model: str, people: int = 16, frames: int = 96) -> Probes:
    """Ridge regressions from one-hot codes; people and motions of the test half are not in the fit."""
    run, rng = codec_run(model), np.random.default_rng((SEED, 1_000_000))
    # Everyone performs the same two motions, so that motion says nothing of who it is.
    motions = [sample_motion(rng, frames), sample_motion(rng, frames)]
    codes, parameters, names = [], [], []
    for person in range(people):
        identity = Identity.sample(rng)
        own = sample_motion(rng, frames)
        for part, motion in enumerate([*motions, own]):
            codes += [m.codes for m in run.codec.encode(render(identity, motion, run.size)).motions]
            parameters.append(motion)
            names += [(person, part)] * frames
    one_hot = np.eye(run.tables.codes, dtype=np.float32)[np.concatenate(codes)].reshape(len(names), -1)
    values, who = np.concatenate(parameters), np.array(names)
    fit = who[:, 0] < people * 3 // 4
    residual = np.square(values[~fit] - _predicted(one_hot[fit], values[fit], one_hot[~fit])).sum(0)
    total = np.square(values[~fit] - values[~fit].mean(0)).sum(0)
    r2 = {name: float(1 - residual[i] / max(total[i], 1e-9)) for i, name in enumerate(MOTION_PARAMETERS)}
    first, second = who[:, 1] == 0, who[:, 1] == 1
    classes = np.eye(people, dtype=np.float32)[who[:, 0]]
    guess = _predicted(one_hot[first], classes[first], one_hot[second]).argmax(1)
    return Probes(r2, float((guess == who[second, 0]).mean()), 1 / people)


def _predicted(x: np.ndarray, y: np.ndarray, new: np.ndarray) -> np.ndarray:
    weights = ridge(x, y)
    return new @ weights[:-1] + weights[-1]


def ridge(x: np.ndarray, y: np.ndarray, penalty: float = 30.0) -> np.ndarray:
    """Weights [inputs + 1, outputs] of a ridge regression; the last row is the unpenalised constant."""
    mean_x, mean_y = x.mean(0), y.mean(0)
    centred = x - mean_x
    # Solved in the smaller of the two spaces.
    if len(x) < x.shape[1]:
        w = centred.T @ np.linalg.solve(centred @ centred.T + penalty * np.eye(len(x)), y - mean_y)
    else:
        w = np.linalg.solve(centred.T @ centred + penalty * np.eye(x.shape[1]), centred.T @ (y - mean_y))
    return np.vstack([w, mean_y - mean_x @ w])


def pairs_of(clips: list[Path], most: int) -> Iterator[tuple[Path, Path]]:
    """At most `most` pairs of clips half the list apart, which in a list sorted by person are of two people."""
    half = len(clips) // 2
    count = min(most, half)
    for i in range(count):
        at = i * half // count
        yield clips[at], clips[at + half]


def medians(errors: list[ReenactmentErrors]) -> dict:
    """Median of every measure over pairs, and their number.

    `nearer`: share of the pairs whose pictures are nearer to the person shown than to the driver.
    """
    names = ReenactmentErrors.__dataclass_fields__
    told = [e.identity_distance < e.driver_distance for e in errors if e.driver_distance is not None]
    return {name: median([getattr(e, name) for e in errors]) for name in names} | {
        "pairs": len(errors),
        "nearer": float(np.mean(told)) if told else None,
    }


def _mouth(seen: np.ndarray, driver: np.ndarray) -> float | None:
    """Correlation of the opening of a mouth with the driver's, of landmarks [t, 68, 2]; None where that rests."""
    openings = [(mouth_opening(a), mouth_opening(b)) for a, b in zip(seen, driver)]
    values = np.array(openings)
    if values[:, 1].std() < MOVING:
        return None
    return float(np.corrcoef(values.T)[0, 1]) if values[:, 0].std() > 1e-9 else 0.0


def _eyes(landmarks: np.ndarray) -> float:
    """Mean distance of the outer corners of the eyes of landmarks [t, 68, 2]."""
    return float(np.linalg.norm(landmarks[:, 36] - landmarks[:, 45], axis=1).mean())


def _way(landmarks: np.ndarray) -> np.ndarray:
    """Landmarks [t, 68, 2] from their mean place over time, in eye distances."""
    return (landmarks - landmarks.mean(0)) / _eyes(landmarks)


def _turns(poses: np.ndarray) -> np.ndarray:
    """Rotations [t, 3, 3] from the mean of the poses [t, 3, 3] to each.

    An angle of the face's build rather than of the head is the same in every frame and so not in them.
    """
    u, _, vt = np.linalg.svd(poses.mean(0))
    return poses @ (u @ vt).T


def _mean_angle(a: np.ndarray, b: np.ndarray) -> float:
    """Of rotations [t, 3, 3], degrees."""
    return float(np.mean([angle_between(x, y) for x, y in zip(a, b)]))


def _upright(landmarks: np.ndarray) -> np.ndarray:
    """Landmarks [t, 68, 2] with the corners of the eyes at (-0.5, 0) and (0.5, 0)."""
    left, right = landmarks[:, 36], landmarks[:, 45]
    across = right - left  # [t, 2]
    turn = np.stack([across, np.stack([-across[:, 1], across[:, 0]], 1)], 1) / np.square(across).sum(1)[:, None, None]
    return np.einsum("tij,tnj->tni", turn, landmarks - ((left + right) / 2)[:, None])


def _mean_square(distance: np.ndarray) -> float:
    """Of vectors [..., 2]."""
    return float(np.square(distance).sum(-1).mean())
