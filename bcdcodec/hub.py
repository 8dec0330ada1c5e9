"""Models on the Hugging Face hub, by huggingface_hub's mixin (extra `hub`); nothing is ever pickled."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from bcdcodec.codec import Codec
from bcdcodec.coding.session import Session, open_session
from bcdcodec.device import pick_device
from bcdcodec.errors import ModelError
from bcdcodec.model_folder import CARD, open_model

try:
    from huggingface_hub import ModelHubMixin, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError
except ImportError as error:
    raise ModelError("models of the hub need huggingface_hub: pip install 'bcdcodec[hub]'") from error

# Of a model folder, and of its gpt2 folder: nothing else is published or downloaded.
SUFFIXES = (".json", ".safetensors", ".md")
CARD_HEADER = "---\nlibrary_name: bcdcodec\ntags: [video-compression, talking-head, model_hub_mixin]\n---\n"


class HubCodec(Codec, ModelHubMixin):
    """A `Codec` that can be published and loaded as other models of the hub are.

    `HubCodec.from_pretrained("user/model")`, or a model folder or shipped name; `device` and `vae` as for `load`.
    `codec.save_pretrained(folder)` copies the model folder, `codec.push_to_hub("user/model")` publishes it. Config,
    weights and tables keep their bytes, so the fingerprint stays and files of the model still open.
    """

    def __new__(cls, session: Session) -> HubCodec:
        return object.__new__(cls)  # the mixin's would turn the session, with its weights, into a dict

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | os.PathLike, **options) -> HubCodec:
        """A model of the hub, a shipped one by name, or a folder; options of the mixin, `device` and `vae`.

        Raises ModelError.
        """
        name = str(pretrained_model_name_or_path)
        if not os.path.isdir(name) and "/" not in name:  # no name of the hub: those have an owner
            name = str(open_model(name).path)
        try:
            return super().from_pretrained(name, **options)
        except (HfHubHTTPError, HFValidationError, OSError) as error:
            raise ModelError(f"cannot get {name} from the hub: {str(error).splitlines()[0]}") from error

    @classmethod
    def _from_pretrained(cls, *, model_id: str, device: str = "cpu", vae: str | None = None, **download) -> HubCodec:
        folder = model_id
        if not os.path.isdir(model_id):
            folder = snapshot_download(model_id, allow_patterns=[f"*{suffix}" for suffix in SUFFIXES], **download)
        return cls(open_session(open_model(folder), pick_device(device), vae))

    def _save_pretrained(self, save_directory: Path) -> None:
        source = self.folder.path
        for path in source.rglob("*"):
            if path.suffix in SUFFIXES and path.is_file():
                target = save_directory / path.relative_to(source)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target)
        card = save_directory / CARD
        text = card.read_text() if card.exists() else f"# {self.folder.name}\n"
        if not text.startswith("---"):
            card.write_text(CARD_HEADER + text)
