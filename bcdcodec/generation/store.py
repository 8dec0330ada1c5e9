"""Folders of a motion GPT-2: config.json and weights-*.safetensors."""

from __future__ import annotations

import os
from pathlib import Path

from bcdcodec.container import Head
from bcdcodec.errors import ModelError, ModelMismatchError
from bcdcodec.generation.config import GPT2Config
from bcdcodec.model_folder import CONFIG, SHIPPED, fill_network

SUBFOLDER = "gpt2"  # of a shipped model


def open_gpt2(folder: str | os.PathLike | None, head: Head) -> tuple[Path, GPT2Config]:
    """`open_gpt2_for` the model that `head` names."""
    return open_gpt2_for(folder, head.model_name, head.model_fingerprint)


def open_gpt2_for(
    folder: str | os.PathLike | None, model_name: str, model_fingerprint: bytes
) -> tuple[Path, GPT2Config]:
    """The folder of a GPT-2 for the codes of one model, and its config; None: the folder shipped with that model.

    `model_fingerprint`: its first 8 bytes. Raises ModelError where there is none, ModelMismatchError for one that was
    trained on another model's codes.
    """
    path = SHIPPED / model_name / SUBFOLDER if folder is None else Path(folder)
    if not (path / CONFIG).is_file():
        if folder is None:
            raise ModelError(
                f"no GPT-2 is shipped with model {model_name!r}: train one with `bcd train gpt2`, then give --gpt2"
            )
        raise ModelError(f"no GPT-2 in {path}: expected {CONFIG} and weights-*.safetensors")
    config = GPT2Config.from_json((path / CONFIG).read_text())
    if config.model_fingerprint != model_fingerprint.hex():
        raise ModelMismatchError(
            f"the GPT-2 in {path} is of model {config.model_name!r} ({config.model_fingerprint[:12]}), "
            f"the content is of {model_name!r} ({model_fingerprint.hex()[:12]}): train one with `bcd train gpt2`"
        )
    return path, config


def load_gpt2(folder: Path, config: GPT2Config, device: str = "cpu"):
    """The network in a folder, in float32. Raises ModelError when weights and config disagree."""
    from bcdcodec.generation.network import MotionGPT

    model = MotionGPT(config)
    fill_network(model, folder, "the GPT-2")
    return model.to(device).eval()
