"""Small clips of procedural heads."""

from fractions import Fraction

import numpy as np
from golden_inputs import write_mkv

from bcdcodec.video import write_video

TICK = Fraction(1, 25)


def head_frames(seed, frames, size=48):
    """A procedural head in motion, uint8 [t, size, size, 3]."""
    from bcdcodec.training.data.procedural import Identity, render, sample_motion

    rng = np.random.default_rng((77, seed))
    return render(Identity.sample(rng), sample_motion(rng, frames), size)


def write_clip(path, frames, pts=None, time_base=TICK):
    """Pictures [t, h, w, 3] as a video, 25 a second unless pts in ticks are given."""
    with write_video(path, frames.shape[2], frames.shape[1], time_base) as video:
        for i, frame in enumerate(frames):
            video.write(frame, i if pts is None else pts[i])
    return path


def write_lossless_clip(path, frames):
    """Pictures [t, h, w, 3] as FFV1 in Matroska, 25 a second: the same pictures whatever the machine's encoder does."""
    write_mkv(path, frames, range(0, 2 * len(frames), 2))
    return path
