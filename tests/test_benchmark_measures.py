"""The benchmark's measures of pictures, faces, rates and uncertainty, on cases whose answer is known."""

from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest
from head_clips import head_frames

from bcdcodec.benchmarks.faces import SAMPLES, Face, FaceMeter, brow_height, compare_faces, eye_opening, mouth_opening
from bcdcodec.benchmarks.information import code_counts, static_bits
from bcdcodec.benchmarks.opponents import OPPONENTS, _bare, code, opponents
from bcdcodec.benchmarks.quality import luma, measure_quality, scales, ssim_and_ms_ssim
from bcdcodec.benchmarks.rows import correlation
from bcdcodec.benchmarks.statistics import bd_rate, estimate, median
from bcdcodec.benchmarks.summary import break_even_seconds, correlation_of, correlation_within
from bcdcodec.entropy.tables import FrequencyTables
from bcdcodec.errors import BcdError
from bcdcodec.reenactment.head_pose import MEAN_HEAD, angle_between, head_pose


def pictures(size):
    """A smooth picture and a paler, noisy one, uint8 [1, size, size, 3]."""
    rng = np.random.default_rng(5)
    y, x = np.mgrid[:size, :size] / size
    smooth = 128 + 60 * np.sin(9 * x + 4 * y) + 40 * np.cos(17 * y * x)
    worse = smooth * 0.9 + rng.normal(0, 12, (size, size))
    return tuple(np.repeat(np.clip(p, 0, 255).astype(np.uint8)[None, :, :, None], 3, 3) for p in (smooth, worse))


# From pytorch-msssim 1.0.0 in float64 on the same pictures.
@pytest.mark.parametrize(("size", "ssim", "ms_ssim"), [(256, 0.377066, 0.881245), (192, 0.416463, 0.901852)])
def test_ssim_and_ms_ssim_are_those_of_an_independent_implementation(size, ssim, ms_ssim):
    smooth, worse = pictures(size)
    assert ssim_and_ms_ssim(luma(worse), luma(smooth)) == pytest.approx((ssim, ms_ssim), abs=3e-5)


def test_small_pictures_use_the_scales_that_fit():
    assert [scales(n, n) for n in (16, 22, 64, 128, 176, 256)] == [1, 2, 3, 4, 5, 5]
    smooth, worse = pictures(128)
    assert 0.8 < ssim_and_ms_ssim(luma(worse), luma(smooth))[1] < 1


def test_identical_clips_are_perfect_and_do_not_flicker():
    clip = np.repeat(pictures(64)[0], 3, 0)
    quality = measure_quality(clip, clip)
    assert quality.psnr > 100 and quality.flicker == 0
    assert (quality.ssim, quality.ms_ssim) == pytest.approx((1, 1), abs=1e-6)


def test_flicker_counts_only_where_the_source_rests():
    source = np.full((3, 32, 32, 3), 100, np.uint8)
    source[1, :16] = 160  # the upper half moves
    decoded = source.copy()
    decoded[1, 16:] += 6  # the lower half flickers by 6 levels
    assert measure_quality(decoded, source).flicker == pytest.approx(6, abs=1e-3)


def test_clips_of_different_shapes_are_not_compared():
    with pytest.raises(ValueError, match="2, 32, 32, 3.*1, 32, 32, 3"):
        measure_quality(np.zeros((2, 32, 32, 3), np.uint8), np.zeros((1, 32, 32, 3), np.uint8))


def landmarks(mouth=0.0, eyes=0.2, brows=0.5):
    """68 points of a schematic face, eye corners 1 apart."""
    marks = np.zeros((68, 2))
    marks[36], marks[39], marks[42], marks[45] = (0, 0), (0.3, 0), (0.7, 0), (1, 0)
    for at, x in ((37, 0.1), (38, 0.2), (43, 0.8), (44, 0.9)):
        marks[at] = (x, -eyes / 2 * 0.3)
    for at, x in ((41, 0.1), (40, 0.2), (47, 0.8), (46, 0.9)):
        marks[at] = (x, eyes / 2 * 0.3)
    marks[17:22] = (0.15, -brows)
    marks[22:27] = (0.85, -brows)
    marks[62], marks[66] = (0.5, 0.8), (0.5, 0.8 + mouth)
    marks[30], marks[8], marks[48], marks[54] = (0.5, 0.4), (0.5, 1.2), (0.2, 0.8), (0.8, 0.8)
    return marks


def test_openings_are_fractions_of_the_face():
    marks = landmarks(mouth=0.25, eyes=0.2, brows=0.5)
    assert (mouth_opening(marks), eye_opening(marks), brow_height(marks)) == pytest.approx((0.25, 0.2, 0.5))
    assert (mouth_opening(7 * marks), eye_opening(7 * marks), brow_height(7 * marks)) == pytest.approx((0.25, 0.2, 0.5))


def test_pose_finds_the_angle_a_head_was_turned_by():
    def seen(degrees):
        c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        return 40 * (MEAN_HEAD @ np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]]).T)[:, :2] + 90

    turn = lambda marks: head_pose(marks).rotation  # noqa: E731
    assert angle_between(turn(seen(0)), turn(seen(25))) == pytest.approx(25, abs=1e-6)
    assert angle_between(turn(seen(-10)), turn(3 * seen(-10))) == pytest.approx(0, abs=1e-5)


