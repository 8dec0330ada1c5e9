"""A signal's handler that raises while FFmpeg waits for a file: the caller gets what it raised."""

import io
from fractions import Fraction

import numpy as np
import pytest
from head_clips import head_frames, write_clip

from bcdcodec.video import write_video
from bcdcodec.video.source import open_source

INTERRUPTIONS = [KeyboardInterrupt, SystemExit]


class Interrupting(io.RawIOBase):
    """A pipe that gives and takes `size` bytes, then raises as a signal's handler would."""

    def __init__(self, interruption: type[BaseException], data: bytes = b"", size: int = 0):
        self.interruption = interruption
        self.data = io.BytesIO(data[:size])
        self.left = size

    def readable(self):
        return True

    def writable(self):
        return True

    def seekable(self):
        return False

    def read(self, size=-1):
        return self.data.read(size) or self._interrupt()

    def write(self, data):
        self.left -= len(data)
        return len(data) if self.left > 0 else self._interrupt()

    def _interrupt(self):
        raise self.interruption()


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    path = tmp_path_factory.mktemp("clip") / "clip.mkv"
    write_clip(path, head_frames(0, 50, 128))
    return path.read_bytes()


@pytest.mark.parametrize("interruption", INTERRUPTIONS)
def test_while_a_video_is_opened(interruption):
    with pytest.raises(interruption):
        open_source(Interrupting(interruption))


@pytest.mark.parametrize("interruption", INTERRUPTIONS)
def test_while_frames_are_read(clip, interruption):
    source = open_source(Interrupting(interruption, clip, len(clip) * 2 // 3))
    with pytest.raises(interruption):
        list(source.frames())


@pytest.mark.parametrize("interruption", INTERRUPTIONS)
@pytest.mark.parametrize("size", [0, 20_000])
def test_while_frames_are_written(interruption, size):
    noise = np.random.default_rng(0).integers(0, 255, (20, 128, 128, 3), np.uint8)
    pipe = Interrupting(interruption, size=size)
    with pytest.raises(interruption), write_video(pipe, 128, 128, Fraction(1, 25)) as writer:
        for pts, image in enumerate(noise):
            writer.write(image, pts)
