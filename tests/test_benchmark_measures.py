"""The benchmark's measures of pictures, faces, rates and uncertainty, on cases whose answer is known."""

import sys
from fractions import Fraction

import numpy as np
import pytest
from head_clips import head_frames

from bcdcodec.benchmarks.measure import pictures as module
from bcdcodec.benchmarks.measure.anchors import ANCHORS, _bare, anchor_key, anchors, code
from bcdcodec.benchmarks.measure.faces import SAMPLES, Face, FaceMeter, eye_opening, face_measures, mouth_opening
from bcdcodec.benchmarks.measure.head_pose import MEAN_HEAD, angle_between, head_pose
from bcdcodec.benchmarks.measure.pictures import psnr, ssim_and_ms_ssim, vmaf
from bcdcodec.benchmarks.measure.rate import code_counts, static_bits
from bcdcodec.benchmarks.measure.temporal import luma
from bcdcodec.benchmarks.report.summary import ablation, bd_rates, break_even_seconds
from bcdcodec.benchmarks.rows import BCD, Row
from bcdcodec.benchmarks.statistics import BdRate, bd_rate, estimate, median
from bcdcodec.entropy.tables import FrequencyTables
from bcdcodec.errors import BcdError


def pictures(size):
    """A smooth picture and a paler, noisy one, uint8 [1, size, size, 3]."""
    rng = np.random.default_rng(5)
    y, x = np.mgrid[:size, :size] / size
    smooth = 128 + 60 * np.sin(9 * x + 4 * y) + 40 * np.cos(17 * y * x)
    worse = smooth * 0.9 + rng.normal(0, 12, (size, size))
    return tuple(np.repeat(np.clip(p, 0, 255).astype(np.uint8)[None, :, :, None], 3, 3) for p in (smooth, worse))


def test_psnr_of_a_known_error():
    black = np.zeros((2, 4, 4, 3), np.uint8)
    assert psnr(black + 255, black) == pytest.approx(0, abs=1e-6)
    assert psnr(black + 10, black) == pytest.approx(20 * np.log10(25.5), abs=1e-4)
    with pytest.raises(ValueError, match="2, 4, 4, 3.*1, 4, 4, 3"):
        psnr(black, black[:1])


# By our own code of before, which agreed with the authors' MATLAB code.
@pytest.mark.parametrize(("size", "ssim", "ms_ssim"), [(256, 0.377066, 0.881245), (192, 0.416463, 0.901852)])
def test_ssim_and_ms_ssim_are_those_of_an_independent_implementation(size, ssim, ms_ssim):
    pytest.importorskip("pytorch_msssim", reason="the extra `eval`")
    smooth, worse = map(luma, pictures(size))
    assert ssim_and_ms_ssim(worse, smooth) == pytest.approx((ssim, ms_ssim), abs=3e-5)
    assert ssim_and_ms_ssim(smooth, smooth) == pytest.approx((1, 1), abs=1e-6)
    assert ssim_and_ms_ssim(worse[:, :128, :128], smooth[:, :128, :128])[1] is None, "too small for five scales"


def test_vmaf_falls_with_blur_and_does_not_depend_on_how_many_frames_are_taken_at_once(monkeypatch):
    pytest.importorskip("vmaf_torch", reason="the extra `eval`")
    cv2 = pytest.importorskip("cv2", reason="the extra `eval`")
    source = luma(head_frames(5, 12, 128))
    blurred = [source] + [np.stack([cv2.blur(f, (k, k)) for f in source]) for k in (3, 5, 9)]
    scores = [vmaf(clip, source) for clip in blurred]
    assert scores[0] > 96 and 60 < scores[1] < 90 and 30 < scores[2] < 60 and scores[3] < 20
    monkeypatch.setattr(module, "AT_ONCE", 5)
    assert vmaf(blurred[2], source) == pytest.approx(scores[2], abs=1e-3)
    monkeypatch.setattr(module, "_vmaf", lambda: None)
    assert vmaf(source, source) is None


