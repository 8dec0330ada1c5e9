"""A `faces` model of a size for tests, with random networks: it codes, decodes and reenacts, if poorly."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from bcdcodec.config import DiffusionConfig, LatentConfig, QuantiserConfig, WindowConfig
from bcdcodec.entropy.content import BUCKETS, SYMBOLS, ContentModel
from bcdcodec.entropy.model_tables import ModelTables
from bcdcodec.entropy.tables import FrequencyTables
from bcdcodec.model_folder import CONFIG, TABLES
from bcdcodec.models.faces.config import (
    BaseMotionConfig,
    DrawingConfig,
    EnhancementConfig,
    FacesConfig,
    GeometryConfig,
    PictureContentConfig,
    SurroundingsConfig,
)
from bcdcodec.models.faces.model import FacesModel
from bcdcodec.models.flow_basis import smooth_basis
from bcdcodec.training.checkpoint import save_sharded

SIDE, GROUPS, CODES = 64, 20, 16
SMALL = FacesConfig(
    name="small-faces",
    latent=LatentConfig(picture_size=SIDE, size=SIDE),
    quantiser=QuantiserConfig(groups=GROUPS, codes=CODES, dim=1, target_bits=100.0),
    content=PictureContentConfig(byte_budget=700),
    diffusion=DiffusionConfig(steps=1),
    window=WindowConfig(length=8, overlap=0),
    base=BaseMotionConfig(
        picture=32, crop=32, width=16, ff=32, layers=1, heads=2, stem=(8, 8, 16), locator_stem=(8, 8, 8), groups=4,
        codes=CODES,
    ),
    geometry=GeometryConfig(frame=64, patch=16, margin=2, width=16, blocks=1, heads=2, rank=4),
    surroundings=SurroundingsConfig(picture=32, patch=8, margin=2, width=16, blocks=1, heads=2),
    drawing=DrawingConfig(frame=64, patch=16, margin=4, width=16, blocks=1, heads=2),
    enhancement=EnhancementConfig(side=32, grid=8),
)  # fmt: skip


def write_small_faces(out: Path) -> Path:
    """Make a model folder: random networks, smooth fields of flow, codes of even steps."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = FacesModel(SMALL)
    torch.nn.init.constant_(model.base.geometry.to_rest.bias, -30.0)  # nothing is occluded
    torch.nn.init.zeros_(model.base.geometry.to_flow.weight)  # the face does not move by itself
    for layer in (model.base.base_motion.locator.head[-1], model.base.base_motion.reader.to_correction):
        torch.nn.init.zeros_(layer.weight)  # the head rests in the middle
        torch.nn.init.zeros_(layer.bias)
    model.vq.base_codebooks.copy_(model.base.base_motion.quantiser.codebooks.detach())
    fields = len(model.flow_basis.fields)
    smooth = smooth_basis(8)
    model.flow_basis.fields.copy_(smooth.fields[:fields])
    model.flow_basis.deviation.copy_(smooth.deviation[:fields])
    steps = torch.arange(CODES) - CODES // 2
    model.vq.entries.copy_(0.3 * model.flow_basis.deviation[:, None] * steps)
    log2_p = -0.8 * steps.abs().float()
    p = torch.softmax(log2_p * np.log(2), 0)
    model.vq.log2_p.copy_(p.log2().expand(GROUPS, -1))
    out.mkdir()
    save_sharded(model.state_dict(), out, "weights", None)
    (out / CONFIG).write_text(SMALL.to_json())
    content = ContentModel(FrequencyTables.from_counts(np.ones((BUCKETS, SYMBOLS), np.int64)), np.zeros(1, np.uint8), 0)
    counts = (1000 * p).round().long().expand(GROUPS, -1).numpy()
    ModelTables(FrequencyTables.from_counts(counts), content).save(out / TABLES)
    return out
