"""Clips with beeps at known times, and where beeps are heard."""

from fractions import Fraction

import av
import numpy as np

RATE = 48000


def beeps(times, seconds, rate=RATE, length=0.05):
    """Silence with a beep of 1 kHz at each time in seconds, int16 [samples]."""
    pcm = np.zeros(int(seconds * rate), np.int16)
    tone = (np.sin(2 * np.pi * 1000 * np.arange(int(length * rate)) / rate) * 20000).astype(np.int16)
    for time in times:
        at = round(time * rate)
        pcm[at : at + len(tone)] = tone[: len(pcm) - at]
    return pcm


def make_loud_clip(
    path,
    pcm,
    frames=10,
    frame_rate=5,
    codec="pcm_s16le",
    rate=RATE,
    layout="mono",
    first_picture=0,
    silent=lambda time: False,
    pictures=None,
):
    """A clip of `frames` pictures whose first is shown at `first_picture` seconds, with sound from 0 on.

    `silent`: of a time in seconds, whether the packets there are left out, as broken captures do.
    """
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=frame_rate)
        size = 32 if pictures is None else pictures.shape[1]
        video.width, video.height, video.pix_fmt = size, size, "yuv420p"
        video.options = {"bf": "0", "preset": "ultrafast"}
        audio = container.add_stream(codec, rate=rate, layout=layout)
        step = rate // 50
        blocks = [(i, np.ascontiguousarray(pcm[i * step : (i + 1) * step])) for i in range(len(pcm) // step)]
        for i in range(frames):
            picture = (
                np.full((size, size, 3), 60 + i % 7, np.uint8) if pictures is None else pictures[i % len(pictures)]
            )
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = i + round(first_picture * frame_rate), Fraction(1, frame_rate)
            container.mux(video.encode(frame))
            while blocks and blocks[0][0] * step <= (frame.pts + 1) * rate / frame_rate:
                number, block = blocks.pop(0)
                if silent(number * step / rate):
                    continue
                sound = av.AudioFrame.from_ndarray(block[None], format="s16", layout="mono")
                sound.sample_rate, sound.pts, sound.time_base = rate, number * step, Fraction(1, rate)
                container.mux(audio.encode(sound))
        container.mux(video.encode(None))
        container.mux(audio.encode(None))
    return path


def heard_beeps(path):
    """When beeps begin in a file's sound, seconds on the clock of its pictures."""
    with av.open(str(path)) as container:
        frames = list(container.decode(container.streams.audio[0]))
    pieces = [(float(f.pts * f.time_base), np.abs(f.to_ndarray()).max(0), f) for f in frames]
    found, last = [], -1.0
    for start, loud, frame in pieces:
        threshold = 5000 if frame.format.name.startswith("s16") else 5000 / 32768
        for at in np.flatnonzero(loud > threshold):
            time = start + at / frame.sample_rate
            if time - last > 0.2:
                found.append(time)
            last = time
    return found


def packets_of(path):
    """The encoded sound of a file."""
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(container.streams.audio[0]) if packet.size]
