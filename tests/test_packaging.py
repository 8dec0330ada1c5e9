"""The wheel holds the packages of the tree, all of them and nothing else."""

import configparser
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# Where each top-level folder of code is installed; the same mapping as in setup.cfg.
INSTALLED_AS = {
    "bcdcodec": "bcdcodec",
    "cli": "bcdcodec/cli",
    "training": "bcdcodec/training",
    "benchmarks": "bcdcodec/benchmarks",
}
BUILD_FILES = ("setup.cfg", "pyproject.toml", "README.md", "LICENSE")


def files_of_the_tree():
    """Every file of the code folders, by the name it must have in the wheel."""
    found = set()
    for folder, target in INSTALLED_AS.items():
        for path in (ROOT / folder).rglob("*"):
            name = path.relative_to(ROOT / folder)
            hidden = any(part.startswith(".") or part == "__pycache__" for part in name.parts)
            if path.is_file() and not hidden:
                found.add(f"{target}/{name.as_posix()}")
    return found


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A wheel built from a copy of the tree with tests, so that a stray folder would show."""
    tree = tmp_path_factory.mktemp("tree")
    ignore = shutil.ignore_patterns("__pycache__", ".*", "*.egg-info")
    for folder in (*INSTALLED_AS, "tests"):
        shutil.copytree(ROOT / folder, tree / folder, ignore=ignore)
    for name in BUILD_FILES:
        if (ROOT / name).exists():
            shutil.copy(ROOT / name, tree / name)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", "dist"]
    built = subprocess.run(command, cwd=tree, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout[-2000:] + built.stderr[-2000:]
    (path,) = (tree / "dist").glob("*.whl")
    return zipfile.ZipFile(path)


def test_wheel_holds_exactly_the_files_of_the_packages(wheel):
    held = {name for name in wheel.namelist() if ".dist-info/" not in name}
    tree = files_of_the_tree()
    assert sorted(tree - held) == [], "in the tree, not in the wheel: add it to setup.cfg"
    assert sorted(held - tree) == [], "in the wheel, not in the tree"


def test_wheel_has_one_package_at_the_top_level(wheel):
    top = {name.split("/")[0] for name in wheel.namelist()}
    assert {name for name in top if not name.endswith(".dist-info")} == {"bcdcodec"}


def test_wheel_has_the_command_and_the_licence(wheel):
    entry_points = next(n for n in wheel.namelist() if n.endswith("entry_points.txt"))
    assert "bcd = bcdcodec.cli.main:main" in wheel.read(entry_points).decode()
    licence = next(n for n in wheel.namelist() if n.endswith("licenses/LICENSE"))
    assert wheel.read(licence) == (ROOT / "LICENSE").read_bytes()


def test_every_requirement_has_an_exact_version_in_the_constraints():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    extras = config["options.extras_require"].values()
    wanted = [config["options"]["install_requires"], *extras]
    lines = [line.split(";")[0].strip() for text in wanted for line in text.splitlines() if line.strip()]
    names = {re.split(r"[=><]=|\[", line)[0] for line in lines}
    pinned = {
        line.split("==")[0]
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if "==" in line and not line.startswith("#")
    }
    assert names - pinned == set()


def named(text: str) -> dict[str, str]:
    """Package and exact version, of lines with or without hashes and markers; names as PyPI compares them."""
    found = re.findall(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", text, re.MULTILINE)
    return {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in found}


@pytest.mark.parametrize("name", ["demo", "test"])
def test_the_hashed_requirements_are_the_constraints_with_hashes(name):
    text, constraints = (ROOT / f"requirements-{name}.txt").read_text(), (ROOT / "constraints.txt").read_text()
    hashed, pinned = named(text), named(constraints)
    assert {package: pinned.get(package) for package in hashed} == hashed, "make them again: python .ci/hashes.py"
    entries = re.split(r"\n(?=[a-z])", text.split("\n", 2)[2])
    assert len(entries) == len(hashed)
    for entry in entries:
        assert re.fullmatch(r"[\w.-]+==[\w.]+( \\\n    --hash=sha256:[0-9a-f]{64})+\n?", entry), entry
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    wanted = config["options"]["install_requires"]
    if name == "test":
        wanted += config["options.extras_require"]["test"]
    direct = {re.split(r"[=><\[;]", line)[0].strip().lower() for line in wanted.splitlines() if line.strip()}
    assert direct | {"setuptools"} <= set(hashed), "setup.cfg asks for more: python .ci/hashes.py"


@pytest.mark.parametrize("wanted, target", [("demo", "demo"), ("test", "test")])
def test_make_compares_hashes_before_it_installs(wanted, target):
    planned = subprocess.run(
        ["make", "-n", target, "HASHED=yes", "VENV=no"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert f"--require-hashes --requirement requirements-{wanted}.txt" in planned
    assert all("--no-deps" in line or "requirements-" in line for line in planned.splitlines() if " install " in line)


def test_packages_import_from_any_folder(tmp_path):
    code = "import bcdcodec, bcdcodec.cli, bcdcodec.training.data.procedural, bcdcodec.benchmarks"
    for folder in (tmp_path, ROOT):
        run = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False)
        assert run.returncode == 0, f"from {folder}: {run.stderr[-500:]}"
