"""A training run that can stop at any moment and go on exactly: weights, their average, optimisers, step and log."""

from __future__ import annotations

import argparse
import json
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from bcdcodec.config import build
from bcdcodec.errors import BcdError

CHECKPOINT, CONFIG = "checkpoint.safetensors", "config.json"  # files of a run's folder


class Average:
    """Exponential moving average of a network's parameters; buffers are copied."""

    def __init__(self, network: nn.Module, decay: float):
        self.decay = decay
        self.tensors = {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """Move towards the network; faster in the first steps."""
        share = 1 - min(self.decay, (1 + step) / (10 + step))
        for name, tensor in network.state_dict().items():
            if tensor.is_floating_point():
                self.tensors[name].lerp_(tensor, share)
            else:
                self.tensors[name].copy_(tensor)


class Run:
    """Folder of one training run: `checkpoint.safetensors`, replaced as a whole, and `log.jsonl`."""

    def __init__(
        self,
        folder: Path,
        network: nn.Module,
        optimisers: list[torch.optim.Optimizer],
        decay: float,
        critic: nn.Module | None = None,
    ):
        self.folder, self.network, self.optimisers, self.critic = folder, network, optimisers, critic
        self.average = Average(network, decay)
        self.step, self.seconds = 0, 0.0  # steps done, and the time they took in all sessions
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def checkpoint(self) -> Path:
        """Where the run's state lies."""
        return self.folder / CHECKPOINT

    def save(self) -> None:
        """Write everything the run needs to go on."""
        tensors = {f"network.{name}": tensor for name, tensor in self.network.state_dict().items()}
        tensors |= {f"average.{name}": tensor for name, tensor in self.average.tensors.items()}
        if self.critic is not None:
            tensors |= {f"critic.{name}": tensor for name, tensor in self.critic.state_dict().items()}
        for i, optimiser in enumerate(self.optimisers):
            for key, state in optimiser.state_dict()["state"].items():
                tensors |= {f"optimiser{i}.{key}.{name}": torch.as_tensor(value) for name, value in state.items()}
        tensors = {name: tensor.detach().contiguous().clone() for name, tensor in tensors.items()}
        part = self.checkpoint.with_suffix(".part")
        save_file(tensors, part, {"step": str(self.step), "seconds": str(self.seconds)})
        os.replace(part, self.checkpoint)

    def resume(self) -> bool:
        """Take up the state of the folder, if it has one. Raises BcdError if it is that of another network."""
        if not self.checkpoint.exists():
            return False
        from safetensors import safe_open

        with safe_open(self.checkpoint, "pt") as file:
            metadata = file.metadata()
        tensors = load_file(self.checkpoint)
        take(self.network, {k.removeprefix("network."): v for k, v in tensors.items() if k.startswith("network.")})
        for name in self.average.tensors:
            self.average.tensors[name] = tensors[f"average.{name}"]
        found = {k.removeprefix("critic."): v for k, v in tensors.items() if k.startswith("critic.")}
        if self.critic is not None and found:  # a run may have begun without a critic
            take(self.critic, found)
        for i, optimiser in enumerate(self.optimisers):
            state: dict[int, dict[str, Tensor]] = {}
            for key, value in tensors.items():
                if key.startswith(f"optimiser{i}."):
                    _, index, name = key.split(".")
                    state.setdefault(int(index), {})[name] = value
            if state:
                optimiser.load_state_dict({**optimiser.state_dict(), "state": state})
        self.step, self.seconds = int(metadata["step"]), float(metadata["seconds"])
        return True

    def log(self, **values: float) -> None:
        """Add a line to the log."""
        line = {"step": self.step, "hours": round(self.seconds / 3600, 4)}
        line |= {key: round(float(value), 5) for key, value in values.items()}
        with open(self.folder / "log.jsonl", "a") as file:
            file.write(json.dumps(line) + "\n")


def take(network: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Load weights. Raises BcdError, with both shapes, if they are of another network."""
    own = network.state_dict()
    for name, tensor in own.items():
        found = tensors.get(name)
        if found is None or found.shape != tensor.shape:
            shape = "missing" if found is None else list(found.shape)
            raise BcdError(
                f"checkpoint: {name} is {shape}, the network has {list(tensor.shape)}: use another --run folder"
            )
    network.load_state_dict({name: tensors[name] for name in own})


@dataclass(frozen=True, kw_only=True)
class RunSchedule:
    """How fast a recipe trains; recipes add fields of their own."""

    batch: int  # examples
    portraits: float  # share of a batch
    lr: float = 1e-3
    warmup: int  # steps
    weight_decay: float = 0.01
    decay: float  # of the averaged weights
    seed: int = 0


@dataclass(frozen=True)
class Recipe:
    """What `train` trains, and how."""

    name: str  # under which config.json has the network's config
    config: object  # a dataclass
    network: nn.Module
    blocks: nn.Module  # whose matrices Muon moves
    weights: dict[str, float]  # what each loss counts; others are only logged
    begin: Callable[[], None]  # sets the statistics of the data in the network of a run from nothing
    batch: Callable[[int], dict]  # of a step
    losses: Callable[[dict, int], dict[str, Tensor]]  # of a batch at a step, by name
    about: str  # the data, for the first line of the output
    origin: str | None  # name and fingerprint of the model whose weights the run began with; None: from nothing
    critic: nn.Module | None = None  # trained beside the network by a loss of its own; not part of what is exported


def train(recipe: Recipe, options: argparse.Namespace, schedule: RunSchedule) -> None:
    """Train until `options.steps` or a signal; save every `options.save` seconds and at the end.

    A step whose gradient is not finite is left out.
    """
    network, stop = recipe.network, []
    steppers = optimisers(network, recipe.blocks, schedule.lr, schedule.weight_decay)
    if recipe.critic is not None:
        steppers.append(torch.optim.Adam(recipe.critic.parameters(), schedule.lr, betas=(0.5, 0.99)))
    run = Run(options.run, network, steppers, schedule.decay, recipe.critic)
    if not run.resume():
        if recipe.origin is None:
            recipe.begin()
        run.average = Average(network, schedule.decay)
    config = {recipe.name: asdict(recipe.config), "schedule": asdict(schedule), "origin": recipe.origin}
    (options.run / CONFIG).write_text(json.dumps(config, indent=1))
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: stop.append(1))
    parameters = sum(p.numel() for p in network.parameters()) / 1e6
    begun = f"; begun from {recipe.origin}" if recipe.origin else ""
    print(f"{parameters:.1f} M parameters; step {run.step}{begun}; {recipe.about}", flush=True)
    save_now, sums, batches = Clock(options.save), {}, ahead(recipe.batch, run.step)
    start = last = time.time()
    for raw in batches:
        set_rate(steppers, options.lr_scale * schedule.lr * min(1, (run.step + 1) / schedule.warmup))
        terms = recipe.losses(raw, run.step)
        loss = sum(recipe.weights[name] * term for name, term in terms.items() if name in recipe.weights)
        for optimiser in steppers:
            optimiser.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        if torch.isfinite(norm):
            for optimiser in steppers:
                optimiser.step()
        run.average.update(network, run.step)
        run.step += 1
        now = time.time()
        run.seconds, last = run.seconds + now - last, now
        for name, value in {"loss": loss, "norm": norm, **terms}.items():
            sums[name] = sums.get(name, 0.0) + float(value.detach())
        if run.step % options.every == 0:
            means = {name: value / options.every for name, value in sums.items()}
            run.log(**means, steps_per_second=options.every / (now - start))
            sums, start = {}, now
        done = stop or run.step >= options.steps
        if save_now() or done:
            run.save()
        if done:
            break
    batches.close()


def parser(description: str) -> argparse.ArgumentParser:
    """The options of every recipe."""
    parse = argparse.ArgumentParser(description=description)
    parse.add_argument("--clips", type=Path, required=True, help="folder of prepared clips (train and val)")
    parse.add_argument("--portraits", type=Path, nargs="*", help="folders of re-animated portraits")
    parse.add_argument("--landmarker", type=Path, help="MediaPipe's face_landmarker.task, for --portraits")
    parse.add_argument("--run", type=Path, help="folder of the run")
    parse.add_argument(
        "--from",
        dest="from_model",
        metavar="MODEL",
        help="begin with the network of a shipped model or a model folder; a run goes on from its own checkpoint, and "
        "--from may then be left out or the same",
    )
    parse.add_argument("--steps", type=int, default=10**9, help="end after so many steps")
    parse.add_argument("--save", type=float, default=180, help="seconds between checkpoints")
    parse.add_argument("--every", type=int, default=20, help="steps between lines of the log")
    parse.add_argument("--lr-scale", type=float, default=1.0, help="factor on the learning rate")
    return parse


def read_config(folder: Path) -> dict:
    """What `train` has written of a run: the network's config by its name, schedule and origin. Raises BcdError."""
    try:
        return json.loads((folder / CONFIG).read_text())
    except (OSError, ValueError) as error:
        raise BcdError(f"{folder / CONFIG} is not readable: {error}") from error


def untrained(folder: Path, name: str, network: type[nn.Module], config: type) -> nn.Module:
    """A network of the config that a run has; arguments as in `Recipe`. Raises BcdError for another recipe's run."""
    found = read_config(folder)
    if name not in found:
        raise BcdError(f"{folder} is a run of {next(iter(found))}, expected one of {name}")
    return network(build(config, found[name]))


def trained(folder: Path, name: str, network: type[nn.Module], config: type) -> nn.Module:
    """A run's network with the averaged weights, to be measured; arguments and errors as of `untrained`."""
    weights = averaged(folder)
    found = untrained(folder, name, network, config)
    take(found, weights)
    return found.eval()


def averaged(folder: Path) -> dict[str, Tensor]:
    """The averaged weights of a run's folder. Raises BcdError where there is none."""
    path = _existing(folder)
    return {k.removeprefix("average."): v for k, v in load_file(path).items() if k.startswith("average.")}


def _existing(folder: Path) -> Path:
    path = folder / CHECKPOINT
    if not path.exists():
        raise BcdError(f"{path}: no such file; train first")
    return path


def optimisers(network: nn.Module, blocks: nn.Module, lr: float, weight_decay: float) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the transformer's blocks, AdamW for all else (Jordan 2024)."""
    matrices = [p for name, p in blocks.named_parameters() if p.ndim == 2 and "modulation" not in name]
    chosen = {id(p) for p in matrices}
    rest = [p for p in network.parameters() if id(p) not in chosen and p.requires_grad]
    return [
        torch.optim.Muon(matrices, lr=lr, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(rest, lr=lr, betas=(0.9, 0.99), weight_decay=weight_decay),
    ]


def set_rate(optimisers: list[torch.optim.Optimizer], lr: float) -> None:
    """Set the learning rate of all."""
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            group["lr"] = lr


def ahead(make: Callable[[int], object], first: int, depth: int = 3) -> Iterator[object]:
    """make(first), make(first + 1), ... made by a thread before they are asked for."""
    made: queue.Queue = queue.Queue(depth)
    stop = threading.Event()

    def work() -> None:
        number = first
        while not stop.is_set():
            try:
                item = make(number)
            except BaseException as error:  # handed on to whoever asks
                item = error
            while not stop.is_set():
                try:
                    made.put(item, timeout=0.5)
                    break
                except queue.Full:
                    continue
            number += 1

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        while True:
            item = made.get()
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stop.set()
        thread.join()


class Clock:
    """Says when so many seconds have passed since it last said so."""

    def __init__(self, seconds: float):
        self.seconds, self.last = seconds, time.time()

    def __call__(self) -> bool:
        now = time.time()
        if now - self.last < self.seconds:
            return False
        self.last = now
        return True


def progress(folder: Path) -> dict[str, float]:
    """Steps and hours of a run's last checkpoint. Raises BcdError where there is none."""
    from safetensors import safe_open

    with safe_open(_existing(folder), "pt") as file:
        metadata = file.metadata()
    return {"step": int(metadata["step"]), "hours": round(float(metadata["seconds"]) / 3600, 3)}


def command(main: Callable[[], None]) -> None:
    """Run a module's `main`: a BcdError ends the process with one line on stderr and status 1."""
    try:
        main()
    except BcdError as error:
        sys.exit(f"error: {error}")
