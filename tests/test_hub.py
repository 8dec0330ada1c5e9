"""Models of the hub, with a local folder in its place. Seconds."""

from __future__ import annotations

import shutil
import sys

import numpy as np
import pytest

pytest.importorskip("huggingface_hub")

from bcdcodec import hub
from bcdcodec.errors import ModelError
from bcdcodec.hub import HubCodec
from bcdcodec.model_folder import SHIPPED, open_model


@pytest.fixture
def local_hub(monkeypatch, tmp_path):
    """A folder in place of the hub."""
    root = tmp_path / "hub"

    class Api:
        def __init__(self, token=None):
            pass

        def create_repo(self, repo_id, **options):
            return type("Repo", (), {"repo_id": repo_id})

        def upload_folder(self, repo_id, folder_path, **options):
            shutil.copytree(folder_path, root / repo_id)
            return repo_id

    def snapshot_download(repo_id, allow_patterns, **options):
        assert "*.safetensors" in allow_patterns and not any("bin" in p or "pt" in p for p in allow_patterns)
        return str(root / repo_id)

    monkeypatch.setattr("huggingface_hub.hub_mixin.HfApi", Api)
    monkeypatch.setattr(
        "huggingface_hub.hub_mixin.hf_hub_download", lambda repo_id, filename, **_: root / repo_id / filename
    )
    monkeypatch.setattr(hub, "snapshot_download", snapshot_download)
    return root


def test_a_published_model_is_the_same_model(local_hub):
    codec = HubCodec.from_pretrained("sprites")
    codec.push_to_hub("someone/sprites")
    again = HubCodec.from_pretrained("someone/sprites")
    assert again.folder.fingerprint == open_model("sprites").fingerprint
    frames = np.full((2, 64, 64, 3), 90, np.uint8)
    assert np.array_equal(again.decode(codec.encode(frames)), codec.decode(codec.encode(frames)))


def test_a_saved_folder_is_a_model_folder_with_a_card_of_the_hub(tmp_path):
    codec = HubCodec.from_pretrained(SHIPPED / "sprites")
    codec.save_pretrained(tmp_path / "mine")
    for name in ("config.json", "tables.safetensors"):
        assert (tmp_path / "mine" / name).read_bytes() == (SHIPPED / "sprites" / name).read_bytes()
    card = (tmp_path / "mine/README.md").read_text()
    assert card.startswith("---\nlibrary_name: bcdcodec\n")
    assert card.endswith((SHIPPED / "sprites/README.md").read_text())
    assert not [path for path in (tmp_path / "mine").rglob("*") if path.suffix in (".bin", ".pt", ".pkl")]
    HubCodec.from_pretrained(tmp_path / "mine").save_pretrained(tmp_path / "copy")
    assert (tmp_path / "copy/README.md").read_text() == card


def test_a_missing_model_is_one_clear_error(monkeypatch, tmp_path):
    with pytest.raises(ModelError, match="no model 'nothing'"):
        HubCodec.from_pretrained("nothing", local_files_only=True)
    with pytest.raises(ModelError, match="cannot get no/such-model from the hub"):
        HubCodec.from_pretrained("no/such-model", local_files_only=True, cache_dir=tmp_path)


def test_without_huggingface_hub_the_error_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    monkeypatch.delitem(sys.modules, "bcdcodec.hub")
    with pytest.raises(ModelError, match=r"pip install 'bcdcodec\[hub\]'"):
        import bcdcodec.hub  # noqa: F401
