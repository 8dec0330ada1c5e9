"""Trains a motion GPT-2 on the codes of `.bcd` files; no video is needed (section A.2, table A9)."""

from __future__ import annotations

import hashlib
import json
import math
import time
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

import numpy as np
import torch

from bcdcodec.errors import ModelError
from bcdcodec.files.opening import model_of, naming, open_sound
from bcdcodec.generation.config import GPT2Config
from bcdcodec.generation.network import MotionGPT, cross_entropy
from bcdcodec.training.checkpoint import load_checkpoint, save_checkpoint, write_folder

HELD_OUT_SHARE = 0.1  # of the files, chosen by a hash of the name
EVALUATE_EVERY = 200  # steps
GRAD_CLIP = 1.0


@dataclass(frozen=True)
class CodedClip:
    """What a GPT-2 learns from of one file."""

    values: np.ndarray  # float32 [n * d], of the first content
    codes: np.ndarray  # int64 [t, g]


@dataclass(frozen=True)
class Clips:
    """Files of one model, split."""

    train: list[CodedClip]
    val: list[CodedClip]
    model_name: str
    model_fingerprint: str  # hexadecimal
    codes: int


@dataclass(frozen=True)
class GPT2Evaluation:
    """On clips not trained on, all frames, each known from the content and the frames before it."""

    bits_per_frame: float  # what ideal coding under the predictions would take
    perplexity: tuple[float, ...]  # by group
    frames: int


@dataclass(frozen=True)
class GPT2Options:
    """One run."""

    codes: Path
    out: Path
    steps: int | None = None
    minutes: float | None = None
    resume: bool = False
    device: str = "cpu"
    seed: int = 0
    model: Path | str | None = None  # that made the files; None: the shipped one they name


def load_clips(folder: Path, model: Path | str | None) -> Clips:
    """All `.bcd` files below a folder. Raises ModelError for none or several models, FormatError for damage."""
    paths = sorted(folder.rglob("*.bcd"))
    if not paths:
        raise ModelError(f"no .bcd file in {folder}: encode clips into it first")
    train, val, made_by, tables = [], [], None, None
    for path in paths:
        with open_sound(path) as reader, naming(path):
            head = reader.head
            tables = tables or model_of(head, model).tables
            made_by = made_by or head
            if head.model_fingerprint != made_by.model_fingerprint:
                raise ModelError(
                    f"files of two models, {made_by.model_name!r} ({made_by.model_fingerprint.hex()[:12]}) and "
                    f"{head.model_name!r} ({head.model_fingerprint.hex()[:12]}): train on one model's"
                )
            for number, motions in groupby(reader.motion(tables), key=lambda motion: motion.content):
                values = reader.content(number, tables).values.astype(np.float32).ravel()
                clip = CodedClip(values, np.concatenate([motion.codes for motion in motions]).astype(np.int64))
                digest = hashlib.sha256(str(path.relative_to(folder)).encode()).digest()
                (val if digest[0] < 256 * HELD_OUT_SHARE else train).append(clip)
    if not train or not val:
        train, val = (train + val)[1:] or train + val, (train + val)[:1]
    return Clips(train, val, made_by.model_name, made_by.model_fingerprint.hex(), made_by.codes)


def batch_of(clips: list[CodedClip], config: GPT2Config, seed: int, step: int) -> tuple[torch.Tensor, ...]:
    """Contents [b, n * d], codes [b, t, g] and which frames are real [b, t], a function of (seed, step)."""
    rng = np.random.default_rng((seed, step))
    hidden = np.random.default_rng((seed, step, 1)).random(config.batch) < config.content_dropout
    lengths = np.array([len(clip.codes) for clip in clips])
    chosen = []
    for index, hide in zip(rng.choice(len(clips), config.batch, p=lengths / lengths.sum()), hidden):
        codes = clips[index].codes
        if rng.random() < config.half_rate_share and len(codes) > 1:
            codes = codes[rng.integers(2) :: 2]
        start = rng.integers(0, max(1, len(codes) - config.frames + 1))
        values = clips[index].values
        chosen.append((np.zeros_like(values) if hide else values, codes[start : start + config.frames]))
    return _padded(chosen)


def _padded(chosen: list[tuple[np.ndarray, np.ndarray]]) -> tuple[torch.Tensor, ...]:
    t = max(len(codes) for _, codes in chosen)
    padded = np.zeros((len(chosen), t, chosen[0][1].shape[1]), np.int64)
    shown = np.zeros((len(chosen), t), bool)
    for row, (_, codes) in enumerate(chosen):
        padded[row, : len(codes)], shown[row, : len(codes)] = codes, True
    return (
        torch.from_numpy(np.stack([values for values, _ in chosen])),
        torch.from_numpy(padded),
        torch.from_numpy(shown),
    )


