"""The bytes of files, the pixels of pictures and the course of training do not change unnoticed.

Where they are meant to change: `python tests/golden.py --record`, and say why in the commit.
"""

import json

import golden
import pytest

RECORDED = json.loads(golden.RECORD.read_text())


@pytest.fixture(scope="module")
def made() -> golden.Hashes:
    """The hashes of all jobs, where libraries and processor compute as they did when the hashes were recorded."""
    here, recorded = golden.run_jobs("probe"), RECORDED["probe"]
    differing = [f"{name}: {here[name]} here, {recorded[name]} recorded" for name in recorded if here[name] != recorded[name]]
    if differing:
        pytest.skip("other libraries or another processor than where the hashes were recorded: " + "; ".join(differing))
    return golden.run_jobs(*[name for name in golden.JOBS if name != "probe"])


def test_vectors_are_the_recorded_files():
    assert golden.vector_hashes() == RECORDED["vectors"]


def test_every_hash_that_is_made_is_recorded(made):
    assert made.keys() == RECORDED["made"].keys()


@pytest.mark.parametrize("name", RECORDED["made"])
def test_result_is_the_recorded_one(made, name):
    assert made[name] == RECORDED["made"][name], f"{name} differs from what was recorded"
