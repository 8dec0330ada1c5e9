"""Writes requirements-demo.txt and requirements-test.txt: what `make demo` and `make test` install, with hashes.

`python .ci/hashes.py`, with Python 3.11 and pip-tools, asks the package index for the hashes of the versions in
constraints.txt. torch's CPU build is not on PyPI: the hashes of its files that the index at hand lacks are kept as they
stand in the old file. tests/test_packaging.py compares the files with setup.cfg and constraints.txt.
"""

from __future__ import annotations

import configparser
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HEAD = """\
# What `make {name}` installs, with the SHA-256 of every file; made by `python .ci/hashes.py`, for Python 3.11.
# torch: for Linux on x86-64 its CPU build alone, as PyPI's needs the CUDA libraries; else the builds of PyPI.
"""
OPTIONS = "--generate-hashes --allow-unsafe --strip-extras --no-header --no-annotate --quiet"


def inputs(name: str) -> str:
    """The requirements of `make NAME`, a line each."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    wanted = config["options"]["install_requires"]
    if name == "test":
        wanted += config["options.extras_require"]["test"]
    return f"-c constraints.txt\nsetuptools\n{wanted}\n"


def entries(text: str) -> dict[str, tuple[str, set[str]]]:
    """Version and hashes by package of a file of requirements."""
    found = {}
    for part in re.split(r"\n(?=\S)", "\n" + re.sub(r"#.*", "", text)):
        if match := re.match(r"\s*([\w.-]+)==([^\s\\+]+)", part):  # without a local version such as +cpu
            found[match[1]] = match[2], set(re.findall(r"sha256:[0-9a-f]{64}", part))
    return found


def main() -> None:
    """Write both files."""
    for name in ("demo", "test"):
        path = ROOT / f"requirements-{name}.txt"
        with tempfile.TemporaryDirectory() as folder:
            unmarked = re.sub(r" *;.*", "", (ROOT / "constraints.txt").read_text())
            (Path(folder) / "constraints.txt").write_text(unmarked)
            (Path(folder) / "in.txt").write_text(inputs(name))
            command = [sys.executable, "-m", "piptools", "compile", *OPTIONS.split(), "-o", "out.txt", "in.txt"]
            subprocess.run(command, cwd=folder, check=True)
            write(name, path, (Path(folder) / "out.txt").read_text())


def write(name: str, path: Path, compiled: str) -> None:
    """Write one file from what pip-compile made."""
    found = entries(compiled)
    before = entries(path.read_text()) if path.exists() else {}
    version, hashes = found["torch"]
    if before.get("torch", ("",))[0] == version:
        found["torch"] = version, hashes | before["torch"][1]
    lines = [HEAD.format(name=name)]
    for package, (version, hashes) in sorted(found.items()):
        lines.append(" \\\n    ".join([f"{package}=={version}", *(f"--hash={each}" for each in sorted(hashes))]) + "\n")
    path.write_text("".join(lines))


if __name__ == "__main__":
    main()
