"""One worker: holds the model and encodes one video after the other."""

from __future__ import annotations

import os
import posixpath
import secrets
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fsspec import AbstractFileSystem
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from bcdcodec.container import ByteCounts, open_bcd
from bcdcodec.device import pick_device
from bcdcodec.distributed.jobs import Job
from bcdcodec.errors import BcdError, ModelMismatchError
from bcdcodec.files.encode_file import EncodeOptions, encode_file
from bcdcodec.model_folder import open_model

ENCODED, PRESENT, FAILED = "encoded", "present", "failed"


@dataclass(frozen=True)
class Result:
    """What became of one job: a row of the report."""

    source: str
    target: str
    status: str  # ENCODED, PRESENT (its file was there already) or FAILED
    worker: str = ""  # host:process
    frames: int = 0
    duration_s: float = 0.0  # seconds of video
    began: float = 0.0  # when the encoding began, in seconds of Unix time, by the worker's clock
    seconds: float = 0.0  # that the encoding took, with the transfers
    bytes_total: int = 0  # of the file as written
    bytes_motion: int = 0
    bytes_content: int = 0
    bytes_audio: int = 0
    bytes_container: int = 0
    message: str = ""  # the error, or notes


class Worker:
    """Encodes jobs with one loaded model. Raises ModelError."""

    def __init__(self, options: EncodeOptions):
        import torch

        from bcdcodec.coding.session import open_session

        torch.set_num_threads(1)  # a worker has one core, whatever OMP_NUM_THREADS says
        self.options, self.folder = options, open_model(options.model)
        self.session = open_session(self.folder, pick_device(options.device), options.vae)
        self.name = f"{socket.gethostname()}:{os.getpid()}"

    def encode(self, job: Job) -> Result:
        """Encode one video, unless its file is there.

        A target appears under its name only when it is whole, so a file that is there is complete. A worker that is
        killed before that leaves at most a temporary file.
        """
        began, clock = round(time.time(), 3), time.monotonic()
        try:
            fs, path = url_to_fs(job.target)
            if fs.exists(path):
                return self._present(job, fs, path, began)
            with _local_copy(job.source) as source, _appearing(fs, path) as target:
                done = encode_file(source, target, self.options, session=self.session)
        except BcdError as error:
            return Result(job.source, job.target, FAILED, self.name, message=str(error))
        except Exception as error:  # of a file system, or a defect: one file must not end a run of thousands
            return Result(job.source, job.target, FAILED, self.name, message=f"{type(error).__name__}: {error}")
        seconds = round(time.monotonic() - clock, 3)
        facts = done.frames, done.duration_s, began, seconds, *_sizes(done.byte_counts)
        return Result(job.source, job.target, ENCODED, self.name, *facts, "; ".join(done.notes))

    def _present(self, job: Job, fs: AbstractFileSystem, path: str, began: float) -> Result:
        """The facts of a file that an earlier run wrote, or this one before a worker was killed."""
        from bcdcodec.coding.head import check_model

        with open_bcd(fs.open(path, "rb")) as reader:
            try:
                check_model(reader.head, self.folder)
            except ModelMismatchError as error:
                raise ModelMismatchError(
                    f"{job.target} is there, of another model: {error}; or remove it, or encode into another folder"
                ) from None
            facts = reader.frames, reader.duration_seconds, began, 0.0, *_sizes(reader.byte_counts)
        return Result(job.source, job.target, PRESENT, self.name, *facts)


def remove_partial(jobs: list[Job]) -> None:
    """Remove the temporary files that killed workers left beside the targets of these jobs."""
    for folder in {posixpath.dirname(job.target) for job in jobs}:
        fs, path = url_to_fs(folder or ".")
        names = {posixpath.basename(job.target) for job in jobs if posixpath.dirname(job.target) == folder}
        for found in fs.ls(path, detail=False) if fs.isdir(path) else []:
            name = posixpath.basename(found)
            if name.startswith(".") and name.endswith(".part") and name[1:].rsplit(".", 2)[0] in names:
                fs.rm_file(found)


def _sizes(counts: ByteCounts) -> tuple[int, ...]:
    return counts.total, counts.motion, counts.content, counts.audio, counts.container


@contextmanager
def _local_copy(source: str) -> Iterator[str]:
    """A path on this machine: the source itself, or a copy for the time of the block."""
    fs, path = url_to_fs(source)
    if isinstance(fs, LocalFileSystem):
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = str(Path(folder) / posixpath.basename(path))
        fs.get(path, copy, recursive=fs.isdir(path))
        yield copy


@contextmanager
def _appearing(fs: AbstractFileSystem, path: str) -> Iterator[str]:
    """A path on this machine to be written, whose file then appears at `path`, whole or not at all."""
    fs.makedirs(posixpath.dirname(path), exist_ok=True)
    if isinstance(fs, LocalFileSystem):  # the writer of .bcd files renames them itself
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        local = str(Path(folder) / "a.bcd")
        yield local
        part = posixpath.join(posixpath.dirname(path), f".{posixpath.basename(path)}.{secrets.token_hex(4)}.part")
        fs.put_file(local, part)
        fs.mv(part, path)
