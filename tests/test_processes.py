"""Several processes, or several passes, that share a batch do what one does; activation checkpointing changes nothing.

Noise is made a function of the clip here, and arithmetic is float32. About 20 seconds.
"""

from __future__ import annotations

import contextlib
import os
import socket
from dataclasses import replace
from pathlib import Path
from unittest import mock

import pytest
import torch
from test_bcd_recipe import SMALL, TRAINING
from torch import multiprocessing

from bcdcodec.errors import ModelError
from bcdcodec.training.data.run_data import RunOptions
from bcdcodec.training.presets import open_recipe
from bcdcodec.training.recipes.bcd import BCDRecipe
from bcdcodec.training.trainer import Trainer

STEPS = 4


@contextlib.contextmanager
def without_chance():
    """Noise that is a function of the clip, and float32: results do not depend on how a batch is divided."""
    bcd = "bcdcodec.training.recipes.bcd"
    with (
        mock.patch(f"{bcd}.training_sigmas", lambda count, config: torch.full((count,), 0.7)),
        mock.patch("torch.randn_like", lambda z: torch.sin(1000 * z)),
        mock.patch("torch.rand", lambda *shape, device: torch.ones(shape)),
        mock.patch("torch.nn.functional.gumbel_softmax", lambda logits, tau, dim: torch.softmax(logits / tau, dim)),
        mock.patch("bcdcodec.training.trainer.mixed_precision", lambda device: contextlib.nullcontext()),
    ):
        yield


def open_run(sheets, out, resume=False, training=TRAINING, **options) -> Trainer:
    given = RunOptions(sheets, out, STEPS, None, resume, "cpu", 0, 4, batch=4, **options)
    return Trainer(BCDRecipe(SMALL, training), given)


def gradients(run: Trainer) -> dict[str, torch.Tensor]:
    return {name: p.grad.clone() for name, p in run.model.named_parameters() if p.grad is not None}


def assert_alike(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-3, atol=1e-5 * float(value.abs().max()) + 1e-8)


def _one_of_two(rank: int, port: int, sheets: str, folder: str) -> None:
    """A process of two: half of the steps, with the gradients of the first."""
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    with without_chance():
        run = open_run(Path(sheets), Path(folder) / "two")
        assert (run.processes.count, run.processes.rank) == (2, rank)
        record = run.train_step()
        torch.save({"gradients": gradients(run), "loss": record["loss"]}, f"{folder}/{rank}.pt")
        for _ in range(STEPS // 2 - 1):
            run.train_step()
        run.save()
        run.processes.wait()
    run.processes.leave()


def test_two_processes_do_what_one_does_and_one_goes_on_with_their_run(sheets, tmp_path):
    pytest.importorskip("accelerate")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    multiprocessing.spawn(_one_of_two, (port, str(sheets), str(tmp_path)), nprocs=2)
    with without_chance():
        alone = open_run(sheets, tmp_path / "one")
        start = {name: p.detach().clone() for name, p in alone.model.named_parameters()}
        record = alone.train_step()
        for rank in range(2):
            found = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
            assert found["loss"] == pytest.approx(record["loss"], abs=2e-4)
            found = {name: g for name, g in found["gradients"].items() if name in gradients(alone)}
            assert_alike(found, gradients(alone))
        goes_on = open_run(sheets, tmp_path / "two", resume=True)
        assert goes_on.step == STEPS // 2
        for run in (alone, goes_on):
            while run.progress < 1:
                run.train_step()
    torch.testing.assert_close(goes_on.counts, alone.counts)
    ends = dict(alone.model.named_parameters())
    moved = sum((ends[name] - start[name]).square().sum() for name in start)
    apart = sum((ends[name] - p).square().sum() for name, p in goes_on.model.named_parameters())
    assert moved > 0 and apart < 1e-3 * moved


def test_passes_have_the_gradients_of_the_whole_batch_but_for_the_histogram(sheets, tmp_path):
    """Each pass has a histogram of its own, so the rate term is left out here."""
    training = replace(TRAINING, rate_weight=0.0)
    with without_chance():
        runs = [open_run(sheets, tmp_path / str(n), training=training, accumulate=n) for n in (1, 2)]
        for run in runs:
            run.train_step()
    assert_alike(gradients(runs[1]), gradients(runs[0]))
    torch.testing.assert_close(runs[1].counts, runs[0].counts)


def test_activation_checkpointing_changes_no_gradient(sheets, tmp_path):
    runs = [open_run(sheets, tmp_path / str(recompute), recompute=recompute) for recompute in (False, True)]
    for run in runs:
        run.train_step()
    assert runs[0].model.state_dict().keys() == runs[1].model.state_dict().keys()
    assert_alike(gradients(runs[1]), gradients(runs[0]))


def test_a_batch_that_cannot_be_divided_is_refused(sheets, tmp_path):
    with pytest.raises(ModelError, match="a batch of 4 clips cannot be divided among 1 processes with 3 passes"):
        open_run(sheets, tmp_path, accumulate=3)


def test_other_presets_keep_their_batch(tmp_path):
    with pytest.raises(ModelError, match="preset 'sprites-small' trains in one process, with its own batch"):
        from sprite_sheets import write_sheets

        sheets = write_sheets(tmp_path / "sheets")
        Trainer(open_recipe("sprites-small"), RunOptions(sheets, tmp_path, 1, None, False, "cpu", 0, 4, batch=8))


def test_options_of_shared_batches_are_refused_where_they_do_nothing(bcd, tmp_path):
    command = ("train", "gpt2", "--codes", tmp_path, "--out", tmp_path, "--steps", 1, "--batch", 8)
    assert "--batch, --accumulate and --recompute are not for gpt2" in bcd(*command).err
