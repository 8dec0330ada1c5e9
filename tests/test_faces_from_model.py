"""Recipes of `faces` that begin with the networks of a model, and parts of a model in place of runs."""

import argparse
import json
import shutil

import pytest
import torch
from faces_runs import log_of, options, write_prepared
from safetensors.torch import load_file, save_file
from small_faces import SMALL

from bcdcodec.errors import BcdError, ModelError
from bcdcodec.model_folder import load_weights, open_model, shipped_models
from bcdcodec.models.faces.config import BaseMotionConfig, DrawingConfig, GeometryConfig, SurroundingsConfig
from bcdcodec.models.faces.geometry import GeometryNetwork
from bcdcodec.training.recipes import (
    base_motion,
    drawing,
    enhancement,
    export_faces,
    geometry,
    run as runs,
    surroundings,
)
from bcdcodec.training.recipes.model_parts import beginning, run_or_model

RECIPES = ["geometry", "base_motion", "reader", "surroundings", "drawing"]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    return write_prepared(tmp_path_factory.mktemp("prepared"))


def train(recipe, options, model=None):
    """Train by a recipe whose own config is that of full size, for which these tests would be too slow."""
    if recipe in ("geometry", "drawing"):
        pytest.importorskip("cv2", reason="inner lips are filled by opencv")
    if recipe == "geometry":
        geometry.train(options, geometry.Schedule(batch=4), GeometryConfig())
    elif recipe == "surroundings":
        surroundings.train(options, surroundings.Schedule(batch=2), SurroundingsConfig())
    elif recipe == "drawing":
        options = argparse.Namespace(**vars(options), geometry=model, sface=None)
        drawing.train(options, drawing.Schedule(batch=4), DrawingConfig())
    else:
        schedule = base_motion.Schedule(batch=4, quantise_from=2, keep_codes=recipe == "reader")
        base_motion.train(options, schedule, BaseMotionConfig())


def part_of(model, recipe):
    name = "base_motion" if recipe == "reader" else recipe
    return getattr(load_weights(open_model(model)).base, name).state_dict()


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_run_begins_with_the_models_weights_and_goes_on_exactly(prepared, faces_model, tmp_path, recipe):
    model = str(faces_model)
    train(recipe, options(prepared, tmp_path / "whole", 4, model), model)
    train(recipe, options(prepared, tmp_path / "parts", 2, model), model)
    train(recipe, options(prepared, tmp_path / "parts", 3, model), model)  # with the same --from,
    train(recipe, options(prepared, tmp_path / "parts", 4), model)  # or without it
    assert log_of(tmp_path / "whole") == log_of(tmp_path / "parts")
    whole, parts = (load_file(tmp_path / name / runs.CHECKPOINT) for name in ("whole", "parts"))
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    begun, now = part_of(model, recipe), runs.averaged(tmp_path / "whole")
    assert begun.keys() == now.keys()
    for name in begun:
        torch.testing.assert_close(now[name], begun[name], atol=2e-3, rtol=0, msg=name)
    statistics = [name for name in begun if name.startswith(("motion_", "expression_")) or "running_" in name]
    assert len(statistics) >= 2 and all(torch.equal(now[name], begun[name]) for name in statistics)


def test_codes_of_a_model_are_used_from_the_first_step_and_not_seeded_again(prepared, faces_model, tmp_path):
    train("base_motion", options(prepared, tmp_path, 4, faces_model))
    assert all("bits" in line and "rate" in line for line in log_of(tmp_path))
    codebooks = part_of(faces_model, "base_motion")["quantiser.codebooks"]
    torch.testing.assert_close(runs.averaged(tmp_path)["quantiser.codebooks"], codebooks, atol=2e-3, rtol=0)


def test_a_reader_begun_with_a_model_keeps_what_its_codes_mean(prepared, faces_model, tmp_path):
    train("reader", options(prepared, tmp_path, 4, faces_model))
    before, after = part_of(faces_model, "reader"), runs.averaged(tmp_path)
    kept = ("quantiser.codebooks", "quantiser.norm.running_var", "to_expression.weight")
    assert all(torch.equal(before[name], after[name]) for name in kept)
    assert not torch.equal(before["reader.to_features.weight"], after["reader.to_features.weight"])


def test_a_drawing_network_of_a_model_meets_a_discriminator_at_once(prepared, faces_model, tmp_path):
    train("drawing", options(prepared, tmp_path, 1, faces_model), faces_model)
    assert "critic" in log_of(tmp_path)[0]


def test_a_run_that_began_otherwise_is_refused(prepared, faces_model, tmp_path):
    small = SMALL.surroundings
    schedule = surroundings.Schedule(batch=2)
    surroundings.train(options(prepared, tmp_path, 1), schedule, small)
    with pytest.raises(BcdError, match="began from nothing, --from is small-faces"):
        surroundings.train(options(prepared, tmp_path, 2, faces_model), schedule, small)
    surroundings.train(options(prepared, tmp_path, 2), schedule, small)


