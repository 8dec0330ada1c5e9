"""Write a `faces` model folder from the runs of its parts, or from parts of other models.

    python -m bcdcodec.training.recipes.export_faces --geometry RUN --surroundings RUN --drawing RUN \
        --base-motion RUN --frames DIR --clips DIR --out DIR

In place of a run's folder may stand the name or the folder of a model, whose network is taken as it is.

The enhancement layer is fitted here, to what the base layer leaves over on training clips: its flow fields are the
principal components of the remaining flow, its codes are fitted to their coefficients, and the Lagrangian multiplier is
set so that base and enhancement together take `--bits` a frame in profile context.
"""

from __future__ import annotations

import argparse
import csv
import os
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from bcdcodec.benchmarks.statistics import evenly_in_time
from bcdcodec.config import DiffusionConfig, LatentConfig, QuantiserConfig, WindowConfig
from bcdcodec.entropy.content import BUCKETS, SYMBOLS, ContentModel
from bcdcodec.entropy.model_tables import ModelTables
from bcdcodec.entropy.tables import FrequencyTables
from bcdcodec.errors import BcdError
from bcdcodec.model_folder import CARD, CONFIG, TABLES
from bcdcodec.models.faces.alignment import align
from bcdcodec.models.faces.base_motion import BaseMotion
from bcdcodec.models.faces.config import (
    BaseMotionConfig,
    DrawingConfig,
    EnhancementConfig,
    FacesConfig,
    GeometryConfig,
    PictureContentConfig,
    SurroundingsConfig,
)
from bcdcodec.models.faces.drawing import DrawingNetwork
from bcdcodec.models.faces.geometry import GeometryNetwork
from bcdcodec.models.faces.model import FacesModel
from bcdcodec.models.faces.surroundings import SurroundingsNetwork
from bcdcodec.models.flow_basis import smooth_basis
from bcdcodec.models.group_vq import GroupVQ
from bcdcodec.models.latents import open_latents, to_unit
from bcdcodec.models.windows import joined, motion_blocks, refined_parts
from bcdcodec.training.checkpoint import replaced, save_sharded
from bcdcodec.training.data.aligned_pairs import PairSource, load_clips
from bcdcodec.training.data.batches import mirrored_flow
from bcdcodec.training.data.teacher import read_frames
from bcdcodec.training.entropy_fit.context_tables import fit_context
from bcdcodec.training.export import context_bits, fit_rate
from bcdcodec.training.expression_metric import expression_metric
from bcdcodec.training.recipes import run as runs
from bcdcodec.training.recipes.model_parts import run_or_model

# Small, or compared with exact values: kept in float32.
WHOLE = ("motion_", "expression_", "place_", "locator.mean", "locator.scale", "quantiser.", "running_", "vq.", "basis")
BYTES = 1650  # of a reference picture and its codes
FITTED_FRAMES = 6  # of each prepared clip, for the flow fields
FIRST_BITS = 60.0  # a frame, static, of the enhancement layer's codes before the rate is set
ROUNDS = 4  # at most, in which the static target is corrected by the bits of profile context
NEAR = 0.03  # of the bits asked for, which is near enough


def configured(
    geometry: GeometryConfig,
    base: BaseMotionConfig,
    surroundings: SurroundingsConfig | None,
    drawing: DrawingConfig | None,
) -> FacesConfig:
    """The config of a model of these parts."""
    return FacesConfig(
        name="faces",
        latent=LatentConfig(picture_size=256, size=256),
        quantiser=QuantiserConfig(groups=64, codes=32, dim=1),
        content=PictureContentConfig(byte_budget=BYTES),
        diffusion=DiffusionConfig(steps=1),
        window=WindowConfig(length=32, overlap=0),
        base=base,
        geometry=geometry,
        surroundings=surroundings,
        drawing=drawing,
        enhancement=EnhancementConfig(),
    )


