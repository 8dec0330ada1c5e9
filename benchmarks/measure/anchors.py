"""The anchors: classical codecs at the settings of a patient user, as elementary streams, and a command of the user's.

What an anchor makes of a clip does not depend on the model under test. So its rows are kept by the hash of the clip's
pictures and of all settings, in a folder that all runs share.
"""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import subprocess
import tempfile
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from bcdcodec.errors import BcdError
from bcdcodec.video.av1 import scheduling_kept
from bcdcodec.video.scaling import resize

FORMAT = "yuv420p"
COMMAND_QUALITIES = (32, 37, 42, 47)
PLACES = ("input", "output", "width", "height", "rate", "frames", "quality")  # in the user's command
_START_CODE = re.compile(b"\x00\x00\x00\x01|\x00\x00\x01")
_TEMPORAL_DELIMITER = b"\x12\x00"
_H264_SEI = 6


@dataclass(frozen=True)
class Anchor:
    """A codec, its options and its ladder; the last rung is the coarsest quality that it has."""

    name: str
    encoder: str  # FFmpeg's name, or the command
    decoder: str  # FFmpeg's name; empty: found by FFmpeg from the command's output
    options: str  # key=value, by spaces
    qualities: tuple[int, ...]  # crf, or {quality} of the command; best first

    @property
    def settings(self) -> str:
        """All options in words, for reports and for the cache."""
        return f"{self.encoder} {self.options} quality={','.join(map(str, self.qualities))}".replace("  ", " ")


# One keyframe at the start, slow presets, long look-ahead with B-frames or their like, tuned for PSNR (the default
# of SVT-AV1 and VP9). One thread: slices and frame threads cost bits. x264 and x265 end at crf 51, the others at 63.
_X264 = "preset=veryslow tune=psnr g=9999 keyint_min=9999 sc_threshold=0 bf=8 threads=1"
_X265 = "preset=slow tune=psnr threads=1 x265-params=log-level=none:info=0:keyint=-1:scenecut=0:bframes=8:frame-threads=1:pools=none"  # noqa: E501
_VP9 = "deadline=good cpu-used=0 b=0 g=9999 lag-in-frames=25 auto-alt-ref=1 threads=1"
ANCHORS = {
    a.name: a
    for a in (
        Anchor("x264", "libx264", "h264", _X264, (33, 39, 45, 51)),
        Anchor("x265", "libx265", "hevc", _X265, (33, 39, 45, 51)),
        Anchor("svtav1", "libsvtav1", "libdav1d", "preset=2 svtav1-params=keyint=-1:scd=0:lp=1", (39, 47, 55, 63)),
        Anchor("vp9", "libvpx-vp9", "vp9", _VP9, (39, 47, 55, 63)),
    )
}


@dataclass(frozen=True)
class Coded:
    """What an anchor made of a clip."""

    stream_bytes: int  # of the elementary stream: parameter sets and one start code a unit, no container, no comments
    keyframes: int
    frames: np.ndarray  # uint8 [t, size, size, 3], decoded and brought to the size of the source


def anchors(names: str, command: str = "", qualities: tuple[int, ...] = COMMAND_QUALITIES) -> list[Anchor]:
    """The codecs of a comma-separated list, and the user's command. Raises BcdError for one that is not there."""
    import av

    found = []
    for name in filter(None, (n.strip() for n in names.split(","))):
        if name not in ANCHORS:
            raise BcdError(f"unknown codec {name!r} in --against: known are {', '.join(ANCHORS)}")
        anchor = ANCHORS[name]
        for codec, mode in ((anchor.encoder, "w"), (anchor.decoder, "r")):
            try:
                av.Codec(codec, mode)
            except ValueError:
                raise BcdError(f"this PyAV has no {codec}, which {name} needs: leave it out of --against") from None
        found.append(anchor)
    if command:
        missing = [place for place in ("input", "output", "quality") if f"{{{place}}}" not in command]
        if missing:
            raise BcdError(f"--anchor-command {command!r} has no {{{missing[0]}}}: it may have {', '.join(PLACES)}")
        found.append(Anchor(Path(shlex.split(command)[0]).stem, command, "", "", qualities))
    return found


def anchor_key(anchor: Anchor, clip: np.ndarray, rate: Fraction, judges: str) -> str:
    """What the rows of an anchor on a clip uint8 [t, h, w, 3] depend on, as a hash; `judges`: names of the measures."""
    import av

    digest = hashlib.sha256(np.ascontiguousarray(clip).tobytes())
    digest.update(f"{clip.shape} {rate} {anchor.settings} {av.library_versions} {judges}".encode())
    return digest.hexdigest()


