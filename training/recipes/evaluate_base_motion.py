"""Measure the encoder of the base motion on `val`: what its codes say against the teacher, and their entropy.

    python -m bcdcodec.training.recipes.evaluate_base_motion --clips DIR --teacher DIR [--model NAME | --run DIR]

Codes are those that files of a model hold, or the nearest ones of a run. R2 of each number is taken over all frames of
all clips; `continuous` is before quantisation, of picture and mirrored picture in the mean. `probe` fits a linear map
from the quantised features on half of the people and is measured on the other half. Entropy is the length of an
adaptive code: each code is given the code of its group in the frame before, and counts are learned from the frames
coded so far.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from bcdcodec.benchmarks.statistics import evenly_in_time
from bcdcodec.codec import load
from bcdcodec.models.faces.base_motion import BaseMotion
from bcdcodec.models.faces.config import BaseMotionConfig
from bcdcodec.training.data.aligned_pairs import motion_of
from bcdcodec.training.data.landmarker import BLENDSHAPES
from bcdcodec.training.data.teacher import read_frames
from bcdcodec.training.recipes import run as runs

PROBED = {
    "pitch": [52], "yaw": [53], "jaw": [BLENDSHAPES.index("jawOpen")],
    "blink": [BLENDSHAPES.index(f"eyeBlink{side}") for side in ("Left", "Right")],
    "gaze": [i for i, name in enumerate(BLENDSHAPES) if name.startswith(("eyeLookIn", "eyeLookOut"))],
    "smile": [BLENDSHAPES.index(f"mouthSmile{side}") for side in ("Left", "Right")],
}  # fmt: skip


def adaptive_bits(clips: list[np.ndarray], codes: int = 32, same: float = 8.0) -> np.ndarray:
    """Bits a frame of each group [g], given its code in the frame before; clips int [t, g].

    Counts start at 0.1 a code, and `same` times that for the code that stays.
    """
    groups = clips[0].shape[1]
    counts = np.full((groups, codes + 1, codes), 0.1)
    counts[:, np.arange(codes), np.arange(codes)] += same * 0.1
    g, bits, frames = np.arange(groups), np.zeros(groups), 0
    for clip in clips:
        before = np.full(groups, codes)  # no code before the first frame
        for row in clip:
            table = counts[g, before]
            bits -= np.log2(table[g, row] / table.sum(1))
            counts[g, before, row] += 1
            before, frames = row, frames + 1
    return bits / frames


# Features, similarities, and what picture and mirrored picture say in the mean -> codes of a clip
Choose = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


def nearest_codes(model: BaseMotion) -> Choose:
    """Each code by itself, as in training."""
    return lambda features, places, _: torch.cat([model.nearest(features), model.place_codes(places)], 1)


@torch.no_grad()
def encode_clip(model: BaseMotion, choose: Choose, frames: np.ndarray, batch: int = 32) -> tuple[torch.Tensor, ...]:
    """Quantised features [t, g * d], codes [t, groups] and expression without codes [t, 54] of uint8 [t, h, w, 3]."""
    found = []
    for i in range(0, len(frames), batch):
        pictures = torch.from_numpy(frames[i : i + batch]).permute(0, 3, 1, 2).float() / 127.5 - 1
        with torch.autocast("cpu", torch.bfloat16):
            found.append([x.float() for x in model.read_both(pictures)])
    features, places, said = (torch.cat(x) for x in zip(*found, strict=True))
    codes = choose(features, places, said)
    quantised = model.quantiser.lookup(codes[:, None, : model.config.groups])[:, 0]
    return quantised, codes, said


def r2(said: np.ndarray, right: np.ndarray, columns: list[int]) -> float:
    """Share of the variance of columns that is said, their mean."""
    error, whole = (said - right)[:, columns], right[:, columns] - right[:, columns].mean(0)
    return float(np.mean(1 - (error**2).sum(0) / (whole**2).sum(0)))


def main(arguments: list[str] | None = None) -> None:
    """Evaluate a model, or a run's averaged weights."""
    parse = argparse.ArgumentParser(description="Measure the encoder of the base motion on val.")
    parse.add_argument("--model", default="faces", help="a shipped model, or the folder of one")
    parse.add_argument("--run", type=Path, help="folder of a run, instead of the model")
    parse.add_argument("--clips", type=Path, required=True, help="folder of .mp4 clips, manifest.csv beside it")
    parse.add_argument("--teacher", type=Path, required=True, help="labels of the clips")
    parse.add_argument("--count", type=int, default=76, help="clips, evenly picked")
    parse.add_argument("--frames", type=int, default=125, help="leading frames of a clip")
    options = parse.parse_args(arguments)
    if options.run:
        model = runs.trained(options.run, "base_motion", BaseMotion, BaseMotionConfig)
        choose = nearest_codes(model)
    else:
        whole = load(options.model).model
        model = whole.base.base_motion
        choose = lambda features, places, said: whole.base_codes(features, places, wanted=said)  # noqa: E731
    with open(options.clips.parent / "manifest.csv", newline="") as file:
        rows = [(Path(r["file"]).stem, r["identity"]) for r in csv.DictReader(file) if r["split"] == "val"]
    rows = [rows[i] for i in evenly_in_time(len(rows), options.count)]
    said, right, features, all_codes, without, people = [], [], [], [], [], []
    for name, person in rows:
        frames = list(islice(read_frames(options.clips / f"{name}.mp4"), options.frames))
        f, codes, continuous = encode_clip(model, choose, np.stack(frames))
        with np.load(options.teacher / f"{name}.npz") as file:
            right.append(motion_of({key: file[key][: len(frames)] for key in file.files}))
        said.append(model.decode(codes).detach().numpy())
        features.append(f.numpy())
        without.append(continuous.numpy())
        all_codes.append(codes.numpy())
        people += [person] * len(frames)
    said, right, features, without = (np.concatenate(x) for x in (said, right, features, without))
    half = np.isin(people, sorted(set(people))[::2])
    x = np.concatenate([features, np.ones((len(features), 1))], 1)
    fit = np.linalg.solve(x[half].T @ x[half] + 1e-2 * np.eye(x.shape[1]), x[half].T @ right[half])
    probe = x @ fit
    bits = adaptive_bits(all_codes)
    g = model.config.groups
    side = np.exp(right[:, 56])
    result = (runs.progress(options.run) if options.run else {}) | {"clips": len(rows), "frames": len(said)}
    result |= {f"r2_{name}": r2(said, right, columns) for name, columns in PROBED.items()}
    result |= {f"continuous_r2_{name}": r2(without, right[:, :54], columns) for name, columns in PROBED.items()}
    result |= {f"probe_r2_{name}": r2(probe[~half], right[~half], columns) for name, columns in PROBED.items()}
    result |= {"bits_expression": bits[:g].sum(), "bits_place": bits[g:].sum(), "bits": bits.sum()}
    result["place_error"] = np.linalg.norm((said - right)[:, 54:56], axis=1).mean() / side.mean()  # sides of the frame
    result["side_error"] = np.abs((said - right)[:, 56]).mean()  # log
    result["roll_error"] = np.degrees(np.abs((said - right)[:, 57]).mean())  # degrees
    print(json.dumps({key: round(float(value), 4) for key, value in result.items()}, indent=1))


if __name__ == "__main__":
    runs.command(main)
