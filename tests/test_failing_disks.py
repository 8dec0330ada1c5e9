"""A full or failing disk, or an interruption, gives one error and leaves no part of a file behind."""

import io
import os
import resource
from contextlib import contextmanager

import pytest
from vector_parts import SMALL, content_for, file_bytes, head_for, motion_for, recording

from bcdcodec.container import BcdWriter, open_bcd, write_recording
from bcdcodec.container.part_file import PartFile
from bcdcodec.container.repair import repair
from bcdcodec.errors import BcdError, TruncatedError

PLAIN = file_bytes(recording(), SMALL)


@contextmanager
def no_space_for(size: int):
    """Let no file grow beyond `size` bytes: a write then fails as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


class Faulty(io.BytesIO):
    """A file on a disk that fails once `broken` is set."""

    broken = False

    def read(self, size=-1):
        if self.broken:
            raise OSError(5, "Input/output error")
        return super().read(size)

    def write(self, data):
        if self.broken:
            raise OSError(5, "Input/output error")
        return super().write(data)


def test_a_stream_that_breaks_is_one_error():
    file = Faulty()
    with pytest.raises(BcdError, match="cannot write the recording: Input/output"):
        with BcdWriter(file, head_for(SMALL), SMALL) as writer:
            file.broken = True
            writer.write_content(content_for(SMALL))


@pytest.mark.parametrize("size, frames", [(0, 10), (20, 10), (0, 4096), (8192, 4096)])
def test_a_full_disk_leaves_nothing(size, frames, tmp_path):
    """Short files are written by `close` alone, longer ones bit by bit."""
    given = recording(motions=[motion_for(SMALL, i * frames, frames) for i in range(3)])
    with no_space_for(size), pytest.raises(BcdError, match="cannot write .*x.bcd: File too large"):
        write_recording(tmp_path / "x.bcd", given, SMALL)
    assert os.listdir(tmp_path) == []


def test_a_full_disk_leaves_nothing_of_a_repaired_file(tmp_path):
    with no_space_for(20), pytest.raises(BcdError, match="cannot write .*x.bcd: File too large"):
        repair(PLAIN, tmp_path / "x.bcd", SMALL)
    assert os.listdir(tmp_path) == []


def test_an_interrupted_repair_leaves_nothing(tmp_path, monkeypatch):
    def interrupted(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(PartFile, "finish", interrupted)
    with pytest.raises(KeyboardInterrupt):
        repair(PLAIN, tmp_path / "x.bcd", SMALL)
    assert os.listdir(tmp_path) == []


def test_a_disk_that_fails_is_one_error():
    file = Faulty(PLAIN)
    file.broken = True
    with pytest.raises(BcdError, match="cannot read .*: Input/output error"):
        open_bcd(file)
    file = Faulty(PLAIN)
    with open_bcd(file) as reader:
        file.broken = True
        with pytest.raises(BcdError, match="cannot read the file at byte 54: Input/output error"):
            list(reader.contents(SMALL))


def test_a_file_that_is_cut_while_it_is_read_is_told():
    file = io.BytesIO(PLAIN)
    with open_bcd(file) as reader:
        file.truncate(20)
        with pytest.raises(TruncatedError, match="it changed while it was read"):
            list(reader.contents(SMALL))
