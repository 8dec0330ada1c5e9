"""One training process, or several that share every batch: `accelerate launch` starts them (extra `scale`)."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from bcdcodec.errors import ModelError
from bcdcodec.training.precision import fast_attention

if TYPE_CHECKING:
    from accelerate import Accelerator

    from bcdcodec.training.trainer import Losses, Recipe, Trainer

PATIENCE = timedelta(hours=2)  # of the others while the first process measures or saves


class Processes:
    """This process and the others. Alone, every method does nothing to its values."""

    def __init__(self, accelerator: Accelerator | None, device: str):
        self.accelerator, self.device = accelerator, device
        self.count = 1 if accelerator is None else accelerator.num_processes
        self.rank = 0 if accelerator is None else accelerator.process_index

    def first_alone(self) -> AbstractContextManager:
        """A block that the first process runs before the others, which find what it has written."""
        return nullcontext() if self.accelerator is None else self.accelerator.main_process_first()

    def objective(self, recipe: Recipe, run: Trainer) -> Callable[[Any], Losses]:
        """The recipe's losses of a batch; going backward, gradients become their means over the processes."""
        if self.accelerator is None:
            return lambda batch: recipe.losses(run, batch)
        return self.accelerator.prepare(Objective(recipe, run))

    def synchronised(self, objective: Callable, now: bool) -> AbstractContextManager:
        """A block whose gradients are averaged over the processes if `now`, else kept for a later pass."""
        return nullcontext() if self.accelerator is None or now else objective.no_sync()

    def summed(self, x: Tensor) -> Tensor:
        """The sum over the processes, on the CPU."""
        return x.cpu() if self.accelerator is None else self.accelerator.reduce(x.to(self.device), "sum").cpu()

    def wait(self) -> None:
        """Wait for the others."""
        if self.accelerator is not None:
            self.accelerator.wait_for_everyone()

    def leave(self) -> None:
        """End this process if it is one of several, after `wait`: gloo's threads may abort it while they are torn down.

        The launcher would take that for a failed run. Does not return then.
        """
        if self.accelerator is not None:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(0)


class Objective(nn.Module):
    """A recipe's losses as a module, for DistributedDataParallel: its parameters are the model's."""

    def __init__(self, recipe: Recipe, run: Trainer):
        super().__init__()
        self.model = run.model
        self.losses: Callable[[Any], Losses] = lambda batch: recipe.losses(run, batch)

    def forward(self, batch: Any) -> Losses:
        return self.losses(batch)


def open_processes(device: str) -> Processes:
    """The processes of this run, on `device` ("auto", "cpu", "cuda"); alone unless a launcher has set WORLD_SIZE."""
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        return Processes(None, ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device)
    try:
        from accelerate import Accelerator
        from accelerate.utils import DistributedDataParallelKwargs, InitProcessGroupKwargs
    except ImportError as error:
        raise ModelError("several processes need accelerate: pip install 'bcdcodec[scale]'") from error
    # Temporal blocks do not learn in the first stage, and masked clips leave the condition out.
    ddp = DistributedDataParallelKwargs(find_unused_parameters=True, broadcast_buffers=False)
    accelerator = Accelerator(cpu=device == "cpu", kwargs_handlers=[ddp, InitProcessGroupKwargs(timeout=PATIENCE)])
    return Processes(accelerator, str(accelerator.device))


def recompute_blocks(model: nn.Module, device: str) -> None:
    """Activation checkpointing: keep the inputs of the blocks in a model's lists alone, and run them again backward."""
    for child in model.children():
        if not isinstance(child, nn.ModuleList | nn.ModuleDict):
            recompute_blocks(child, device)
            continue
        for block in child.children():
            block.forward = _recomputed(block.forward, device)


def _recomputed(forward: Callable, device: str) -> Callable:
    def same_attention(*inputs: Any) -> Any:
        with fast_attention(device):  # checkpoint restores the autocast of the forward pass, but not this
            return forward(*inputs)

    def run(*inputs: Any) -> Any:
        return checkpoint(same_attention, *inputs, use_reentrant=False)

    return run