def load_runs(
    geometry: str | os.PathLike,
    base: str | os.PathLike,
    surroundings: str | os.PathLike | None = None,
    drawing: str | os.PathLike | None = None,
    reader: str | os.PathLike | None = None,
    share: float = 0.0,
) -> FacesModel:
    """The averaged weights of the runs, or of what `run_or_model` takes in their place, as they will be shipped.

    Those of the base motion `share` of the way to `reader`, which has gone on from there: between a network and what
    it has become by further training on other data there is often one that is better than both on people whom neither
    knows (Wortsman et al. 2022, arXiv 2109.01903).
    """
    network = run_or_model(geometry, "geometry", GeometryNetwork, GeometryConfig)
    base_motion = run_or_model(base, "base_motion", BaseMotion, BaseMotionConfig)
    if reader:
        further = run_or_model(reader, "base_motion", BaseMotion, BaseMotionConfig)
        if further.config != base_motion.config:
            raise BcdError(f"the reader {reader} has another config than the base motion {base}")
        further = further.state_dict()
        for name, tensor in base_motion.state_dict().items():
            if tensor.is_floating_point():
                tensor.lerp_(further[name], share)
    around = (
        run_or_model(surroundings, "surroundings", SurroundingsNetwork, SurroundingsConfig) if surroundings else None
    )
    drawn = run_or_model(drawing, "drawing", DrawingNetwork, DrawingConfig) if drawing else None
    optional = (part.config if part else None for part in (around, drawn))
    model = FacesModel(configured(network.config, base_motion.config, *optional))
    base = model.base
    base.geometry, base.base_motion, base.surroundings, base.drawing = network, base_motion, around, drawn
    for name, tensor in model.state_dict().items():
        if is_rounded(name, tensor):
            tensor.copy_(tensor.half().float())
    model.vq.base_codebooks.copy_(base_motion.quantiser.codebooks)
    return model.eval().requires_grad_(False)


def is_rounded(name: str, tensor: Tensor) -> bool:
    """Whether a tensor is shipped in float16."""
    return tensor.is_floating_point() and not any(text in name for text in WHOLE)


def reference_of(model: FacesModel, z: Tensor, m: Tensor):
    """The reference that a clip [t, 3, h, h] of motion [t, m] is coded with, but for AV1: a little blurred."""
    number = model.reference_frame(m)
    picture = F.interpolate(F.avg_pool2d(z[number : number + 1], 2), scale_factor=2, mode="bilinear")
    return model.reference(0.5 * (picture + z[number : number + 1]), m[number : number + 1])


def fit_fields(model: FacesModel, frames: Path) -> Tensor:
    """Fit the flow fields to frames of prepared clips; their coefficients [n, m] there."""
    drawn, goals, share = [], [], model.config.latent.size // model.config.enhancement.side
    for clip in load_clips(frames / "train").values():
        usable = np.flatnonzero(clip.found)
        picked = usable[evenly_in_time(len(usable), FITTED_FRAMES)]
        z = to_unit(clip.pictures[picked])
        m = model.motion(z[None])[0]
        shown = model.shown(reference_of(model, z, m), m[None])[0]
        drawn.append(F.avg_pool2d(shown, share))
        goals.append(F.avg_pool2d(z, share))
    drawn, goals = torch.cat(drawn), torch.cat(goals)
    finder = smooth_basis(model.flow_basis.fields.shape[-1])
    change, _ = align(finder, drawn, goals, torch.zeros(len(drawn), len(finder.deviation)))
    flows = finder(change)
    model.flow_basis.fit(torch.cat([flows, mirrored_flow(flows)]))
    start = torch.zeros(len(drawn), len(model.flow_basis.deviation))
    return align(model.flow_basis, drawn, goals, start)[0]


def fit_entries(model: FacesModel, coefficients: Tensor) -> None:
    """Fit the codes of the enhancement layer to coefficients [n, m]; one of them is zero."""
    groups, codes = model.vq.entries.shape
    vq = GroupVQ(QuantiserConfig(groups=groups, codes=codes, dim=1, alpha=1.0, normalise=False))
    deviation = coefficients.std(0).clamp_min(1e-6)
    vq.fit(coefficients / deviation, FIRST_BITS, torch.Generator().manual_seed(0))
    entries = (vq.codebooks[..., 0].detach() * deviation[:, None]).sort(1).values
    nearest = entries.abs().argmin(1)
    entries[torch.arange(groups), nearest] = 0.0
    model.vq.entries.copy_(entries)


