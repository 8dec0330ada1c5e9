"""The files that are to be encoded, found by fsspec: local paths, `s3://`, `gs://`, `hf://` and others."""

from __future__ import annotations

import posixpath
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from fsspec import AbstractFileSystem
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from bcdcodec.errors import BcdError
from bcdcodec.files import PathLike
from bcdcodec.video import is_picture_name

VIDEO_SUFFIXES = (".mp4", ".m4v", ".mkv", ".mov", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".gif", ".apng", ".y4m")
LIST_SUFFIX = ".txt"  # of a file with one source a line


@dataclass(frozen=True)
class Job:
    """One video, and the file that it becomes: paths or URLs."""

    source: str
    target: str


def list_jobs(sources: Sequence[PathLike], folder: PathLike) -> list[Job]:
    """A job for every video of the sources, whose targets are in `folder` and below.

    A source is a video, a glob pattern, a `.txt` file with one source a line, or a folder. Of a folder every video is
    taken, in subfolders, too, and keeps its place below `folder`; a subfolder with more pictures than other files is
    one clip. Hidden files are passed over. Raises BcdError for no video at all, a source that is missing, and two
    sources with one target.
    """
    found = [pair for source in sources for pair in _found(str(source))]
    with _refusing(f"cannot write to {folder}"):
        folder = _whole_name(*url_to_fs(str(folder)))
    if not found:
        raise BcdError(f"no video in {', '.join(map(str, sources))}: known suffixes are {', '.join(VIDEO_SUFFIXES)}")
    stems = Counter(posixpath.splitext(place)[0] for place in {place for _, place in found})
    jobs, taken = [], {}
    for source, place in found:
        stem = posixpath.splitext(place)[0]
        target = posixpath.join(folder, (stem if stems[stem] == 1 else place) + ".bcd")
        if target in taken:
            raise BcdError(f"{taken[target]} and {source} would both become {target}: encode them into two folders")
        taken[target] = source
        jobs.append(Job(source, target))
    return jobs


@contextmanager
def _refusing(what: str) -> Iterator[None]:
    """Raise BcdError, which begins with `what`, for errors of a file system in the block."""
    try:
        yield
    except (OSError, ImportError, ValueError) as error:  # ValueError: a protocol that fsspec does not know
        raise BcdError(f"{what}: {error}") from error


def _found(source: str) -> Iterable[tuple[str, str]]:
    """The videos of one source, each with its place below the target folder."""
    with _refusing(f"cannot open {source}"):
        fs, path = url_to_fs(source)
        if "*" in path:
            paths = sorted(fs.glob(path))
            if not paths:
                raise BcdError(f"no file matches {source}")
            return [pair for one in paths for pair in _found(_whole_name(fs, one))]
        if fs.isdir(path):
            return _in_folder(fs, path)
        if not fs.exists(path):
            raise BcdError(f"cannot open {source}: no such file or folder")
        if source.endswith(LIST_SUFFIX):
            lines = fs.read_text(path).splitlines()
            return [pair for line in lines if line.strip() for pair in _found(line.strip())]
    return [(_whole_name(fs, path), posixpath.basename(path))]


def _in_folder(fs: AbstractFileSystem, root: str) -> list[tuple[str, str]]:
    """The videos of a folder, and its subfolders of pictures, in order of their names."""
    names = defaultdict(list)
    for path in fs.find(root):
        place = posixpath.relpath(path, root)
        if not any(part.startswith(".") for part in place.split("/")):
            names[posixpath.dirname(place)].append(posixpath.basename(place))
    places = []
    for folder, inside in names.items():
        if sum(map(is_picture_name, inside)) > len(inside) / 2:
            places.append(folder or ".")
        else:
            places += [posixpath.join(folder, name) for name in inside if name.lower().endswith(VIDEO_SUFFIXES)]
    pairs = []
    for place in sorted(places):
        path = posixpath.normpath(posixpath.join(root, place))
        where = posixpath.basename(root.rstrip("/")) if place == "." else place
        pairs.append((_whole_name(fs, path), where))
    return pairs


def _whole_name(fs: AbstractFileSystem, path: str) -> str:
    """A name that every worker understands: an absolute path, or a URL with its protocol."""
    return path if isinstance(fs, LocalFileSystem) else fs.unstrip_protocol(path)
