"""Model folders: where they are, what is in them, their fingerprint. Needs no torch."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bcdcodec.config import ModelConfig
from bcdcodec.entropy.model_tables import ModelTables
from bcdcodec.errors import ModelError
from bcdcodec.models.registry import build_model, read_config

if TYPE_CHECKING:
    import torch

    from bcdcodec.models.base import VideoModel

SHIPPED = Path(__file__).parent / "weights"
CONFIG, TABLES, CARD = "config.json", "tables.safetensors", "README.md"
DEFAULT_MODEL = "faces"
DRAWN_MODEL = "heads"  # trained on drawn heads, too; the one with generated motion


@dataclass(frozen=True)
class ModelFolder:
    """A folder of config.json, weights-*.safetensors, tables.safetensors and a card README.md."""

    path: Path
    config: ModelConfig

    @property
    def name(self) -> str:
        return self.config.name

    @cached_property
    def tables(self) -> ModelTables:
        return ModelTables.load(self.path / TABLES)

    @property
    def weight_files(self) -> list[Path]:
        return sorted(self.path.glob("weights-*.safetensors"))

    @cached_property
    def fingerprint(self) -> bytes:
        """SHA-256 over the bytes of config.json and every tensor in name order, as format-spec.md states it."""
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        tensors: dict[str, np.ndarray] = {}
        try:
            for path in self.weight_files:
                tensors.update(load_file(path))
        except (OSError, SafetensorError) as error:
            raise ModelError(f"weights in {self.path} are not readable: {error}") from error
        if not tensors:
            raise ModelError(f"{self.path} has no weights-*.safetensors")
        # The file's bytes, not the parsed config: a field added to a later version must not change old models.
        digest = hashlib.sha256((self.path / CONFIG).read_bytes())
        for name in sorted(tensors):
            tensor = tensors[name]
            digest.update(f"{name}|{tensor.dtype.name}|{','.join(map(str, tensor.shape))}|".encode())
            digest.update(np.ascontiguousarray(tensor, tensor.dtype.newbyteorder("<")).tobytes())
        return digest.digest()


def open_model(name_or_folder: str | os.PathLike) -> ModelFolder:
    """A shipped model by name, or any model folder by path. Raises ModelError that lists the shipped ones."""
    path = SHIPPED / str(name_or_folder)
    if not (path / CONFIG).is_file() or os.sep in str(name_or_folder):
        path = Path(name_or_folder)
    if not (path / CONFIG).is_file():
        raise ModelError(
            f"no model {str(name_or_folder)!r}: shipped models are {', '.join(shipped_models()) or 'none'}; "
            f"a folder needs {CONFIG}, {TABLES} and weights-*.safetensors"
        )
    try:
        text = (path / CONFIG).read_text(encoding="utf-8")
    except OSError as error:
        raise ModelError(f"cannot read {path / CONFIG}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ModelError(f"{path / CONFIG} is not UTF-8: {error}") from error
    return ModelFolder(path, read_config(text))


def shipped_models() -> list[str]:
    """Names of the models in the package."""
    return sorted(p.parent.name for p in SHIPPED.glob(f"*/{CONFIG}"))


def fill_network(model: torch.nn.Module, folder: Path, whose: str) -> None:
    """Load the `weights-*.safetensors` of a folder into a network, in float32. Raises ModelError that names `whose`."""
    _fill(model, _read_weights(folder, whose), folder, whose)


def load_weights(folder: ModelFolder) -> VideoModel:
    """The network of a model folder in float32. Raises ModelError when weights and config disagree."""
    whose = "the model's"
    tensors = _read_weights(folder.path, whose)
    if SHIPPED not in folder.path.parents:  # a config from elsewhere could ask for more than there is memory
        _check_sizes(folder.config, tensors, folder.path)
    model = build_model(folder.config)
    _fill(model, tensors, folder.path, whose)
    return model


def _read_weights(folder: Path, whose: str) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    tensors: dict[str, torch.Tensor] = {}
    try:
        for path in sorted(folder.glob("weights-*.safetensors")):
            tensors.update(load_file(path))
    except Exception as error:  # safetensors raises untyped errors
        raise ModelError(f"{whose} weights in {folder} are not readable: {error}") from error
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise ModelError(f"{whose} weights in {folder} are damaged: {name} holds values that are not finite")
    return tensors


def _check_sizes(config: ModelConfig, tensors: dict[str, torch.Tensor], folder: Path) -> None:
    """Raise ModelError unless weights have the shapes that a config asks for; nothing of that size is allocated."""
    import torch

    from bcdcodec.models.load_older import renamed

    try:
        with torch.device("meta"):
            model = build_model(config)
        expected = {name: tuple(t.shape) for name, t in model.state_dict().items()}
    except Exception as error:  # whatever a network cannot be built with
        raise ModelError(f"no network can be built of the config in {folder}: {error}") from error
    tensors = renamed(model, tensors)
    for name in sorted(expected.keys() | tensors.keys()):
        wants, has = expected.get(name), tensors.get(name)
        if wants is None or has is None or wants != tuple(has.shape):
            found = "missing" if has is None else list(has.shape)
            raise ModelError(
                f"the model's weights in {folder} do not fit its config: {name} is {found}, expected "
                f"{'no such tensor' if wants is None else list(wants)}"
            )


def _fill(model: torch.nn.Module, tensors: dict[str, torch.Tensor], folder: Path, whose: str) -> None:
    try:
        model.load_state_dict({name: t.float() if t.is_floating_point() else t for name, t in tensors.items()})
    except RuntimeError as error:
        raise ModelError(f"{whose} weights in {folder} do not fit its config: {str(error).splitlines()[0]}") from error
