"""What `bcd` must not load before it is needed: start-up stays short because of it."""

import json
import os
import subprocess
import sys

import pytest

HEAVY = ("torch", "av", "diffusers", "transformers", "matplotlib", "scipy", "tqdm")
PROGRAM = """
import json, sys
from bcdcodec.cli.main import main
try:
    main()
except SystemExit as exit:
    code = exit.code or 0
else:
    code = 0
print(json.dumps([code, sorted(name for name in sys.modules if "." not in name)]), file=sys.stderr)
"""


def modules_after(*arguments, forbidden=()):
    """Run `bcd` in a fresh process; return its exit code, its stdout and the top-level modules it loaded."""
    blocked = "".join(f"import sys; sys.modules[{name!r}] = None\n" for name in forbidden)
    command = [sys.executable, "-c", blocked + PROGRAM, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=dict(os.environ))
    code, modules = json.loads(done.stderr.splitlines()[-1])
    return code, done.stdout, set(modules) - set(forbidden)


@pytest.mark.parametrize(
    "arguments", [("--help",), ("--version",), ("encode", "--help"), ("train", "--help"), ("models",)]
)
def test_help_loads_nothing_heavy(arguments):
    code, out, modules = modules_after(*arguments)
    assert code == 0 and out
    assert modules & set(HEAVY) == set()


def test_help_of_the_group_does_not_even_load_numpy():
    _, _, modules = modules_after("--help")
    assert "numpy" not in modules


@pytest.mark.parametrize("verb", ["info", "verify"])
def test_reading_verbs_load_nothing_heavy(verb, recording):
    code, out, modules = modules_after(verb, recording)
    assert code == 0 and "62" in out
    assert modules & set(HEAVY) == set()


def test_verify_checks_codes_where_torch_is_not_installed(recording, tiny_model):
    code, out, _ = modules_after("verify", recording, "--model", tiny_model, forbidden=("torch", "av", "diffusers"))
    assert (code, "codes checked" in out) == (0, True)


def test_reenactment_into_a_bcd_file_works_where_torch_is_not_installed(
    faces_recording, other_person, faces_model, tmp_path
):
    arguments = ("decode", faces_recording, tmp_path / "out.bcd", "--content", other_person, "--model", faces_model)
    code, _, _ = modules_after(*arguments, forbidden=("torch", "av", "diffusers"))
    assert code == 0 and (tmp_path / "out.bcd").exists()


def test_importing_the_package_loads_nothing_heavy():
    program = "import bcdcodec, sys; print(sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert not any(f"'{name}'" in done.stdout for name in (*HEAVY, "numpy"))
