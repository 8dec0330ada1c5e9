"""Decoded frames to RGB in BT.709 primaries: matrices, ranges, transparency, and tone mapping of HDR video.

HDR means the transfer functions of ITU-R BT.2100, PQ (SMPTE ST 2084) and HLG (ARIB STD-B67). Reference white is
203 cd/m2 as in ITU-R BT.2408; what lies far below it keeps its brightness, what lies above is compressed.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from bcdcodec.errors import VideoError
from bcdcodec.video.scaling import BICUBIC

if TYPE_CHECKING:
    import av
    from av.video.reformatter import VideoReformatter

HD_HEIGHT = 720  # rows; from here on an untagged video is BT.709, below it BT.601
# Values of FFmpeg's AVColorSpace, AVColorPrimaries and AVColorTransferCharacteristic (ITU-T H.273).
UNTAGGED = 2
MATRIX_BT2020 = 9
PRIMARIES_BT2020, PRIMARIES_P3 = 9, 12
PQ, HLG = 16, 18

WHITE = 203.0  # cd/m2 of reference white
PEAK = 1000.0  # cd/m2, above which highlights are white: the brightest of phones and the reference display of HLG
KNEE = 0.8  # of reference white, up to which brightness is kept
DISPLAY_GAMMA = 2.4  # of ITU-R BT.1886

_TO_BT709 = {  # linear RGB of these primaries to linear RGB of BT.709, all with white point D65
    PRIMARIES_BT2020: ((1.6605, -0.5876, -0.0728), (-0.1246, 1.1329, -0.0083), (-0.0182, -0.1006, 1.1187)),
    PRIMARIES_P3: ((1.2249, -0.2247, 0.0), (-0.0420, 1.0419, 0.0), (-0.0197, -0.0786, 1.0979)),
}
_LUMA_BT2020 = (0.2627, 0.6780, 0.0593)
DYNAMIC_RANGE = {PQ: "PQ", HLG: "HLG"}


def hdr_name(frame: av.VideoFrame) -> str | None:
    """Returns PQ or HLG for a frame of that transfer function, None for standard dynamic range."""
    return DYNAMIC_RANGE.get(_transfer(frame))


def is_converted(frame: av.VideoFrame) -> bool:
    """Returns whether `to_bt709` changes pictures of this kind: HDR, or primaries of BT.2020 or Display P3."""
    return _transfer(frame) in DYNAMIC_RANGE or _primaries(frame) in _TO_BT709


def rgb_of(frame: av.VideoFrame, reformatter: VideoReformatter) -> np.ndarray:
    """Returns a frame as RGB [h, w, 3], on black where it is transparent.

    uint8; uint16 where `is_converted`, then still with the frame's own transfer function and primaries.
    VideoError for colours that cannot be converted.
    """
    import av

    # A palette may hold transparent colours, which the format does not tell.
    transparent = frame.format.has_palette or any(c.is_alpha for c in frame.format.components)
    deep = is_converted(frame)
    target = {(False, False): "rgb24", (False, True): "rgba", (True, False): "rgb48le", (True, True): "rgba64le"}
    try:
        rgb = reformatter.reformat(
            frame,
            width=frame.width,
            height=frame.height,
            format=target[deep, transparent],
            src_colorspace=_matrix(frame),
            interpolation=BICUBIC,
            threads=1,
        )
    except (av.FFmpegError, OSError, ValueError) as error:
        raise VideoError(
            f"pixels of format {frame.format.name} with colour matrix {frame.colorspace} cannot be converted to RGB: "
            f"{getattr(error, 'strerror', None) or error}"
        ) from None
    image = rgb.to_ndarray()
    return _on_black(image) if transparent else image


def to_bt709(image: np.ndarray, frame: av.VideoFrame) -> np.ndarray:
    """Returns what `rgb_of` gave of a frame, cropped or scaled [h, w, 3], as BT.709 uint8; others stay as they are."""
    return image if image.dtype == np.uint8 else _converted(image, _transfer(frame), _primaries(frame))


def rgb_to_bt709(image: np.ndarray, transfer: int, primaries: int) -> np.ndarray:
    """Returns RGB uint8 [h, w, 3] of these characteristics (ITU-T H.273) as BT.709 uint8 [h, w, 3]."""
    if transfer not in DYNAMIC_RANGE and primaries not in _TO_BT709:
        return image
    return _converted(image.astype(np.uint16) * 257, transfer, primaries)


def _converted(image: np.ndarray, transfer: int, primaries: int) -> np.ndarray:
    """Returns RGB uint16 [h, w, 3] as BT.709 uint8 [h, w, 3]."""
    light = _linear_table(transfer)[image]  # 1 is reference white
    if transfer == HLG:
        # The display's system gamma of 1.2 acts on luminance (ITU-R BT.2100, table 5).
        luminance = np.maximum(light @ np.float32(_LUMA_BT2020), 1e-6)
        light = light * (luminance**0.2)[..., None] * np.float32(PEAK / WHITE)
    if transfer in DYNAMIC_RANGE:
        brightest = np.maximum(light.max(-1, keepdims=True), 1e-6)
        light = light * (tone_curve(brightest) / brightest)
        primaries = primaries if primaries in _TO_BT709 else PRIMARIES_BT2020
    light = light @ np.float32(_TO_BT709[primaries]).T
    return np.rint(255 * np.clip(light, 0, 1) ** (1 / DISPLAY_GAMMA)).astype(np.uint8)


def tone_curve(light: np.ndarray) -> np.ndarray:
    """Returns light, in units of reference white, with all above KNEE compressed so that PEAK becomes 1."""
    peak = PEAK / WHITE
    above = np.clip((light - KNEE) / (peak - KNEE), 0, 1)
    slope = (peak - KNEE) / (1 - KNEE)  # so that the curve has no corner at KNEE
    return np.where(light <= KNEE, light, KNEE + (1 - KNEE) * slope * above / (1 + (slope - 1) * above))


@cache
def _linear_table(transfer: int) -> np.ndarray:
    """Returns float32 [65536]: code value to light, 1 being reference white; of HLG to light of the scene, 0 to 1."""
    v = np.arange(65536) / 65535
    if transfer == PQ:
        m1, m2, c1, c2, c3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128
        p = v ** (1 / m2)
        light = 10000 / WHITE * (np.maximum(p - c1, 0) / (c2 - c3 * p)) ** (1 / m1)
    elif transfer == HLG:
        a, b, c = 0.17883277, 0.28466892, 0.55991073
        light = np.where(v <= 0.5, v**2 / 3, (np.exp((v - c) / a) + b) / 12)
    else:
        light = v**DISPLAY_GAMMA
    return light.astype(np.float32)


def _transfer(frame: av.VideoFrame) -> int:
    return getattr(frame, "color_trc", UNTAGGED)


def _primaries(frame: av.VideoFrame) -> int:
    return getattr(frame, "color_primaries", UNTAGGED)


def _matrix(frame: av.VideoFrame) -> int | None:
    """Returns the colour matrix of a frame that does not state one, as swscale counts them; None: as it states."""
    if frame.colorspace != UNTAGGED:
        return None
    if _transfer(frame) in DYNAMIC_RANGE or _primaries(frame) == PRIMARIES_BT2020:
        return MATRIX_BT2020
    return 1 if frame.height >= HD_HEIGHT else None  # Colorspace.ITU709; swscale takes BT.601 by itself


def _on_black(image: np.ndarray) -> np.ndarray:
    """Returns RGBA uint8 or uint16 [h, w, 4] composited on black, [h, w, 3]."""
    most = np.iinfo(image.dtype).max
    wide = np.uint16 if most == 255 else np.uint32
    colour, alpha = image[..., :3].astype(wide), image[..., 3:]
    return ((colour * alpha + most // 2) // most).astype(image.dtype)
