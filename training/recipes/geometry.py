"""Train the geometry network with the teacher's numbers as the motion.

    python -m bcdcodec.training.recipes.geometry --prepare ...    # write the frames of the clips once
    python -m bcdcodec.training.recipes.geometry --run DIR ...    # train, or go on

Data: pairs of pictures of one person in their face-aligned frames. Portraits bring exact flow, clips real faces.
Losses: exact flow; flow at the landmarks, which the teacher gives for both pictures; the inside of the mouth; the
picture, warped and with its fill. All count more at the eyes and the mouth.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from dataclasses import asdict, dataclass
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
    prepare_clips,
)
from bcdcodec.training.recipes import run as runs


@dataclass(frozen=True)
class Schedule:
    """How long and how fast."""

    batch: int = 24  # pairs
    portraits: float = 0.6  # share of a batch
    lr: float = 1e-3
    warmup: int = 100  # steps
    weight_decay: float = 0.01
    decay: float = 0.998  # of the averaged weights
    reread: int = 50  # steps after which new portraits are looked for
    seed: int = 0


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
    motion = [clip.motion[clip.found] for clip in source.clips] + [p.motion[p.usable] for p in source.portraits]
    motion = torch.cat([torch.from_numpy(m) for m in motion])[:, : network.config.motion]
    network.motion_mean.copy_(motion.mean(0))
    network.motion_scale.copy_(motion.std(0).clamp_min(0.04))


def predict(network: GeometryNetwork, pairs: Pairs) -> Geometry:
    """The network's geometry for a batch, in bfloat16 matrix products."""
    m = network.config.motion
    with torch.autocast("cpu", torch.bfloat16):
        return network(pairs.reference, pairs.motion_reference[:, :m], pairs.motion[:, :m])


def train(options: argparse.Namespace, schedule: Schedule, config: GeometryConfig) -> None:
    """Train until `--steps`, `--minutes` or a signal; save every `--save` seconds and at the end."""
    torch.manual_seed(schedule.seed)
    network = GeometryNetwork(config)
    source = open_source(options, config, schedule.seed)
    folder = PortraitFolders(options.portraits, options.landmarker) if options.portraits else None

    def make(number: int) -> dict:
        if folder and (number % schedule.reread == 0 or not source.portraits):
            source.portraits = folder.read()
        return source.raw(number, schedule.batch, schedule.portraits)

    optimisers = runs.optimisers(network, network.blocks, schedule.lr, schedule.weight_decay)
    run = runs.Run(options.run, network, optimisers, schedule.decay)
    if not run.resume():
        set_motion_statistics(network, source)
        run.average = runs.Average(network, schedule.decay)
    (options.run / "config.json").write_text(
        json.dumps({"geometry": asdict(config), "schedule": asdict(schedule)}, indent=1)
    )
    stop = []
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: stop.append(1))
    save_now, start, sums = runs.Clock(options.save), time.time(), {}
    print(f"{sum(p.numel() for p in network.parameters()) / 1e6:.1f} M parameters; step {run.step}; "
          f"{len(source.clips)} clips, {len(folder.read()) if folder else 0} portraits", flush=True)  # fmt: skip
    batches = runs.ahead(make, run.step)
    last = time.time()
    for raw in batches:
        runs.set_rate(optimisers, options.lr_scale * schedule.lr * min(1, (run.step + 1) / schedule.warmup))
        pairs = aligned(raw, config.frame, config.cells)
        terms = losses(predict(network, pairs), pairs)
        loss = sum(WEIGHTS[name] * term for name, term in terms.items())
        for optimiser in optimisers:
            optimiser.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        if torch.isfinite(norm):
            for optimiser in optimisers:
                optimiser.step()
        run.average.update(network, run.step)
        run.step += 1
        now = time.time()
        run.seconds, last = run.seconds + now - last, now
        for name, value in {"loss": loss, "norm": norm, **terms}.items():
            sums[name] = sums.get(name, 0.0) + float(value.detach())
        if run.step % options.every == 0:
            run.log(
                **{name: value / options.every for name, value in sums.items()},
                steps_per_second=options.every / (now - start),
            )
            sums, start = {}, now
        done = stop or run.step >= options.steps
        if save_now() or done:
            run.save()
        if done:
            break
    batches.close()


def open_source(options: argparse.Namespace, config: GeometryConfig, seed: int) -> PairSource:
    """The clips that the options name; portraits are added as they are read."""
    return PairSource(load_clips(options.clips / "train"), [], config.frame, config.cells, seed)


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    parse = argparse.ArgumentParser(description="Train the geometry network with the teacher's numbers as the motion.")
    parse.add_argument("--prepare", type=Path, help="folder of .mp4 clips: write their frames to --clips and end")
    parse.add_argument("--teacher", type=Path, help="labels of the clips, for --prepare")
    parse.add_argument("--clips", type=Path, required=True, help="folder of prepared clips (train and val)")
    parse.add_argument("--portraits", type=Path, nargs="*", help="folders of re-animated portraits")
    parse.add_argument("--landmarker", type=Path, help="MediaPipe's face_landmarker.task, for its canonical face")
    parse.add_argument("--run", type=Path, help="folder of the run")
    parse.add_argument("--steps", type=int, default=10**9, help="end after so many steps")
    parse.add_argument("--save", type=float, default=180, help="seconds between checkpoints")
    parse.add_argument("--every", type=int, default=20, help="steps between lines of the log")
    parse.add_argument("--lr-scale", type=float, default=1.0, help="factor on the learning rate")
    parse.add_argument("--batch", type=int, default=Schedule.batch, help="pairs a step")
    return parse


def main(arguments: list[str] | None = None) -> None:
    """Prepare the clips, or train."""
    options = parser().parse_args(arguments)
    if options.prepare:
        for split, every in (("train", 2), ("val", 5)):
            names = prepare_clips(options.prepare, options.teacher, options.clips / split, split, every)
            print(f"{split}: {len(names)} clips")
        return
    train(options, Schedule(batch=options.batch), GeometryConfig())


if __name__ == "__main__":
    sys.exit(main())
