"""Any video becomes square upright images with exact times, or one clear line."""

import io
import subprocess
import sys
from fractions import Fraction

import av
import numpy as np
import pytest
from video_clips import (
    BLUE,
    GREEN,
    GREY,
    RED,
    TICK,
    corner_colours,
    make_audio,
    make_clip,
    quadrants,
    read_all,
    turn_mp4,
    without_pictures,
    written,
)

from bcdcodec.errors import VideoError
from bcdcodec.video import Crop, centre_crop, constant_frame_duration, encode_png, parse_crop, probe_video, read_frames
from bcdcodec.video.geometry import FrameGeometry, Orientation, check_crop
from bcdcodec.video.scaling import resize
from bcdcodec.video.timing import PtsRepair


def test_a_wide_clip_is_cropped_to_its_centre_and_resized(tmp_path):
    pts, images, reader = read_all(make_clip(tmp_path / "a.mp4", range(5), width=96, height=48))
    assert reader.crop == Crop(24, 0, 48, 48)
    assert [image.shape for image in images] == [(32, 32, 3)] * 5
    assert images[0].dtype == np.uint8
    np.testing.assert_allclose(corner_colours(images[0]), [RED, GREEN, BLUE, GREY], atol=6)


def test_a_given_crop_takes_exactly_those_pixels(tmp_path):
    path = make_clip(tmp_path / "a.mp4", [0], width=64, height=64)
    _, images, _ = read_all(path, 16, Crop(40, 4, 20, 20))
    np.testing.assert_allclose(images[0].reshape(-1, 3), np.tile(GREEN, (256, 1)), atol=6)


@pytest.mark.parametrize(
    ("crop", "words"),
    [
        (Crop(60, 0, 48, 48), "outside the 64x48 frame"),
        (Crop(-1, 0, 8, 8), r"\(-1, 0\)"),
        (Crop(0, 0, 8, 9), "8x9 pixels; it must be square"),
        (Crop(0, 0, 0, 0), "0x0"),
    ],
)
def test_a_crop_that_does_not_fit_is_refused_with_both_sizes(tmp_path, crop, words):
    with pytest.raises(VideoError, match=words):
        read_frames(make_clip(tmp_path / "a.mp4", [0]), crop, 32)


def test_crop_text_is_four_numbers():
    assert parse_crop("1,2,30,30") == Crop(1, 2, 30, 30)
    for text in ("1,2,3", "a,b,c,d", "1,2,3,4,5", "1.5,0,3,3"):
        with pytest.raises(VideoError, match="four whole numbers"):
            parse_crop(text)


def test_odd_sizes_are_read(tmp_path):
    pts, images, reader = read_all(make_clip(tmp_path / "a.mp4", range(3), width=65, height=47))
    assert (reader.info.width, reader.info.height) == (65, 47)
    np.testing.assert_allclose(corner_colours(images[0]), [RED, GREEN, BLUE, GREY], atol=8)


# Upright = the stored corners moved as the matrix says; corners are listed in reading order.
@pytest.mark.parametrize(
    ("matrix", "corners", "size"),
    [
        ((0, 1, -1, 0), [BLUE, RED, GREY, GREEN], (48, 64)),  # a quarter turn clockwise
        ((-1, 0, 0, -1), [GREY, BLUE, GREEN, RED], (64, 48)),
        ((0, -1, 1, 0), [GREEN, GREY, RED, BLUE], (48, 64)),
        ((-1, 0, 0, 1), [GREEN, RED, GREY, BLUE], (64, 48)),  # a mirror
    ],
)
def test_a_rotation_flag_is_applied(tmp_path, matrix, corners, size):
    path = make_clip(tmp_path / "a.mp4", range(2))
    turn_mp4(path, matrix)
    _, images, reader = read_all(path)
    assert (reader.info.width, reader.info.height) == size
    np.testing.assert_allclose(corner_colours(images[0]), corners, atol=8)


def test_an_upright_crop_finds_its_pixels_in_every_orientation():
    upright_shape_of = {True: (12, 8), False: (8, 12)}
    for transpose in (False, True):
        for flip_x in (False, True):
            for flip_y in (False, True):
                turn = Orientation(transpose, flip_x, flip_y)
                height, width = upright_shape_of[transpose]
                stored = np.arange(8 * 12).reshape(8, 12, 1)  # [h, w, 1]
                upright = turn.apply(stored)
                assert upright.shape == (height, width, 1)
                crop = Crop(1, 2, 5, 5)
                box = turn.stored_crop(crop, 12, 8)
                cut = stored[box.y : box.y + box.h, box.x : box.x + box.w]
                np.testing.assert_array_equal(turn.apply(cut), upright[2:7, 1:6])


