"""A training run, whatever the recipe: EMA weights, learning rates, code histogram, exact resume, log and pictures."""

from __future__ import annotations

import copy
import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol, TextIO

import numpy as np
import torch
from torch import Tensor, nn

from bcdcodec.config import ModelConfig
from bcdcodec.errors import ModelError
from bcdcodec.model_folder import ModelFolder, open_model
from bcdcodec.models.group_vq import RateTerms
from bcdcodec.models.latents import open_latents
from bcdcodec.models.registry import build_model
from bcdcodec.training.checkpoint import load_checkpoint, load_sharded, save_checkpoint
from bcdcodec.training.data.run_data import RunOptions
from bcdcodec.training.loop import run_to_end
from bcdcodec.training.precision import mixed_precision
from bcdcodec.training.processes import open_processes, recompute_blocks

COUNT_DECAY = 0.99  # of the code histogram, a step
SETUP_STEP = 2**40  # batches from here on serve the initialisation, not the steps


@dataclass(frozen=True)
class OptimiserConfig:
    """AdamW, and the average of the weights that is exported."""

    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.999)
    warmup_steps: int = 100
    ema_decay: float = 0.9999
    grad_clip: float = 1.0  # norm of the gradient of each parameter group


@dataclass(frozen=True)
class Losses:
    """What a recipe makes of one batch."""

    total: Tensor  # [] what is minimised
    distortion: Tensor  # [] L_d, weighted by 1 / sigma_data^2 as in EDM
    rate: RateTerms  # soft bits a frame
    mse_at_max: Tensor  # [] plain error of the samples at sigma_max, pictures in [-1, 1]; NaN without any
    codes: Tensor  # int64 [b, t, g] of the driving frames
    more: dict[str, float] = field(default_factory=dict)  # for the log


class Recipe(Protocol):
    """How one model is trained. A recipe holds the data and the networks that are no part of the model."""

    config: ModelConfig
    training: Any  # dataclass with a field `optimiser: OptimiserConfig`
    helpers: dict[str, nn.Module]  # networks that learn beside the model
    # Optional `shared`: `batch` gives `run.share` of the `run.clips` clips of a step; `clips_an_epoch()` counts all.

    def open(self, run: Trainer) -> None:
        """Load the data; nothing random yet. Raises ModelError, VideoError."""

    def build_helpers(self, run: Trainer) -> None:
        """Create the helpers, once the model is there."""

    def parameter_groups(self, run: Trainer) -> list[dict]:
        """Groups for the optimiser: "params", "peak" learning rate and the name of the "part"."""

    def prepare(self, run: Trainer) -> None:
        """What comes before the first step of a run from scratch."""

    def begin_from(self, run: Trainer, folder: ModelFolder) -> float:
        """Take a trained model's weights; the share of the recipe after which the run begins. Raises ModelError."""

    def learning_rate(self, run: Trainer, part: str) -> float:
        """Of the peak, at this step."""

    def batch(self, run: Trainer) -> Any:
        """The batch of this step, on the device. A function of the seed and the step."""

    def losses(self, run: Trainer, batch: Any) -> Losses:
        """Choose what learns, and the losses of this step."""

    def after_step(self, run: Trainer, progress: float) -> None:
        """What follows an optimiser step; `progress` before it."""

    def evaluate(self, run: Trainer, log2_p: Tensor) -> tuple[Any, np.ndarray]:
        """Measures (a dataclass) of the EMA weights on held-out clips, and a picture uint8 [h, w, 3]."""

    def state(self) -> dict:
        """What else a resumed run needs, for state.json."""

    def load_state(self, state: dict, device: str) -> None:
        """Take it from there."""