def coded_clips(model: FacesModel, clips: list[Path], frames: int) -> list[tuple[Tensor, Tensor]]:
    """Motion [t, m] and the Hessian of its distortion [t, m, m] of the first frames of clips."""
    coded, latents = [], open_latents(model.config.latent, "cpu")
    for path in clips:
        pictures = np.stack(list(islice(read_frames(path), frames)))
        m = torch.cat(list(motion_blocks(model, latents, pictures, "cpu")))
        reference = reference_of(model, to_unit(pictures), m)
        coded.append(joined(refined_parts(model, latents, pictures, m, reference, "cpu"))[:2])
    return coded


def fit_tables(model: FacesModel, coded: list[tuple[Tensor, Tensor]], bits: float) -> ModelTables:
    """Entropy tables, and the Lagrangian multiplier with which the codes take `bits` a frame in profile context."""
    motion, hessian = (torch.cat(parts) for parts in zip(*coded, strict=True))
    target = bits * 2.2
    content = ContentModel(FrequencyTables.from_counts(np.ones((BUCKETS, SYMBOLS), np.int64)), np.zeros(1, np.uint8), 0)
    for _ in range(ROUNDS):
        counts = fit_rate(model.vq, motion, hessian, target)
        static = FrequencyTables.from_counts(counts.astype(np.int64))
        codes = [model.vq.encode_clip(m, hessian=h).to(torch.uint8).numpy() for m, h in coded]
        tables = ModelTables(static, content, fit_context(codes, static))
        taken = context_bits(codes, tables)
        print(f"target {target:.1f} bits static: {taken:.1f} in context, lambda {model.vq.rate_lambda:.4f}", flush=True)
        if abs(taken - bits) < NEAR * bits:
            break
        target += (bits - taken) * 1.2
    return tables


@torch.no_grad()
def main(arguments: list[str] | None = None) -> None:
    """Export."""
    parse = argparse.ArgumentParser(
        description="Export a `faces` model from the runs of its parts; a model's name or folder may stand for a run."
    )
    parse.add_argument("--geometry", required=True, help="run of recipes.geometry")
    parse.add_argument("--surroundings", help="run of recipes.surroundings; without it a rule moves them")
    parse.add_argument("--drawing", help="run of recipes.drawing; without it nothing is drawn")
    parse.add_argument("--base-motion", required=True, help="run of recipes.base_motion")
    parse.add_argument("--reader", help="run that has gone on from --base-motion with --keep-codes")
    parse.add_argument("--share", type=float, default=0.3, help="of the way to --reader")
    parse.add_argument("--frames", type=Path, required=True, help="folder of prepared clips")
    parse.add_argument("--clips", type=Path, required=True, help="folder of .mp4 clips, manifest.csv beside it")
    parse.add_argument("--out", type=Path, required=True, help="the model folder")
    parse.add_argument("--bits", type=float, default=72.0, help="a frame, of all 64 groups in profile context")
    parse.add_argument("--count", type=int, default=60, help="clips for the tables, evenly picked")
    parse.add_argument("--length", type=int, default=150, help="frames of each")
    parse.add_argument("--card", type=Path, help="README.md of the model")
    options = parse.parse_args(arguments)
    model = load_runs(
        options.geometry, options.base_motion, options.surroundings, options.drawing, options.reader, options.share
    )
    frame, cells = model.config.geometry.frame, model.config.geometry.cells
    pairs = PairSource(load_clips(options.frames / "train"), [], frame, cells, seed=0)
    model.choice.expression_metric.copy_(expression_metric(model.base.geometry, model.base.base_motion, pairs))
    fit_entries(model, fit_fields(model, options.frames))
    with open(options.clips.parent / "manifest.csv", newline="") as file:
        names = [row["file"] for row in csv.DictReader(file) if row["split"] == "train"]
    names = [name for name in names if name.startswith("clips/")]
    picked = [names[i] for i in evenly_in_time(len(names), options.count)]
    coded = coded_clips(model, [options.clips.parent / name for name in picked], options.length)
    with torch.enable_grad():  # the context tables are fitted by gradients
        tables = fit_tables(model, coded, options.bits)
    tensors = {
        name: tensor.half() if is_rounded(name, tensor) else tensor for name, tensor in model.state_dict().items()
    }
    with replaced(options.out) as folder:
        save_sharded(tensors, folder, "weights", None)
        (folder / CONFIG).write_text(model.config.to_json())
        tables.save(folder / TABLES)
        card = options.card.read_text() if options.card else f"# {model.config.name}\n"
        (folder / CARD).write_text(card)


if __name__ == "__main__":
    runs.command(main)