def code(anchor: Anchor, clip: np.ndarray, rate: Fraction, quality: int, side: int) -> Coded:
    """Code a clip uint8 [t, size, size, 3] at `rate` frames a second, scaled to `side` pixels, and decode it again.

    `side` is even. Raises BcdError when the command fails, frames get lost or there is more than one keyframe.
    """
    if not anchor.decoder:
        return _by_command(anchor, clip, rate, quality, side)
    import av

    os.environ.setdefault("SVT_LOG", "1")  # errors only
    encoder = av.CodecContext.create(anchor.encoder, "w")
    encoder.width = encoder.height = side
    encoder.pix_fmt, encoder.framerate, encoder.time_base = FORMAT, rate, 1 / rate
    encoder.options = dict(o.split("=", 1) for o in anchor.options.split()) | {"crf": str(quality)}
    packets = []
    with scheduling_kept():
        for i, frame in enumerate(_yuv(clip, side)):
            frame.pts, frame.time_base = i, 1 / rate
            packets += encoder.encode(frame)
        packets += encoder.encode(None)

    decoder, decoded, stream_bytes = av.CodecContext.create(anchor.decoder, "r"), [], 0
    for packet in packets:
        data = _bare(bytes(packet), anchor.decoder)
        stream_bytes += len(data)
        bare = av.Packet(data)
        bare.pts, bare.dts, bare.time_base = packet.pts, packet.dts, packet.time_base
        decoded += decoder.decode(bare)
    decoded += decoder.decode(None)
    keyframes = sum(packet.is_keyframe for packet in packets)
    if len(decoded) != len(clip) or keyframes != 1:
        raise BcdError(
            f"{anchor.name} crf {quality}: {len(decoded)} frames and {keyframes} keyframes came back, "
            f"expected {len(clip)} and 1"
        )
    decoded.sort(key=lambda frame: frame.pts)
    return Coded(stream_bytes, keyframes, _rgb(decoded, clip.shape[1]))


def _by_command(anchor: Anchor, clip: np.ndarray, rate: Fraction, quality: int, side: int) -> Coded:
    """The user's encoder on raw 8-bit YUV 4:2:0; what it writes is read by FFmpeg, which decodes VVC too."""
    import av

    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "clip.yuv", Path(folder) / "clip.266"
        source.write_bytes(b"".join(frame.to_ndarray().tobytes() for frame in _yuv(clip, side)))
        values = {"input": source, "output": target, "width": side, "height": side, "quality": quality}
        values |= {"rate": f"{float(rate):g}", "frames": len(clip)}
        words = [word.format(**values) for word in shlex.split(anchor.encoder)]
        try:
            done = subprocess.run(words, capture_output=True, text=True, check=False)
        except OSError as error:
            raise BcdError(f"cannot run {words[0]} of --anchor-command: {error.strerror}") from error
        if done.returncode or not target.exists():
            last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:] or ["it wrote nothing"]
            raise BcdError(f"--anchor-command {words[0]} failed with exit code {done.returncode}: {last[0]}")
        try:
            with av.open(str(target)) as stream:
                decoded = list(stream.decode(video=0))
        except av.error.FFmpegError as error:
            raise BcdError(f"what --anchor-command {words[0]} wrote cannot be decoded: {error}") from error
        if len(decoded) != len(clip):
            raise BcdError(f"--anchor-command {words[0]}: {len(decoded)} frames came back, expected {len(clip)}")
        return Coded(target.stat().st_size, sum(f.key_frame for f in decoded), _rgb(decoded, clip.shape[1]))


def _yuv(clip: np.ndarray, side: int) -> list:
    import av

    frames = (av.VideoFrame.from_ndarray(np.ascontiguousarray(resize(p, side)), format="rgb24") for p in clip)
    return [frame.reformat(format=FORMAT, interpolation="BICUBIC") for frame in frames]


def _rgb(frames: list, size: int) -> np.ndarray:
    pictures = (frame.reformat(format="rgb24", interpolation="BICUBIC").to_ndarray() for frame in frames)
    return np.stack([resize(picture, size) for picture in pictures])


def _bare(data: bytes, decoder: str) -> bytes:
    """A packet without what a file would not store: AV1's temporal delimiter, x264's note on its own settings."""
    if decoder == "libdav1d":
        return data.removeprefix(_TEMPORAL_DELIMITER)
    if decoder == "h264":
        units = [unit for unit in _START_CODE.split(data)[1:] if unit[0] & 31 != _H264_SEI]
        return b"".join(b"\x00\x00\x01" + unit for unit in units)
    return data
