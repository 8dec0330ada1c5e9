"""Videos and pictures whose headers state what cannot be: frames, or one clear line."""

import struct
import zlib

import numpy as np
import pytest
from head_clips import head_frames, write_clip

from bcdcodec.errors import VideoError
from bcdcodec.video import read_frames


def png(width: int, height: int, pixels: bytes = b"") -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND", b"")


def y4m(header: str, frames: int, size: int) -> bytes:
    return f"YUV4MPEG2 {header} Ip A1:1 C420\n".encode() + (b"FRAME\n" + bytes(size)) * frames


REFUSED = {
    "a picture of 2^62 pixels.png": png(2**31 - 1, 2**31 - 1),
    "a picture without pixels.png": png(0, 0),
    "tall.png": png(1, 65535, b"\0\1\2\3" * 65535),
    "wide.png": png(65535, 1, b"\0" + b"\1\2\3" * 65535),
    "large.gif": b"GIF89a" + struct.pack("<HHBBB", 65535, 65535, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff,"
    + struct.pack("<HHHHB", 0, 0, 65535, 65535, 0) + b"\x02\x02\x44\x01\0;",
    "tall at a billion frames a second.y4m": y4m("W1 H65535 F1000000000:1", 1, 65535 + 2 * 32768),
    "negative.y4m": y4m("W-64 H-64 F25:1", 3, 6144),
    "two billion wide.y4m": y4m("W2000000000 H2000000000 F25:1", 1, 1000),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_impossible_sizes_are_refused(tmp_path, name):
    (tmp_path / name).write_bytes(REFUSED[name])
    with pytest.raises(VideoError) as caught, read_frames(tmp_path / name, None, 32) as video:
        list(video)
    assert "\n" not in str(caught.value)


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """The same 6 frames as MP4 and as Matroska, bytes."""
    folder = tmp_path_factory.mktemp("videos")
    frames = head_frames(0, 6, 32)
    return {suffix: write_clip(folder / f"a.{suffix}", frames).read_bytes() for suffix in ("mp4", "mkv")}


@pytest.mark.parametrize(
    "box, offset, value",
    [
        (b"mvhd", 16, b"\xff\xff\xff\xff"),  # duration
        (b"mdhd", 16, b"\x80\0\0\1"),  # duration
        (b"stts", 8, b"\x3b\x9a\xca\0"),  # a billion frames
        (b"stts", 12, b"\xff\xff\xff\xfe"),  # a negative distance
        (b"tkhd", 76, b"\0\1\0\0\xff\xff\0\0"),  # 1 x 65535 pixels
        (b"avc1", 24, b"\0\1\xff\xff"),  # 1 x 65535 pixels
        (b"stsz", 8, b"\x3b\x9a\xca\0"),  # the sizes of a billion frames
    ],
)
def test_an_mp4_that_states_what_it_does_not_hold(videos, tmp_path, box, offset, value):
    data = bytearray(videos["mp4"])
    at = data.index(box) + 4 + offset
    data[at : at + len(value)] = value
    (tmp_path / "a.mp4").write_bytes(data)
    try:
        with read_frames(tmp_path / "a.mp4", None, 32) as video:
            assert len(list(video)) == 6
    except VideoError as error:
        assert box == b"stsz" and "\n" not in str(error)


@pytest.mark.parametrize("duration", [np.nan, -1e6, np.inf, 1e300])
def test_a_matroska_file_of_an_impossible_duration(videos, tmp_path, duration):
    data = videos["mkv"]
    at = data.index(b"\x44\x89\x88") + 3
    (tmp_path / "a.mkv").write_bytes(data[:at] + struct.pack(">d", duration) + data[at + 8 :])
    with read_frames(tmp_path / "a.mkv", None, 32) as video:
        assert len(list(video)) == 6
        assert video.info.duration_s is None or 0 <= video.info.duration_s < 1e9
