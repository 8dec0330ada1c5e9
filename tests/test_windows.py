"""A long clip in windows: those that overlap are faded into each other, however many are run at once."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from head_clips import head_frames

import bcdcodec
from bcdcodec.model_folder import shipped_models
from bcdcodec.models import windows
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


@pytest.mark.skipif("heads" not in shipped_models(), reason="no weights of heads are shipped yet")
def test_pictures_do_not_jump_where_windows_meet():
    codec = bcdcodec.load("heads")
    clips = [head_frames(seed, 98, codec.picture_size) for seed in (3, 4, 5, 6)]
    recordings = [codec.encode(frames) for frames in clips]
    window = codec.config.window

    def changes() -> np.ndarray:
        """Of the error, from frame to frame of each clip, [clips, t - 1]."""
        errors = (codec.decode(r).astype(np.float32) - frames for r, frames in zip(recordings, clips))
        return np.stack([np.abs(np.diff(error, axis=0)).mean((1, 2, 3)) for error in errors])

    moving = np.stack([np.abs(np.diff(frames.astype(np.float32), axis=0)).mean((1, 2, 3)) for frames in clips])
    overlapping = changes()
    codec.model.config = replace(codec.config, window=replace(window, overlap=0))
    codec.session = replace(codec.session, folder=replace(codec.folder, config=codec.model.config))
    apart = changes()
    at = np.arange(1, overlapping.shape[1] + 1)  # the frame that a change leads to
    meet = at % (window.length - window.overlap) == 0
    # Per change of the source, which else decides: some clips happen to move more at these frames.
    steady = [c[meet].sum() / m[meet].sum() * m[~meet].sum() / c[~meet].sum() for c, m in zip(overlapping, moving)]
    seams = at % window.length == 0  # of windows that do not overlap
    print(
        f"change of the error where windows meet, over elsewhere: {np.mean(steady):.3f}; "
        f"where they met without overlap: {overlapping[:, seams].mean():.3f}, {apart[:, seams].mean():.3f} without"
    )
    # Motion found by alignment leaves so little to the temporal blocks that both are the same to four digits.
    assert np.mean(steady) < 1.05 and overlapping[:, seams].mean() <= 1.001 * apart[:, seams].mean()
