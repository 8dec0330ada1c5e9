"""Checkpoints as safetensors folders from which a run goes on exactly."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from bcdcodec.errors import ModelError
from bcdcodec.model_folder import CARD, CONFIG, ModelFolder


def save_sharded(tensors: dict[str, torch.Tensor], folder: Path, stem: str, shard_mib: int | None) -> None:
    """Write tensors as `stem-00001.safetensors`, ...; one file, or files of at most `shard_mib` MiB.

    A single tensor larger than a shard gets a file of its own.
    """
    limit = float("inf") if shard_mib is None else shard_mib * 2**20
    shard: dict[str, torch.Tensor] = {}
    size, number = 0, 1
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous().clone()
        nbytes = tensor.numel() * tensor.element_size()
        if shard and size + nbytes > limit:
            save_file(shard, folder / f"{stem}-{number:05d}.safetensors")
            shard, size, number = {}, 0, number + 1
        shard[name] = tensor
        size += nbytes
    save_file(shard, folder / f"{stem}-{number:05d}.safetensors")


def write_folder(folder: Path, tensors: dict[str, torch.Tensor], config: str, card: str) -> None:
    """Replace a folder of a network's weights, config (JSON) and card as a whole."""
    with replaced(folder) as new:
        save_sharded(tensors, new, "weights", None)
        (new / CONFIG).write_text(config)
        (new / CARD).write_text(card)


@contextmanager
def replaced(folder: Path) -> Iterator[Path]:
    """An empty folder beside `folder`, to be filled, that takes its place in the end."""
    new = folder.with_name(folder.name + ".new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    yield new
    shutil.rmtree(folder, ignore_errors=True)
    new.rename(folder)


def load_sharded(folder: Path, stem: str) -> dict[str, torch.Tensor]:
    """All tensors of `stem-*.safetensors`. Raises ModelError when there is none or one is damaged."""
    files = sorted(folder.glob(f"{stem}-*.safetensors"))
    if not files:
        raise ModelError(f"no {stem}-*.safetensors in {folder}")
    tensors: dict[str, torch.Tensor] = {}
    for path in files:
        try:
            tensors.update(load_file(path))
        except Exception as error:  # safetensors raises its own untyped errors
            raise ModelError(f"{path} is not readable as safetensors: {error}") from error
    return tensors


def take_weights(model: torch.nn.Module, folder: ModelFolder, preset: str, late: tuple[str, ...] = ()) -> set[str]:
    """Take a trained model's weights; the parts that it lacks of those that a run learns `late`.

    Raises ModelError where it is no model of that preset.
    """
    try:
        found = model.load_state_dict(load_sharded(folder.path, "weights"), strict=False)
    except RuntimeError as error:  # its second line names the first weights of another shape
        raise ModelError(
            f"{folder.path} is no model of preset {preset}: {str(error).splitlines()[1].strip()}"
        ) from error
    missing = {name.split(".")[0] for name in found.missing_keys}
    if found.unexpected_keys or missing - set(late):
        wrong = [f"weights {name} too many" for name in found.unexpected_keys] + [f"no weights of {p}" for p in missing]
        raise ModelError(f"{folder.path} is no model of preset {preset}: it has {', '.join(sorted(wrong))}")
    return missing


def save_checkpoint(
    folder: Path,
    model: torch.nn.Module,
    more: dict[str, dict[str, torch.Tensor]],
    optimiser: torch.optim.Optimizer,
    state: dict,
    shard_mib: int | None,
) -> None:
    """Replace the checkpoint in `folder` as a whole: a crash leaves the old one or the new one.

    `more`: other tensors, such as the EMA weights, by the stem of their files; `load_sharded` reads them.
    """
    new, old = folder.with_name(folder.name + ".new"), folder.with_name(folder.name + ".old")
    for leftover in (new, old):
        shutil.rmtree(leftover, ignore_errors=True)
    new.mkdir(parents=True)
    moments = {}
    for index, values in optimiser.state_dict()["state"].items():
        for key, value in values.items():
            moments[f"{index}.{key}"] = torch.as_tensor(value)
    for stem, tensors in ({"model": model.state_dict(), "optimiser": moments} | more).items():
        if tensors:
            save_sharded(tensors, new, stem, shard_mib)
    (new / "state.json").write_text(json.dumps(state))
    if folder.exists():
        folder.rename(old)
    new.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def load_checkpoint(folder: Path, model: torch.nn.Module, optimiser: torch.optim.Optimizer) -> dict:
    """Restore model and optimiser in place; return the state. Raises ModelError."""
    if not (folder / "state.json").exists():
        raise ModelError(f"no checkpoint in {folder}: start without --resume, or name the run's --out folder")
    model.load_state_dict(load_sharded(folder, "model"))
    full = optimiser.state_dict()
    if list(folder.glob("optimiser-*.safetensors")):
        moments: dict[int, dict[str, torch.Tensor]] = {}
        for name, value in load_sharded(folder, "optimiser").items():
            index, key = name.split(".", 1)
            moments.setdefault(int(index), {})[key] = value
        full["state"] = moments
        optimiser.load_state_dict(full)
    return json.loads((folder / "state.json").read_text())
