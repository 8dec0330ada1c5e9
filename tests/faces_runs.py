"""Prepared clips, options and logs for short runs of the recipes of `faces`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F


def smooth_picture(b: int, size: int, seed: int = 0) -> Tensor:
    """Random pictures [b, 3, size, size], -1 to 1, without fine detail."""
    noise = torch.randn(b, 3, 6, 6, generator=torch.Generator().manual_seed(seed))
    return F.interpolate(noise, size=(size, size), mode="bicubic").clamp(-2, 2) / 2


def write_prepared(out: Path) -> Path:
    """Two clips of 10 frames as `prepare_clips` writes them; the folder for `--clips`."""
    rng = np.random.default_rng(0)
    folder = out / "train"
    folder.mkdir(parents=True)
    for name in ("p001_0", "p002_0"):
        pictures = (smooth_picture(10, 256).permute(0, 2, 3, 1).numpy() * 127 + 128).astype(np.uint8)
        np.save(folder / f"{name}.npy", pictures)
        labels = {
            "points": rng.uniform(60, 200, (10, 478, 3)), "blendshapes": rng.random((10, 52)),
            "turn": rng.normal(size=(10, 2)) * 0.1, "roll": rng.normal(size=10) * 0.1,
            "scale": np.full(10, 6.0), "centre": np.full((10, 2), 128.0),
        }  # fmt: skip
        labels = {key: value.astype(np.float32) for key, value in labels.items()}
        np.savez(folder / f"{name}.npz", found=np.ones(10, bool), **labels)
    return out


def options(prepared: Path, run: Path, steps: int, from_model: object = None) -> argparse.Namespace:
    """Options as the parser of every recipe gives them."""
    return argparse.Namespace(
        clips=prepared, portraits=None, landmarker=None, run=run, steps=steps, save=1e9, every=1, lr_scale=1.0,
        from_model=from_model,
    )  # fmt: skip


def log_of(run: Path) -> list[dict]:
    """The lines of a run's log, without times."""
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key not in ("hours", "steps_per_second")} for line in lines]
