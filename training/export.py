"""From a checkpoint to a model folder: integer tables fitted on training codes, weights, config and card."""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bcdcodec.config import ModelConfig
from bcdcodec.container import CHUNK_FRAMES
from bcdcodec.entropy.content import ContentModel, count_contexts, encode_content
from bcdcodec.entropy.context import encode_context
from bcdcodec.entropy.learned_content import LearnedContentModel
from bcdcodec.entropy.model_tables import ModelTables
from bcdcodec.entropy.tables import FrequencyTables
from bcdcodec.errors import ModelError
from bcdcodec.model_folder import CARD, CONFIG, TABLES, load_weights, open_model
from bcdcodec.models.base import VideoModel
from bcdcodec.models.group_vq import GroupVQ
from bcdcodec.models.latents import Latents, VaeLatents, open_latents, to_unit
from bcdcodec.models.registry import build_model, read_config
from bcdcodec.models.windows import joined, motion_blocks, refined_parts
from bcdcodec.training.checkpoint import load_sharded, replaced, save_sharded
from bcdcodec.training.data.clips import ClipStore, load_store
from bcdcodec.training.data.run_data import PEOPLE_ALONE, procedural_clips
from bcdcodec.training.data.shard_halves import ShardPictures
from bcdcodec.training.data.shards import ShardClips, is_prepared
from bcdcodec.training.data.sheets import ATTRIBUTES, Sheets, split
from bcdcodec.training.data.sprite_batches import SpriteClips
from bcdcodec.training.entropy_fit.content_tables import fit_learned_content
from bcdcodec.training.entropy_fit.context_tables import fit_context

CLIP_FRAMES = 48  # of each training clip, for the tables
CONTEXT_FRAMES = 12_000  # of each kind of clips, for the context tables: minutes say nearly all
# Contents for the learned tables: of some clips the first part and, mirrored, the second; at steps up to COARSER above
# the default.
COARSER = 1
CONTENT_CLIPS, CONTENT_PARTS, CONTENT_FRAMES, CONTENT_EVERY = 400, 2, 96, 2
PREPARED_CLIPS = 400  # of a prepared data set, at most
BAND_STARTS = (0, 1, 2, 3, 6, 12, 24, 48, 96)  # channels from here share their content tables


@dataclass(frozen=True)
class ExportReport:
    """What the tables say of the codes they were fitted on."""

    bits_per_frame: float  # entropy of the fitted tables on those codes
    context_bits_per_frame: float | None  # coded in profile context, on the clips it was fitted on
    rate_lambda: float  # of the encoder's choice that reaches the target
    codes_used: float  # codes a group that occur
    content_bytes: float  # mean coded size of the content tokens at the default step
    clips: int


def export_model(
    checkpoint: Path,
    out: Path,
    stores: list[ClipStore | SpriteClips],
    card: str,
    max_clips: int = 160,
    shard_mib: int | None = None,
    vae: str | None = None,
    name: str | None = None,
) -> ExportReport:
    """Write the model folder `out` from a run's checkpoint folder, using its EMA weights in float16.

    The rate-lambda of the encoder is set so that the codes of the training clips take the config's target bits.
    Raises ModelError when the checkpoint is not one.
    """
    state = read_state(checkpoint)
    config = read_config(json.dumps(state["config"]))
    if name is not None:
        config = replace(config, name=name)
    if config.latent.kind == "vae":  # its weights decide what a file shows: they belong to the fingerprint
        config = replace(
            config, latent=replace(config.latent, vae_sha256=VaeLatents(vae or config.latent.vae, "cpu").sha256())
        )
    tensors = load_sharded(checkpoint, "ema")
    model = build_model(config)
    # Rounded first, so that tables are fitted on what the shipped weights do.
    model.load_state_dict({k: v.half().float() if v.is_floating_point() else v for k, v in tensors.items()})
    model.eval()
    coded = [clip for store in stores for clip in _coded_clips(model, store, vae, max_clips)]
    values, moving = (
        [clip.tokens for clip in coded],
        [clip for clip in coded if len(clip.motion) >= config.window.length],
    )
    hessian = torch.cat([clip.hessian for clip in moving]) if model.warps else None
    counts = fit_rate(model.vq, torch.cat([clip.motion for clip in moving]), hessian, config.quantiser.target_bits)
    motion = FrequencyTables.from_counts(counts.astype(np.int64))
    codes = [clip for store in stores for clip in _clip_codes(model, store, vae)]
    tables = ModelTables(
        motion, _content_model(config, values), fit_context(codes, motion), _learned_content(model, stores, vae)
    )
    half = {
        k: v.half() if v.is_floating_point() and k != "vq.rate_lambda" else v for k, v in model.state_dict().items()
    }
    with replaced(out) as folder:
        save_sharded(half, folder, "weights", shard_mib)
        (folder / CONFIG).write_text(config.to_json())
        tables.save(folder / TABLES)
        (folder / CARD).write_text(card)
    p = tables.motion.frequencies / 65536
    frames = counts.sum() / counts.shape[0]
    sizes = [len(encode_content(v, config.content.rows, config.content.columns, tables.learned)) for v in values]
    return ExportReport(
        float(-(counts * np.log2(p)).sum() / frames),
        context_bits(codes, tables),
        float(model.vq.rate_lambda),
        float((counts > 0).sum(1).mean()),
        float(np.mean(sizes)),
        len(values),
    )


