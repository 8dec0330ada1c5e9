"""Timestamps that jump: pictures go on, sound stays in step, and it is told."""

from fractions import Fraction

import av
import numpy as np
import pytest
from sound_clips import beeps, heard_beeps, make_loud_clip
from video_clips import make_clip, read_all

from bcdcodec.video import SoundOptions, read_frames, write_video
from bcdcodec.video.timeline import Timeline


def joined(path, seconds=2, times=3):
    """A transport stream of two seconds with a beep at 0.5 s, again and again."""
    part = make_loud_clip(path.with_name("part.ts"), beeps([0.5], seconds), seconds * 25, 25, codec="mp2")
    path.write_bytes(part.read_bytes() * times)
    return path


def placed(stated, joinable=False):
    """Seconds that a video alone is moved to."""
    timeline = Timeline(joinable)
    return [float(timeline.moved(0, round(1000 * s), 40, Fraction(1, 1000)) / 1000) for s in stated], timeline.jumps


def test_joined_transport_streams_go_on_at_their_rate_with_sound_in_step(tmp_path):
    with read_frames(joined(tmp_path / "three.ts"), None, 16, SoundOptions()) as video:
        frames = list(video)
        chunks = video.sound.take(Fraction(100))
        steps = np.diff([pts for pts, _ in frames]) * float(video.time_base)
        with write_video(tmp_path / "out.mp4", 16, 16, video.time_base, sound=chunks[0].format) as writer:
            for audio in chunks:
                first = audio.first_sample
                for packet in audio.packets:
                    writer.write_sound(first, packet)
                    first += 2880
            for pts, image in frames:
                writer.write(image, pts - frames[0][0])
    assert len(frames) == 150
    assert steps.min() > 0.035 and steps.max() < 0.1
    heard = heard_beeps(tmp_path / "out.mp4")
    assert len(heard) == 3
    assert np.diff(heard) == pytest.approx(2, abs=0.1)
    assert any("jumps 2 times" in note for note in video.notes)


def test_a_gap_of_hours_is_closed(tmp_path):
    pts = [*range(10), *range(900_010, 900_020)]
    pts, _, reader = read_all(make_clip(tmp_path / "a.mkv", pts))
    assert np.diff(pts).max() * float(reader.time_base) == pytest.approx(0.04, abs=0.002)
    assert any("jumps once" in note for note in reader.notes) and reader.damage is None


def test_a_pause_of_a_minute_stays():
    assert placed([0, 0.04, 60, 60.04]) == ([0, 0.04, 60, 60.04], 0)


def test_one_wrong_timestamp_moves_nothing_after_it():
    moved, _ = placed([10, 10.04, 10.08, 4, 10.16, 10.20])
    assert moved[:3] + moved[4:] == pytest.approx([10, 10.04, 10.08, 10.16, 10.20])


def test_streams_that_jump_one_after_the_other_stay_in_step():
    timeline, tick = Timeline(joinable=True), Fraction(1, 1000)
    for i in range(50):
        timeline.moved(0, 40 * i, 40, tick), timeline.moved(1, 40 * i, 40, tick)
    sound = [timeline.moved(1, 40 * i, 40, tick) for i in range(5)]  # begins anew, the pictures are late
    last = timeline.moved(0, 2000, 40, tick)
    pictures = [timeline.moved(0, 40 * i, 40, tick) for i in range(5)]
    assert (sound[0], last) == (2000, 2000)
    assert pictures == sound and timeline.jumps == 1


def test_a_gap_of_the_pictures_in_which_sound_goes_on_is_no_jump():
    timeline, tick = Timeline(joinable=True), Fraction(1, 1000)
    timeline.moved(0, 0, 40, tick)
    for i in range(500):
        timeline.moved(1, 40 * i, 40, tick)
    assert timeline.moved(0, 20_000, 40, tick) == 20_000 and timeline.jumps == 0


def test_reordered_frames_are_no_jump(tmp_path):
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        stream.options = {"bf": "4", "b-adapt": "0"}
        for i in range(40):
            frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 5 * i, np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    pts, _, reader = read_all(tmp_path / "a.mkv")
    assert len(pts) == 40 and not reader.notes
    assert np.diff(pts).max() * float(reader.time_base) < 0.05


@pytest.mark.parametrize(
    "pts, gaps",
    [
        ([*range(20), *range(30, 50)], 1),
        ([*range(20), *range(22, 50)], 0),
        ([0, 3, 4, 30, 31, 50, 55, 57, 80], 0),  # a variable rate
        ([*range(50)], 0),
    ],
)
def test_a_hole_in_a_constant_rate_is_told(tmp_path, pts, gaps):
    _, _, reader = read_all(make_clip(tmp_path / "a.mkv", pts))
    told = [note for note in reader.notes if "has gaps in its frames" in note]
    assert len(told) == gaps
    assert not told or "once: the longest is 0.44 s at 0.76 s" in told[0]
