"""What every kind of training run has to keep."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from bcdcodec.training.trainer import Trainer


def check_resume_is_exact(open_run: Callable[[Path, int, bool], Trainer], folder: Path) -> None:
    """`open_run(out, steps, resume)`: six steps at once end in the same weights as three, a checkpoint and three."""
    whole = open_run(folder / "whole", 6, False)
    for _ in range(6):
        whole.train_step()
    first = open_run(folder / "cut", 6, False)
    for _ in range(3):
        first.train_step()
    first.save()
    second = open_run(folder / "cut", 6, True)
    assert second.step == 3
    for _ in range(3):
        second.train_step()
    for a, b in ((whole.model, second.model), (whole.ema, second.ema)):
        expected, found = a.state_dict(), b.state_dict()
        assert expected.keys() == found.keys() and all(torch.equal(expected[k], found[k]) for k in expected)
