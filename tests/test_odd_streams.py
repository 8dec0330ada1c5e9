"""Streams that are valid but rare: pixel formats, edit lists, timecode tracks, one frame, 8K, interlacing, sound."""

from fractions import Fraction
from types import SimpleNamespace

import av
import numpy as np
import pytest
from PIL import Image
from sound_clips import RATE
from test_tracks import peak
from video_clips import BLUE, GREEN, GREY, RED, TICK, corner_colours, quadrants, read_all, written

from bcdcodec.errors import VideoError
from bcdcodec.video.deinterlace import Deinterlacer
from bcdcodec.video.geometry import Orientation
from bcdcodec.video.tracks import choose_video


def coded(path, pictures, codec="libx264", pixel_format="yuv420p", first=0, options=None, **metadata):
    """Pictures [t, h, w, c], RGB or RGBA, of which the first is shown at `first` frames."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=options or {})
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = pixel_format
        stream.metadata.update(metadata)
        for i, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, format="rgba" if picture.shape[2] == 4 else "rgb24")
            frame.pts, frame.time_base = first + i, TICK
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("pixel_format", ["gray", "gray10le"])
def test_grey_video_is_grey(tmp_path, pixel_format):
    _, images, _ = read_all(coded(tmp_path / "a.mkv", [quadrants(64, 48)], "ffv1", pixel_format))
    luma = np.array([RED, GREEN, BLUE, GREY]) @ [0.299, 0.587, 0.114]
    np.testing.assert_allclose(corner_colours(images[0]), np.repeat(luma[:, None], 3, 1), atol=3)


def test_prores_with_alpha_is_shown_on_black(tmp_path):
    picture = np.dstack([quadrants(64, 48), np.full((48, 64), 255, np.uint8)])
    picture[:, 32:, 3] = 0
    _, images, _ = read_all(coded(tmp_path / "a.mov", [picture], "prores_ks", "yuva444p10le"))
    np.testing.assert_allclose(corner_colours(images[0]), [RED, (0, 0, 0), BLUE, (0, 0, 0)], atol=6)


def test_a_video_of_one_frame_is_no_photo(tmp_path):
    pts, images, reader = read_all(coded(tmp_path / "a.mp4", [quadrants(64, 48)]))
    assert (pts, len(images), reader.is_photo, reader.damage) == ([0], 1, False, None)


def test_frames_before_an_edit_list_are_not_shown(tmp_path):
    """As phones and editors cut: the group of pictures begins seven frames before the clip."""
    path = coded(tmp_path / "a.mp4", [quadrants(64, 48, i) for i in range(20)], first=-7, options={"g": "20"})
    assert b"elst" in path.read_bytes()
    pts, images, reader = read_all(path)
    assert [tick * reader.time_base for tick in pts] == [i * TICK for i in range(13)]
    np.testing.assert_allclose(corner_colours(images[0])[3], np.array(GREY) + 7, atol=3)
    assert reader.damage is None and not reader.notes


def test_a_timecode_track_changes_nothing(tmp_path):
    path = coded(tmp_path / "a.mov", [quadrants(64, 48)] * 5, timecode="01:00:00:00")
    with av.open(str(path)) as container:
        assert [stream.type for stream in container.streams] == ["video", "data"]
    pts, _, reader = read_all(path)
    assert [tick * reader.time_base for tick in pts] == [i * TICK for i in range(5)] and not reader.notes


def test_8k_is_read_at_its_size(tmp_path):
    Image.fromarray(quadrants(64, 36)).resize((7680, 4320), Image.Resampling.NEAREST).save(
        tmp_path / "a.jpg", quality=60
    )
    _, images, reader = read_all(tmp_path / "a.jpg")
    assert (reader.info.width, reader.info.height, reader.notes) == (7680, 4320, [])
    np.testing.assert_allclose(corner_colours(images[0]), [RED, GREEN, BLUE, GREY], atol=14)


def test_a_gif_whose_delay_is_0_has_ten_frames_a_second(tmp_path):
    shots = [Image.fromarray(quadrants(32, 32, 20 * i)) for i in range(3)]
    shots[0].save(tmp_path / "a.gif", save_all=True, append_images=shots[1:], duration=0, loop=0)
    pts, _, reader = read_all(tmp_path / "a.gif")
    assert [tick * reader.time_base for tick in pts] == [0, Fraction(1, 10), Fraction(2, 10)]


@pytest.mark.parametrize("name", ["🎬.mp4", "line\nfeed.mp4", "%03d?*[a].mp4", "-i.mp4", "http:a.mp4"])
def test_names_are_only_names(tmp_path, name):
    assert len(read_all(written(tmp_path / "in.mp4", range(3)).rename(tmp_path / name))[0]) == 3


# ---- interlaced video


def woven(frames, size=64):
    """A bar that moves on by 2 pixels from field to field, the top one first."""
    pictures = np.full((frames, size, size, 3), 60, np.uint8)
    for i in range(frames):
        for field in (0, 1):
            pictures[i, field::2, 4 * i + 2 * field + 4 : 4 * i + 2 * field + 16] = 200
    return pictures


def combing(image):
    """Mean step from row to row; of a whole upright bar it is 0."""
    return np.abs(np.diff(image.astype(float), axis=0)).mean()


@pytest.mark.parametrize("codec, name", [("libx264", "a.mp4"), ("mpeg2video", "a.mpg"), ("libx264", "a.ts")])
def test_interlaced_video_is_deinterlaced_with_its_times_and_told(tmp_path, codec, name):
    pictures = woven(10)
    path = coded(tmp_path / name, pictures, codec, options={"flags": "+ildct+ilme", "crf": "8", "qscale": "2"})
    pts, images, reader = read_all(path, 64)
    assert combing(pictures[5]) > 5 and all(combing(image) < 1 for image in images)
    assert [tick * reader.time_base for tick in np.subtract(pts, pts[0])] == [i * TICK for i in range(10)]
    assert any("is interlaced: it is deinterlaced, at the same frame rate" in note for note in reader.notes)
    bars = [np.flatnonzero(image[32, :, 0] > 130).mean() for image in images]
    np.testing.assert_allclose(np.diff(bars), 4, atol=0.6)


def test_times_and_marks_of_damage_stay_with_their_frames_where_the_size_changes(tmp_path):
    items = []
    for size in (64, 48):
        path = coded(tmp_path / f"{size}.mkv", woven(4, size), options={"flags": "+ildct+ilme", "bf": "0"})
        with av.open(str(path)) as container:
            items += [(frame, i == 2) for i, frame in enumerate(container.decode(video=0))]
    stated = [(frame.width, frame.pts, frame.time_base, damaged) for frame, damaged in items]
    found = [
        (frame.width, frame.pts, frame.time_base, damaged) for frame, damaged in Deinterlacer().frames(iter(items))
    ]
    assert found == stated and len(found) == 8


def test_progressive_video_is_not_filtered(tmp_path):
    """Thin lines that a deinterlacer would take for combing."""
    path = coded(tmp_path / "a.mkv", woven(6), "ffv1", "yuv444p")
    _, images, reader = read_all(path, 64)
    assert all(combing(image) > 5 for image in images) and not reader.notes


def test_colours_of_interlaced_video_are_read_as_tagged(tmp_path):
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"flags": "+ildct+ilme", "crf": "4"})
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv444p"
        stream.codec_context.colorspace, stream.codec_context.color_range = 1, 2
        source = av.VideoFrame.from_ndarray(quadrants(64, 64), format="rgb24")
        for i in range(4):
            frame = source.reformat(format="yuv444p", dst_colorspace=1, dst_color_range=2)
            frame.pts, frame.time_base = i, TICK
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    _, images, reader = read_all(tmp_path / "a.mkv")
    assert "interlaced" in reader.notes[0]
    for image in images:
        np.testing.assert_allclose(corner_colours(image), [RED, GREEN, BLUE, GREY], atol=8)


# ---- sound


def with_voice(path, codec, rate, layout, seconds=0.5):
    """Half a second of pictures and a tone in the first channel; returns its largest sample, 0 to 1."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25, options={"bf": "0"})
        audio = container.add_stream(codec, rate=rate, layout=layout)
        video.width = video.height = 32
        video.pix_fmt = "yuv420p"
        for i in range(12):
            frame = av.VideoFrame.from_ndarray(quadrants(32, 32), format="rgb24")
            frame.pts, frame.time_base = i, TICK
            container.mux(video.encode(frame))
        samples = np.zeros((int(seconds * rate), audio.layout.nb_channels), np.int16)
        samples[:, 0] = np.sin(np.arange(len(samples)) * 2 * np.pi * 440 / rate) * 20000
        sound = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="s16", layout=layout)
        sound.sample_rate, sound.pts, sound.time_base = rate, 0, Fraction(1, rate)
        container.mux(audio.encode(sound))
        container.mux(video.encode(None))
        container.mux(audio.encode(None))
    return samples.max() / 32768


