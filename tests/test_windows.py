"""A long clip in windows: those that overlap are faded into each other, however many are run at once."""

import numpy as np
import pytest
import torch
from head_clips import head_frames

import bcdcodec
from bcdcodec.models import windows
from bcdcodec.models.base import Synthesis
from bcdcodec.models.windows import overlapped


def joined(run, frames, length, overlap):
    vectors = torch.arange(frames, dtype=torch.float32)[:, None]
    blocks = list(overlapped(run, iter(vectors), length, overlap))
    return torch.cat(blocks) if blocks else torch.zeros(0, 1)


@pytest.mark.parametrize("overlap", [0, 1, 2, 4])
@pytest.mark.parametrize("frames", [0, 1, 2, 3, 7, 8, 9, 26, 27, 28, 32, 50, 99])
def test_every_frame_comes_once_and_in_order(frames, overlap):
    made = joined(lambda m: m, frames, 8, overlap)
    torch.testing.assert_close(made, torch.arange(frames, dtype=torch.float32)[:, None])


@pytest.mark.parametrize("overlap", [0, 2, 3])
def test_the_result_does_not_depend_on_how_many_windows_are_run_at_once(monkeypatch, overlap):
    def run(m):  # what a window makes of a frame depends on all its frames
        return m + m.mean(1, keepdim=True).sin()

    made = []
    for count in (1, 2, 4, 7):
        monkeypatch.setattr(windows, "WINDOWS_AT_ONCE", count)
        made.append(joined(run, 61, 8, overlap))
    for other in made[1:]:
        torch.testing.assert_close(other, made[0])


def test_one_window_fades_into_the_next():
    def run(m):  # the number of the window, told by its first frame
        return (m[:, :1] / 6).round().expand(-1, 8, -1)

    expected = [0.0] * 6 + [1 / 3, 2 / 3] + [1.0] * 4 + [4 / 3, 5 / 3] + [2.0] * 6
    torch.testing.assert_close(joined(run, 20, 8, 2)[:, 0], torch.tensor(expected))


def levels_of_windows(count, frames, length, overlap):
    """Level of each frame where window k has level k throughout, and windows are cross-faded, [frames]."""
    step, expected = length - overlap, np.zeros(frames)
    for k in range(count):
        for i in range(length):
            at = k * step + i
            if at < frames:
                share = (i + 1) / (overlap + 1) if i < overlap and k else 1.0
                expected[at] += share * (k - expected[at])
    return expected


def number_windows(seen):
    """The numbers 0, 1, ... of windows that are run together, [b], counting on from those `seen`."""

    def numbers(b):
        first = len(seen)
        seen.extend(range(b))
        return torch.arange(first, first + b).float()

    return numbers


def test_decoded_pictures_fade_from_window_to_window(tiny_model, monkeypatch):
    codec = bcdcodec.load(tiny_model)
    window, frames = codec.config.window, 20
    assert window.overlap > 0
    recording, numbers = codec.encode(head_frames(3, frames, 32)), number_windows([])

    def synthesise(reference, m_hat, noise, steps):
        return Synthesis(torch.zeros_like(noise) + 0.1 * numbers(len(noise))[:, None, None, None, None])

    monkeypatch.setattr(codec.model, "synthesise", synthesise)
    found = codec.decode(recording)[:, 0, 0, 0]
    expected = levels_of_windows(20, frames, window.length, window.overlap)
    assert np.abs(found - (0.1 * expected + 1) * 127.5).max() <= 1 and found[-1] > found[0] + 50


def test_motion_fades_from_window_to_window(tiny_model, monkeypatch):
    codec = bcdcodec.load(tiny_model)
    window, frames, numbers = codec.config.window, 20, number_windows([])
    monkeypatch.setattr(codec.model, "motion", lambda z: numbers(len(z))[:, None, None].expand(-1, z.shape[1], 8))
    blocks = windows.motion_blocks(codec.model, codec.latents, head_frames(3, frames, 32), "cpu")
    expected = levels_of_windows(20, frames, window.length, window.overlap)
    torch.testing.assert_close(torch.cat(list(blocks))[:, 0].double(), torch.from_numpy(expected))
