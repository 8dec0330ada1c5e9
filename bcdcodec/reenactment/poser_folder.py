"""The folder of a model's poser: config.json and weights-*.safetensors."""

from __future__ import annotations

import hashlib

from bcdcodec.config import PoserConfig
from bcdcodec.errors import ModelError
from bcdcodec.model_folder import CONFIG, ModelFolder, fill_network
from bcdcodec.reenactment.poser import Poser

SUBFOLDER = "poser"  # of a model's folder


def poser_digest(folder: ModelFolder) -> str:
    """SHA-256 over the files of a model's poser, hexadecimal; empty where it has none. No `.bcd` file depends on it."""
    files = sorted((folder.path / SUBFOLDER).glob("weights-*.safetensors"))
    digest = hashlib.sha256()
    for file in [folder.path / SUBFOLDER / CONFIG, *files] if files else []:
        digest.update(file.read_bytes())
    return digest.hexdigest() if files else ""


def load_poser(folder: ModelFolder, device: str) -> Poser | None:
    """The poser of a model; None where it has none. Raises ModelError for one that does not fit."""
    path = folder.path / SUBFOLDER
    if not (path / CONFIG).is_file():
        return None
    config = PoserConfig.from_json((path / CONFIG).read_text())
    if config.model_fingerprint != folder.fingerprint[:8].hex():
        raise ModelError(
            f"the poser in {path} is of model {config.model_name!r} ({config.model_fingerprint[:12]}), "
            f"beside it is {folder.name!r} ({folder.fingerprint[:8].hex()[:12]}): remove it or train another"
        )
    model = Poser(config)
    fill_network(model, path, "the poser's")
    return model.to(device).eval().requires_grad_(False)
