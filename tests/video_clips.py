"""Small clips for the tests of video, made with PyAV itself where the reader is tested."""

import struct
from fractions import Fraction

import av
import numpy as np
from av.stream import Disposition

from bcdcodec.video import read_frames, write_video

RED, GREEN, BLUE, GREY = (220, 30, 30), (30, 200, 30), (30, 30, 220), (128, 128, 128)
TICK = Fraction(1, 25)


def quadrants(width, height, brightness=0):
    """A picture whose four corners differ, so that every turn and mirror of it shows."""
    image = np.empty((height, width, 3), np.uint8)
    image[: height // 2, : width // 2] = RED
    image[: height // 2, width // 2 :] = GREEN
    image[height // 2 :, : width // 2] = BLUE
    image[height // 2 :, width // 2 :] = GREY
    return np.clip(image.astype(int) + brightness, 0, 255).astype(np.uint8)


def corner_colours(image):
    """The mean colour of each quadrant's middle: top left, top right, bottom left, right."""
    size = image.shape[0]
    a, b = slice(size // 8, size * 3 // 8), slice(size * 5 // 8, size * 7 // 8)
    return np.array([image[y, x].mean((0, 1)) for y in (a, b) for x in (a, b)])


def make_clip(path, pts, time_base=TICK, width=64, height=48, muxer=None, **stream_attributes):
    """Writes quadrants with PyAV itself, so that the reader is not tested by our writer."""
    container = av.open(str(path), "w", format=muxer, container_options={"movflags": "faststart"})
    stream = container.add_stream("libx264", rate=25)
    stream.width, stream.height, stream.pix_fmt = width, height, "yuv444p"
    stream.time_base = stream.codec_context.time_base = time_base
    stream.options = {"crf": "4", "bf": "0", "g": "4"}
    for name, value in stream_attributes.items():
        setattr(stream.codec_context, name, value)
    for i, tick in enumerate(pts):
        frame = av.VideoFrame.from_ndarray(quadrants(width, height, i % 7), format="rgb24")
        frame.pts, frame.time_base = tick, time_base
        for packet in stream.encode(frame):
            container.mux(packet)
    for packet in stream.encode(None):
        container.mux(packet)
    container.close()
    return path


def without_pictures(path):
    """Writes a good header over pictures of nothing."""
    data = bytearray(make_clip(path, range(3)).read_bytes())
    start = data.index(b"mdat") + 4
    data[start:] = bytes(len(data) - start)
    path.write_bytes(data)
    return path


def make_audio(path, cover=False):
    """Writes silence, with a cover picture if asked."""
    container = av.open(str(path), "w")
    stream = container.add_stream("libmp3lame" if cover else "aac", rate=16000)
    stream.layout = "mono"
    packets = []
    if cover:
        picture = container.add_stream("png", rate=1)
        picture.width = picture.height = 16
        picture.pix_fmt = "rgb24"
        picture.disposition = Disposition.attached_pic
        image = av.VideoFrame.from_ndarray(quadrants(16, 16), format="rgb24")
        packets += [*picture.encode(image), *picture.encode(None)]
    for i in range(8):
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 576), np.float32), "fltp", "mono")
        frame.sample_rate, frame.pts = 16000, 576 * i
        packets += stream.encode(frame)
    for packet in [*packets, *stream.encode(None)]:
        container.mux(packet)
    container.close()
    return path


def turn_mp4(path, matrix):
    """Sets the display matrix `a b c d` in the track header of an mp4 file."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40
    a, b, c, d = (value << 16 for value in matrix)
    data[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)


def read_all(source, size=32, crop=None):
    with read_frames(source, crop, size) as reader:
        frames = list(reader)
    return [pts for pts, _ in frames], [image for _, image in frames], reader


def written(path, pts, time_base=TICK, size=(32, 32), duration=None, metadata=None):
    """Writes quadrants with our writer."""
    width, height = size
    with write_video(path, width, height, time_base, metadata) as writer:
        for i, tick in enumerate(pts):
            writer.write(quadrants(width, height, i % 7), tick, duration)
    return path
