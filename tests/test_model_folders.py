"""Model folders from anywhere: what is wrong with one is one clear line, and nothing is allocated on its word."""

import json
import pickle
import shutil

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from bcdcodec import presets
from bcdcodec.errors import ModelError
from bcdcodec.model_folder import SHIPPED, fill_network, load_weights, open_model, shipped_models
from bcdcodec.models.registry import build_model, read_config


@pytest.fixture
def folder(tmp_path):
    """An untrained tiny model; entropy tables are not looked at."""
    (tmp_path / "config.json").write_text(presets.TINY.to_json())
    tensors = {name: t.contiguous().numpy() for name, t in build_model(presets.TINY).state_dict().items()}
    save_file(tensors, tmp_path / "weights-1.safetensors")
    return tmp_path


def refused(folder) -> str:
    with pytest.raises(ModelError) as caught:
        load_weights(open_model(folder))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def change(folder, edit) -> str:
    """Edit the tensors; returns the name of the first matrix among them."""
    tensors = load_file(folder / "weights-1.safetensors")
    name = next(k for k, v in sorted(tensors.items()) if v.dtype.kind == "f" and v.ndim > 1)
    edit(tensors, name)
    save_file(tensors, folder / "weights-1.safetensors")
    return name


def test_an_undamaged_folder_is_loaded(folder):
    assert load_weights(open_model(folder)) is not None


def cut_short(tensors, name):
    tensors[name] = tensors[name][:-1].copy()


@pytest.mark.parametrize(
    "edit, reason",
    [
        (cut_short, "do not fit its config"),
        (lambda tensors, name: tensors.pop(name), "is missing, expected ["),
        (lambda tensors, name: tensors.update(more=np.zeros(3)), "more is [3], expected no such tensor"),
        (lambda tensors, name: tensors[name].fill(np.nan), "not finite"),
        (lambda tensors, name: tensors[name].fill(np.inf), "not finite"),
    ],
    ids=["shape", "missing", "surplus", "nan", "infinite"],
)
def test_weights_that_do_not_fit(folder, edit, reason):
    name = change(folder, edit)
    line = refused(folder)
    assert reason in line and (name in line or "more" in line)


@pytest.mark.parametrize(
    "data", [b"", pickle.dumps({"a": 1}), b"PK\x03\x04" + bytes(64)], ids=["empty", "pickle", "zip"]
)
@pytest.mark.parametrize("name", ["weights-1.safetensors", "tables.safetensors"])
def test_files_that_are_no_safetensors(folder, name, data):
    shutil.copy(folder / "weights-1.safetensors", folder / "tables.safetensors")
    (folder / name).write_bytes(data)
    with pytest.raises(ModelError, match="safetensors|not readable"):
        _ = load_weights(open_model(folder)), open_model(folder).tables


def test_a_folder_in_place_of_a_file(folder):
    (folder / "weights-1.safetensors").unlink()
    (folder / "weights-1.safetensors").mkdir()
    assert "not readable" in refused(folder)


def test_tables_that_are_missing(folder):
    with pytest.raises(ModelError, match="cannot read tables"):
        _ = open_model(folder).tables


@pytest.mark.parametrize(
    "data, reason",
    [
        (b"\xff\xfe\0", "is not UTF-8"),
        (b"[" * 100_000, "recursion"),
        (b"{" * 9, "not readable"),
        (b'{"model": "tiny"}', "asks for model"),
        (b'{"model": ["heads"]}', "not readable"),
    ],
)
def test_configs_that_are_none(folder, data, reason):
    (folder / "config.json").write_bytes(data)
    assert reason in refused(folder)


@pytest.mark.parametrize(
    "part, field, value",
    [
        ("latent", "size", 0),
        ("latent", "picture_size", 8192),
        ("latent", "channels", 10**9),
        ("latent", "deviation", 0),
        ("latent", "mean", float("nan")),
        ("latent", "mean", 1e300),
        ("quantiser", "groups", -1),
        ("quantiser", "codes", 1),
        ("quantiser", "hard", 3),
        ("quantiser", "alpha", "x"),
        ("content", "step_ratio", 1e9),
        ("content", "rows", 2.5),
        ("encoder", "layers", 10**9),
        ("encoder", "width", 8192),
        ("encoder", "stem_channels", [1] * 1000),
        ("encoder", "stem_channels", 3),
        ("decoder", "depth", 200),
        ("decoder", "heads", 7),
        ("decoder", "refiner", [1, 2]),
        ("decoder", "refiner", [1, 2, "3"]),
        ("diffusion", "sigma_min", -1),
        ("window", "length", 0),
        ("window", "overlap", 8),
        (None, "frame_rate", 1e-9),
        (None, "latent", 3),
        (None, "name", 3),
    ],
)
def test_fields_out_of_range(folder, part, field, value):
    config = json.loads((folder / "config.json").read_text())
    (config[part] if part else config)[field] = value
    (folder / "config.json").write_text(json.dumps(config))
    assert "config" in refused(folder)


def test_the_configs_of_all_presets_are_within_the_limits():
    for config in (presets.TINY, presets.HEADS, presets.SPRITES_SMALL):
        assert read_config(config.to_json()) == config


def test_weights_of_other_networks_are_checked_as_well(folder):
    change(folder, lambda tensors, name: tensors[name].fill(np.nan))
    with pytest.raises(ModelError, match="the GPT-2's weights .* are damaged"):
        fill_network(build_model(presets.TINY), folder, "the GPT-2's")


@pytest.mark.parametrize("name", shipped_models())
def test_a_copy_of_a_shipped_model_loads_whatever_names_its_tensors_had(name, tmp_path):
    copy = shutil.copytree(SHIPPED / name, tmp_path / name)
    assert open_model(copy).fingerprint == open_model(name).fingerprint
    ours, theirs = (load_weights(open_model(place)).state_dict() for place in (name, copy))
    assert all(torch.equal(ours[key], theirs[key]) for key in ours) and ours.keys() == theirs.keys()
