"""Where the videos of a data set are, and which of them are for validation: LRS3, VoxCeleb2 or a plain folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bcdcodec.errors import VideoError
from bcdcodec.training.data.clips import VIDEO_SUFFIXES, split_of

SPLITS = ("train", "val")
# Layout -> top folder -> split. The published splits have different people on their sides.
FOLDERS = {
    "lrs3": {"pretrain": "train", "trainval": "train", "test": "val"},
    "voxceleb": {"dev": "train", "test": "val"},
}


@dataclass(frozen=True)
class SourceVideo:
    """One video of a data set."""

    path: Path
    name: str  # relative to the folder of the data set
    person: str  # of a plain folder the name: nobody knows


def find_layout(raw: Path) -> str:
    """The layout of a folder, by its top folders."""
    top = {path.name for path in raw.iterdir() if path.is_dir()} if raw.is_dir() else set()
    if {"pretrain", "trainval"} & top:
        return "lrs3"
    return "voxceleb" if "dev" in top and (raw / "dev" / "mp4").is_dir() else "plain"


def videos_of(raw: Path, layout: str) -> dict[str, list[SourceVideo]]:
    """Videos of each split, in order of their names.

    LRS3: `pretrain/PERSON/00001.mp4`, `trainval`, `test`. VoxCeleb2: `dev/mp4/PERSON/VIDEO/00001.mp4`, `test`. A plain
    folder is split as by `split_of`. Raises VideoError for a folder without videos for training.
    """
    layout = find_layout(raw) if layout == "auto" else layout
    if layout == "plain":
        found = {
            split: [SourceVideo(path, name := str(path.relative_to(raw)), name) for path in sorted(paths)]
            for split, paths in split_of(raw).items()
        }
    else:
        found = {split: [] for split in SPLITS}
        for folder, split in FOLDERS[layout].items():
            for path in sorted((raw / folder).rglob("*")):
                parts = path.relative_to(raw).parts
                person = parts[2] if layout == "voxceleb" and len(parts) > 3 else parts[1]
                found[split].append(SourceVideo(path, "/".join(parts), person))
    found = {split: [v for v in videos if v.path.suffix.lower() in VIDEO_SUFFIXES] for split, videos in found.items()}
    if not found["train"]:
        raise VideoError(f"no video to train on in {raw}, read as layout {layout!r}")
    return found