def test_faces_are_compared_where_both_are_found():
    one, other = np.zeros(128), np.full(128, 0.1)
    source = [Face(one, landmarks(0.1)), Face(one, landmarks(0.2)), None, Face(one, landmarks(0.4))]
    decoded = [Face(other, landmarks(0.1)), None, Face(other, landmarks()), Face(other, landmarks(0.4) + 0.05)]
    found = compare_faces(source, decoded)
    assert (found.found, found.frames) == (2, 3)
    assert found.identity_distance == pytest.approx(0.1 * 128**0.5)
    assert found.landmark_error == pytest.approx(0.05 * 2**0.5 / 2)
    assert found.mouth == [pytest.approx((0.1, 0.1)), pytest.approx((0.4, 0.4))]
    assert compare_faces(source, [None] * 4).identity_distance is None


def test_bits_of_frames_add_up_to_the_information_of_the_codes():
    rng = np.random.default_rng(1)
    frequencies = rng.multinomial(65536 - 8, [0.5, 0.25, 0.125, 0.125], size=2) + 2
    tables = FrequencyTables(frequencies)
    codes = rng.integers(0, 4, (50, 2)).astype(np.uint8)
    bits = static_bits(codes, tables)
    assert bits.shape == (50,)
    assert bits.sum() == pytest.approx(tables.ideal_bits(codes.ravel(), np.tile([0, 1], 50)))
    assert code_counts(codes, 4).sum() == 100 and code_counts(codes, 4)[1, 3] == (codes[:, 1] == 3).sum()


def test_bd_rate_of_half_the_rate_is_minus_fifty_per_cent():
    anchor = [(4, 28), (8, 31), (16, 34), (32, 37)]
    half = [(rate / 2, quality) for rate, quality in anchor]
    assert bd_rate(anchor, half) == pytest.approx(-50, abs=1e-6)
    assert bd_rate(half, anchor) == pytest.approx(100, abs=1e-6)
    assert bd_rate(anchor, anchor) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(
    ("test", "reason"),
    [
        ([(4, 28)], "1 of the 4 rates"),
        ([(4, 28), (8, 27), (16, 34), (32, 37)], "does not rise"),
        ([(4, 8), (8, 11), (16, 14), (32, 17)], "share no quality"),
    ],
)
def test_bd_rate_says_why_it_does_not_exist(test, reason):
    with pytest.raises(BcdError, match=reason):
        bd_rate([(4, 28), (8, 31), (16, 34), (32, 37)], test)


def test_intervals_hold_the_value_and_shrink_with_more_clips():
    rng = np.random.default_rng(0)
    few, many = (estimate(list(rng.normal(10, 2, n)), lambda v: float(np.mean(v))) for n in (8, 200))
    assert few.low < few.value < few.high and many.low < many.value < many.high
    assert many.high - many.low < (few.high - few.low) / 2
    assert abs((many.high - many.low) - 2 * 1.96 * 2 / 200**0.5) < 0.15  # that of a normal mean
    assert estimate([1.0, 2.0], lambda v: float(np.mean(v))).low is None
    assert median([None, 3.0, None, 5.0]) == 4.0 and median([None]) is None


def test_correlation_needs_three_pairs_and_change():
    assert correlation([(0, 0), (1, 2), (2, 4)]) == pytest.approx(1)
    assert correlation([(0, 0), (1, 1)]) is None and correlation([(0, 1), (1, 1), (2, 1)]) is None


def test_break_even_is_where_both_files_are_equally_long():
    seconds = break_even_seconds(header_bytes=1500, motion_kbps=4, other_kbps=6)
    assert 1500 * 8 / 1000 + 4 * seconds == pytest.approx(6 * seconds)
    assert break_even_seconds(1500, 4, 4) is None


@pytest.mark.parametrize("name", ["x264", "x265", "svtav1", "vp9"])
def test_classical_codecs_come_back_whole_and_coarser_settings_cost_less(name):
    opponent = opponents(name)[0]
    clip = head_frames(3, 10, 72)
    best, floor = (code(opponent, clip, Fraction(25), q, 72) for q in (opponent.qualities[0], opponent.qualities[-1]))
    assert best.frames.shape == clip.shape and best.frames.dtype == np.uint8
    assert best.keyframes == 1 and floor.stream_bytes < best.stream_bytes
    better, worse = measure_quality(best.frames, clip).psnr, measure_quality(floor.frames, clip).psnr
    assert better > 27 and worse < better
    assert code(opponent, clip, Fraction(25), opponent.qualities[-1], 64).frames.shape == clip.shape


def test_what_a_file_would_not_store_is_not_counted():
    assert _bare(b"\x12\x00\x0a\x01", "libdav1d") == b"\x0a\x01"
    assert (
        _bare(b"\x00\x00\x00\x01\x67A\x00\x00\x01\x06note\x00\x00\x01\x65B", "h264")
        == b"\x00\x00\x01\x67A\x00\x00\x01\x65B"
    )


def test_an_unknown_codec_is_named():
    with pytest.raises(BcdError, match="'h266'.*x264, x265, svtav1, vp9"):
        opponents("x265,h266")
    assert all(o.name in o.settings or o.encoder in o.settings for o in OPPONENTS.values())


def test_a_held_still_is_looked_at_once():
    meter, seen = object.__new__(FaceMeter), []
    meter.face = lambda picture: seen.append(picture.mean()) or picture.mean()
    clip = np.zeros((SAMPLES, 4, 4, 3), np.uint8)
    assert meter.faces(clip) == [0] * SAMPLES and seen == [0]
    clip[5:] = 7
    assert meter.faces(clip) == [0] * 5 + [7] * (SAMPLES - 5) and seen == [0, 0, 7]


def test_how_open_mouths_are_on_average_is_no_correlation_within_clips():
    rows = [SimpleNamespace(mouth=[(level + x, level - x) for x in (0.0, 0.1, 0.2)]) for level in (0.0, 5.0, 9.0)]
    assert correlation_of("mouth")(rows) > 0.9
    assert correlation_within("mouth")(rows) == pytest.approx(-1)
