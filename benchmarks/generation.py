"""Motion that a GPT-2 generates for heads, beside recorded motion: its spread, stillness and copies."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np

from bcdcodec.benchmarks.measure.faces import SAME_PERSON, Face, eye_opening, identity_distance, mouth_opening
from bcdcodec.benchmarks.measure.head_pose import head_pose
from bcdcodec.benchmarks.measure.rate import all_codes
from bcdcodec.benchmarks.measure.within_clip import yaw_pitch_roll
from bcdcodec.benchmarks.report.render import as_markdown
from bcdcodec.benchmarks.report.tables import frame
from bcdcodec.benchmarks.statistics import number
from bcdcodec.codec import Codec
from bcdcodec.container import Motion, Recording
from bcdcodec.generation.network import MotionGPT
from bcdcodec.generation.sampling import SamplingOptions, pose_of, sample_motion

STATISTICS = ("yaw", "pitch", "roll", "mouth opening", "eye opening")  # degrees, then as in `faces`
EVERY = 5  # frames of which one is measured
WINDOW = 25  # frames that are searched for in the training clips
LONG_SECONDS, PIECE_SECONDS = 60.0, 10.0  # of the test for stillness, and of its first and last piece
PERMUTATIONS = 999

Progress = Callable[[Iterable, str], Iterable]
Faces = Callable[[np.ndarray], Face | None]  # of a picture uint8 [h, w, 3]


@dataclass(frozen=True)
class HeadsGeneration:
    """Of clips generated from one frame each of people that were not trained on."""

    clips: int
    seconds: float
    spread: dict[str, tuple[float, float]]  # STATISTICS: median of the deviation in time, recorded and generated
    p_value: float  # that recorded and generated clips differ so much by chance, two-sample permutation test
    change_start: float  # change of motion between frames in a long clip's first seconds, over that of recordings
    change_end: float  # the same in its last seconds
    copied: float  # codes of a second that are equal in the nearest second of the training clips, share, median
    copied_recorded: float  # the same of recorded clips that were not trained on
    identity_distance: float | None  # to the source clip, median
    same_person: float  # share of clips below dlib's threshold

    def markdown(self) -> str:
        """The report as text."""
        rows = [
            (f"deviation in time of {name}, {kind}", number(value, 3))
            for i, kind in enumerate(("recorded", "generated"))
            for name, values in sorted(self.spread.items())
            for value in values[i : i + 1]
        ]
        rows += [
            ("probability of as large a difference by chance", number(self.p_value, 3)),
            (f"change between frames in the first {PIECE_SECONDS:.0f} s of {LONG_SECONDS:.0f}, over that of recordings",
             number(self.change_start, 2)),
            ("the same in the last", number(self.change_end, 2)),
            ("codes equal to those of the nearest second in training, generated", f"{100 * self.copied:.1f} %"),
            ("the same of recordings not trained on", f"{100 * self.copied_recorded:.1f} %"),
            ("identity distance to the source clip (dlib), median", number(self.identity_distance, 3)),
            (f"identity distance under {SAME_PERSON}", f"{100 * self.same_person:.0f} % of clips"),
        ]  # fmt: skip
        head = f"{self.clips} clips of {self.seconds:g} s, each from one frame of a person not trained on"
        return f"{head}\n\n{as_markdown(frame(('measure', 'value'), rows))}\n"


def measure_heads_generation(
    codec: Codec,
    gpt2: MotionGPT,
    recorded: list[np.ndarray],
    trained: list[np.ndarray],
    face: Faces,
    seconds: float,
    options: SamplingOptions,
    progress: Progress,
) -> HeadsGeneration:
    """Generate motion for the faces of `recorded` clips uint8 [t, h, w, 3] and compare it with theirs, both decoded.

    `trained`: codes [t, g] of the clips that the GPT-2 learned from; `face`: finds the face in a picture.
    """
    frames = round(seconds * codec.config.frame_rate)
    statistics: tuple[list, list] = ([], [])
    copied, copied_recorded, distances, usual = [], [], [], []
    for i, pictures in enumerate(progress(recorded, "clips")):
        recording = codec.encode(pictures)
        codes = all_codes(recording)
        invented = _invent(gpt2, recording, frames, replace(options, seed=options.seed + i))
        shown = [[face(p) for p in codec.decode(r)[::EVERY]] for r in (recording, _with_codes(recording, invented))]
        for store, seen in zip(statistics, shown):
            store.append(_deviations([f for f in seen if f is not None]))
        source = [f for p in pictures[::EVERY] if (f := face(p)) is not None]
        found = [f for f in shown[1] if f is not None]
        distances.append(identity_distance(source, found) if source and found else np.inf)
        usual.append(motion_change(codec, codes))
        copied.append(nearest_share(invented, trained))
        copied_recorded.append(nearest_share(codes, trained))
    piece = round(PIECE_SECONDS * codec.config.frame_rate)
    long = _invent(gpt2, codec.encode(recorded[0]), round(LONG_SECONDS * codec.config.frame_rate), options)
    start, end = (motion_change(codec, part) / np.median(usual) for part in (long[:piece], long[-piece:]))
    kept = [(a, b) for a, b in zip(*statistics) if a is not None and b is not None]
    a, b = (np.array(side) for side in zip(*kept)) if kept else (np.full((1, len(STATISTICS)), np.nan),) * 2
    known = [d for d in distances if np.isfinite(d)]
    return HeadsGeneration(
        len(recorded),
        seconds,
        {name: (float(np.median(a[:, i])), float(np.median(b[:, i]))) for i, name in enumerate(STATISTICS)},
        two_sample_p(a, b, np.random.default_rng(options.seed)) if kept else 1.0,
        float(start),
        float(end),
        float(np.median(copied)),
        float(np.median(copied_recorded)),
        float(np.median(known)) if known else None,
        float(np.mean([d < SAME_PERSON for d in distances])),
    )


def two_sample_p(a: np.ndarray, b: np.ndarray, rng: np.random.Generator) -> float:
    """Probability that two samples [n, d], [m, d] of one distribution lie as far apart, by permutations.

    Their distance is the energy distance (Szekely and Rizzo 2004) of the channels over their common deviation.
    """
    both = np.concatenate([a, b])
    both = (both - both.mean(0)) / np.maximum(both.std(0), 1e-9)
    apart = np.linalg.norm(both[:, None] - both[None], axis=-1)  # [n + m, n + m]

    def energy(order: np.ndarray) -> float:
        x, y = order[: len(a)], order[len(a) :]
        return 2 * apart[np.ix_(x, y)].mean() - apart[np.ix_(x, x)].mean() - apart[np.ix_(y, y)].mean()

    seen = energy(np.arange(len(both)))
    farther = sum(energy(rng.permutation(len(both))) >= seen - 1e-12 for _ in range(PERMUTATIONS))
    return (1 + farther) / (1 + PERMUTATIONS)


def nearest_share(codes: np.ndarray, trained: list[np.ndarray]) -> float:
    """Share of equal codes between seconds of `codes` [t, g] and of the training clips, of the nearest two."""
    best = 0.0
    for start in range(0, max(1, len(codes) - WINDOW + 1), WINDOW):
        window = codes[start : start + WINDOW]
        for clip in trained:
            if len(clip) >= len(window):
                views = np.lib.stride_tricks.sliding_window_view(clip, len(window), axis=0)  # [n, g, w]
                best = max(best, float((views == window.T).mean((1, 2)).max()))
    return best


def motion_change(codec: Codec, codes: np.ndarray) -> float:
    """Root mean squared change of the quantised motion of codes [t, g] from one frame to the next."""
    import torch

    m = codec.model.vq.lookup(torch.from_numpy(codes.astype(np.int64))[None])[0].cpu().numpy()  # [t, m]
    return float(np.sqrt(np.square(np.diff(m, axis=0)).mean())) if len(m) > 1 else 0.0


def _invent(gpt2: MotionGPT, recording: Recording, frames: int, options: SamplingOptions) -> np.ndarray:
    """Codes uint8 [t, g] for the face of a recording, beginning in the pose of its reference."""
    content = recording.contents[0]
    return np.stack(list(sample_motion(gpt2, content.values, pose_of(content, gpt2.config.groups), frames, options)))


def _with_codes(recording: Recording, codes: np.ndarray) -> Recording:
    head = replace(recording.head, frame_count=len(codes))
    return replace(recording, head=head, contents=recording.contents[:1], motions=(Motion(0, 0, codes),))


def _deviations(faces: list[Face]) -> np.ndarray | None:
    """Deviation in time of STATISTICS; None for fewer than three faces."""
    if len(faces) < 3:
        return None
    marks = [f.landmarks for f in faces]
    rows = [[*yaw_pitch_roll(head_pose(m).rotation), mouth_opening(m), eye_opening(m)] for m in marks]
    return np.std(rows, axis=0)
