"""Train the geometry network with the teacher's numbers as the motion.

    python -m bcdcodec.training.recipes.geometry --prepare ...    # write the frames of the clips once
    python -m bcdcodec.training.recipes.geometry --run DIR ...    # train, or go on

Data: pairs of pictures of one person in their face-aligned frames. Portraits bring exact flow, clips real faces.
Losses: exact flow; flow at the landmarks, which the teacher gives for both pictures; the inside of the mouth; the
picture, warped and with its fill. All count more at the eyes and the mouth.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from bcdcodec.models.faces.config import GeometryConfig
from bcdcodec.models.faces.geometry import Geometry, GeometryNetwork, compose, warp
from bcdcodec.training.data.aligned_pairs import (
    OUTLINE,
    Pairs,
    PairSource,
    PortraitFolders,
    aligned,
    load_clips,
    motion_statistics,
    prepare_clips,
)
from bcdcodec.training.recipes import run as runs
from bcdcodec.training.recipes.model_parts import beginning


@dataclass(frozen=True, kw_only=True)
class Schedule(runs.RunSchedule):
    """How long and how fast."""

    batch: int = 24  # pairs
    portraits: float = 0.6
    warmup: int = 100
    decay: float = 0.998
    reread: int = 50  # steps after which new portraits are looked for


def charbonnier(difference: Tensor, size: float) -> Tensor:
    """A smooth absolute value: quadratic below `size`."""
    return (difference.square() + size**2).sqrt() - size


def losses(geometry: Geometry, pairs: Pairs) -> dict[str, Tensor]:
    """Losses by name; pixels of the frame for flow, -1 to 1 for pictures."""
    half = pairs.reference.shape[-1] / 2  # pixels that 1 is
    p, weight = len(pairs.flow), pairs.weight
    out = {}
    if p:
        known = weight[:p] * pairs.visible * (1 - pairs.mouth[:p])
        error = charbonnier((geometry.flow[:p] - pairs.flow) * half, 0.5).sum(1, keepdim=True)
        out["flow"] = (known * error).sum() / known.sum().clamp_min(1)
        hidden = F.binary_cross_entropy_with_logits(geometry.occlusion[:p], 1 - pairs.visible, weight=weight[:p])
        out["occlusion"] = hidden / weight[:p].mean()
    # Where a landmark of the target was in the reference: correspondences of real faces.
    at = F.grid_sample(geometry.flow, pairs.points[:, :, None], align_corners=False)[..., 0].transpose(
        1, 2
    )  # [b, k, 2]
    importance = F.grid_sample(weight, pairs.points[:, :, None], align_corners=False)[:, 0, :, 0]  # [b, k]; 0 outside
    importance[:, OUTLINE] = 0
    error = charbonnier((at - (pairs.points_reference - pairs.points)) * half, 1.0).sum(-1)
    out["landmarks"] = (importance * error).sum() / importance.sum()
    mouth = F.binary_cross_entropy_with_logits(geometry.mouth, pairs.mouth, weight=weight)
    out["mouth"] = mouth / weight.mean()
    # Pictures are compared on the grid of the flow.
    reduction = pairs.reference.shape[-1] // weight.shape[-1]
    reference, target = F.avg_pool2d(pairs.reference, reduction), F.avg_pool2d(pairs.target, reduction)
    warped = warp(reference, geometry.flow)
    shown = weight * (1 - geometry.occlusion.detach().sigmoid())
    total = weight.sum() * 3
    out["warped"] = (shown * charbonnier(warped - target, 0.02)).sum() / total
    out["warped_coarse"] = _coarse(warped, target, shown)
    # The fill does not excuse the flow: it is laid over a warp that it does not move.
    composed = compose(warped.detach(), geometry)
    out["composed"] = (weight * charbonnier(composed - target, 0.02)).sum() / total
    return out


def _coarse(picture: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """The same at a quarter of the size, where a flow that misses by more still sees where to go."""
    difference = F.avg_pool2d(picture - target, 4)
    weight = F.avg_pool2d(weight, 4)
    return (weight * charbonnier(difference, 0.02)).sum() / (3 * weight.sum())


WEIGHTS = {
    "flow": 1.0, "occlusion": 1.0, "landmarks": 0.5, "mouth": 1.0,
    "warped": 10.0, "warped_coarse": 10.0, "composed": 10.0,
}  # fmt: skip


def set_motion_statistics(network: GeometryNetwork, source: PairSource) -> None:
    """Mean and deviation of the motion over the training frames."""
    mean, deviation = motion_statistics(source.clips, source.portraits)
    network.motion_mean.copy_(mean[: network.config.motion])
    network.motion_scale.copy_(deviation[: network.config.motion])


def predict(network: GeometryNetwork, pairs: Pairs) -> Geometry:
    """The network's geometry for a batch, in bfloat16 matrix products."""
    m = network.config.motion
    with torch.autocast("cpu", torch.bfloat16):
        return network(pairs.reference, pairs.motion_reference[:, :m], pairs.motion[:, :m])


def train(options: argparse.Namespace, schedule: Schedule, config: GeometryConfig) -> None:
    """Train as `run.train` does; portraits are added as they are written."""
    torch.manual_seed(schedule.seed)
    begun = beginning(options, "geometry", GeometryNetwork, config)
    network, config = begun.network, begun.network.config
    source = PairSource(load_clips(options.clips / "train"), [], config.frame, config.cells, schedule.seed)
    folder = PortraitFolders(options.portraits, options.landmarker) if options.portraits else None

    def batch(number: int) -> dict:
        if folder and (number % schedule.reread == 0 or not source.portraits):
            source.portraits = folder.read()
        return source.raw(number, schedule.batch, schedule.portraits)

    def of_batch(raw: dict, step: int) -> dict[str, Tensor]:
        pairs = aligned(raw, config.frame, config.cells)
        return losses(predict(network, pairs), pairs)

    recipe = runs.Recipe(
        "geometry", config, network, network.blocks, WEIGHTS, lambda: set_motion_statistics(network, source),
        batch, of_batch, f"{len(source.clips)} clips, {len(folder.read()) if folder else 0} portraits", begun.origin,
    )  # fmt: skip
    runs.train(recipe, options, schedule)


def main(arguments: list[str] | None = None) -> None:
    """Prepare the clips, or train."""
    parse = runs.parser("Train the geometry network with the teacher's numbers as the motion.")
    parse.add_argument("--prepare", type=Path, help="folder of .mp4 clips: write their frames to --clips and end")
    parse.add_argument("--teacher", type=Path, help="labels of the clips, for --prepare")
    parse.add_argument("--batch", type=int, default=Schedule.batch, help="pairs a step")
    options = parse.parse_args(arguments)
    if options.prepare:
        for split, every in (("train", 2), ("val", 5)):
            names = prepare_clips(options.prepare, options.teacher, options.clips / split, split, every)
            print(f"{split}: {len(names)} clips")
        return
    train(options, Schedule(batch=options.batch), GeometryConfig())


if __name__ == "__main__":
    runs.command(main)
