"""Profile context, the default, through encode, info, verify, decode and Python: other bytes, the same codes."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from bcdcodec.entropy import ModelTables
from bcdcodec.files.encode_file import EncodeOptions, encode_file
from bcdcodec.files.recording import read


@pytest.fixture(scope="module")
def contextual(recording):
    """Written without a word of profiles."""
    return recording


@pytest.fixture(scope="module")
def static(clip, tiny_model, tmp_path_factory):
    """`contextual`, in profile static."""
    path = tmp_path_factory.mktemp("static") / "clip.bcd"
    encode_file(clip, path, EncodeOptions(tiny_model, "cpu", profile="static"))
    return path


def codes_of(path, model):
    return np.concatenate([motion.codes for motion in read(path, model).motions])


def test_both_profiles_hold_the_same_codes_and_context_is_smaller(static, contextual, tiny_model, bcd):
    assert np.array_equal(codes_of(static, tiny_model), codes_of(contextual, tiny_model))
    facts = [json.loads(bcd("info", path, "--json").out) for path in (static, contextual)]
    assert [each["entropy_profile"] for each in facts] == ["static", "context"]
    assert facts[1]["bytes"]["motion"] < 0.8 * facts[0]["bytes"]["motion"]
    assert "profile context" in bcd("info", contextual).out


def test_verify_decodes_the_codes_of_a_context_file(contextual, tiny, tmp_path):
    assert "codes checked" in tiny("verify", contextual).out
    data = bytearray(contextual.read_bytes())
    data[data.index(b"MOTN") + 20] ^= 1
    (tmp_path / "damaged.bcd").write_bytes(data)
    assert tiny("verify", tmp_path / "damaged.bcd").code == 1


@pytest.mark.parametrize("profile", ["static", "context"])
def test_a_reenacted_recording_keeps_the_profile_of_its_motion(bcd, clip, tmp_path, profile):
    talk, face, out = (tmp_path / f"{name}.bcd" for name in ("talk", "face", "out"))
    assert bcd("encode", clip, talk, "--model", "sprites", "--profile", profile).code == 0
    assert bcd("encode", clip, face, "--model", "sprites", "--crop", "0,0,32,32").code == 0
    done = bcd("decode", talk, out, "--content", face)
    assert done.code == 0, done.err
    assert json.loads(bcd("info", out, "--json").out)["entropy_profile"] == profile
    assert np.array_equal(codes_of(out, None), codes_of(talk, None))


def test_a_model_without_context_tables_codes_in_profile_static_only(clip, contextual, tiny_model, bcd, tmp_path):
    bare = tmp_path / "bare"
    shutil.copytree(tiny_model, bare)
    replace(ModelTables.load(bare / "tables.safetensors"), context=None).save(bare / "tables.safetensors")
    refused = bcd("encode", clip, tmp_path / "x.bcd", "--model", bare, "--profile", "context")
    assert refused.code == 1 and "no context tables" in refused.err and not (tmp_path / "x.bcd").exists()
    refused = bcd("verify", contextual, "--model", bare)
    assert refused.code == 1 and "profile context" in refused.err
    assert bcd("encode", clip, tmp_path / "x.bcd", "--model", bare).code == 0
    assert json.loads(bcd("info", tmp_path / "x.bcd", "--json").out)["entropy_profile"] == "static"


def test_an_unknown_profile_is_refused(clip, tiny, tmp_path):
    assert tiny("encode", clip, tmp_path / "x.bcd", "--profile", "static2").code == 2
