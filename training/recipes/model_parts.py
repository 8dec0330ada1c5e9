"""Networks of a `faces` model to go on from: those that a run begins with, and those in place of another run's."""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from bcdcodec.errors import BcdError, ModelError
from bcdcodec.model_folder import ModelFolder, load_weights, open_model
from bcdcodec.models.faces.config import FacesConfig
from bcdcodec.training.recipes import run as runs


@dataclass(frozen=True)
class Beginning:
    """What a run trains, before its checkpoint is read."""

    network: nn.Module  # with its statistics and codebooks if there is an origin; else untrained
    origin: str | None  # name and fingerprint of the model whose weights the run began with; None: from nothing


def beginning(options: argparse.Namespace, name: str, network: type[nn.Module], config: object) -> Beginning:
    """The network of the run `options.run`: of the model `options.from_model`, else an untrained one of `config`.

    A run that has a checkpoint keeps the origin and the config that it began with. `name` as in `run.Recipe`. Raises
    BcdError without `options.run`, or if the run began otherwise than `options.from_model` says; ModelError for a model
    without such a network.
    """
    if options.run is None:
        raise BcdError("no folder of the run is given: name it with --run")
    model = None if options.from_model is None else open_model(options.from_model)
    asked = None if model is None else f"{model.name} {model.fingerprint.hex()[:12]}"
    if (options.run / runs.CHECKPOINT).exists():
        origin = runs.read_config(options.run).get("origin")
        if asked not in (None, origin):
            raise BcdError(
                f"{options.run} began from {origin or 'nothing'}, --from is {asked}: "
                "leave --from out, or use another --run folder"
            )
        if origin is None:
            return Beginning(network(config), None)
        return Beginning(runs.untrained(options.run, name, network, type(config)), origin)
    return Beginning(network(config) if model is None else _part(model, name), asked)


def run_or_model(source: str | os.PathLike, name: str, network: type[nn.Module], config: type) -> nn.Module:
    """A trained network, to be used as it is: of a run's folder, of a shipped model or of a model folder.

    `name`, `network` and `config` as of `run.trained`. Raises BcdError if `source` is none of them, or has no such
    network.
    """
    if (Path(source) / runs.CHECKPOINT).exists():
        return runs.trained(Path(source), name, network, config)
    try:
        model = open_model(source)
    except ModelError as error:
        raise BcdError(f"{source} is no run with a checkpoint and no model: {error}") from error
    return _part(model, name).eval()


def check_faces(model: ModelFolder) -> None:
    """Raise ModelError for a model of another kind."""
    if not isinstance(model.config, FacesConfig):
        raise ModelError(f"{model.path} is a model of kind {model.config.model}, expected faces")


def _part(model: ModelFolder, name: str) -> nn.Module:
    check_faces(model)
    part = getattr(load_weights(model).base, name)
    if part is None:
        raise ModelError(f"{model.path} is a model without a {name} network")
    return part
