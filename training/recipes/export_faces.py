"""Write a `faces` model folder from the runs of its parts, or from parts of other models.

    python -m bcdcodec.training.recipes.export_faces --geometry RUN --surroundings RUN --drawing RUN \
        --base-motion RUN --frames DIR --clips DIR --out DIR

In place of a run's folder may stand the name or the folder of a model, whose network is taken as it is.

The enhancement layer is fitted to what the base layer leaves over on training clips, or that of a model.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import torch
from torch import Tensor

from bcdcodec.config import DiffusionConfig, LatentConfig, QuantiserConfig, WindowConfig
from bcdcodec.errors import BcdError
from bcdcodec.model_folder import CARD, CONFIG, TABLES
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
from bcdcodec.training.checkpoint import replaced, save_sharded
from bcdcodec.training.recipes import enhancement, run as runs
from bcdcodec.training.recipes.enhancement import FittedTo
from bcdcodec.training.recipes.model_parts import run_or_model

# Small, or compared with exact values: kept in float32.
WHOLE = ("motion_", "expression_", "place_", "locator.mean", "locator.scale", "quantiser.", "running_", "vq.", "basis")
BYTES = 1650  # of a reference picture and its codes


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
    parse.add_argument("--enhancement", help="model whose enhancement layer and tables are taken; else they are fitted")
    parse.add_argument("--frames", type=Path, help="folder of prepared clips, to which they are fitted")
    parse.add_argument("--clips", type=Path, help="folder of .mp4 clips, manifest.csv beside it")
    parse.add_argument("--out", type=Path, required=True, help="the model folder")
    parse.add_argument("--bits", type=float, default=72.0, help="a frame, of all 64 groups in profile context")
    parse.add_argument("--count", type=int, default=60, help="clips for the tables, evenly picked")
    parse.add_argument("--length", type=int, default=150, help="frames of each")
    parse.add_argument("--card", type=Path, help="README.md of the model")
    options = parse.parse_args(arguments)
    if options.enhancement is None and None in (options.frames, options.clips):
        raise BcdError("the enhancement layer is fitted to clips: give --frames and --clips, or --enhancement")
    model = load_runs(
        options.geometry, options.base_motion, options.surroundings, options.drawing, options.reader, options.share
    )
    if options.enhancement is None:
        to = FittedTo(options.frames, options.clips, options.bits, options.count, options.length)
        tables = enhancement.fit(model, to)
    else:
        tables = enhancement.take(model, options.enhancement)
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