def landmarks(mouth=0.0, eyes=0.2):
    """68 points of a schematic face, eye corners 1 apart."""
    marks = np.zeros((68, 2))
    marks[36], marks[39], marks[42], marks[45] = (0, 0), (0.3, 0), (0.7, 0), (1, 0)
    for at, x in ((37, 0.1), (38, 0.2), (43, 0.8), (44, 0.9)):
        marks[at] = (x, -eyes / 2 * 0.3)
    for at, x in ((41, 0.1), (40, 0.2), (47, 0.8), (46, 0.9)):
        marks[at] = (x, eyes / 2 * 0.3)
    marks[62], marks[66] = (0.5, 0.8), (0.5, 0.8 + mouth)
    marks[30], marks[8], marks[48], marks[54] = (0.5, 0.4), (0.5, 1.2), (0.2, 0.8), (0.8, 0.8)
    return marks


def test_openings_are_fractions_of_the_face():
    marks = landmarks(mouth=0.25, eyes=0.2)
    assert (mouth_opening(marks), eye_opening(marks)) == pytest.approx((0.25, 0.2))
    assert (mouth_opening(7 * marks), eye_opening(7 * marks)) == pytest.approx((0.25, 0.2))


def test_pose_finds_the_angle_a_head_was_turned_by():
    def turn(degrees, size=1):
        c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        seen = 40 * (MEAN_HEAD @ np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]]).T)[:, :2] + 90
        return head_pose(size * seen).rotation

    assert angle_between(turn(0), turn(25)) == pytest.approx(25, abs=1e-6)
    assert angle_between(turn(-10), turn(-10, size=3)) == pytest.approx(0, abs=1e-5)


def test_faces_are_compared_where_both_are_found():
    one, other = np.zeros(128), np.full(128, 0.1)
    source = [Face(one, landmarks(0.1)), Face(one, landmarks(0.2)), None, Face(one, landmarks(0.4))]
    decoded = [Face(other, landmarks(0.1)), None, Face(other, landmarks()), Face(other, landmarks(0.4) + 0.05)]
    found = face_measures(decoded, source)
    assert found["dlib_faces"] == pytest.approx(2 / 3)
    assert found["dlib_distance"] == pytest.approx(0.1 * 128**0.5)
    assert found["dlib_landmarks"] == pytest.approx(0.05 * 2**0.5 / 2)
    assert face_measures([None] * 4, source) == {"dlib_faces": 0} and face_measures(decoded, [None] * 4) == {}


def test_a_held_picture_is_looked_at_once():
    meter, seen = object.__new__(FaceMeter), []
    meter.face = lambda picture: seen.append(picture.mean()) or picture.mean()
    clip = np.zeros((SAMPLES, 4, 4, 3), np.uint8)
    assert meter.faces(clip) == [0] * SAMPLES and seen == [0]
    clip[5:] = 7
    assert meter.faces(clip) == [0] * 5 + [7] * (SAMPLES - 5) and seen == [0, 0, 7]


def test_packages_that_dlibs_measures_need_are_named(monkeypatch):
    monkeypatch.setattr("bcdcodec.benchmarks.measure.faces.MODELS", "no_such_package")
    with pytest.raises(BcdError, match=r"bcdcodec\[eval\]"):
        FaceMeter()


def test_bits_of_frames_add_up_to_the_information_of_the_codes():
    rng = np.random.default_rng(1)
    frequencies = rng.multinomial(65536 - 8, [0.5, 0.25, 0.125, 0.125], size=2) + 2
    tables = FrequencyTables(frequencies)
    codes = rng.integers(0, 4, (50, 2)).astype(np.uint8)
    bits = static_bits(codes, tables)
    assert bits.shape == (50,)
    assert bits.sum() == pytest.approx(tables.ideal_bits(codes.ravel(), np.tile([0, 1], 50)))
    assert code_counts(codes, 4).sum() == 100 and code_counts(codes, 4)[1, 3] == (codes[:, 1] == 3).sum()


# ---- uncertainty and rates


def test_bd_rate_of_half_the_rate_is_minus_fifty_per_cent():
    pytest.importorskip("bjontegaard", reason="the extra `eval`")
    anchor = [(4, 28), (8, 31), (16, 34), (32, 37)]
    half = [(rate / 2, quality) for rate, quality in anchor]
    assert bd_rate(anchor, half).percent == pytest.approx(-50, abs=1e-6)
    assert bd_rate(half, anchor).percent == pytest.approx(100, abs=1e-6)
    assert bd_rate(anchor, anchor).percent == pytest.approx(0, abs=1e-9)


