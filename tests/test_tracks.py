"""Of several tracks the right one is read, damaged frames are known, and sizes that change are fitted."""

import random
from fractions import Fraction

import av
import numpy as np
import pytest
from av.stream import Disposition
from sound_clips import RATE, beeps
from video_clips import BLUE, GREEN, GREY, RED, corner_colours, make_clip, quadrants, read_all, turn_mp4

from bcdcodec.errors import VideoError
from bcdcodec.video import SoundOptions, Tracks, read_frames


def clip_of_tracks(path, sizes=((32, None),), sounds=()):
    """A clip of tracks: `sizes` are (side, disposition), `sounds` (int16 [channels, n], layout, disposition)."""
    with av.open(str(path), "w") as container:
        videos, audios, packets = [], [], []
        for side, disposition in sizes:
            stream = container.add_stream("libx264", rate=25)
            stream.width = stream.height = side
            stream.pix_fmt = "yuv420p"
            stream.disposition = disposition or Disposition(0)
            videos.append(stream)
        for samples, layout, disposition in sounds:
            stream = container.add_stream("flac", rate=RATE, layout=layout)
            stream.format = "s16"
            stream.disposition = disposition or Disposition(0)
            audios.append((stream, samples))
        for stream in videos:
            for i in range(25):
                frame = av.VideoFrame.from_ndarray(quadrants(stream.width, stream.height), format="rgb24")
                frame.pts, frame.time_base = i, Fraction(1, 25)
                packets += stream.encode(frame)
            packets += stream.encode(None)
        for stream, samples in audios:
            for at in range(0, samples.shape[1], 960):
                block = np.ascontiguousarray(samples[:, at : at + 960].T.reshape(1, -1))
                frame = av.AudioFrame.from_ndarray(block, format="s16", layout=stream.layout.name)
                frame.sample_rate, frame.pts, frame.time_base = RATE, at, Fraction(1, RATE)
                packets += stream.encode(frame)
            packets += stream.encode(None)
        for packet in sorted(packets, key=lambda p: float(p.dts * p.time_base)):
            container.mux(packet)
    return path


def peak(path, sound=None):
    """The loudest sample of what the reader gathers, 0 to 1, and the reader's notes."""
    with read_frames(path, None, 8, SoundOptions(64), Tracks(sound=sound)) as video:
        list(video)
        decoder, loud = av.CodecContext.create("libopus", "r"), 0.0
        decoder.sample_rate, decoder.layout = RATE, "mono"
        for audio in video.sound.take(Fraction(100)):
            for packet in audio.packets:
                for frame in decoder.decode(av.Packet(packet)):
                    samples = frame.to_ndarray().astype(float)
                    loud = max(
                        loud, float(np.abs(samples).max()) / (1 if frame.format.name.startswith("flt") else 32768)
                    )
        return loud, video.notes


TONE = beeps([0.1, 0.5], 1)[None]
SILENCE = np.zeros_like(TONE)
DEFAULT = Disposition.default


# ---- which track


def test_the_default_video_track_is_read_before_a_preview(tmp_path):
    path = clip_of_tracks(tmp_path / "a.mkv", [(16, None), (64, DEFAULT), (128, None)])
    _, _, reader = read_all(path)
    assert reader.info.width == 64
    assert any("3 video tracks: track 2 (64x64) is read; --video-track" in note for note in reader.notes)


def test_without_a_mark_the_largest_video_track_is_read(tmp_path):
    _, _, reader = read_all(clip_of_tracks(tmp_path / "a.mp4", [(16, DEFAULT), (64, DEFAULT)]))
    assert reader.info.width == 64


def test_a_track_can_be_chosen_and_one_that_is_not_there_is_refused(tmp_path):
    path = clip_of_tracks(tmp_path / "a.mkv", [(16, None), (64, DEFAULT)], [(TONE, "mono", None)])
    with read_frames(path, None, 8, None, Tracks(video=1)) as reader:
        assert reader.info.width == 16 and not reader.notes
    for tracks, words in ((Tracks(video=3), "2 video tracks, number 3"), (Tracks(sound=2), "1 sound tracks, number 2")):
        with pytest.raises(VideoError, match=words):
            read_frames(path, None, 8, SoundOptions(), tracks)


@pytest.mark.parametrize("marks", [(None, DEFAULT), (DEFAULT, None), (None, None)])
def test_a_silent_first_sound_track_is_passed_over(tmp_path, marks):
    sounds = [(SILENCE, "mono", marks[0]), (TONE, "mono", marks[1])]
    loud, notes = peak(clip_of_tracks(tmp_path / "a.mkv", sounds=sounds))
    assert loud > 0.3
    assert any("2 sound tracks: track 2 is read" in note for note in notes)
    assert peak(tmp_path / "a.mkv", 1)[0] < 0.01


