"""Pictures of decoded sprites: figure 5, and misses beside the truth. They show the sheets' art: see its licences."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bcdcodec.benchmarks.sprites.judge import ATTRIBUTES_OF, COLUMNS, Judge, Verdict
from bcdcodec.benchmarks.sprites.pairs import ClipSet, Pairs
from bcdcodec.training.data.sheets import ACTIONS, FRAMES
from bcdcodec.video import encode_png, enlarge

SCALE, GAP, LABEL_HEIGHT = 2, 4, 14  # pixels
BACKGROUND = 40


def strips(rows: list[tuple[str, np.ndarray]]) -> np.ndarray:
    """Clips uint8 [t, h, w, 3] in rows under their labels, enlarged: uint8 [h, w, 3]."""
    from PIL import Image, ImageDraw

    pictures = []
    for label, clip in rows:
        strip = enlarge(np.concatenate(list(clip), 1), SCALE)
        title = Image.new("RGB", (strip.shape[1], LABEL_HEIGHT), (BACKGROUND,) * 3)
        ImageDraw.Draw(title).text((2, 1), label, fill=(255, 255, 255))
        pictures += [np.asarray(title), strip]
    return np.concatenate(pictures)


def side_by_side(pictures: list[np.ndarray]) -> np.ndarray:
    """Pictures of one height with a gap between."""
    gap = np.full((pictures[0].shape[0], GAP, 3), BACKGROUND, np.uint8)
    return np.concatenate([part for picture in pictures for part in (picture, gap)][:-1], 1)


def figure_5(clips: ClipSet, pairs: Pairs, decoded: np.ndarray, reverse: np.ndarray) -> np.ndarray:
    """The paper's figure 5 with the truth: of each pair A and B, A's motion with B's content, and the reverse.

    decoded, reverse uint8 [n, 8, 64, 64, 3]: the pairs and the same with motion and content exchanged.
    """

    def column(one: str, other: str, clip: int, made: np.ndarray, truth: int) -> np.ndarray:
        shown = (f"input {one}: {clips.name(clip)}", f"motion of {one} + content of {other}", "truth")
        return strips(list(zip(shown, (clips.frames[clip], made, clips.frames[truth]))))

    blocks, back = [], Pairs(pairs.case, pairs.content, pairs.driving).truth
    for i, (a, b) in enumerate(zip(pairs.driving, pairs.content)):
        left = column("A", "B", a, decoded[i], pairs.truth[i])
        right = column("B", "A", b, reverse[i], back[i])
        blocks += [side_by_side([left, right]), np.full((GAP, 2 * left.shape[1] + GAP, 3), BACKGROUND, np.uint8)]
    return np.concatenate(blocks[:-1])


def describe_miss(clips: ClipSet, pairs: Pairs, verdict: Verdict, i: int) -> str:
    """One line on what the exact judge finds wrong in clip i of the pairs."""
    truth = pairs.truth[i]
    true_values = (clips.action(truth), *ATTRIBUTES_OF[clips.character(truth)])
    seen_values = (verdict.clip_actions[i], *ATTRIBUTES_OF[verdict.clip_characters[i]])
    found = []
    for column, name in enumerate(COLUMNS):
        wrong = FRAMES - int(verdict.frames_right[i, :, column].sum())
        true, seen = (ACTIONS[v] if column == 0 else str(v) for v in (true_values[column], seen_values[column]))
        if true != seen:
            found.append(f"{name} {true} seen as {seen} ({wrong} of {FRAMES} frames)")
        elif wrong:
            found.append(f"{name} wrong in {wrong} of {FRAMES} frames")
    return f"motion of {clips.name(pairs.driving[i])}; content of {clips.name(pairs.content[i])}: {', '.join(found)}"


def draw_miss(
    clips: ClipSet, pairs: Pairs, verdict: Verdict, decoded: np.ndarray, judge: Judge, i: int, path: Path
) -> None:
    """The decoded clip above its truth and above the frames it is nearest to."""
    nearest = judge.sheets.frames(verdict.characters[i], verdict.motions[i])
    truth = pairs.truth[i]
    shown = ("decoded", f"truth: {clips.name(truth)}", "nearest renderable frames")
    path.write_bytes(encode_png(strips(list(zip(shown, (decoded[i], clips.frames[truth], nearest))))))
