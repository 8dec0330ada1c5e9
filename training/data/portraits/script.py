"""What a portrait does: short pieces of what several drivers do, at times exaggerated."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bcdcodec.training.data.portraits.driving import Performance
from bcdcodec.training.data.portraits.head import Head
from bcdcodec.training.data.portraits.person import Person
from bcdcodec.training.data.portraits.render import Motion

MOMENTS = 4  # of one driver; two neighbouring frames each
NEIGHBOUR = (1, 4)  # frames apart, least and one more than most
TURN_MOST = np.radians(20.0)


@dataclass(frozen=True)
class Take:
    """One picture to draw."""

    motion: Motion
    driver: int  # index of the performance
    frame: int


def takes(
    head: Head, person: Person, performances: list[Performance], count: int, rng: np.random.Generator
) -> list[Take]:
    """`count` pictures: groups of eight of one driver, the rest single ones."""
    result = []
    while len(result) + 2 * MOMENTS <= count:
        result += _group(head, person, performances, rng, MOMENTS, wild=False)
    while len(result) < count:
        result += _group(head, person, performances, rng, 1, wild=True)[:1]
    return result


def _group(head: Head, person: Person, performances: list[Performance], rng, moments: int, wild: bool) -> list[Take]:
    driver = int(rng.integers(len(performances)))
    actor = performances[driver]
    keep = float(rng.choice([1.0, 0.5, 0.0], p=[0.35, 0.2, 0.45]))  # of the photograph's own expression
    gain = rng.uniform(0.9, 1.2)
    jaw = rng.uniform(1.2, 2.0) if rng.random() < 0.35 or wild else 1.0
    turn_gain = rng.uniform(1.0, 2.0)
    turn = rng.normal(0, np.radians([2.5, 4.5, 2.0])) * (1.5 if wild else 1.0)
    gaze = rng.uniform(-0.5, 0.5, 2) * (1, 0.5) if rng.random() < 0.3 else np.zeros(2)
    shift, size = rng.normal(0, 0.012, 2), rng.normal(0, 0.03)
    usable = np.flatnonzero(actor.usable)
    if len(usable) < 8:
        return _group(head, person, performances, rng, moments, wild)
    result, i = [], head.names.index("jawOpen")
    # moments far apart: one from each part of the clip, the one of largest expression at times
    for k in range(moments):
        part = usable[
            len(usable) * k // moments : max(len(usable) * (k + 1) // moments, len(usable) * k // moments + 1)
        ]
        if rng.random() < 0.5:
            energy = np.abs(actor.expression[part] - actor.rest).sum(1) + 1e-3
            frame = int(rng.choice(part, p=energy**2 / (energy**2).sum()))
        else:
            frame = int(rng.choice(part))
        other = int(np.clip(frame + rng.integers(*NEIGHBOUR), 0, len(actor.usable) - 1))
        shut = rng.uniform(0.5, 1.1) if rng.random() < (0.3 if wild else 0.2) else 0.0
        drift = rng.normal(0, 0.006, 2)
        for step, t in enumerate((frame, other)):
            expression = keep * person.fit.expression + (1 - keep) * actor.rest
            own = gain * (actor.expression[t] - actor.rest)
            own[i] = jaw * own[i] + 0.15 * wild
            expression = expression + own
            for name in ("eyeBlink_R", "eyeBlink_L"):
                expression[head.names.index(name)] += shut * (1 - 0.2 * step)
            vector = turn + turn_gain * actor.rotation[t]
            angle = float(np.linalg.norm(vector))
            vector = vector * min(1.0, TURN_MOST / max(angle, 1e-6))
            motion = Motion(
                np.clip(expression, 0, 1).astype(np.float32), np.clip(gaze + actor.gaze[t], -0.6, 0.6), vector,
                shift + drift * (k + 0.3 * step), size + 0.005 * k,
            )  # fmt: skip
            result.append(Take(motion, driver, t))
    return result
