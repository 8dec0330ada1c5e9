"""The enhancement layer of a `faces` model and its entropy tables: fitted to clips, or those of another model.

It is fitted to what the base layer leaves over on training clips: its flow fields are the principal components of the
remaining flow, its codes are fitted to their coefficients, and the Lagrangian multiplier is set so that base and
enhancement together take so many bits a frame in profile context.
"""

from __future__ import annotations

import csv
import os
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from bcdcodec.benchmarks.statistics import evenly_in_time
from bcdcodec.config import QuantiserConfig
from bcdcodec.entropy.content import BUCKETS, SYMBOLS, ContentModel
from bcdcodec.entropy.model_tables import ModelTables
from bcdcodec.entropy.tables import FrequencyTables
from bcdcodec.errors import ModelError
from bcdcodec.model_folder import load_weights, open_model
from bcdcodec.models.faces.alignment import align
from bcdcodec.models.faces.model import FacesModel
from bcdcodec.models.flow_basis import smooth_basis
from bcdcodec.models.group_vq import GroupVQ
from bcdcodec.models.latents import open_latents, to_unit
from bcdcodec.models.windows import joined, motion_blocks, refined_parts
from bcdcodec.training.data.aligned_pairs import PairSource, load_clips
from bcdcodec.training.data.batches import mirrored_flow
from bcdcodec.training.data.teacher import read_frames
from bcdcodec.training.entropy_fit.context_tables import fit_context
from bcdcodec.training.export import context_bits, fit_rate
from bcdcodec.training.expression_metric import expression_metric
from bcdcodec.training.recipes.model_parts import check_faces

FITTED_FRAMES = 6  # of each prepared clip, for the flow fields
FIRST_BITS = 60.0  # a frame, static, of the enhancement layer's codes before the rate is set
ROUNDS = 4  # at most, in which the static target is corrected by the bits of profile context
NEAR = 0.03  # of the bits asked for, which is near enough


@dataclass(frozen=True)
class FittedTo:
    """What an enhancement layer is fitted to."""

    frames: Path  # folder of prepared clips
    clips: Path  # folder of .mp4 clips, manifest.csv beside it
    bits: float  # a frame, of all 64 groups in profile context
    count: int  # clips for the tables, evenly picked
    length: int  # frames of each


def fit(model: FacesModel, to: FittedTo) -> ModelTables:
    """Fit the enhancement layer of a model whose networks are trained; its entropy tables."""
    frame, cells = model.config.geometry.frame, model.config.geometry.cells
    pairs = PairSource(load_clips(to.frames / "train"), [], frame, cells, seed=0)
    model.choice.expression_metric.copy_(expression_metric(model.base.geometry, model.base.base_motion, pairs))
    fit_entries(model, fit_fields(model, to.frames))
    with open(to.clips.parent / "manifest.csv", newline="") as file:
        names = [row["file"] for row in csv.DictReader(file) if row["split"] == "train"]
    names = [name for name in names if name.startswith("clips/")]
    picked = [names[i] for i in evenly_in_time(len(names), to.count)]
    coded = coded_clips(model, [to.clips.parent / name for name in picked], to.length)
    with torch.enable_grad():  # the context tables are fitted by gradients
        return fit_tables(model, coded, to.bits)


def take(model: FacesModel, source: str | os.PathLike) -> ModelTables:
    """Take the enhancement layer of the model `source`, a name or a folder; its entropy tables.

    Raises ModelError for a model of another kind, or whose base layer has other codes: the tables are of those.
    """
    folder = open_model(source)
    check_faces(folder)
    other = load_weights(folder)
    if folder.config.enhancement != model.config.enhancement or not torch.equal(
        other.vq.base_codebooks, model.vq.base_codebooks
    ):
        raise ModelError(
            f"the enhancement layer of {folder.path} belongs to other codes of the base motion: take --base-motion "
            "from there, too, or leave --enhancement out, which fits it anew"
        )
    for part in ("choice", "vq", "flow_basis"):
        getattr(model, part).load_state_dict(getattr(other, part).state_dict())
    return folder.tables


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
