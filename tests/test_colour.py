"""HDR, wide gamut, every matrix and range: the picture is that of the same video in BT.709."""

from fractions import Fraction

import av
import numpy as np
import pytest
from video_clips import BLUE, GREEN, GREY, RED, corner_colours, quadrants, read_all

from bcdcodec.video import write_video
from bcdcodec.video.colour import KNEE, PEAK, WHITE, rgb_to_bt709, tone_curve

BT2020_FROM_BT709 = np.array([[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]])
PQ, HLG = 16, 18


def pq(nits):
    y = np.clip(nits / 10000, 0, 1) ** (2610 / 16384)
    return ((3424 / 4096 + 2413 / 128 * y) / (1 + 2392 / 128 * y)) ** (2523 / 32)


def hlg(nits):
    """Of display light, for a display of 1000 cd/m2."""
    luminance = nits @ [0.2627, 0.6780, 0.0593] / 1000
    scene = nits / 1000 * np.maximum(luminance, 1e-9)[..., None] ** (1 / 1.2 - 1)
    high = 0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073
    return np.where(scene <= 1 / 12, np.sqrt(3 * scene), high)


def hdr_clip(path, transfer, picture):
    """A lossless clip of a BT.709 picture as HDR in BT.2020."""
    nits = (picture / 255.0) ** 2.4 @ BT2020_FROM_BT709.T * WHITE
    signal = np.rint(65535 * np.clip(pq(nits) if transfer == PQ else hlg(nits), 0, 1)).astype(np.uint16)
    return tagged_clip(path, signal, "yuv444p10le", 9, 9, transfer, 1)


def tagged_clip(path, picture, pixel_format, matrix, primaries, transfer, color_range):
    """A lossless clip of RGB uint8 or uint16 with these tags (ITU-T H.273)."""
    source = av.VideoFrame.from_ndarray(picture, format="rgb24" if picture.dtype == np.uint8 else "rgb48le")
    frame = source.reformat(format=pixel_format, dst_colorspace=matrix, dst_color_range=color_range)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.height, stream.width = picture.shape[:2]
        stream.pix_fmt = pixel_format
        context = stream.codec_context
        context.colorspace, context.color_primaries, context.color_trc = matrix, primaries, transfer
        context.color_range = color_range
        frame.pts, frame.time_base = 0, Fraction(1, 25)
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("transfer, name", [(PQ, "PQ"), (HLG, "HLG")])
def test_hdr_becomes_the_bt709_picture_it_was_made_of_and_says_so(tmp_path, transfer, name):
    ramp = np.tile(np.arange(20, 230, dtype=np.uint8)[:, None, None], (1, 64, 3))
    _, images, reader = read_all(hdr_clip(tmp_path / "a.mkv", transfer, quadrants(64, 64)), 64)
    np.testing.assert_allclose(corner_colours(images[0]), [RED, GREEN, BLUE, GREY], atol=6)
    assert [note for note in reader.notes if f"HDR ({name}): it is tone-mapped" in note]
    _, images, _ = read_all(hdr_clip(tmp_path / "b.mkv", transfer, ramp[:64]), 64)
    assert np.abs(images[0].astype(int) - ramp[:64]).mean() < 2


def test_highlights_are_compressed_and_keep_their_order():
    light = np.linspace(0, PEAK / WHITE, 500)
    out = tone_curve(light)
    assert (np.diff(out) > 0).all() and out[-1] == pytest.approx(1)
    np.testing.assert_array_equal(out[light < KNEE], light[light < KNEE])
    assert 0.85 < tone_curve(np.array(1.0)) < 1


def test_wide_primaries_of_a_standard_video_are_converted(tmp_path):
    linear = (quadrants(64, 64) / 255.0) ** 2.4 @ BT2020_FROM_BT709.T
    wide = np.rint(65535 * linear ** (1 / 2.4)).astype(np.uint16)
    _, images, reader = read_all(tagged_clip(tmp_path / "a.mkv", wide, "yuv444p10le", 9, 9, 1, 1))
    np.testing.assert_allclose(corner_colours(images[0]), [RED, GREEN, BLUE, GREY], atol=6)
    assert not reader.notes


@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv422p10le", "yuv444p12le"])
@pytest.mark.parametrize("color_range", [1, 2], ids=["limited", "full"])
@pytest.mark.parametrize("matrix", [1, 5, 9], ids=["BT.709", "BT.601", "BT.2020"])
def test_matrices_and_ranges_are_read_as_tagged(tmp_path, matrix, color_range, pixel_format):
    path = tagged_clip(tmp_path / "a.mkv", quadrants(64, 64), pixel_format, matrix, 1, 1, color_range)
    _, images, _ = read_all(path)
    np.testing.assert_allclose(corner_colours(images[0]), [RED, GREEN, BLUE, GREY], atol=6)


def test_standard_dynamic_range_is_left_alone():
    picture = quadrants(8, 8)
    assert rgb_to_bt709(picture, 1, 1) is picture


@pytest.mark.parametrize("side, matrix", [(256, 6), (1088, 1)])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm"])
def test_output_states_its_colours(tmp_path, suffix, side, matrix):
    path = tmp_path / f"a{suffix}"
    with write_video(path, side, side, Fraction(1, 25)) as writer:
        writer.write(quadrants(side, side), 0)
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
    assert (frame.colorspace, frame.color_primaries, frame.color_trc, frame.color_range) == (matrix, 1, 1, 1)
    np.testing.assert_allclose(corner_colours(read_all(path)[1][0]), [RED, GREEN, BLUE, GREY], atol=6)