@dataclass(frozen=True)
class _Coded:
    """A training clip as a file would hold it, but for the choice of codes."""

    tokens: np.ndarray  # int16 [n, d] at the default step
    motion: Tensor  # [t, m]
    hessian: Tensor | None  # [t, m, m] of the distortion


@torch.inference_mode()
def _coded(model: VideoModel, latents: Latents, pictures: np.ndarray) -> _Coded:
    """A clip uint8 [t, h, w, 3] as the codec codes it."""
    index, quantiser = model.config.content.default_step, model.content_quantiser
    tokens, own, m = _tokens(model, latents, pictures)
    values = quantiser.quantise(tokens, index)
    own = None if own is None else model.vq.quantise(own[None])[0]
    reference = model.reference(quantiser.dequantise(values, index), own)
    return _Coded(_as_stored(values), *joined(refined_parts(model, latents, pictures, m, reference, "cpu"))[:2])


def _tokens(model: VideoModel, latents: Latents, pictures: np.ndarray) -> tuple[Tensor, Tensor | None, Tensor]:
    """Content tokens [1, n, channels] of a clip uint8 [t, h, w, 3], its reference's motion [1, m], its own [t, m]."""
    m = torch.cat(list(motion_blocks(model, latents, pictures, "cpu")))
    return *model.content(lambda numbers: latents.encode(to_unit(pictures[numbers.numpy()])), m), m


def _as_stored(values: Tensor) -> np.ndarray:
    """Quantised tokens [1, n, d] as a file holds them, int16 [n, d]."""
    return values[0].clamp(-32768, 32767).to(torch.int16).numpy()


def _coded_clips(model: VideoModel, clips: ClipStore | SpriteClips, vae: str | None, max_clips: int) -> list[_Coded]:
    """The first frames of some training clips."""
    latents = open_latents(model.config.latent.small, "cpu", vae)
    order = np.random.default_rng(0).permutation(len(clips.lengths))[:max_clips]
    return [_coded(model, latents, clips.clip(index)[:CLIP_FRAMES]) for index in order]


@torch.inference_mode()
def _clip_codes(model: VideoModel, clips: ClipStore | SpriteClips, vae: str | None) -> list[np.ndarray]:
    """Codes uint8 [t, g] of whole clips, as a file would hold them."""
    latents = open_latents(model.config.latent.small, "cpu", vae)
    order = np.random.default_rng(0).permutation(len(clips.lengths))
    enough = np.searchsorted(np.cumsum(np.asarray(clips.lengths)[order]), CONTEXT_FRAMES) + 1
    codes = []
    for index in sorted(order[:enough]):
        clip = _coded(model, latents, clips.clip(index)[:CONTEXT_FRAMES])
        codes.append(model.vq.encode_clip(clip.motion, hessian=clip.hessian).to(torch.uint8).numpy())
    return codes


def context_bits(codes: list[np.ndarray], tables: ModelTables) -> float | None:
    """Bits a frame of codes in profile context; None for a model without it."""
    if tables.context is None:
        return None
    chunks = [clip[start : start + CHUNK_FRAMES] for clip in codes for start in range(0, len(clip), CHUNK_FRAMES)]
    return 8 * sum(len(encode_context(chunk, tables.context)) for chunk in chunks) / sum(map(len, chunks))


@torch.inference_mode()
def fit_rate(vq: GroupVQ, motion: Tensor, hessian: Tensor | None, target_bits: float) -> np.ndarray:
    """Set code costs and rate-lambda by motion [t, m] and what its errors cost; return code counts [g, k].

    At that lambda the codes take at most `target_bits` a frame under static tables. These and the choice of codes
    depend on each other: they are refitted in turn at each lambda.
    """

    def fit(rate_lambda: float) -> tuple[np.ndarray, Tensor, float]:
        vq.log2_p.zero_()
        for _ in range(4 if rate_lambda else 1):
            codes = vq.encode_clip(motion, rate_lambda, hessian)
            counts = torch.nn.functional.one_hot(codes, vq.config.codes).sum(0)
            p = (counts + 0.5) / (counts + 0.5).sum(1, keepdim=True)
            vq.log2_p.copy_(p.log2())
        bits = -(counts * vq.log2_p).sum().item() / len(motion)
        return counts.numpy(), vq.log2_p.clone(), bits

    low, high = 0.0, 0.0
    best = fit(0.0)
    if best[2] > target_bits:
        high = 0.01
        while fit(high)[2] > target_bits and high < 10:
            low, high = high, high * 2
        for _ in range(8):
            middle = (low + high) / 2
            low, high = (middle, high) if fit(middle)[2] > target_bits else (low, middle)
        best = fit(high)
    counts, log2_p, _ = best
    vq.log2_p.copy_(log2_p.half().float())
    vq.rate_lambda.fill_(high)
    return counts


