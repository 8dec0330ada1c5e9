"""Encode and decode through standard input and output."""

import io
import subprocess
import sys
from fractions import Fraction
from types import SimpleNamespace

import av
import numpy as np
import pytest
from head_clips import head_frames, write_clip
from sound_clips import beeps, heard_beeps, make_loud_clip

import bcdcodec
from bcdcodec.container import open_bcd


class Pipe(io.RawIOBase):
    """What comes from another program: readable once, from the front."""

    def __init__(self, data):
        self._data = io.BytesIO(data)

    def readable(self):
        return True

    def readinto(self, buffer):
        return self._data.readinto(buffer)

    def read(self, size=-1):
        return self._data.read(size)

    def seek(self, *position):
        raise OSError("not seekable")

    tell = seek


@pytest.fixture(scope="module")
def talk(tmp_path_factory):
    path = tmp_path_factory.mktemp("talk") / "talk.mkv"
    return make_loud_clip(path, beeps([0.25, 1.25], 2), frames=50, frame_rate=25, pictures=head_frames(3, 10, 32))


def run_bcd(data, *arguments):
    """Run `bcd` in a process of its own; returns what it wrote to standard output."""
    program = "from bcdcodec.cli.main import main; main()"
    command = [sys.executable, "-c", program, *map(str, arguments)]
    done = subprocess.run(command, input=data, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


@pytest.fixture(scope="module")
def through_pipe(talk, tiny_model):
    return run_bcd(talk.read_bytes(), "encode", "-", "-", "--model", tiny_model, "--device", "cpu")


def test_encoding_through_pipes_gives_the_codes_sound_and_times_of_a_file(talk, through_pipe, tiny_model, tmp_path):
    from bcdcodec.files.encode_file import EncodeOptions, encode_file

    encode_file(talk, tmp_path / "file.bcd", EncodeOptions(tiny_model, "cpu"))
    (tmp_path / "piped.bcd").write_bytes(through_pipe)
    file, piped = (bcdcodec.read(tmp_path / name, tiny_model) for name in ("file.bcd", "piped.bcd"))
    assert piped.complete
    codes = [np.concatenate([motion.codes for motion in recording.motions]) for recording in (file, piped)]
    assert np.array_equal(*codes)
    assert np.array_equal(file.contents[0].values, piped.contents[0].values)
    packets = [[packet for audio in recording.audio for packet in audio.packets] for recording in (file, piped)]
    assert packets[0] == packets[1]
    with open_bcd(tmp_path / "file.bcd") as a, open_bcd(tmp_path / "piped.bcd") as b:
        assert a.duration_seconds == pytest.approx(b.duration_seconds) and a.frames == b.frames == 50
        assert b.head.frame_count == 0 and b.head.frame_duration == 0


def test_decoding_through_pipes_gives_matroska_with_sound(through_pipe, tiny_model, tmp_path):
    video = run_bcd(through_pipe, "decode", "-", "-", "--model", tiny_model, "--device", "cpu")
    (tmp_path / "out.mkv").write_bytes(video)
    with av.open(str(tmp_path / "out.mkv")) as container:
        assert container.format.name.startswith("matroska")
        assert sum(1 for _ in container.decode(video=0)) == 50
    assert heard_beeps(tmp_path / "out.mkv") == pytest.approx([0.25, 1.25], abs=0.02)


def test_a_file_can_come_from_a_pipe_and_go_to_a_file(tiny, through_pipe, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=Pipe(through_pipe)))
    done = tiny("decode", "-", tmp_path / "out.mp4")
    assert done.code == 0 and "50 frames" in done.out


def test_an_mp4_with_its_index_at_the_end_is_refused_with_a_hint(tiny, tmp_path, monkeypatch):
    data = write_clip(tmp_path / "in.mp4", head_frames(3, 4, 32)).read_bytes()
    at = data.index(b"moov") - 4
    size = int.from_bytes(data[at : at + 4], "big")
    monkeypatch.setattr(
        sys, "stdin", SimpleNamespace(buffer=Pipe(data[:at] + data[at + size :] + data[at : at + size]))
    )
    done = tiny("encode", "-", tmp_path / "a.bcd")
    assert done.code == 1 and "index is at its end" in done.err and not (tmp_path / "a.bcd").exists()


def test_the_face_cannot_be_looked_for_in_a_pipe(tiny, tmp_path):
    done = tiny("encode", "-", tmp_path / "a.bcd", "--crop", "auto")
    assert done.code == 1 and "standard input" in done.err


def test_chunks_are_out_before_the_source_has_ended(tiny_model):
    """Of a clip of 700 frames, two chunks are written while a third is still being read."""
    from bcdcodec.coding.encoder import StreamOptions
    from bcdcodec.coding.head import Geometry, make_head
    from bcdcodec.files.append import write_live

    codec = bcdcodec.load(tiny_model)
    size = codec.picture_size
    pictures = head_frames(3, 20, size)
    out = io.BytesIO()
    sizes = []

    def frames():
        for i in range(700):
            sizes.append(len(out.getvalue()))
            yield i, pictures[i % 20]

    video = SimpleNamespace(sound=None, time_base=Fraction(1, 25), last_duration=1)
    head = make_head(codec.folder, Geometry(size, size, (0, 0, size, size)), video.time_base, 0)
    items = codec.encode_stream(frames(), StreamOptions(scenes=False))
    written = write_live(out, head, items, video, (), codec.folder.tables)
    assert (written.frames, written.seconds) == (700, 28)
    assert len(set(sizes)) >= 4, "head, content and two chunks were out before the last frame was read"
