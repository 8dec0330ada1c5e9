"""Reference pictures as AV1 temporal units: encoded by SVT-AV1 and decoded by dav1d, both inside PyAV.

What a unit may hold, and how its planes become RGB, is format-spec.md, section 16.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from bcdcodec.container.av1 import KeyUnit, parse_inter_unit, parse_key_unit
from bcdcodec.container.picture import MAX_PICTURE_SIDE, Picture, check_picture
from bcdcodec.errors import BcdError, FormatError, VideoError

if TYPE_CHECKING:
    import av

ENCODER, DECODER = "libsvtav1", "libdav1d"
MIN_ENCODED_SIDE = 64  # pixels: SVT-AV1 takes no smaller picture
PRESET = 2  # of SVT-AV1, 0 (slow) to 13; at 4 a picture of the same bytes is .3 dB worse
QUICK_PRESET = 8  # for searches: a fifteenth of the time
MAX_QUANTISER = 255  # AV1's base_q_idx
FINEST_QP, COARSEST_QP = 1, 61  # SVT-AV1's qp, where each is 4 steps of the quantiser; FFmpeg takes 0 for none given
MAX_OFFSET = 63  # of the quantiser from that of the qp, as SVT-AV1 takes it
FIRST_QUANTISER = 120  # where the search for a budget begins
DECAY = 0.014  # of the logarithm of the bytes with each step of the quantiser, about
ENOUGH = 0.985  # of a budget, beyond which no finer quantiser is looked for
MAX_GUESSES = 4  # by that decay, before bisection
SHORTER = 7  # steps of the quantiser by which a picture of as many bytes is finer at PRESET than at QUICK_PRESET
TEMPORAL_DELIMITER = b"\x12\x00"  # an OBU that starts every temporal unit in a stream; not stored

# Constant quantisers, one thread, full range; every frame refers only to the ones before it. The key frame of two
# frames is then the same, byte for byte, as that of one.
_SETTINGS = "lp=1:color-range=1:pred-struct=1:aq-mode=0:enable-overlays=0:use-fixed-qindex-offsets=1"
_LEVELS = 6  # of SVT-AV1's temporal hierarchy, each with its offset

Planes = tuple[np.ndarray, np.ndarray, np.ndarray]  # Y [h, w], Cb and Cr [(h + 1) / 2, (w + 1) / 2], all uint8


def encode_key(image: np.ndarray, budget: int, preset: int = PRESET, rough: Picture | None = None) -> Picture:
    """Return an image uint8 [h, w, 3] as a key frame of at most `budget` bytes, as fine as they allow.

    Where even the coarsest quantiser needs more bytes, the picture is that. `preset`: of the encoder, 0 to 13. `rough`:
    the same picture at QUICK_PRESET, which saves looking for the quantiser. Raises VideoError if the image cannot be
    coded or PyAV has no AV1 encoder.
    """
    planes = [to_planes(image)]
    height, width = image.shape[:2]

    def unit(quantiser: int) -> bytes:
        return _encode(planes, quantiser, quantiser, preset)[0]

    if rough is None and preset < QUICK_PRESET:
        rough = encode_key(image, budget, QUICK_PRESET)
    first = FIRST_QUANTISER if rough is None else quantiser_of(rough) - SHORTER
    return Picture(width, height, _finest(unit, budget, 1, MAX_QUANTISER, first))


def rough_key(image: np.ndarray, key: Picture) -> Picture:
    """Return an image uint8 [h, w, 3] as a key frame with the quantiser of another. Raises as `encode_key`."""
    quantiser = quantiser_of(key)
    return Picture(key.width, key.height, _encode([to_planes(image)], quantiser, quantiser, QUICK_PRESET)[0])


def quantiser_of(picture: Picture) -> int:
    """Return the quantiser of a key frame, 1 to 255."""
    return parse_key_unit(picture.unit, picture.width, picture.height).frame.quantiser


def encode_inter(
    image: np.ndarray,
    base_image: np.ndarray,
    base: Picture,
    base_number: int,
    budget: int,
    preset: int = PRESET,
    rough: Picture | None = None,
) -> Picture:
    """Return an image uint8 [h, w, 3] as an inter frame of at most `budget` bytes that refers to a key frame.

    `base`: what `encode_key` made of `base_image` at the same preset, the picture of content `base_number`. `rough`:
    the same picture at QUICK_PRESET, which saves looking for the quantiser. Raises VideoError where the base was not
    made so, or by another version of the encoder, and FormatError where the encoder uses what the format does not hold.
    """
    if image.shape != base_image.shape:
        raise VideoError(f"the image has shape {list(image.shape)}, its base {list(base_image.shape)}")
    key = parse_key_unit(base.unit, base.width, base.height)
    planes = [to_planes(base_image), to_planes(image)]
    first = key.frame.quantiser

    def unit(quantiser: int) -> bytes:
        units = _encode(planes, first, quantiser, preset)
        if units[0] != base.unit:
            raise VideoError("the base of an inter frame was made by another encoder or of another image")
        parse_inter_unit(units[1], key)
        return units[1]

    nearest = 4 * _qp(first)
    finest, coarsest = max(1, nearest - MAX_OFFSET), min(MAX_QUANTISER, nearest + MAX_OFFSET)
    begin = FIRST_QUANTISER if rough is None else parse_inter_unit(rough.unit, key).quantiser - SHORTER
    return Picture(base.width, base.height, _finest(unit, budget, finest, coarsest, begin), base_number)


def decode_picture(picture: Picture, base: Picture | None = None) -> np.ndarray:
    """Return the image uint8 [h, w, 3] that a picture holds; an inter frame needs the key frame that it refers to.

    Exact: every decoder gives the same. Raises FormatError and LimitError for a unit that this format does not hold,
    before the decoder sees it, or that the decoder refuses; VideoError if PyAV has no AV1 decoder.
    """
    return to_rgb(decode_planes(picture, base))


def decode_planes(picture: Picture, base: Picture | None = None) -> Planes:
    """Return the planes of a picture as AV1 decodes them. Raises as `decode_picture`."""
    keys: dict[int, KeyUnit] = {}
    units = [picture.unit]
    number = 0 if picture.base is None else picture.base + 1
    if picture.base is not None:
        if base is None or base.base is not None:
            raise FormatError(f"the picture refers to that of content {picture.base}, expected a key frame of it")
        keys[picture.base] = check_picture(picture.base, base, {})
        units.insert(0, base.unit)
    check_picture(number, picture, keys)
    return _decode(units, picture.width, picture.height)


def to_planes(image: np.ndarray) -> Planes:
    """Return an image uint8 [h, w, 3] as Y, Cb and Cr: BT.601, full range, chroma the mean of 2x2 pixels.

    Raises VideoError for sizes that cannot be coded.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise VideoError(f"the image is {image.dtype} {list(image.shape)}, expected uint8 [h, w, 3]")
    height, width = image.shape[:2]
    if min(height, width) < MIN_ENCODED_SIDE or max(height, width) > MAX_PICTURE_SIDE or height % 2 or width % 2:
        allowed = f"even numbers from {MIN_ENCODED_SIDE} to {MAX_PICTURE_SIDE}"
        raise VideoError(f"a reference picture is {width} x {height} pixels, expected {allowed}")
    r, g, b = np.moveaxis(image.astype(np.float64), 2, 0)
    y = 0.299 * r + 0.587 * g + 0.114 * b
    chroma = ((b - y) / 1.772, (r - y) / 1.402)
    halved = (c.reshape(height // 2, 2, width // 2, 2).mean((1, 3)) + 128 for c in chroma)
    return tuple(np.clip(np.rint(plane), 0, 255).astype(np.uint8) for plane in (y, *halved))


def to_rgb(planes: Planes) -> np.ndarray:
    """Return the image uint8 [h, w, 3] of planes Y, Cb and Cr, in integers (format-spec.md, section 16)."""
    y = planes[0].astype(np.int32)
    height, width = y.shape
    cb, cr = (_enlarged_chroma(plane)[:height, :width] - 2048 for plane in planes[1:])
    half = 1 << 19
    r = y + (91881 * cr + half >> 20)
    g = y - (22554 * cb + 46802 * cr + half >> 20)
    b = y + (116130 * cb + half >> 20)
    return np.clip(np.stack([r, g, b], 2), 0, 255).astype(np.uint8)


def _enlarged_chroma(plane: np.ndarray) -> np.ndarray:
    """Return 16 times a plane uint8 [h, w] at twice its size, int32 [2 h, 2 w]: weights 3 and 1 on each axis."""
    for axis in (0, 1):
        plane = plane.astype(np.int32)
        before = np.concatenate([plane.take([0], axis), plane], axis).take(range(plane.shape[axis]), axis)
        after = np.concatenate([plane, plane.take([-1], axis)], axis).take(range(1, plane.shape[axis] + 1), axis)
        pairs = np.stack([3 * plane + before, 3 * plane + after], axis + 1)
        shape = list(plane.shape)
        shape[axis] *= 2
        plane = pairs.reshape(shape)
    return plane


def _finest(encode: Callable[[int], bytes], budget: int, finest: int, coarsest: int, first: int) -> bytes:
    """Return the unit of the finest quantiser that keeps the budget, or of one that uses nearly all of it.

    The coarsest one's if none keeps it. The search begins at `first`. Bytes fall about exponentially with the
    quantiser; so the next one is guessed.
    """
    too_large, fits, best = finest - 1, coarsest + 1, None
    quantiser = min(max(first, finest), coarsest)
    tries = 0
    while fits - too_large > 1:
        unit = encode(quantiser)
        tries += 1
        if len(unit) > budget:
            too_large = quantiser
        else:
            fits, best = quantiser, unit
            if len(unit) >= ENOUGH * budget:
                break
        quantiser += round(math.log(len(unit) / budget) / DECAY)
        if tries > MAX_GUESSES or not too_large < quantiser < fits:
            quantiser = (too_large + fits) // 2 if tries > MAX_GUESSES else min(max(quantiser, too_large + 1), fits - 1)
    return unit if best is None else best


def _encode(frames: list[Planes], key_quantiser: int, quantiser: int, preset: int = PRESET) -> list[bytes]:
    """Return the units of one or two frames: a key frame, and an inter frame that refers to it."""
    import av

    os.environ.setdefault("SVT_LOG", "0")  # else SVT-AV1 prints to stderr
    height, width = frames[0][0].shape
    qp = _qp(key_quantiser)
    offsets = ",".join([str(quantiser - 4 * qp)] * _LEVELS)
    settings = f"{_SETTINGS}:key-frame-qindex-offset={key_quantiser - 4 * qp}:qindex-offsets=[{offsets}]"
    try:
        encoder = av.CodecContext.create(ENCODER, "w")
        encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
        encoder.time_base, encoder.framerate = Fraction(1, 25), Fraction(25)
        encoder.options = {"preset": str(preset), "crf": str(qp), "svtav1-params": settings}
        with scheduling_kept():
            encoder.open()
        packets = []
        for i, planes in enumerate(frames):
            packets += encoder.encode(_video_frame(planes, i))
        packets += encoder.encode(None)
    except (av.FFmpegError, ValueError) as error:
        raise VideoError(
            f"this PyAV cannot encode AV1 by {ENCODER} ({error}): install a wheel of PyAV 17 or newer"
        ) from None
    units = [bytes(packet).removeprefix(TEMPORAL_DELIMITER) for packet in packets]
    if len(units) != len(frames):
        raise VideoError(f"{ENCODER} made {len(units)} units of {len(frames)} frames")
    try:
        found = parse_key_unit(units[0], width, height).frame.quantiser
    except BcdError as error:
        raise VideoError(f"this version of {ENCODER} makes units that the format does not hold: {error}") from error
    if found != key_quantiser:
        raise VideoError(f"{ENCODER} coded a picture with quantiser {found}, it was asked for {key_quantiser}")
    return units


def _qp(quantiser: int) -> int:
    """Return the qp of SVT-AV1 that is nearest to a quantiser, from which offsets give it exactly."""
    return min(max(quantiser // 4, FINEST_QP), COARSEST_QP)


@contextmanager
def scheduling_kept() -> Iterator[None]:
    """Give the calling thread, and the threads begun meanwhile, the scheduling policy that the thread had before.

    SVT-AV1 run as root gives itself and its threads real-time priority, which starves every other process.
    """
    if not hasattr(os, "sched_getscheduler"):  # not Linux
        yield
        return
    policy, parameters, before = os.sched_getscheduler(0), os.sched_getparam(0), _threads()
    try:
        yield
    finally:
        for thread in (0, *(_threads() - before)):
            try:
                os.sched_setscheduler(thread, policy, parameters)
            except OSError:  # the thread has ended
                pass


def _threads() -> set[int]:
    """Return the identifiers of this process's threads; none where the system does not list them."""
    try:
        return set(map(int, os.listdir("/proc/self/task")))
    except OSError:
        return set()


def _video_frame(planes: Planes, index: int) -> av.VideoFrame:
    import av

    height, width = planes[0].shape
    frame = av.VideoFrame(width, height, "yuv420p")
    for target, plane in zip(frame.planes, planes, strict=True):
        rows = np.zeros((target.height, target.line_size), np.uint8)
        rows[:, : target.width] = plane
        target.update(rows.tobytes())
    frame.pts, frame.time_base = index, Fraction(1, 25)
    return frame


def _decode(units: list[bytes], width: int, height: int) -> Planes:
    """Return the planes of the last of the units, all of which have been checked."""
    import av

    try:
        decoder = av.CodecContext.create(DECODER, "r")
    except ValueError as error:
        raise VideoError(f"this PyAV cannot decode AV1 by {DECODER}: {error}") from None
    decoder.thread_count = 1
    frames = []
    try:
        for unit in units:
            frames += decoder.decode(av.Packet(TEMPORAL_DELIMITER + unit))
        frames += decoder.decode(None)
    except (av.FFmpegError, OSError) as error:
        raise FormatError(f"an AV1 picture of {width} x {height} pixels cannot be decoded: {error}") from None
    if len(frames) != len(units):
        raise FormatError(f"{len(units)} AV1 units gave {len(frames)} pictures, expected as many")
    frame = frames[-1]
    if (frame.width, frame.height, frame.format.name) not in [(width, height, f) for f in ("yuv420p", "yuvj420p")]:
        found = f"{frame.width} x {frame.height} pixels in {frame.format.name}"
        raise FormatError(f"an AV1 picture decodes to {found}, expected {width} x {height} in yuv420p")
    return tuple(
        np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width].copy()
        for plane in frame.planes
    )
