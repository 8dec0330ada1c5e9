"""The layout of the paper's tables 1 and 3: identity, motion and cross error of one person shown in another's motion.

The paper fits a face model that is not public. Here the errors are those of dlib's 68 landmarks: on rendered
heads against exact truth (the same person rendered with the driving motion's own parameters), on real faces, where
no truth exists, against the content's and the motion's recordings apart.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bcdcodec.benchmarks.faces import Face, FaceMeter, identity_distance, mouth_opening
from bcdcodec.benchmarks.rows import correlation
from bcdcodec.benchmarks.statistics import median
from bcdcodec.codec import Codec
from bcdcodec.reenactment.head_pose import angle_between, head_pose
from bcdcodec.video import read_pictures

REAL_SAMPLES = 48  # frames a clip: of twelve, a median over pairs moves by 0.2 in the mouth's correlation with the still's last bits
MOVING = (
    0.02  # deviation of a mouth's opening, of the eye distance, below which it rests: what correlates with it is noise
)

# FID and CSIM left out: they are of other networks. Identity error x 10, the others x 100, in squared units of its mesh.
PUBLISHED = {
    "FOMM": (0.75, 24.3, 24.1),
    "MCNET": (0.85, 23.9, 23.6),
    "HyperReenact": (0.57, 3.94, 4.68),
    "LIA": (0.57, 36.1, 34.1),
    "LivePortrait": (0.66, 24.6, 23.7),
    "BCD, 4 kbit/s": (0.41, 3.13, 3.67),
    "BCD, 2 kbit/s": (0.34, 5.26, 5.68),
    "BCD, 6 kbit/s": (0.56, 3.23, 4.13),
    "BCD, 8 kbit/s": (0.49, 3.04, 3.74),
    "BCD, 4 kbit/s, one content frame": (0.47, 3.13, 3.81),
    "BCD, 4 kbit/s, without cross-driven training": (0.58, 41.5, 40.4),
}


@dataclass(frozen=True)
class TransferErrors:
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


def transfer_errors(
    shown: list[Face | None], person: list[Face | None], motion: list[Face | None], truth: list[Face | None] | None
) -> TransferErrors:
    """Errors of pictures that should show `person` in `motion`, at the same moments as `motion` and `truth`.

    `truth`: of that person in that motion; None when there is none.
    """
    share = sum(f is not None for f in shown) / len(shown)
    known = [f for f in person if f is not None]
    moments = [i for i, f in enumerate(shown) if f is not None and motion[i] is not None]
    if truth is not None:
        moments = [i for i in moments if truth[i] is not None]
    if len(moments) < 2 or not known:
        return TransferErrors(None, None, None, None, None, share)
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
    return TransferErrors(
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


def real_transfer(codec: Codec, motion: Path, person: Path, meter: FaceMeter) -> TransferErrors:
    """One clip's person in another clip's motion. Raises BcdError for clips that cannot be read."""
    driving, content = (read_pictures(path, None, codec.picture_size) for path in (motion, person))
    shown = codec.decode(codec.encode(driving), content=codec.encode(content))
    return transfer_errors(*(meter.faces(clip, REAL_SAMPLES) for clip in (shown, content, driving)), None)


def pairs_of(clips: list[Path], most: int) -> Iterator[tuple[Path, Path]]:
    """At most `most` pairs of clips half the list apart, which in a list sorted by person are of two people."""
    half = len(clips) // 2
    count = min(most, half)
    for i in range(count):
        at = i * half // count
        yield clips[at], clips[at + half]


def medians(errors: list[TransferErrors]) -> dict:
    """Median of every measure over pairs, how many pairs there are, and in what share of them what is shown is nearer
    to the content's person than to the motion's.
    """
    names = TransferErrors.__dataclass_fields__
    told = [e.identity_distance < e.driver_distance for e in errors if e.driver_distance is not None]
    return {name: median([getattr(e, name) for e in errors]) for name in names} | {
        "pairs": len(errors),
        "nearer": float(np.mean(told)) if told else None,
    }


def _mouth(seen: np.ndarray, driver: np.ndarray) -> float | None:
    """Correlation of the opening of a mouth with the driver's, of landmarks [t, 68, 2]; None where that rests."""
    openings = [(mouth_opening(a), mouth_opening(b)) for a, b in zip(seen, driver)]
    return None if np.std([driven for _, driven in openings]) < MOVING else correlation(openings)


def _eyes(landmarks: np.ndarray) -> float:
    """Mean distance of the outer corners of the eyes of landmarks [t, 68, 2]."""
    return float(np.linalg.norm(landmarks[:, 36] - landmarks[:, 45], axis=1).mean())


def _way(landmarks: np.ndarray) -> np.ndarray:
    """Landmarks [t, 68, 2] from their mean place over time, in eye distances."""
    return (landmarks - landmarks.mean(0)) / _eyes(landmarks)


def _turns(poses: np.ndarray) -> np.ndarray:
    """Rotations [t, 3, 3] from the mean of the poses [t, 3, 3] to each: what is an angle of the face's build rather than of the
    head, and so the same in every frame, is not in them.
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
