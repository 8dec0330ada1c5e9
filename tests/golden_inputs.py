"""What the `bcd` command is given for the recorded hashes: drawn faces, a tone, clips and sprite sheets."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from av import AudioFrame


def face(seed: int, frames: int, height: int, width: int) -> np.ndarray:
    """Frames of a drawn face that moves, looks and speaks, uint8 [t, h, w, 3]; `seed`: its colours."""
    rng = np.random.default_rng(seed)
    back, skin, hair, cloth = rng.uniform(20, 235, (4, 3))
    scenery = rng.uniform(-25, 25, (8, 8, 3)).repeat(height // 8, 0).repeat(width // 8, 1)
    y, x = np.mgrid[0:height, 0:width] / height
    x -= (width / height - 1) / 2  # the face in the middle

    def ellipse(cx: float, cy: float, rx: float, ry: float) -> np.ndarray:
        inside = 1 - ((x - cx) / rx) ** 2 - ((y - cy) / ry) ** 2
        return np.clip(inside * min(rx, ry) * 25 + 0.5, 0, 1)[..., None]

    clip = []
    for t in range(frames):
        angle = 2 * np.pi * t / 12
        cx, cy = 0.5 + 0.04 * np.sin(angle), 0.48 + 0.02 * np.sin(2 * angle)
        gaze, mouth = np.cos(angle), np.sin(1.5 * angle)
        layers = [
            (ellipse(0.5, 1.05, 0.45, 0.3), cloth),
            (ellipse(cx, cy - 0.06, 0.25, 0.32), hair),
            (ellipse(cx, cy, 0.2, 0.27), skin),
            (ellipse(cx, cy + 0.13, 0.07, 0.012 + 0.025 * abs(mouth)), np.array([120.0, 30.0, 40.0])),
        ]
        for side in (-0.08, 0.08):
            layers.append((ellipse(cx + side, cy - 0.06, 0.035, 0.02), np.full(3, 240.0)))
            layers.append((ellipse(cx + side + 0.01 * gaze, cy - 0.06, 0.015, 0.018), 0.3 * hair))
        picture = back + scenery
        for mask, colour in layers:
            picture = picture + mask * (colour - picture)
        clip.append(np.clip(picture, 0, 255).round().astype(np.uint8))
    return np.stack(clip)


def tone(seconds: float, rate: int = 48000) -> np.ndarray:
    """A tone that rises from 200 Hz, int16 [samples]."""
    t = np.arange(round(seconds * rate)) / rate
    return (12000 * np.sin(2 * np.pi * (200 + 300 * t) * t)).astype(np.int16)


def sound_frames(sound: np.ndarray) -> Iterator[AudioFrame]:
    """Mono sound of 48 kHz, int16 [samples], in frames of 20 ms as PyAV encodes them."""
    import av

    for start in range(0, len(sound), 960):
        block = np.ascontiguousarray(sound[None, start : start + 960])
        frame = av.AudioFrame.from_ndarray(block, format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 48000, start, Fraction(1, 48000)
        yield frame


def write_pngs(folder: Path, frames: np.ndarray) -> str:
    """A folder of PNGs, which the commands take for a clip of 25 frames a second."""
    folder.mkdir()
    for number, frame in enumerate(frames):
        Image.fromarray(frame).save(folder / f"{number:04d}.png")
    return str(folder)


def write_mkv(path: Path, frames: np.ndarray, pts: list[int], sound: np.ndarray | None = None) -> str:
    """A lossless clip, FFV1 and PCM of 48 kHz; `pts` in ticks of 1/50 s."""
    import av

    tick = Fraction(1, 50)
    with av.open(str(path), "w") as container:
        video = container.add_stream("ffv1", rate=25)
        video.height, video.width, video.pix_fmt = *frames.shape[1:3], "bgr0"
        video.time_base = video.codec_context.time_base = tick
        audio = None if sound is None else container.add_stream("pcm_s16le", rate=48000, layout="mono")
        packets = []
        for picture, at in zip(frames, pts, strict=True):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="bgr0")
            frame.pts, frame.time_base = at, tick
            packets += video.encode(frame)
        packets += video.encode(None)
        if audio is not None:
            for block in sound_frames(sound):
                packets += audio.encode(block)
            packets += audio.encode(None)
        for packet in sorted(packets, key=lambda packet: packet.dts * packet.time_base):
            container.mux(packet)
    return str(path)


def write_sheets(folder: Path) -> str:
    """Sprite sheets, laid out as the Sprites dataset, of coloured boxes that move with the cell's row and column."""
    boxes = [
        ("body", 20, 20, 32, 24), ("bottomwear", 40, 22, 10, 20), ("topwear", 28, 20, 12, 12), ("hair", 12, 26, 8, 12)
    ]  # fmt: skip
    for number, (layer, top, left, height, width) in enumerate(boxes):
        (folder / layer).mkdir(parents=True)
        for choice in range(6):
            colour = (40 * choice + 40, 255 - 40 * choice, 60 * number, 255)
            sheet = np.zeros((21, 64, 13, 64, 4), np.uint8)
            for row in range(21):
                for column in range(13):
                    y, x = top + row % 5 - 2, left + column - 6
                    sheet[row, y : y + height, column, x : x + width] = colour
            Image.fromarray(sheet.reshape(21 * 64, 13 * 64, 4)).save(folder / layer / f"{choice}.png")
    (folder / "shoes").mkdir()
    Image.fromarray(np.zeros((21 * 64, 13 * 64, 4), np.uint8)).save(folder / "shoes" / "1.png")
    return str(folder)
