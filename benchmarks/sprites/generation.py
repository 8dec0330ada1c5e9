"""Motion that a GPT-2 generates for sprites, by the exact judge: is it one of the nine actions of the character."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from bcdcodec.benchmarks.report.render import as_markdown
from bcdcodec.benchmarks.report.tables import frame
from bcdcodec.benchmarks.sprites.judge import ALIKE, Judge
from bcdcodec.codec import Codec
from bcdcodec.generation.network import MotionGPT
from bcdcodec.generation.sampling import SamplingOptions, sample_motion
from bcdcodec.training.data.sheets import ACTIONS, FRAMES, split

TOGETHER = 20  # clips decoded at once

Progress = Callable[[Iterable, str], Iterable]


@dataclass(frozen=True)
class Generation:
    """Of clips generated from one still each of characters that were not trained on."""

    clips: int
    valid: float  # share of clips whose nearest frames are all those of one action, each in its place
    looks_valid: float  # the same, where a frame that looks alike will do
    nearest_frames_right: float  # share of frames that are the nearest clip's action's in their place
    character: float  # share of clips whose nearest clip has all four attributes
    own_action: float  # share of clips in the action that the still is from
    actions: tuple[int, ...]  # clips by nearest action

    def markdown(self) -> str:
        """The report as text."""
        alike = f"one action throughout, to the eye (each frame that in its place or at least {ALIKE:.0f} dB from it)"
        shares = {
            "one action throughout, every frame in its place": self.valid,
            alike: self.looks_valid,
            "frames of the nearest action in their place": self.nearest_frames_right,
            "all four attributes kept": self.character,
            "the action that the reference is from": self.own_action,
        }
        rows = [(name, f"{100 * share:.1f} %") for name, share in shares.items()]
        rows.append(("actions", ", ".join(f"{name} {n}" for name, n in zip(ACTIONS, self.actions))))
        table = as_markdown(frame(("measure", "value"), rows))
        return f"{self.clips} clips, each from one frame of a test character\n\n{table}\n"


def measure_generation(
    codec: Codec, gpt2: MotionGPT, judge: Judge, count: int, options: SamplingOptions, progress: Progress
) -> Generation:
    """Generate 8 frames for stills of test characters, the actions in turn, decode and judge them."""
    characters = np.random.default_rng(options.seed).permutation(split()[1])
    characters = np.resize(characters, count)
    actions = np.arange(count) % len(ACTIONS)
    codes, contents = [], []
    for i in progress(range(count), "generate"):
        still = judge.sheets.clip(int(characters[i]), int(actions[i]))[:1]
        content = codec.encode(still).contents[0]
        draw = SamplingOptions(options.temperature, options.top_p, options.seed + i)
        frames = sample_motion(gpt2, content.values, np.zeros((0, gpt2.config.groups), np.uint8), FRAMES, draw)
        codes.append(np.stack(list(frames)))
        contents.append(content)
    parts = [
        codec.decode_windows(np.stack(codes[i : i + TOGETHER]), contents[i : i + TOGETHER], 0, None)
        for i in progress(range(0, count, TOGETHER), "decode")
    ]
    decoded = np.concatenate(parts)
    verdict = judge.judge(decoded, characters, actions)
    # Frames that several actions share count for the clip that is nearest as a whole.
    nearest = judge.judge(decoded, verdict.clip_characters, verdict.clip_actions)
    in_place = nearest.motions_right  # [n, t]
    return Generation(
        count,
        float(in_place.all(1).mean()),
        float(nearest.motions_alike.all(1).mean()),
        float(in_place.mean()),
        float(verdict.clips_right[:, 1:].all(1).mean()),
        float((verdict.clip_actions == actions).mean()),
        tuple(np.bincount(verdict.clip_actions, minlength=len(ACTIONS)).tolist()),
    )
