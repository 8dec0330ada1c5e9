"""The measure of invented sprite motion on motion whose worth is known, with made-up sheets and a perfect decoder."""

from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("transformers", reason="generation is the extra `gpt2`")

from bcdcodec.benchmarks.sprites import generation  # noqa: E402
from bcdcodec.benchmarks.sprites.judge import MOTION_OF, Judge  # noqa: E402
from bcdcodec.generation.sampling import SamplingOptions  # noqa: E402
from bcdcodec.training.data.sheets import Sheets, split  # noqa: E402

PEOPLE = split()[1][:9]


@pytest.fixture(scope="module")
def sheets(sheets):
    return Sheets.load(sheets)


@pytest.fixture(scope="module")
def judge(sheets):
    return Judge(sheets)


class Perfect:
    """A codec whose content is the character, known by its first frame, and whose code is the motion frame."""

    def __init__(self, sheets: Sheets):
        self.sheets, self.encoded = sheets, 0

    def encode(self, still: np.ndarray) -> SimpleNamespace:
        action = self.encoded % 9  # stills come in this order; several actions begin alike
        self.encoded += 1
        (character,) = {
            int(c) for c in PEOPLE if np.array_equal(self.sheets.frame(int(c), MOTION_OF[action, 0]), still[0])
        }
        return SimpleNamespace(contents=[SimpleNamespace(values=np.array([character, action]))])

    def decode_windows(self, codes: np.ndarray, contents: list, seed: int, steps: int | None) -> np.ndarray:
        return np.stack(
            [
                np.stack([self.sheets.frame(int(content.values[0]), int(m)) for m in row[:, 0]])
                for row, content in zip(codes, contents)
            ]
        )


def measured(monkeypatch, judge, motion_of):
    """The result where `motion_of(action)` is the motion drawn for a still of that action."""
    monkeypatch.setattr(generation, "split", lambda: (split()[0], PEOPLE))

    def draw(network, values, prompt, frames, options):
        return iter(np.asarray(motion_of(values[1]))[:, None].astype(np.uint8))

    monkeypatch.setattr(generation, "sample_motion", draw)
    network = SimpleNamespace(config=SimpleNamespace(groups=1))
    return generation.measure_generation(
        Perfect(judge.sheets), network, judge, 9, SamplingOptions(), lambda items, label: items
    )


def test_true_motion_is_valid_and_keeps_the_character(monkeypatch, judge):
    result = measured(monkeypatch, judge, lambda action: MOTION_OF[action])
    assert (result.valid, result.nearest_frames_right, result.character, result.own_action) == (1, 1, 1, 1)
    assert result.actions == (1,) * 9 and "100.0 %" in result.markdown()


def test_another_action_is_valid_too_but_not_the_stills(monkeypatch, judge):
    result = measured(monkeypatch, judge, lambda action: MOTION_OF[(action + 1) % 9])
    assert (result.valid, result.character, result.own_action) == (1, 1, 0)


def test_one_wrong_frame_makes_a_clip_invalid(monkeypatch, judge):
    def one_wrong(action):
        motion = MOTION_OF[action].copy()
        motion[5] = MOTION_OF[(action + 3) % 9][5]
        return motion

    result = measured(monkeypatch, judge, one_wrong)
    assert (
        result.valid == result.looks_valid == 0
        and result.nearest_frames_right == pytest.approx(7 / 8)
        and result.own_action == 1
    )