def test_pixels_that_are_not_square_are_stretched(tmp_path):
    wide = Fraction(2)
    path = make_clip(tmp_path / "a.mkv", [0, 1], width=32, height=48, sample_aspect_ratio=wide)
    _, images, reader = read_all(path)
    assert (reader.info.width, reader.info.height) == (64, 48)
    assert reader.crop == Crop(8, 0, 48, 48)
    np.testing.assert_allclose(corner_colours(images[0]), [RED, GREEN, BLUE, GREY], atol=8)


def test_a_stored_box_never_leaves_the_frame():
    for aspect in (Fraction(1, 3), Fraction(16, 15), Fraction(7, 2)):
        geometry = FrameGeometry(31, 17, aspect, Orientation())
        width, height = geometry.upright_size
        for x in range(0, width - 3):
            box = geometry.stored_box(Crop(x, 0, 3, 3))
            assert box.w >= 1 and 0 <= box.x and box.x + box.w <= 31


def test_colours_survive_bt709_and_full_range_tags(tmp_path):
    for colorspace, color_range in ((1, 1), (1, 2), (5, 2)):
        container = av.open(str(tmp_path / "a.mkv"), "w")
        stream = container.add_stream("libx264", rate=25)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv444p"
        stream.codec_context.colorspace = colorspace
        stream.codec_context.color_range = color_range
        stream.options = {"crf": "2"}
        frame = av.VideoFrame.from_ndarray(quadrants(64, 64), format="rgb24").reformat(
            format="yuv444p", dst_colorspace=colorspace, dst_color_range=color_range
        )
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)
        container.close()
        _, images, _ = read_all(tmp_path / "a.mkv")
        np.testing.assert_allclose(corner_colours(images[0]), [RED, GREEN, BLUE, GREY], atol=5)


def test_shrinking_averages_instead_of_skipping_pixels():
    stripes = np.zeros((240, 240, 3), np.uint8)
    stripes[:, ::2] = 255  # picking pixels would give black or white
    inner = resize(stripes, 60)[4:-4, 4:-4]  # the border's filter is one-sided
    assert np.abs(inner.astype(int) - 128).max() <= 2


@pytest.mark.parametrize("rate", [Fraction(10), Fraction(25), Fraction(30000, 1001)])
def test_probe_tells_size_rate_and_duration(tmp_path, rate):
    info = probe_video(written(tmp_path / "a.mp4", range(20), 1 / rate, (48, 32)))
    assert (info.width, info.height, info.has_audio) == (48, 32, False)
    assert info.frame_rate == rate
    assert info.duration_s == pytest.approx(float(20 / rate), abs=1e-6)


def test_variable_frame_times_are_kept_exactly(tmp_path):
    ticks = [0, 1000, 1001, 9000, 90000, 90009]
    path = make_clip(tmp_path / "a.mp4", ticks, Fraction(1, 90000))
    pts, _, reader = read_all(path)
    assert [tick * reader.time_base for tick in pts] == [Fraction(t, 90000) for t in ticks]


def test_an_animated_gif_and_apng_and_still_image_are_videos(tmp_path):
    for name in ("a.gif", "a.apng"):
        path = written(tmp_path / name, [0, 2, 6])
        pts, images, reader = read_all(path)
        assert [float(tick * reader.time_base) for tick in pts] == [0, 0.08, 0.24]
        np.testing.assert_allclose(corner_colours(images[0]), [RED, GREEN, BLUE, GREY], atol=6)
    (tmp_path / "shot%03d.png").write_bytes(encode_png(quadrants(33, 33)))
    pts, images, _ = read_all(tmp_path / "shot%03d.png", 33)
    assert pts == [0]
    np.testing.assert_array_equal(images[0], quadrants(33, 33))


def test_a_folder_of_pngs_is_read_in_natural_order_at_25_frames_a_second(tmp_path):
    for number in (1, 2, 10):
        (tmp_path / f"{number}.png").write_bytes(encode_png(np.full((32, 32, 3), number, np.uint8)))
    for name in ("notes.txt", "._1.png"):
        (tmp_path / name).write_text("not a frame")
    pts, images, reader = read_all(tmp_path)
    assert [image[0, 0, 0] for image in images] == [1, 2, 10]
    assert (pts, reader.time_base, reader.info.duration_s) == ([0, 1, 2], TICK, 0.12)


