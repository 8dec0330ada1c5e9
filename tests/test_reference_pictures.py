"""Reference pictures decode exactly, keep their budget, and are refused where they are not what they state."""

import hashlib
import os
import time
from dataclasses import replace

import numpy as np
import pytest
from vector_pictures import DECODED, INTER, KEY, ODD, OTHER_KEY, STILL

from bcdcodec.container import Picture
from bcdcodec.container.av1 import parse_inter_unit, parse_key_unit
from bcdcodec.errors import BcdError, FormatError, VideoError
from bcdcodec.video import av1
from bcdcodec.video.av1 import (
    decode_picture,
    decode_planes,
    encode_inter,
    encode_key,
    scheduling_kept,
    to_planes,
    to_rgb,
)

BUDGET = 400  # bytes


def drawing(turn: float = 0.0, width: int = 96, height: int = 64) -> np.ndarray:
    """A round face uint8 [h, w, 3] on a gradient, moved to the side by `turn`."""
    y, x = np.mgrid[0:height, 0:width] / max(width, height)
    face = np.clip(40 * (0.25 - np.hypot(x - 0.5 - 0.1 * turn, y - 0.33)), 0, 1)[..., None]
    back = np.stack([90 + 120 * x, 130 - 60 * y, 150 - 100 * x], 2)
    return np.rint(face * np.array([215, 160, 130]) + (1 - face) * back).astype(np.uint8)


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return 10 * np.log10(255**2 / np.mean((a.astype(float) - b) ** 2))


@pytest.fixture(scope="module")
def key():
    return encode_key(drawing(), BUDGET)