def _content_model(config: ModelConfig, values: list[np.ndarray]) -> ContentModel:
    """Content tables fitted on the training clips' tokens."""
    c = config.content
    starts = [s for s in BAND_STARTS if s < c.dim]
    # After those the components' coefficients, all components' first ones first.
    if c.channels > c.dim:
        k = c.residual_components
        starts += [c.dim + k * s for s in BAND_STARTS if c.dim + k * s < c.channels]
    bands = (np.searchsorted(starts, np.arange(c.channels), side="right") - 1).astype(np.uint8)
    counts = sum(count_contexts(v, c.rows, c.columns, bands, c.predicted_channels) for v in values)
    # The pseudo count of one a symbol would else outweigh the rarer contexts.
    return ContentModel(FrequencyTables.from_counts(64 * counts), bands, c.predicted_channels)


@torch.inference_mode()
def _contents(model: VideoModel, clips: ClipStore | SpriteClips, vae: str | None) -> list[np.ndarray]:
    """Contents int16 [n, d] of training clips, each at a step and rounding that files may have."""
    latents, c = open_latents(model.config.latent.small, "cpu", vae), model.config.content
    rng = np.random.default_rng(0)
    choices = [choice for choice in model.content_quantiser.choices() if choice[0] <= c.default_step + COARSER]
    found = []
    for index in rng.permutation(len(clips.lengths))[:CONTENT_CLIPS]:
        for part in range(CONTENT_PARTS):
            pictures = clips.clip(index)[part * CONTENT_FRAMES : (part + 1) * CONTENT_FRAMES : CONTENT_EVERY]
            if not len(pictures):
                continue
            pictures = np.ascontiguousarray(pictures[:, :, ::-1] if part % 2 else pictures)
            tokens, _, _ = _tokens(model, latents, pictures)
            found.append(_as_stored(model.content_quantiser.quantise(tokens, *choices[rng.integers(len(choices))])))
    return found


def _learned_content(model: VideoModel, stores: list[ClipStore | SpriteClips], vae: str | None) -> LearnedContentModel:
    c = model.config.content
    contents = [content for store in stores for content in _contents(model, store, vae)]
    return fit_learned_content(contents, c.rows, c.columns, c.predicted_channels)


def refit_contents(source: str, out: Path, data: Path | None, vae: str | None = None) -> LearnedContentModel:
    """Write the model folder `out`: that of the model `source`, its learned content tables fitted anew on `data`.

    Weights, config and all other tables stay, and with them the fingerprints. Raises ModelError when `source` is no
    model, VideoError when nothing in `data` can be read.
    """
    folder = open_model(source)
    model = load_weights(folder).eval()
    with tempfile.TemporaryDirectory() as cache:
        learned = _learned_content(model, _stores(folder.config, data, Path(cache)), vae)
    with replaced(out) as new:
        shutil.copytree(folder.path, new, dirs_exist_ok=True)
        replace(folder.tables, learned=learned).save(new / TABLES)
    return learned


def _stores(config: ModelConfig, data: Path | None, cache: Path) -> list[ClipStore | SpriteClips]:
    """The training clips that tables are fitted on; without `data` procedural heads. `cache` keeps decoded frames."""
    if config.model == "sprites" or data is not None and (data / ATTRIBUTES[0] / "0.png").is_file():
        if data is None:
            raise ModelError("the model was trained on sprite sheets: give their folder with --data")
        return [SpriteClips(Sheets.load(data), split()[0])]
    size, stores = config.latent.small.picture_size, []
    if data is not None and is_prepared(data):
        return [ShardPictures(ShardClips(data, "train", 0), PREPARED_CLIPS)]
    if data is not None:
        stores.append(load_store(data, "train", size, cache))
    return [*stores, procedural_clips(0, PEOPLE_ALONE, size, cache)]  # the tables are for what was trained on


def export_run(
    run: Path,
    out: Path,
    data: Path | None,
    card: str | None,
    shard_mib: int | None = None,
    vae: str | None = None,
    name: str | None = None,
) -> ExportReport:
    """Write the model folder `out` from a `bcd train` folder, with tables fitted on `data` (None: procedural heads).

    Without a `card` the model gets two lines of facts, without a `name` the preset's. Raises ModelError when `run` is
    none, VideoError when nothing in `data` can be read.
    """
    checkpoint = run / "checkpoint"
    state = read_state(checkpoint)
    config = read_config(json.dumps(state["config"]))
    stores = _stores(config, data, run / "data")
    minutes = state["elapsed_s"] / 60
    facts = f"# {name or config.name}\n\n{state['step']} training steps, {minutes:.0f} minutes, seed {state['seed']}.\n"
    return export_model(
        checkpoint, out, stores, facts if card is None else card, shard_mib=shard_mib, vae=vae, name=name
    )


def read_state(checkpoint: Path) -> dict:
    """The step, time, seed and config of a checkpoint. Raises ModelError when it is not one."""
    try:
        return json.loads((checkpoint / "state.json").read_text())
    except (OSError, ValueError) as error:
        raise ModelError(f"no checkpoint in {checkpoint}: {error}") from error
