"""Where outputs go: links, pipes, long names, full and read-only disks, processes that are killed. No half file."""

import os
import random
import signal
import subprocess
import sys
import threading
import time

import av
import pytest
from vector_parts import SMALL, file_bytes, motion_for, recording

from bcdcodec.container import verify_file, write_recording
from bcdcodec.container.repair import repair

MOTIONS = [motion_for(SMALL, 200 * i, 200) for i in range(40)]
LARGE = recording(motions=MOTIONS)
DATA = file_bytes(LARGE, SMALL)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 64 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if os.name != "posix" or os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a file system can be mounted by root only")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture
def clean(tiny, bcd, tiny_model):
    """Run `bcd` with the tiny model, which must fail in one line; returns it."""

    def run(*arguments):
        done = tiny(*arguments)
        assert done.code == 1 and done.out == "" and len(done.err.splitlines()) == 1, done
        return done.err

    return run


@pytest.mark.parametrize("verb, name", [("encode", "a.bcd"), ("decode", "a.mkv"), ("decode", "a"), ("repair", "a.bcd")])
def test_on_a_full_disk_nothing_is_left(clean, clip, recording, small_disk, verb, name):
    (small_disk / "other").write_bytes(b"x" * (1 << 16))
    source = clip if verb == "encode" else recording
    assert "No space left" in clean(verb, source, small_disk / name)
    assert [path.name for path in small_disk.iterdir()] == ["other"]


def test_a_disk_that_gets_full_keeps_the_file_that_was_there(clean, recording, small_disk):
    (small_disk / "a.mkv").write_text("precious")
    assert "No space left" in clean("decode", recording, small_disk / "a.mkv", "--scale", 16)
    assert [path.name for path in small_disk.iterdir()] == ["a.mkv"]
    assert (small_disk / "a.mkv").read_text() == "precious"


def test_a_full_device_is_one_line(clean, recording):
    if not os.path.exists("/dev/full"):
        pytest.skip("the system has no /dev/full")
    assert "No space left" in clean("decode", recording, "/dev/full")


@pytest.mark.parametrize("verb, name", [("encode", "a.bcd"), ("decode", "a.mkv"), ("repair", "a.bcd")])
def test_a_read_only_disk_is_one_line(clean, clip, recording, small_disk, verb, name):
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    assert "not writable" in clean(verb, clip if verb == "encode" else recording, small_disk / name)


@pytest.mark.parametrize("name", ["a" * 246 + ".mkv", "ü" * 123 + ".mkv"])
def test_a_name_of_250_bytes_is_written(tiny, recording, tmp_path, name):
    assert len(os.fsencode(name)) == 250
    assert tiny("decode", recording, tmp_path / name).code == 0
    assert [path.name for path in tmp_path.iterdir()] == [name]
    target = tmp_path / name.replace(".mkv", ".bcd")
    assert tiny("repair", recording, target).code == 0 and target.read_bytes() == recording.read_bytes()


def test_a_name_that_is_too_long_is_one_line(clean, recording, tmp_path):
    for verb, name in (("decode", "a" * 300 + ".mkv"), ("repair", "a" * 300 + ".bcd")):
        assert "too long" in clean(verb, recording, tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_links_are_written_through(tiny, recording, tmp_path):
    for verb, name in (("decode", "real.mkv"), ("repair", "real.bcd")):
        link = tmp_path / f"link{name[-4:]}"
        link.symlink_to(tmp_path / name)
        assert tiny(verb, recording, link).code == 0
        assert link.is_symlink() and not (tmp_path / name).is_symlink() and (tmp_path / name).stat().st_size


def test_the_input_is_never_overwritten_through_a_link(clean, recording, tmp_path):
    source = tmp_path / "a.bcd"
    source.write_bytes(recording.read_bytes())
    (tmp_path / "link.bcd").symlink_to(source)
    os.link(source, tmp_path / "hard.bcd")
    for name in ("a.bcd", "link.bcd", "hard.bcd"):
        assert "is the input" in clean("repair", source, tmp_path / name)
    assert source.read_bytes() == recording.read_bytes()


def test_a_named_pipe_gets_a_video(tiny, recording, tmp_path):
    os.mkfifo(tmp_path / "pipe.mkv")
    received = []
    reader = threading.Thread(target=lambda: received.append((tmp_path / "pipe.mkv").read_bytes()))
    reader.start()
    assert tiny("decode", recording, tmp_path / "pipe.mkv").code == 0
    reader.join(60)
    (tmp_path / "got.mkv").write_bytes(received[0])
    with av.open(str(tmp_path / "got.mkv")) as video:
        assert sum(1 for _ in video.decode(video=0)) == 62


def test_repair_does_not_write_into_a_pipe(clean, recording, tmp_path):
    os.mkfifo(tmp_path / "pipe.bcd")
    assert "not a regular file" in clean("repair", recording, tmp_path / "pipe.bcd")


@pytest.mark.parametrize(
    "number, seconds", [(signal.SIGTERM, 0), (signal.SIGTERM, 0.5), (signal.SIGHUP, 0.2), (signal.SIGINT, 0.2)]
)
def test_a_signal_ends_a_command_without_a_partial_file(tiny_model, tmp_path, number, seconds):
    """While `encode` reads a source that never ends: as FFmpeg begins to read, and as it waits."""
    os.mkfifo(tmp_path / "endless")
    program = "from bcdcodec.cli.main import main; main()"
    arguments = ["encode", tmp_path / "endless", tmp_path / "a.bcd", "--model", tiny_model]
    # A shell that runs the tests in the background has them ignore SIGINT.
    program = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); " + program
    process = subprocess.Popen([sys.executable, "-c", program, *map(str, arguments)], stderr=subprocess.PIPE)
    with open(tmp_path / "endless", "wb") as pipe:
        pipe.write(b"\x1aE\xdf\xa3")
        pipe.flush()
        time.sleep(seconds)
        process.send_signal(number)
        try:
            assert process.wait(60) == (130 if number == signal.SIGINT else 128 + number)
        finally:
            process.kill()
    assert [path.name for path in tmp_path.iterdir()] == ["endless"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are killed after a fork")
@pytest.mark.parametrize("verb", ["write", "repair"])
def test_a_killed_process_never_leaves_a_half_file_under_the_name(tmp_path, verb):
    """SIGKILL at 12 moments while a file is written again and again, or more until one was while it was written."""
    path, rng, killed_between = tmp_path / "a.bcd", random.Random(0), 0
    work = (lambda: write_recording(path, LARGE, SMALL)) if verb == "write" else (lambda: repair(DATA, path))
    for kills in range(200):
        if kills >= 12 and killed_between:
            break
        path.unlink(missing_ok=True)
        child = os.fork()
        if not child:
            try:
                while True:
                    work()
            finally:
                os._exit(1)
        time.sleep(rng.uniform(0, 0.12))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        if path.exists():
            assert path.read_bytes() == DATA
        killed_between += any(other != path for other in tmp_path.iterdir())
    work()
    assert verify_file(path, SMALL).findings == () and killed_between, "no process was killed while it wrote"