def test_bd_rate_leaves_out_points_that_cost_more_and_are_no_better():
    pytest.importorskip("bjontegaard", reason="the extra `eval`")
    anchor = [(4, 28), (8, 31), (16, 34), (32, 37)]
    assert bd_rate(anchor, [(2, 28), (3, 27), (4, 31), (5, 31), (8, 34)]) == BdRate(
        pytest.approx(-50), pytest.approx(2 / 3)
    )


@pytest.mark.parametrize(
    ("test", "reason"),
    [
        ([(4, 28)], "1 of the 4 rates"),
        ([(4, 28), (8, 27), (16, 27.5), (32, 28)], "never rises"),
        ([(4, 8), (8, 11), (16, 14), (32, 17)], "share no quality"),
    ],
)
def test_bd_rate_says_why_it_does_not_exist(test, reason):
    pytest.importorskip("bjontegaard", reason="the extra `eval`")
    with pytest.raises(BcdError, match=reason):
        bd_rate([(4, 28), (8, 31), (16, 34), (32, 37)], test)


def test_bd_rates_are_those_of_each_clip_and_say_of_how_many():
    pytest.importorskip("bjontegaard", reason="the extra `eval`")
    rows = []
    for clip, factor in (("a", 0.5), ("b", 0.8), ("c", 0.9), ("shares no quality", 0.5)):
        base = 100 if clip == "shares no quality" else 0
        for i in range(4):
            rows.append(Row(clip, "x265", f"quality {i}", 256, 25, 1.0, 1000 * 2**i, {}, {"psnr": 28 + 3 * i}, {}))
            size = int(1000 * 2**i * factor)
            rows.append(Row(clip, BCD, f"rate {i}", 256, 25, 1.0, size, {}, {"psnr": 28 + base + 3 * i}, {}))
    (found,) = bd_rates(rows, "x265")
    assert found["codec"] == BCD and found["rates"]["psnr"] == pytest.approx(-20, abs=1e-6)
    assert found["clips"] == {"psnr": 3} and found["shared"] == {"psnr": 1} and found["missing"] == {}
    (found,) = bd_rates([r for r in rows if r.clip == "shares no quality"], "x265")
    assert found["rates"] == {} and "share no quality" in found["missing"]["psnr"]


def test_intervals_hold_the_value_and_shrink_with_more_clips():
    rng = np.random.default_rng(0)
    few, many = (estimate(list(rng.normal(10, 2, n)), lambda v: float(np.mean(v))) for n in (8, 200))
    assert few.low < few.value < few.high and many.low < many.value < many.high
    assert many.high - many.low < (few.high - few.low) / 2
    assert abs((many.high - many.low) - 2 * 1.96 * 2 / 200**0.5) < 0.15  # that of a normal mean
    assert estimate([1.0, 2.0], lambda v: float(np.mean(v))).low is None
    assert median([None, 3.0, None, 5.0]) == 4.0 and median([None]) is None


def test_break_even_is_where_both_files_are_equally_long():
    seconds = break_even_seconds(header_bytes=1500, motion_kbps=4, other_kbps=6)
    assert 1500 * 8 / 1000 + 4 * seconds == pytest.approx(6 * seconds)
    assert break_even_seconds(1500, 4, 4) is None


def test_a_part_that_brings_less_than_its_interval_is_named():
    rng, rows = np.random.default_rng(0), []
    for clip in range(20):
        for part, db in (("", 0.0), ("refiner", 0.0), ("denoiser", -0.5)):
            measures = {"psnr": 30 + clip / 10 + db + (rng.normal(0, 0.1) if part else 0)}
            rows.append(Row(str(clip), BCD, "default rate", 256, 50, 2.0, 1000, {}, measures, {}, part))
    found = {a["part"]: a for a in ablation(rows)}
    assert found["denoiser"]["brings"] and not found["refiner"]["brings"]
    assert found["denoiser"]["gains"]["psnr"]["gain"] == pytest.approx(0.5, abs=0.1)
    assert found["refiner"]["gains"]["psnr"]["low"] < 0 < found["refiner"]["gains"]["psnr"]["high"]
    assert found["refiner"]["gains"]["whole_kbps"] == {"gain": 0, "low": 0, "high": 0, "clips": 20}