@pytest.mark.parametrize(
    "picture", [KEY, INTER, OTHER_KEY, STILL, ODD], ids=["key", "inter", "other_key", "still", "odd"]
)
def test_a_picture_decodes_to_the_hashes_that_the_format_states(picture):
    planes = decode_planes(picture, KEY if picture.base is not None else None)
    assert planes[0].shape == (picture.height, picture.width)
    assert planes[1].shape == planes[2].shape == ((picture.height + 1) // 2, (picture.width + 1) // 2)
    assert hashlib.sha256(b"".join(plane.tobytes() for plane in planes)).hexdigest() == DECODED[picture].planes
    assert hashlib.sha256(to_rgb(planes).tobytes()).hexdigest() == DECODED[picture].rgb


def test_an_image_comes_back_as_the_picture_of_its_size_within_the_budget(key):
    image = drawing()
    assert (key.width, key.height, key.base) == (96, 64, None)
    assert 0.8 * BUDGET < len(key.unit) <= BUDGET
    assert decode_picture(key).shape == image.shape
    assert psnr(decode_picture(key), image) > 36


def test_more_bytes_give_a_better_picture():
    image = drawing()
    errors = [psnr(decode_picture(encode_key(image, budget)), image) for budget in (120, 250, 500)]
    assert errors[0] + 1 < errors[1] < errors[2] - 1


def test_the_same_image_gives_the_same_bytes(key):
    assert encode_key(drawing(), BUDGET).unit == key.unit


def test_an_image_that_no_budget_fits_is_coded_as_coarsely_as_can_be():
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    picture = encode_key(noise, 10)
    assert parse_key_unit(picture.unit, 64, 64).frame.quantiser == 255


def test_a_budget_that_is_never_reached_takes_the_finest_quantiser():
    image = np.zeros((64, 64, 3), np.uint8)
    image[20:40, 20:40] = 200
    picture = encode_key(image, 100_000)
    assert parse_key_unit(picture.unit, 64, 64).frame.quantiser == 1
    assert psnr(decode_picture(picture), image) > 45


def test_an_inter_frame_needs_fewer_bytes_than_a_key_frame_of_the_same_quality(key):
    moved = drawing(turn=0.3)
    inter = encode_inter(moved, drawing(), key, 0, 150)
    assert inter.base == 0 and len(inter.unit) <= 150
    quality = psnr(decode_picture(inter, key), moved)
    assert quality > psnr(decode_picture(key), moved) + 3, "it is not the picture that it refers to"
    assert quality > psnr(decode_picture(encode_key(moved, len(inter.unit))), moved) + 1


def test_an_inter_frame_of_a_base_made_of_another_image_is_refused(key):
    with pytest.raises(VideoError, match="another"):
        encode_inter(drawing(turn=1), drawing(turn=0.5), key, 0, BUDGET)
    with pytest.raises(VideoError, match="64, 64, 3"):
        encode_inter(drawing(width=64, height=64), drawing(), key, 0, BUDGET)


@pytest.mark.parametrize(
    "shape, message",
    [((63, 64, 3), "64 x 63"), ((64, 66), "64, 66"), ((64, 62, 3), "62 x 64"), ((64, 2050, 3), "2050 x 64")],
)
def test_an_image_of_a_size_that_cannot_be_coded_is_refused(shape, message):
    with pytest.raises(VideoError, match=message):
        encode_key(np.zeros(shape, np.uint8), BUDGET)


def test_grey_levels_and_primary_colours_survive_the_conversion():
    colours = [(g, g, g) for g in range(0, 256, 15)] + [(255, 0, 0), (0, 255, 0), (0, 0, 255), (200, 30, 90)]
    for colour in colours:
        image = np.full((64, 64, 3), colour, np.uint8)
        assert np.abs(to_rgb(to_planes(image)).astype(int) - image).max() <= 2


def test_chroma_is_interpolated_between_samples_that_lie_in_the_middle_of_four_pixels():
    cr = np.array([[100, 100, 160, 160]] * 2, np.uint8)
    planes = np.full((4, 8), 100, np.uint8), np.full((2, 4), 128, np.uint8), cr
    # Cr at the pixels is 100 100 100 115 145 160 160 160, and R = 100 + 1.402 (Cr - 128)
    assert to_rgb(planes)[..., 0].tolist() == [[61, 61, 61, 82, 124, 145, 145, 145]] * 4


def test_a_unit_whose_size_is_not_the_stated_one_is_refused_before_it_is_decoded(monkeypatch):
    monkeypatch.setattr(av1, "_decode", lambda *_: pytest.fail("the decoder saw it"))
    with pytest.raises(FormatError, match="96 x 64 pixels, expected 96 x 66"):
        decode_picture(replace(KEY, height=66))
    with pytest.raises(FormatError, match="its sequence header and its frame end at byte 257"):
        decode_picture(replace(KEY, unit=KEY.unit + INTER.unit))
    with pytest.raises(FormatError, match="refers"):
        decode_picture(INTER)
    with pytest.raises(FormatError, match="refers"):
        decode_picture(INTER, INTER)
    with pytest.raises(FormatError, match="64 x 64"):
        decode_picture(INTER, OTHER_KEY)


def test_a_missing_codec_is_named(monkeypatch, key):
    monkeypatch.setattr(av1, "ENCODER", "no_such_encoder")
    monkeypatch.setattr(av1, "DECODER", "no_such_decoder")
    with pytest.raises(VideoError, match="no_such_encoder"):
        encode_key(drawing(), BUDGET)
    with pytest.raises(VideoError, match="no_such_decoder"):
        decode_picture(key)


@pytest.mark.parametrize("seed", range(3))
def test_damaged_tiles_give_a_picture_of_the_stated_size_or_a_format_error(seed):
    rng = np.random.default_rng(seed)
    for picture, base in ((KEY, None), (INTER, KEY), (ODD, None)):
        for _ in range(25):
            unit = bytearray(picture.unit)
            for at in rng.integers(20, len(unit), rng.integers(1, 6)):
                unit[at] = rng.integers(256)
            started = time.perf_counter()
            try:
                assert decode_picture(replace(picture, unit=bytes(unit)), base).shape == (
                    picture.height,
                    picture.width,
                    3,
                )
            except BcdError as error:
                assert "\n" not in str(error)
            assert time.perf_counter() - started < 5  # seconds, on a machine that does other things too


def test_a_large_unit_of_noise_takes_bounded_memory():
    """A picture of the largest size whose tile is a mebibyte of noise: refused or decoded, within 512 MiB."""
    import resource

    header = _sequence_header_of(2048, 2048, KEY.unit[2 : 2 + KEY.unit[1]])
    noise = np.random.default_rng(0).bytes(1_000_000)
    frame_start = 2 + KEY.unit[1] + 3
    payload = _with_tile_bits(KEY.unit[frame_start : frame_start + 16]) + noise
    size = len(payload)
    unit = (
        bytes([0x0A, len(header)])
        + header
        + bytes([0x32, size & 127 | 128, size >> 7 & 127 | 128, size >> 14])
        + payload
    )
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # KiB
    parse_key_unit(unit, 2048, 2048)
    try:
        assert decode_picture(Picture(2048, 2048, unit)).shape == (2048, 2048, 3)
    except FormatError:
        pass
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 512 * 1024


def _bits(data: bytes) -> str:
    return "".join(f"{byte:08b}" for byte in data)


def _bytes(bits: str) -> bytes:
    bits += "0" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, "big")


def _sequence_header_of(width: int, height: int, header: bytes) -> bytes:
    """Return KEY's sequence header with another size."""
    bits = _bits(header)
    size = f"{15:04b}{15:04b}{width - 1:016b}{height - 1:016b}"
    return _bytes((bits[:29] + size + bits[50:]).rstrip("0"))


def _with_tile_bits(frame: bytes) -> bytes:
    """Return KEY's frame header for a picture higher than a superblock: one more bit says that it is one tile."""
    bits = _bits(frame)
    return _bytes(bits[:18] + "0" + bits[18:])


def test_an_inter_unit_is_parsed_only_against_its_own_key():
    key = parse_key_unit(KEY.unit, 96, 64)
    assert parse_inter_unit(INTER.unit, key).inter
    still = parse_key_unit(STILL.unit, STILL.width, STILL.height)
    with pytest.raises(FormatError, match="still picture"):
        parse_inter_unit(INTER.unit, still)


@pytest.mark.skipif(not hasattr(os, "sched_setscheduler"), reason="needs Linux scheduling")
def test_an_encoder_that_changes_the_scheduling_policy_does_not_keep_it():
    before = os.sched_getscheduler(0)
    with scheduling_kept():
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
        assert os.sched_getscheduler(0) == os.SCHED_BATCH != before
    assert os.sched_getscheduler(0) == before
    encode_key(drawing(), BUDGET)
    policies = {os.sched_getscheduler(int(thread)) for thread in os.listdir("/proc/self/task")}
    assert policies == {before}
