"""Which motions a portrait is drawn in: short pieces of several drivers' motion, at times exaggerated."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bcdcodec.training.data.portraits.driving import DriverMotion
from bcdcodec.training.data.portraits.head import Head
from bcdcodec.training.data.portraits.person import Person
from bcdcodec.training.data.portraits.render import Motion

MOMENTS = 4  # of one driver; two neighbouring frames each
NEIGHBOUR = (1, 4)  # frames apart: least, and one more than most
TURN_MOST = np.radians(20.0)  # from the photograph's pose
GAZE_MOST = 0.6  # radians
KEEP, KEEP_SHARES = (1.0, 0.5, 0.0), (0.35, 0.2, 0.45)  # how much of the photograph's own expression stays, how often
JAW_SHARE, JAW_GAIN = 0.35, (1.2, 2.0)  # how often the jaw opens further, and how much
SHUT_SHARE, SHUT = 0.2, (0.5, 1.1)  # how often the eyes are shut further, and how much is added
GAZE_SHARE, GAZE = 0.3, (0.5, 0.25)  # how often the eyes look aside, and how far at most: right or left, up or down
TURN_SIGMA = np.radians([2.5, 4.5, 2.0])  # of a constant turn of each group: pitch, yaw, roll


@dataclass(frozen=True)
class Sample:
    """One picture to draw."""

    motion: Motion
    driver: int  # index of the driver
    frame: int  # of its clip


def sample_motions(
    head: Head, person: Person, drivers: list[DriverMotion], count: int, rng: np.random.Generator
) -> list[Sample]:
    """`count` pictures: groups of eight of one driver, then single ones, which are exaggerated."""
    result = []
    while len(result) + 2 * MOMENTS <= count:
        result += _group(head, person, drivers, rng, MOMENTS, exaggerated=False)
    while len(result) < count:
        result += _group(head, person, drivers, rng, 1, exaggerated=True)[:1]
    return result


def _group(
    head: Head, person: Person, drivers: list[DriverMotion], rng: np.random.Generator, moments: int, exaggerated: bool
) -> list[Sample]:
    """Pairs of neighbouring frames from `moments` parts of one driver's clip, all exaggerated in the same way."""
    index = int(rng.integers(len(drivers)))
    driver = drivers[index]
    keep = float(rng.choice(KEEP, p=KEEP_SHARES))
    gain = rng.uniform(0.9, 1.2)
    jaw_gain = rng.uniform(*JAW_GAIN) if rng.random() < JAW_SHARE or exaggerated else 1.0
    turn_gain = rng.uniform(1.0, 2.0)
    turn = rng.normal(0, TURN_SIGMA) * (1.5 if exaggerated else 1.0)
    gaze = rng.uniform(-1, 1, 2) * GAZE if rng.random() < GAZE_SHARE else np.zeros(2)
    shift, size = rng.normal(0, 0.012, 2), rng.normal(0, 0.03)
    jaw = head.names.index("jawOpen")
    usable = np.flatnonzero(driver.usable)
    result = []
    for k, part in enumerate(np.array_split(usable, moments)):
        if rng.random() < 0.5:  # a frame of large expression
            energy = np.square(np.abs(driver.expression[part] - driver.rest).sum(1) + 1e-3)
            frame = int(rng.choice(part, p=energy / energy.sum()))
        else:
            frame = int(rng.choice(part))
        other = frame + int(rng.integers(*NEIGHBOUR))
        other = other if other < len(driver.usable) and driver.usable[other] else frame
        shut = rng.uniform(*SHUT) if rng.random() < SHUT_SHARE * (1.5 if exaggerated else 1) else 0.0
        drift = rng.normal(0, 0.006, 2)
        for step, t in enumerate((frame, other)):
            change = gain * (driver.expression[t] - driver.rest)
            change[jaw] = jaw_gain * change[jaw] + 0.15 * exaggerated
            expression = keep * person.fit.expression + (1 - keep) * driver.rest + change
            for name in ("eyeBlink_R", "eyeBlink_L"):
                expression[head.names.index(name)] += shut * (1 - 0.2 * step)
            vector = turn + turn_gain * driver.rotation[t]
            vector = vector * min(1.0, TURN_MOST / max(float(np.linalg.norm(vector)), 1e-6))
            motion = Motion(
                expression=np.clip(expression, 0, 1).astype(np.float32),
                gaze=np.clip(gaze + driver.gaze[t], -GAZE_MOST, GAZE_MOST),
                turn=vector,
                shift=shift + drift * (k + 0.3 * step),
                log_scale=size + 0.005 * k,
            )
            result.append(Sample(motion, index, t))
    return result
