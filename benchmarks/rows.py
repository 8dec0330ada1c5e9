"""The measured rows of a benchmark, one a clip and coding, and the folder that keeps them for a run that goes on."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import bcdcodec
from bcdcodec.errors import BcdError

MEASURES_VERSION = 7  # raised when a measure changes its meaning: rows of other versions are measured again
BESIDE = ("benchmarks", "cli", "training")  # in the package, and no part of what codes a clip
BCD = "bcd"  # beside the names of the anchors


@dataclass(frozen=True)
class Row:
    """One clip through one codec at one setting. A measure that was not taken is not in the dictionaries."""

    clip: str
    codec: str  # BCD or an anchor
    setting: str  # "crf 63", or the rate of the model
    side: int  # pixels, the coded square
    frames: int
    seconds: float
    total_bytes: int  # of BCD the whole file, of an anchor the elementary stream of the pictures
    sizes: dict[str, float]  # of BCD, as `codec_runs.CodedFile` has them
    measures: dict[str, float]  # of the decoded frames
    held: dict[str, float]  # the same of one picture held for all frames: BCD's reference, an anchor's first frame
    without: str = ""  # name of the network that was left out

    @property
    def kbps(self) -> float:
        return self.total_bytes * 8 / 1000 / self.seconds


@dataclass(frozen=True)
class Strip:
    """One row of a contact sheet: the same moments of one coding, side by side."""

    label: str
    file: str  # in the clip's folder


@dataclass(frozen=True)
class ClipRows:
    """All that was measured of one clip."""

    clip: str
    rows: list[Row]
    frame_bits: list[float]  # information of each frame's codes, bits
    code_counts: list[list[int]]  # [g][k], how often each code came
    strips: list[Strip]


def clip_rows(raw: dict) -> ClipRows:
    """What `dataclasses.asdict` made into JSON. Raises TypeError or KeyError for other fields."""
    return ClipRows(
        raw["clip"],
        [Row(**row) for row in raw["rows"]],
        raw["frame_bits"],
        raw["code_counts"],
        [Strip(**s) for s in raw["strips"]],
    )


def clip_folder(out: Path, path: Path) -> Path:
    """Where what was measured of a clip lies."""
    return out / "clips" / f"{path.stem}-{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:8]}"


def kept(path: Path, depends: dict, compute: Callable[[], dict]) -> dict:
    """What an earlier run kept in `path`, if it depends on the same; otherwise computed and kept."""
    depends = json.loads(json.dumps(depends))  # a tuple becomes a list
    try:
        raw = json.loads(path.read_text())
        if raw["depends"] == depends:
            return raw["found"]
    except (OSError, ValueError, KeyError):  # missing, cut or of another version: measured again
        pass
    found = compute()
    write_whole(path, json.dumps({"depends": depends, "found": found}))
    return found


def kept_rows(path: Path, depends: dict, compute: Callable[[], ClipRows]) -> ClipRows:
    """`kept` for the rows of a clip."""
    return clip_rows(kept(path, depends, lambda: asdict(compute())))


@cache
def code_of_codec(package: Path = Path(bcdcodec.__file__).parent) -> str:
    """SHA-256 over names and bytes of the codec's sources, hexadecimal: any of them may change what comes of a clip."""
    digest = hashlib.sha256()
    for file in sorted(package.rglob("*.py")):
        name = file.relative_to(package)
        if name.parts[0] not in BESIDE:
            digest.update(f"{name.as_posix()}\0{file.stat().st_size}\0".encode() + file.read_bytes())
    return digest.hexdigest()


def digest_of(path: Path) -> str:
    """SHA-256 of a file's bytes, or of the names and bytes of a folder's files: a copy of a clip is the same clip."""
    digest = hashlib.sha256()
    files = sorted(p for p in path.iterdir() if p.is_file()) if path.is_dir() else [path]
    for file in files:
        if path.is_dir():
            digest.update(f"{file.name}\0{file.stat().st_size}\0".encode())
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def as_csv(rows: list[Row]) -> str:
    """Rows as CSV: what is known of the coding, then every measure, then the same of the held picture."""
    fields = ("clip", "codec", "setting", "without", "side", "frames", "seconds", "total_bytes", "kbps")
    names = {part: list(dict.fromkeys(k for r in rows for k in getattr(r, part))) for part in ("sizes", "measures")}
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*fields, *names["sizes"], *names["measures"], *(f"held {n}" for n in names["measures"])])
    for row in rows:
        values = [getattr(row, f) for f in fields] + [row.sizes.get(n) for n in names["sizes"]]
        values += [part.get(n) for part in (row.measures, row.held) for n in names["measures"]]
        writer.writerow(["" if v is None else f"{v:.6g}" if isinstance(v, float) else v for v in values])
    return out.getvalue()


def write_whole(path: Path, text: str) -> None:
    """Write a file, whole or not at all. Raises BcdError when it cannot be written."""
    part = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(text)
        os.replace(part, path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise BcdError(f"cannot write {path}: {error.strerror}") from error