@torch.no_grad()
def evaluate_gpt2(model: MotionGPT, clips: list[CodedClip], device: str = "cpu") -> GPT2Evaluation:
    """Bits and perplexity on whole clips, in pieces of the network's context whose first half is not counted."""
    model.eval()
    length, half = model.config.frames, max(1, model.config.frames // 2)
    nats, frames = torch.zeros(model.config.groups, dtype=torch.float64), 0
    for clip in clips:
        done = 0
        while done < len(clip.codes):
            start = max(0, done - half)
            piece = clip.codes[start : start + length]
            values, codes, _ = _padded([(clip.values, piece)])
            logits = model(values.to(device), codes[:, :-1].to(device))[0, done - start :]  # [t, g, k]
            truth = codes[0, done - start :].to(device)
            nats -= logits.log_softmax(-1).gather(-1, truth[..., None])[..., 0].double().sum(0).cpu()
            frames += len(truth)
            done = start + len(piece)
    per_code = nats / frames
    return GPT2Evaluation(float(nats.sum() / frames / math.log(2)), tuple(per_code.exp().tolist()), frames)


class GPT2Trainer:
    """One run, which resumes exactly: everything random is a function of (seed, step)."""

    def __init__(self, config: GPT2Config, options: GPT2Options):
        if (options.out / "checkpoint").exists() and not options.resume:
            raise ModelError(f"{options.out} holds a run: give --resume to go on with it, or another --out")
        self.options = options
        self.clips = load_clips(options.codes, options.model)
        first = self.clips.train[0]
        self.config = replace(
            config,
            groups=first.codes.shape[1],
            codes=self.clips.codes,
            content_values=len(first.values),
            model_name=self.clips.model_name,
            model_fingerprint=self.clips.model_fingerprint,
        )
        torch.manual_seed(options.seed)
        self.model = MotionGPT(self.config).to(options.device)
        self.optimiser = torch.optim.AdamW(
            self.model.parameters(), lr=config.lr, betas=config.betas, weight_decay=config.weight_decay
        )
        self.step, self.elapsed, self.best = 0, 0.0, math.inf
        if options.resume:
            state = load_checkpoint(options.out / "checkpoint", self.model, self.optimiser)
            self.step, self.elapsed, self.best = state["step"], state["elapsed_s"], state["best"]

    @property
    def progress(self) -> float:
        """Share of the run that is done."""
        steps, minutes = self.options.steps, self.options.minutes
        return min(1.0, self.step / steps if steps is not None else self.elapsed / (60 * minutes))

    def run(self) -> None:
        """Train to the end; `out/model` holds the weights that predict the held-out clips best."""
        began = time.monotonic() - self.elapsed
        while self.progress < 1:
            self._train_step()
            self.elapsed = time.monotonic() - began
            if self.step % EVALUATE_EVERY == 0 or self.progress == 1:
                self._evaluate()

    def _train_step(self) -> None:
        torch.manual_seed(self.options.seed * 1_000_003 + self.step)  # of the dropout
        self.model.train()
        decay = 0.5 * (1 + math.cos(math.pi * self.progress))
        for group in self.optimiser.param_groups:
            group["lr"] = self.config.lr * min(1.0, (self.step + 1) / self.config.warmup_steps) * decay
        values, codes, shown = (
            x.to(self.options.device) for x in batch_of(self.clips.train, self.config, self.options.seed, self.step)
        )
        loss = cross_entropy(self.model(values, codes[:, :-1]), codes, shown)
        self.optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), GRAD_CLIP)
        self.optimiser.step()
        self.step += 1
        self.loss = float(loss.detach())

    def _evaluate(self) -> None:
        result = evaluate_gpt2(self.model, self.clips.val, self.options.device)
        if result.bits_per_frame < self.best:
            self.best = result.bits_per_frame
            self._export(result)
        state = {"step": self.step, "elapsed_s": self.elapsed, "best": self.best, "seed": self.options.seed}
        self.options.out.mkdir(parents=True, exist_ok=True)
        save_checkpoint(self.options.out / "checkpoint", self.model, {}, self.optimiser, state, None)
        line = {
            "step": self.step,
            "elapsed_s": round(self.elapsed, 1),
            "loss_bits": self.loss / math.log(2) * self.config.groups,
            "val_bits": result.bits_per_frame,
        }
        with (self.options.out / "log.jsonl").open("a") as log:
            log.write(json.dumps(line) + "\n")

    def _export(self, result: GPT2Evaluation) -> None:
        """Write `out/model`, as `bcd generate --gpt2` takes it."""
        write_folder(
            self.options.out / "model",
            {name: tensor.half() for name, tensor in self.model.state_dict().items()},
            self.config.to_json(),
            (
                f"# {self.config.name}\n\nMotion of model {self.config.model_name}, {len(self.clips.train)} clips, "
                f"{self.step} steps, {self.elapsed / 60:.0f} minutes, seed {self.options.seed}: "
                f"{result.bits_per_frame:.1f} bits a frame on {result.frames} frames not trained on.\n"
            ),
        )
