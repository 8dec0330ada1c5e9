"""The raw rows of a benchmark, one a clip and coding, and the folder that keeps them for a run that goes on."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import io
import json
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

import bcdcodec
from bcdcodec.errors import BcdError

MEASURES_VERSION = 5  # raised when a measure changes its meaning: rows of other versions are measured again
BESIDE = ("benchmarks", "cli", "training")  # in the package, and no part of what codes a clip
BCD, STILL = "bcd", "still"  # names beside those of the classical codecs
Pairs = list[tuple[float, float]]


@dataclass(frozen=True)
class Row:
    """One clip through one codec at one setting. Fields are None where a measure was not taken."""

    clip: str
    codec: str  # BCD, STILL (the content picture of BCD held) or a classical codec
    setting: str  # "crf 63", or the rate of the model
    side: int  # pixels, the coded square
    frames: int
    seconds: float
    total_bytes: int  # of BCD the whole file with sound, of a classical codec the elementary stream of the pictures
    motion_bytes: int | None
    content_bytes: int | None
    contents: int | None
    content_bytes_max: int | None  # of one, with its few fields
    container_bytes: int | None
    audio_bytes: int | None
    ideal_motion_bits: float | None  # information of the codes in the file's entropy profile
    static_motion_bits: float | None  # the same under one table a group
    psnr: float  # dB; this and what follows at the model's picture size
    ssim: float
    ms_ssim: float
    vmaf: float | None
    lpips: float | None
    flicker: float  # levels of 255 where the source rests
    source_flicker: float  # the same of the source itself
    csim: float | None  # cosine of ArcFace embeddings
    identity_distance: float | None
    landmark_error: float | None  # of the eye distance
    pose_error: float | None  # degrees
    faces_found: int | None
    faces_expected: int | None
    mouth: Pairs  # opening in source and decoded frames, likewise the others
    eyes: Pairs
    brows: Pairs

    @property
    def kbps(self) -> float:
        return self.total_bytes * 8 / 1000 / self.seconds


@dataclass(frozen=True)
class Strip:
    """One row of a contact sheet: the same moments of each coding, side by side."""

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


class RowStore:
    """A folder a clip under `folder`, each with rows.json, which holds what the rows depend on."""

    def __init__(self, folder: Path):
        self.folder = folder

    def clip_folder(self, path: Path) -> Path:
        digest = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:8]
        return self.folder / f"{path.stem}-{digest}"

    def load(self, path: Path, depends: dict) -> ClipRows | None:
        """The rows of a clip, None unless they were measured from the same file with the same settings."""
        try:
            raw = json.loads((self.clip_folder(path) / "rows.json").read_text())
            if raw.pop("depends") != depends:
                return None
            return ClipRows(
                raw["clip"],
                [row_from(r) for r in raw["rows"]],
                raw["frame_bits"],
                raw["code_counts"],
                [Strip(**s) for s in raw["strips"]],
            )
        except (OSError, ValueError, KeyError, TypeError):  # missing, cut or of another version: measured again
            return None

    def save(self, path: Path, depends: dict, rows: ClipRows) -> None:
        write_whole(self.clip_folder(path) / "rows.json", json.dumps({"depends": depends, **dataclasses.asdict(rows)}))


def depends_on(path: Path, model_fingerprint: str, settings: list[str], faces: bool, networks: list[str]) -> dict:
    """What the rows of a clip depend on. Raises OSError when the clip is missing."""
    return {
        "measures": MEASURES_VERSION,
        "sha256": _sha256(path),
        "model": model_fingerprint,
        "code": code_of_codec(),
        "settings": settings,
        "faces": faces,
        "networks": networks,
    }


@cache
def code_of_codec(package: Path = Path(bcdcodec.__file__).parent) -> str:
    """SHA-256 over the names and bytes of the codec's sources, hexadecimal: any of them may change what comes of a clip."""
    digest = hashlib.sha256()
    for file in sorted(package.rglob("*.py")):
        name = file.relative_to(package)
        if name.parts[0] not in BESIDE:
            digest.update(f"{name.as_posix()}\0{file.stat().st_size}\0".encode() + file.read_bytes())
    return digest.hexdigest()


def _sha256(path: Path) -> str:
    """Of a file's bytes, or of the names and bytes of a folder's files: a copy of a clip is the same clip."""
    digest = hashlib.sha256()
    files = sorted(p for p in path.iterdir() if p.is_file()) if path.is_dir() else [path]
    for file in files:
        if path.is_dir():
            digest.update(f"{file.name}\0{file.stat().st_size}\0".encode())
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def row_from(raw: dict) -> Row:
    """The row that `dataclasses.asdict` made into JSON. Raises TypeError or KeyError for other fields."""
    pairs = {name: [tuple(pair) for pair in raw[name]] for name in ("mouth", "eyes", "brows")}
    return Row(**(raw | pairs))


def as_csv(rows: list[Row]) -> str:
    """Rows as CSV with a column kbps; openings become the correlation of decoded with source ones."""
    names = [f.name for f in dataclasses.fields(Row)]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([f"{n}_correlation" if n in ("mouth", "eyes", "brows") else n for n in names] + ["kbps"])
    for row in rows:
        values = [correlation(v) if isinstance(v := getattr(row, n), list) else v for n in names] + [row.kbps]
        writer.writerow(["" if v is None else f"{v:.6g}" if isinstance(v, float) else v for v in values])
    return out.getvalue()


def correlation(pairs: Pairs) -> float | None:
    """Correlation of two columns; None for fewer than three pairs or a column that does not change."""
    values = np.array(pairs)
    if len(values) < 3 or min(values.std(0)) < 1e-9:
        return None
    return float(np.corrcoef(values.T)[0, 1])


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