class Trainer:
    """One run of `bcd train`. `run()` returns when its steps or minutes are used up."""

    def __init__(self, recipe: Recipe, options: RunOptions):
        if [options.steps, options.minutes, options.epochs].count(None) != 2:
            raise ModelError("give either a number of steps, of minutes or of epochs")
        self.recipe, self.options = recipe, options
        self.processes = open_processes(options.device)
        self.config, self.optimisation = recipe.config, recipe.training.optimiser
        self.device = self.processes.device
        self.out, self.checkpoint = options.out, options.out / "checkpoint"
        if self.checkpoint.exists() and not options.resume:
            raise ModelError(f"{self.out} holds a run: give --resume to go on with it, or another --out")
        self.out.mkdir(parents=True, exist_ok=True)
        with self.processes.first_alone():
            recipe.open(self)
        self._divide()
        self.latents = open_latents(self.config.latent.small, self.device, options.vae)
        torch.manual_seed(options.seed)
        self.model = build_model(self.config).to(self.device)
        self.ema = copy.deepcopy(self.model).requires_grad_(False)
        recipe.build_helpers(self)
        if options.recompute:
            recompute_blocks(self.model, self.device)
        o = self.optimisation
        self.optimiser = torch.optim.AdamW(
            recipe.parameter_groups(self), lr=1e-4, betas=o.betas, weight_decay=o.weight_decay
        )
        self.step, self.elapsed = 0, 0.0  # seconds
        self.origin: str | None = None  # name and fingerprint of the model whose weights it began with
        self.begin = 0.0  # share of the recipe that it began after
        self.counts = torch.ones(self.config.quantiser.groups, self.config.quantiser.codes)
        self.objective = self.processes.objective(recipe, self)
        if options.resume:
            self._resume()
            return
        if options.from_model is not None:
            folder = open_model(options.from_model)
            self.counts = torch.from_numpy(folder.tables.motion.frequencies / 65536).float()
            self.origin = f"{folder.name} {folder.fingerprint.hex()[:12]}"
            self.begin = self.timed(lambda: recipe.begin_from(self, folder))
        else:
            self.timed(lambda: recipe.prepare(self))
        self.ema.load_state_dict(self.model.state_dict())

    @property
    def progress(self) -> float:
        """Share of the recipe that is done, 0..1."""
        if self.steps is not None:
            done = self.step / self.steps
        else:
            done = self.elapsed / (60 * self.options.minutes)
        return self.begin + (1 - self.begin) * min(1.0, done)

    def run(self) -> None:
        """Train to the end, saving, logging and measuring on the way."""
        every = self.options.checkpoint_minutes, self.options.evaluate_minutes
        if self.processes.rank == 0:
            run_to_end(self, self.out, *every, self.config.name, ("psnr_at_max", "H_model"))
        else:  # only the first writes into the folder of the run
            while self.progress < 1:
                self.train_step()
        self.processes.wait()

    def _divide(self) -> None:
        """Set the clips of a step and of each pass, and the number of steps. Raises ModelError."""
        options, recipe, passes = self.options, self.recipe, self.processes.count * self.options.accumulate
        if not getattr(recipe, "shared", False):
            if passes > 1 or options.batch or options.epochs:
                raise ModelError(
                    f"preset {self.config.name!r} trains in one process, with its own batch: leave --batch, "
                    "--accumulate, --epochs and the launcher away"
                )
            self.steps = options.steps
            return
        self.share = slice(None)  # of the clips of a step, those of the pass that is being made
        self.clips = options.batch or recipe.training.batch  # a step
        if self.clips % passes:
            raise ModelError(
                f"a batch of {self.clips} clips cannot be divided among {self.processes.count} processes with "
                f"{options.accumulate} passes each: give a --batch that is a multiple of {passes}"
            )
        if self.processes.count > 1 and options.minutes is not None:
            raise ModelError("several processes must end at the same step: give --steps or --epochs, not --minutes")
        self.steps = options.steps
        if options.epochs is not None:
            self.steps = max(1, round(options.epochs * recipe.clips_an_epoch() / self.clips))

    def _shares(self) -> list[slice]:
        """The clips of a step that each pass of this process takes."""
        each = self.clips // (self.processes.count * self.options.accumulate)
        first = self.processes.rank * self.options.accumulate
        return [slice(i * each, (i + 1) * each) for i in range(first, first + self.options.accumulate)]

    def train_step(self) -> dict:
        """One optimiser step; its record for the log. A function of the seed and the step alone.

        With several processes, of their number, too: each draws noise of its own for its share of the clips.
        """
        progress = self.progress
        torch.manual_seed(self.options.seed * 1_000_003 + self.step + self.processes.rank * 2**40)
        for group in self.optimiser.param_groups:
            group["lr"] = group["peak"] * self.recipe.learning_rate(self, group["part"])
        shares = self._shares() if getattr(self.recipe, "shared", False) else [slice(None)]
        passes = []
        for self.share in shares:
            batch = self.recipe.batch(self)
            last = len(passes) == len(shares) - 1
            with self.processes.synchronised(self.objective, last), mixed_precision(self.device):
                losses = self.objective(batch)
            if not passes:
                self.optimiser.zero_grad(set_to_none=True)
            with self.processes.synchronised(self.objective, last):
                (losses.total / len(shares)).backward()
            passes.append(losses)
        # Each group alone: steep gradients of the encoder would else keep the decoder from learning.
        clip = self.optimisation.grad_clip
        norms = [nn.utils.clip_grad_norm_(group["params"], clip) for group in self.optimiser.param_groups]
        norm = torch.stack(norms).norm()
        if torch.isfinite(norm):  # one bad batch must not end a long run
            self.optimiser.step()
        self.step += 1
        self._average()
        self.recipe.after_step(self, progress)
        codes = torch.cat([losses.codes.flatten(0, 1) for losses in passes])
        seen = nn.functional.one_hot(codes, self.config.quantiser.codes).sum(0).float()
        self.counts = COUNT_DECAY * self.counts + (1 - COUNT_DECAY) * self.processes.summed(seen)
        codes = codes.cpu()

        of = [(x.total, x.distortion, x.rate.H_model, x.rate.mutual_information, x.mse_at_max) for x in passes]
        of_all = self.processes.summed(torch.tensor([[y.item() for y in x] for x in of], dtype=torch.float64).mean(0))
        total, distortion, H_model, mutual_information, mse = (of_all / self.processes.count).tolist()
        return {
            "step": self.step,
            "minutes": round(self.elapsed / 60, 2),
            "loss": round(total, 4),
            "distortion": round(distortion, 4),
            "H_model": round(H_model, 1),
            "hard_bits": round(-self.log2_p()[torch.arange(codes.shape[1]), codes].sum(-1).mean().item(), 1),
            **passes[-1].more,
            "mutual_information": round(mutual_information, 1),
            "psnr_at_max": round(10 * math.log10(4 / max(mse, 1e-9)), 3) if math.isfinite(mse) else 0.0,
            "grad_norm": round(norm.item(), 3),
        }

    def look(self, log: TextIO) -> None:
        """Measure on held-out clips and write a picture; in the first process."""
        if self.processes.rank:
            return
        from PIL import Image

        state = torch.get_rng_state()
        measures, picture = self.recipe.evaluate(self, self.log2_p().to(self.device))
        torch.set_rng_state(state)
        held_out = {name: round(value, 4) for name, value in asdict(measures).items()}
        log.write(json.dumps({"step": self.step, "minutes": round(self.elapsed / 60, 2), "held_out": held_out}) + "\n")
        log.flush()
        Image.fromarray(picture).save(self.out / f"look-{self.step:06d}.png")

    def note(self, record: dict) -> None:
        """Write a record into the log."""
        with (self.out / "log.jsonl").open("a") as lines:
            lines.write(json.dumps(record | {"minutes": round(self.clock() / 60, 2)}) + "\n")

    def timed(self, work: Callable[[], Any]) -> Any:
        """What `work` returns; its time counts as training."""
        began = time.monotonic()
        self.clock = lambda: self.elapsed + time.monotonic() - began
        done = work()
        self.elapsed = self.clock()
        return done

    def save(self) -> None:
        """Write the checkpoint; the first process does."""
        if self.processes.rank:
            return
        beside = {"code_counts": self.counts}
        for part, helper in self.recipe.helpers.items():
            beside |= {f"{part}.{name}": value for name, value in helper.state_dict().items()}
        state = {
            "step": self.step,
            "elapsed_s": self.elapsed,
            "seed": self.options.seed,
            "from": self.origin,
            "begin": self.begin,
            "config": json.loads(self.config.to_json()),
            "training": asdict(self.recipe.training),
            **self.recipe.state(),
        }
        tensors = {"ema": self.ema.state_dict(), "beside": beside}
        save_checkpoint(self.checkpoint, self.model, tensors, self.optimiser, state, self.options.shard_mib)

    def _resume(self) -> None:
        state = load_checkpoint(self.checkpoint, self.model, self.optimiser)
        self.ema.load_state_dict(load_sharded(self.checkpoint, "ema"))
        beside = load_sharded(self.checkpoint, "beside")
        self.counts = beside["code_counts"]
        for part, helper in self.recipe.helpers.items():
            helper.load_state_dict({name: beside[f"{part}.{name}"] for name in helper.state_dict()})
        self.step, self.elapsed, self.origin, self.begin = (
            state[name] for name in ("step", "elapsed_s", "from", "begin")
        )
        self.recipe.load_state(state, self.device)

    def log2_p(self) -> Tensor:
        """log2 of the code probabilities of recent training batches, [g, k]."""
        p = self.counts + 1e-3 * self.counts.sum(1, keepdim=True) / self.counts.shape[1]
        return (p / p.sum(1, keepdim=True)).log2()

    def encode(self, pictures: Tensor) -> Tensor:
        """Pictures [b, t, 3, h, w] as the model sees them, on the device."""
        pictures = pictures.to(self.device)
        return self.latents.encode(pictures.flatten(0, 1)).unflatten(0, pictures.shape[:2])

    @torch.no_grad()
    def _average(self) -> None:
        decay = min(self.optimisation.ema_decay, (1 + self.step) / (10 + self.step))
        for (name, mean), value in zip(self.ema.state_dict().items(), self.model.state_dict().values(), strict=True):
            if mean.is_floating_point() and "running" not in name:
                mean.lerp_(value, 1 - decay)
            else:
                mean.copy_(value)


def warmup_cosine(run: Trainer) -> float:
    """Learning rate, of its peak: linear warm-up, then a cosine to 5 % at the end of the recipe."""
    rise = min(1.0, (run.step + 1) / run.optimisation.warmup_steps)
    return rise * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * run.progress)))