def test_a_folder_of_unlike_pngs_names_the_odd_one(tmp_path):
    for number, size in enumerate((32, 32, 40)):
        (tmp_path / f"{number}.png").write_bytes(encode_png(quadrants(size, size)))
    with pytest.raises(VideoError, match="2.png is 40x40 pixels, 0.png is 32x32"):
        read_all(tmp_path)


def test_a_file_object_is_read_like_its_file(tmp_path):
    path = make_clip(tmp_path / "a.mp4", range(4))
    from_path, from_bytes = read_all(path), read_all(io.BytesIO(path.read_bytes()))
    assert from_path[0] == from_bytes[0]
    np.testing.assert_array_equal(from_path[1], from_bytes[1])


def test_a_name_with_a_colon_is_a_file(tmp_path):
    path = written(tmp_path / "http:a.mp4", range(3))
    assert read_all(path)[0] == [0, 1, 2]


def test_frames_come_one_by_one(tmp_path):
    with read_frames(make_clip(tmp_path / "a.mp4", range(40)), None, 16) as reader:
        assert [next(iter(reader))[0] for _ in range(3)] == [step * int(TICK / reader.time_base) for step in range(3)]
    assert list(reader) == []


def test_good_timestamps_pass_and_bad_ones_move_as_little_as_possible():
    def repaired(stated):
        repair = PtsRepair(nominal_duration=40)
        return [repair.place(pts) for pts in stated]

    assert repaired([7, 40, 200]) == [7, 40, 200]
    assert repaired([None, None, None]) == [0, 40, 80]
    assert repaired([0, None, 90]) == [0, 40, 90]
    assert repaired([0, 40, 40, 80]) == [0, 40, 41, 80]
    assert repaired([0, 40, 20, 80]) == [0, 40, 41, 80]
    assert repaired([-30, 10, 50]) == [0, 40, 80]


def test_constant_duration_is_found_only_when_it_is_constant():
    assert constant_frame_duration([3, 6, 9]) == 3
    assert constant_frame_duration([3, 6, 10]) is None
    assert constant_frame_duration([3]) is None
    assert constant_frame_duration([]) is None


def test_bad_sources_give_one_line(tmp_path):
    (tmp_path / "garbage.mp4").write_bytes(bytes(range(256)) * 20)
    (tmp_path / "empty.mp4").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "0.png").write_bytes(b"not a png")
    (tmp_path / "bare").mkdir()
    make_audio(tmp_path / "audio.m4a")
    make_audio(tmp_path / "cover.mp3", cover=True)
    for name, words in {
        "none.mp4": "no such file",
        "garbage.mp4": "is not a video",
        "empty.mp4": "is not a video",
        "audio.m4a": "has no video: it holds 1 audio and 0 cover",
        "cover.mp3": "has no video: it holds 1 audio and 1 cover",
        "bare": "holds no picture",
        "folder": "0.png",
    }.items():
        with pytest.raises(VideoError, match=words) as caught:
            read_frames(tmp_path / name, None, 32)
        assert name in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_clip_without_frames_is_refused(tmp_path):
    with pytest.raises(VideoError, match="holds no frame"):
        read_frames(without_pictures(tmp_path / "a.mp4"), None, 32)


def test_a_truncated_clip_gives_the_frames_before_the_cut_and_says_so(tmp_path):
    path = make_clip(tmp_path / "a.mp4", range(40))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 3 // 4])
    pts, _, reader = read_all(path)
    assert 5 < len(pts) < 40
    assert f"ends after {len(pts) / 25:.2f} s of the 1.60 s" in reader.damage
    path.write_bytes(whole)
    assert read_all(path)[2].damage is None


def test_a_clip_cut_within_its_header_is_refused(tmp_path):
    path = make_clip(tmp_path / "a.mp4", range(10))
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(VideoError, match="is not a video"):
        read_frames(path, None, 32)


def test_importing_the_package_does_not_load_pyav():
    code = "import sys, bcdcodec.video; sys.exit('av' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_square_frame_needs_no_crop():
    assert centre_crop(64, 64) == Crop(0, 0, 64, 64)
    assert check_crop(Crop(0, 0, 64, 64), 64, 64) == Crop(0, 0, 64, 64)
