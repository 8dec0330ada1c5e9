"""The bytes of files, the pixels of pictures and the course of training do not change unnoticed.

Where they are meant to change: `python tests/golden.py --record`, and say why in the commit.
`pytest tests/test_golden.py -k coding` leaves out the training runs, the slowest part.
"""

import json

import golden
import pytest

RECORDED = json.loads(golden.RECORD.read_text())
JOBS = [job for job in golden.JOBS if job != "probe"]


@pytest.fixture(scope="module")
def made(request) -> dict[str, golden.Hashes]:
    """What the jobs of the chosen tests make; skips where libraries or processor compute otherwise than recorded."""
    here, recorded = golden.run_jobs("probe")["probe"], RECORDED["probe"]
    differing = [name for name in recorded if here[name] != recorded[name]]
    if differing:
        values = "; ".join(f"{name}: {here[name]} here, {recorded[name]} recorded" for name in differing)
        pytest.skip(f"other libraries or another processor than where the hashes were recorded: {values}")
    tests = [item for item in request.session.items if item.path == request.path and "made" in item.fixturenames]
    chosen = {item.callspec.params["job"] for item in tests}
    return golden.run_jobs(*[job for job in JOBS if job in chosen])


def test_vectors_are_the_recorded_files():
    assert golden.vector_hashes() == RECORDED["vectors"]


@pytest.mark.parametrize("job", JOBS)
def test_every_hash_that_is_made_is_recorded(made, job):
    assert made[job].keys() == RECORDED[job].keys()


@pytest.mark.parametrize(("job", "name"), [(job, name) for job in JOBS for name in RECORDED[job]])
def test_result_is_the_recorded_one(made, job, name):
    assert made[job].get(name) == RECORDED[job][name], f"{name} differs from what was recorded"
