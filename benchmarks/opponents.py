"""Classical codecs through PyAV at the settings of a patient user, as elementary streams in memory."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from bcdcodec.errors import BcdError
from bcdcodec.video.scaling import resize

FORMAT = "yuv420p"
_START_CODE = re.compile(b"\x00\x00\x00\x01|\x00\x00\x01")
_TEMPORAL_DELIMITER = b"\x12\x00"
_H264_SEI = 6


@dataclass(frozen=True)
class Opponent:
    """A codec, its options and its ladder; the last rung is the coarsest quality that it has."""

    name: str
    encoder: str  # FFmpeg's names
    decoder: str
    options: tuple[tuple[str, str], ...]
    qualities: tuple[int, ...]  # crf, best first

    @property
    def settings(self) -> str:
        """All options in words, for reports."""
        options = " ".join(f"{key}={value}" for key, value in self.options)
        return f"{self.encoder} {options} crf={','.join(map(str, self.qualities))}"


# One keyframe at the start, slow presets, long look-ahead with B-frames or their like, tuned for PSNR (the default
# of SVT-AV1 and VP9). One thread: slices and frame threads cost bits. x264 and x265 end at crf 51, the others at 63.
OPPONENTS = {
    o.name: o
    for o in (
        Opponent(
            "x264",
            "libx264",
            "h264",
            (
                ("preset", "veryslow"),
                ("tune", "psnr"),
                ("g", "9999"),
                ("keyint_min", "9999"),
                ("sc_threshold", "0"),
                ("bf", "8"),
                ("threads", "1"),
            ),
            (33, 39, 45, 51),
        ),
        Opponent(
            "x265",
            "libx265",
            "hevc",
            (
                ("preset", "slow"),
                ("tune", "psnr"),
                ("threads", "1"),
                ("x265-params", "log-level=none:info=0:keyint=-1:scenecut=0:bframes=8:frame-threads=1:pools=none"),
            ),
            (33, 39, 45, 51),
        ),
        Opponent(
            "svtav1",
            "libsvtav1",
            "libdav1d",
            (("preset", "2"), ("svtav1-params", "keyint=-1:scd=0:lp=1")),
            (39, 47, 55, 63),
        ),
        Opponent(
            "vp9",
            "libvpx-vp9",
            "vp9",
            (
                ("deadline", "good"),
                ("cpu-used", "0"),
                ("b", "0"),
                ("g", "9999"),
                ("lag-in-frames", "25"),
                ("auto-alt-ref", "1"),
                ("threads", "1"),
            ),
            (39, 47, 55, 63),
        ),
    )
}


@dataclass(frozen=True)
class Coded:
    """What a classical codec made of a clip."""

    stream_bytes: int  # of the elementary stream: parameter sets and one start code a unit, no container, no comments
    keyframes: int
    frames: np.ndarray  # uint8 [t, size, size, 3], decoded and brought to the size of the source


def opponents(names: str) -> list[Opponent]:
    """The codecs of a comma-separated list. Raises BcdError for an unknown name or one this PyAV cannot encode."""
    import av

    found = []
    for name in filter(None, (n.strip() for n in names.split(","))):
        if name not in OPPONENTS:
            raise BcdError(f"unknown codec {name!r} in --against: known are {', '.join(OPPONENTS)}")
        opponent = OPPONENTS[name]
        for codec, mode in ((opponent.encoder, "w"), (opponent.decoder, "r")):
            try:
                av.Codec(codec, mode)
            except ValueError:
                raise BcdError(f"this PyAV has no {codec}, which {name} needs: leave it out of --against") from None
        found.append(opponent)
    return found


def code(opponent: Opponent, clip: np.ndarray, rate: Fraction, quality: int, side: int) -> Coded:
    """Code a clip uint8 [t, size, size, 3] at `rate` frames a second, scaled to `side` pixels, and decode it again.

    `side` is even. Raises BcdError when frames get lost or there is more than one keyframe.
    """
    import av

    os.environ.setdefault("SVT_LOG", "1")  # errors only
    size = clip.shape[1]
    encoder = av.CodecContext.create(opponent.encoder, "w")
    encoder.width = encoder.height = side
    encoder.pix_fmt, encoder.framerate, encoder.time_base = FORMAT, rate, 1 / rate
    encoder.options = dict(opponent.options) | {"crf": str(quality)}
    packets = []
    for i, picture in enumerate(clip):
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(resize(picture, side)), format="rgb24")
        frame = frame.reformat(format=FORMAT, interpolation="BICUBIC")
        frame.pts, frame.time_base = i, 1 / rate
        packets += encoder.encode(frame)
    packets += encoder.encode(None)

    decoder, decoded, stream_bytes = av.CodecContext.create(opponent.decoder, "r"), [], 0
    for packet in packets:
        data = _bare(bytes(packet), opponent.decoder)
        stream_bytes += len(data)
        bare = av.Packet(data)
        bare.pts, bare.dts, bare.time_base = packet.pts, packet.dts, packet.time_base
        decoded += decoder.decode(bare)
    decoded += decoder.decode(None)
    keyframes = sum(packet.is_keyframe for packet in packets)
    if len(decoded) != len(clip) or keyframes != 1:
        raise BcdError(
            f"{opponent.name} crf {quality}: {len(decoded)} frames and {keyframes} keyframes came back, "
            f"expected {len(clip)} and 1"
        )
    decoded.sort(key=lambda frame: frame.pts)
    frames = [resize(frame.reformat(format="rgb24", interpolation="BICUBIC").to_ndarray(), size) for frame in decoded]
    return Coded(stream_bytes, keyframes, np.stack(frames))


def _bare(data: bytes, decoder: str) -> bytes:
    """A packet without what a file would not store: AV1's temporal delimiter, x264's note on its own settings."""
    if decoder == "libdav1d":
        return data.removeprefix(_TEMPORAL_DELIMITER)
    if decoder == "h264":
        units = [unit for unit in _START_CODE.split(data)[1:] if unit[0] & 31 != _H264_SEI]
        return b"".join(b"\x00\x00\x01" + unit for unit in units)
    return data