def test_the_default_sound_track_is_read_if_it_is_not_silent(tmp_path):
    quiet = (TONE // 8).astype(np.int16)
    loud, _ = peak(clip_of_tracks(tmp_path / "a.mkv", sounds=[(TONE, "mono", None), (quiet, "mono", DEFAULT)]))
    assert loud < 0.2


# ---- surround sound


@pytest.mark.parametrize("layout, centre", [("5.1", 2), ("7.1", 2), ("3.0", 2)])
def test_speech_in_the_centre_keeps_its_level(tmp_path, layout, centre):
    channels = av.AudioLayout(layout).nb_channels
    surround = np.zeros((channels, TONE.shape[1]), np.int16)
    surround[centre] = TONE[0]
    loud, _ = peak(clip_of_tracks(tmp_path / "a.mkv", sounds=[(surround, layout, None)]))
    assert loud == pytest.approx(20000 / 32768, rel=0.25)


def test_loud_channels_together_are_not_clipped_hard():
    from bcdcodec.video.downmix import mono_with_centre

    wave = np.sin(np.linspace(0, 60, 4000)).astype(np.float32)
    mono = mono_with_centre(np.stack([wave] * 6), ["FL", "FR", "FC", "LFE", "BL", "BR"])
    assert mono.max() < 32767 and (mono == mono.max()).mean() < 0.02
    assert np.corrcoef(mono, wave)[0, 1] > 0.9


# ---- damage, changing sizes, transparency


def damaged(path):
    """A clip with key frames at 0, 25 and 50 of 75, and random bytes in a frame after the second one."""
    make = {"g": "25", "bf": "0", "crf": "10", "sc_threshold": "0"}
    rng = np.random.default_rng(0)
    base = rng.integers(0, 255, (64, 64, 3)).astype(np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width = stream.height = 64
        stream.pix_fmt, stream.options = "yuv420p", make
        for i in range(75):
            frame = av.VideoFrame.from_ndarray(np.roll(base, 3 * i, 1), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with av.open(str(path)) as container:
        packets = [p for p in container.demux(video=0) if p.size]
        at, size = packets[30].pos, packets[30].size
    data, rng = bytearray(path.read_bytes()), random.Random(1)
    for i in range(at + 20, at + size):
        data[i] = rng.randrange(256)
    path.write_bytes(data)
    return path


def test_damaged_frames_are_told_up_to_the_next_key_frame(tmp_path):
    pts, _, reader = read_all(damaged(tmp_path / "a.mp4"))
    assert "is damaged" in reader.damage
    lost = 75 - len(pts)
    assert lost <= 1
    assert {31, 40, 49 - lost} <= reader.suspects | {30}
    assert not reader.suspects & {*range(28), *range(51, 75)}


def test_a_whole_clip_has_no_suspect_frame(tmp_path):
    _, _, reader = read_all(make_clip(tmp_path / "a.mp4", range(20)))
    assert not reader.suspects and reader.damage is None


def test_a_frame_of_another_size_is_fitted_not_stretched(tmp_path):
    parts = []
    for width, height in ((64, 48), (32, 48)):
        part = make_clip(tmp_path / f"{width}.h264", range(3), width=width, height=height, muxer="h264")
        parts.append(part.read_bytes())
    (tmp_path / "a.h264").write_bytes(b"".join(parts))
    _, images, reader = read_all(tmp_path / "a.h264", 48)
    assert len(images) == 6
    np.testing.assert_allclose(corner_colours(images[0]), [RED, GREEN, BLUE, GREY], atol=8)
    row = images[4][12]
    assert (row[:6] < 20).all() and (row[-6:] < 20).all(), "black beside it"
    np.testing.assert_allclose(row[10:22].mean(0), RED, atol=12)
    np.testing.assert_allclose(row[27:38].mean(0), GREEN, atol=12)
    assert "3 frames of" in reader.notes[0] and "32x48 pixels: they are fitted into 64x48" in reader.notes[0]


def test_vp9_with_alpha_is_shown_on_black(tmp_path):
    import shutil
    import subprocess

    if shutil.which("ffmpeg") is None:
        pytest.skip("FFmpeg's command line writes VP9 with alpha, PyAV does not")
    command = ["ffmpeg", "-v", "error", "-y", "-f", "lavfi", "-t", "0.2", "-i", "color=red:s=64x64:r=25", "-vf"]
    command += ["format=yuva420p,geq=lum='p(X,Y)':cb='p(X,Y)':cr='p(X,Y)':a='if(lt(X,32),255,0)'"]
    subprocess.run([*command, "-c:v", "libvpx-vp9", str(tmp_path / "a.webm")], check=True)
    _, images, _ = read_all(tmp_path / "a.webm")
    assert images[0][16, 4, 0] > 200 and images[0][16, 28].max() < 20


# ---- turned beside side data that PyAV does not know


@pytest.mark.parametrize(
    "matrix, corners",
    [
        ((0, 1, -1, 0), [BLUE, RED, GREY, GREEN]),
        ((-1, 0, 0, -1), [GREY, BLUE, GREEN, RED]),
        ((0, -1, 1, 0), [GREEN, GREY, RED, BLUE]),
    ],
)
def test_a_turned_clip_with_unknown_side_data_is_upright(tmp_path, matrix, corners):
    """Motion JPEG whose frames carry EXIF, as cameras write it."""
    import io

    from PIL import Image

    exif = Image.Exif()
    exif[0x010F] = "A camera"
    data = io.BytesIO()
    Image.fromarray(quadrants(64, 48)).save(data, "JPEG", quality=95, exif=exif)
    with av.open(str(tmp_path / "a.mov"), "w", container_options={"movflags": "faststart"}) as container:
        stream = container.add_stream("mjpeg", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p"
        for i in range(3):
            packet = av.Packet(data.getvalue())
            packet.stream, packet.pts, packet.dts, packet.time_base = stream, i, i, Fraction(1, 25)
            packet.is_keyframe = True
            container.mux(packet)
    turn_mp4(tmp_path / "a.mov", matrix)
    _, images, _ = read_all(tmp_path / "a.mov")
    np.testing.assert_allclose(corner_colours(images[0]), corners, atol=14)