@pytest.mark.skipif("heads" not in shipped_models(), reason="no weights of heads are shipped")
def test_a_model_of_another_kind_is_refused(prepared, tmp_path):
    with pytest.raises(ModelError, match="kind heads, expected faces"):
        train("geometry", options(prepared, tmp_path / "run", 1, "heads"))
    assert not (tmp_path / "run").exists()
    with pytest.raises(ModelError, match="no model 'unknown'"):
        train("geometry", options(prepared, tmp_path / "run", 1, "unknown"))


def without_drawing(model, out):
    """A copy of a model without its drawing network."""
    shutil.copytree(model, out)
    fields = json.loads((out / "config.json").read_text())
    (out / "config.json").write_text(json.dumps(fields | {"drawing": None}))
    (path,) = out.glob("weights-*.safetensors")
    save_file({name: x for name, x in load_file(path).items() if not name.startswith("base.drawing.")}, path)
    return out


def test_a_model_without_the_network_is_refused(prepared, faces_model, tmp_path):
    model = without_drawing(faces_model, tmp_path / "model")
    with pytest.raises(ModelError, match="without a drawing network"):
        train("drawing", options(prepared, tmp_path / "run", 1, model), model)


def test_drawing_over_geometry_of_another_size_is_refused(prepared, faces_model, tmp_path):
    small = DrawingConfig(frame=32, patch=8, margin=2, width=16, blocks=1, heads=2)
    over = argparse.Namespace(**vars(options(prepared, tmp_path, 1)), geometry=faces_model, sface=None)
    with pytest.raises(ModelError, match="frame of 32 pixels and cells of 2, the geometry network 64 and 2"):
        drawing.train(over, drawing.Schedule(batch=4), small)


def test_a_folder_that_is_neither_run_nor_model_is_refused(prepared, tmp_path):
    with pytest.raises(BcdError, match="no run with a checkpoint and no model"):
        run_or_model(tmp_path, "geometry", GeometryNetwork, GeometryConfig)
    surroundings.train(options(prepared, tmp_path, 1), surroundings.Schedule(batch=2), SMALL.surroundings)
    with pytest.raises(BcdError, match="a run of surroundings, expected one of geometry"):
        run_or_model(tmp_path, "geometry", GeometryNetwork, GeometryConfig)


def test_a_run_without_a_folder_is_refused(prepared):
    with pytest.raises(BcdError, match="--run"):
        beginning(options(prepared, None, 1), "geometry", GeometryNetwork, GeometryConfig())


def test_an_error_ends_a_command_with_one_line():
    def main():
        raise BcdError("what was found")

    with pytest.raises(SystemExit, match="^error: what was found$"):
        runs.command(main)


@pytest.mark.skipif("faces" not in shipped_models(), reason="no weights of faces are shipped")
def test_parts_of_the_shipped_model_are_exported_as_they_are():
    found = export_faces.load_runs(*["faces"] * 5, share=0.4)
    shipped = load_weights(open_model("faces"))
    assert found.config == shipped.config
    base = shipped.base.state_dict()
    assert found.base.state_dict().keys() == base.keys()
    assert all(torch.equal(tensor, base[name]) for name, tensor in found.base.state_dict().items())
    assert torch.equal(found.vq.base_codebooks, shipped.vq.base_codebooks)


@pytest.mark.skipif("faces" not in shipped_models(), reason="no weights of faces are shipped")
def test_a_model_of_nothing_but_shipped_parts_is_the_shipped_one(tmp_path):
    parts = ("geometry", "surroundings", "drawing", "base-motion", "enhancement")
    out = tmp_path / "model"
    export_faces.main([*(text for part in parts for text in (f"--{part}", "faces")), "--out", str(out)])
    found, shipped = open_model(out), open_model("faces")
    assert found.fingerprint == shipped.fingerprint
    assert found.tables.fingerprint() == shipped.tables.fingerprint()


def test_an_enhancement_layer_of_other_codes_is_refused(faces_model, tmp_path):
    model = load_weights(open_model(faces_model))
    model.vq.base_codebooks += 1
    with pytest.raises(ModelError, match="belongs to other codes of the base motion"):
        enhancement.take(model, faces_model)


def test_an_export_without_clips_needs_a_model_for_the_enhancement_layer(faces_model, tmp_path):
    with pytest.raises(BcdError, match="give --frames and --clips, or --enhancement"):
        export_faces.main(["--geometry", "faces", "--base-motion", "faces", "--out", str(tmp_path / "model")])


def test_one_trained_part_is_exported_with_the_rest_of_a_model(prepared, faces_model, tmp_path):
    train("surroundings", options(prepared, tmp_path, 2, faces_model))
    found = export_faces.load_runs(faces_model, faces_model, tmp_path, faces_model).base
    for name, tensor in runs.averaged(tmp_path).items():
        rounded = export_faces.is_rounded(name, tensor)
        assert torch.equal(found.surroundings.state_dict()[name], tensor.half().float() if rounded else tensor)
    before = part_of(faces_model, "geometry")["embed.weight"].half().float()
    assert torch.equal(found.geometry.embed.weight, before)