# ---- anchors


@pytest.mark.parametrize("name", ["x264", "x265", "svtav1", "vp9"])
def test_classical_codecs_come_back_whole_and_coarser_settings_cost_less(name):
    anchor = anchors(name)[0]
    clip = head_frames(3, 10, 72)
    best, floor = (code(anchor, clip, Fraction(25), q, 72) for q in (anchor.qualities[0], anchor.qualities[-1]))
    assert best.frames.shape == clip.shape and best.frames.dtype == np.uint8
    assert best.keyframes == 1 and floor.stream_bytes < best.stream_bytes
    assert psnr(floor.frames, clip) < psnr(best.frames, clip) and psnr(best.frames, clip) > 27
    assert code(anchor, clip, Fraction(25), anchor.qualities[-1], 64).frames.shape == clip.shape


def test_what_a_file_would_not_store_is_not_counted():
    assert _bare(b"\x12\x00\x0a\x01", "libdav1d") == b"\x0a\x01"
    assert (
        _bare(b"\x00\x00\x00\x01\x67A\x00\x00\x01\x06note\x00\x00\x01\x65B", "h264")
        == b"\x00\x00\x01\x67A\x00\x00\x01\x65B"
    )


ENCODER = """
import sys
from fractions import Fraction
import av, numpy as np
source, target, side, quality = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
frames = np.fromfile(source, np.uint8).reshape(-1, side * 3 // 2, side)
with av.open(target, "w", format="hevc") as out:
    stream = out.add_stream("libx265", rate=25, options={"crf": quality, "x265-params": "log-level=none"})
    stream.width = stream.height = side
    stream.pix_fmt = "yuv420p"
    for f in frames:
        out.mux(stream.encode(av.VideoFrame.from_ndarray(f, format="yuv420p")))
    out.mux(stream.encode(None))
"""


def test_an_encoder_of_the_users_is_an_anchor_too(tmp_path):
    script = tmp_path / "encoder.py"
    script.write_text(ENCODER)
    command = f"{sys.executable} {script} {{input}} {{output}} {{width}} {{quality}}"
    (anchor,) = anchors("", command, (30, 45))
    clip = head_frames(3, 10, 72)
    best, floor = (code(anchor, clip, Fraction(25), q, 64) for q in anchor.qualities)
    assert best.frames.shape == clip.shape and floor.stream_bytes < best.stream_bytes and best.keyframes >= 1
    assert psnr(best.frames, clip) > psnr(floor.frames, clip) > 15
    with pytest.raises(BcdError, match="has no {quality}"):
        anchors("", "vvencapp -i {input} -o {output}")
    with pytest.raises(BcdError, match="cannot run no-such-encoder"):
        code(anchors("", "no-such-encoder {input} {output} {quality}")[0], clip, Fraction(25), 30, 64)
    with pytest.raises(BcdError, match="failed with exit code 0: it wrote nothing"):
        code(anchors("", "true {input} {output} {quality}")[0], clip, Fraction(25), 30, 64)


def test_the_key_of_an_anchors_rows_follows_pictures_and_settings():
    clip = head_frames(3, 4, 32)
    keys = {
        anchor_key(ANCHORS["x264"], clip, Fraction(25), "judges"),
        anchor_key(ANCHORS["x265"], clip, Fraction(25), "judges"),
        anchor_key(ANCHORS["x264"], clip[1:], Fraction(25), "judges"),
        anchor_key(ANCHORS["x264"], clip, Fraction(30), "judges"),
        anchor_key(ANCHORS["x264"], clip, Fraction(25), "other judges"),
    }
    assert len(keys) == 5
    assert anchor_key(ANCHORS["x264"], clip.copy(), Fraction(25), "judges") in keys


def test_an_unknown_codec_is_named():
    with pytest.raises(BcdError, match="'h266'.*x264, x265, svtav1, vp9"):
        anchors("x265,h266")
    assert all(a.encoder in a.settings for a in ANCHORS.values())