@pytest.mark.parametrize(
    "codec, rate, layout",
    [("pcm_s16le", RATE, "10 channels"), ("pcm_s16le", RATE, "7.1.2"), ("pcm_alaw", 8000, "mono")],
)
def test_one_voice_in_many_channels_is_heard(tmp_path, codec, rate, layout):
    """At least a third of its level; FFmpeg's own downmix of ten channels leaves a seventh."""
    level = with_voice(tmp_path / "a.mov", codec, rate, layout)
    assert peak(tmp_path / "a.mov")[0] > 0.3 * level


def test_sound_that_is_a_little_longer_is_no_damage(tmp_path):
    """ASF states one length for all streams."""
    with_voice(tmp_path / "a.wmv", "pcm_s16le", RATE, "mono", 0.62)
    assert read_all(tmp_path / "a.wmv")[2].damage is None


def test_a_codec_that_is_not_there_is_told_with_what_to_do():
    with pytest.raises(VideoError, match="a.jxl is of a codec that this PyAV cannot decode: convert a video to H.264"):
        choose_video("a.jxl", [SimpleNamespace(codec_context=None, disposition=0)], None)


# ---- turns


@pytest.mark.parametrize("turn", [0, 90, 180, 270])
@pytest.mark.parametrize("exif", range(1, 9))
def test_a_turn_after_an_orientation_is_one_orientation(exif, turn):
    picture, first = np.arange(6).reshape(2, 3, 1), Orientation.from_exif(exif)
    both = first.then(Orientation.from_rotation(-turn))
    np.testing.assert_array_equal(both.apply(picture), np.rot90(first.apply(picture), -turn // 90))
