"""Sound keeps step with the pictures, whatever it was and however it lay in its source."""

import numpy as np
import pytest
from head_clips import head_frames
from sound_clips import RATE, beeps, heard_beeps, make_loud_clip, packets_of

import bcdcodec
from bcdcodec.container import open_bcd
from bcdcodec.errors import BcdError, VideoError
from bcdcodec.video import SoundOptions, read_frames, write_video

STEP = 0.02  # seconds that sound may be off


def recoded(source, target, options=SoundOptions()):  # noqa: B008
    """Pictures and sound of a source into another file, by way of what a .bcd file would hold; returns the chunks."""
    with read_frames(source, None, 32, options) as video:
        frames = list(video)
        first, last = frames[0][0], frames[-1][0] + video.last_duration
        middle = video.sound.take((last - first) // 2 * video.time_base)
        chunks = middle + video.sound.take((last - first) * video.time_base)
        with write_video(target, 32, 32, video.time_base, sound=chunks[0].format) as writer:
            for audio in chunks:
                sample = audio.first_sample
                for packet in audio.packets:
                    writer.write_sound(sample, packet)
                    sample += bcdcodec.container.opus_samples(packet)
            for pts, image in frames:
                writer.write(image, pts - first)
    return chunks


@pytest.mark.parametrize("codec, rate, suffix", [("pcm_s16le", 44100, ".mp4"), ("libopus", RATE, ".mkv")])
def test_after_ten_minutes_sound_is_within_20_ms(tmp_path, codec, rate, suffix):
    times = [0.5, 300.25, 599.5]
    source = make_loud_clip(
        tmp_path / "in.mkv", beeps(times, 600, rate), frames=600, frame_rate=1, codec=codec, rate=rate
    )
    recoded(source, tmp_path / f"out{suffix}")
    assert heard_beeps(tmp_path / f"out{suffix}") == pytest.approx(times, abs=STEP)


def test_opus_is_copied_packet_by_packet(tmp_path):
    source = make_loud_clip(tmp_path / "in.mkv", beeps([0.5, 1.5], 2), codec="libopus")
    chunks = recoded(source, tmp_path / "out.mp4")
    packets = [packet for audio in chunks for packet in audio.packets]
    assert packets == packets_of(source)
    assert packets_of(tmp_path / "out.mp4") == packets
    assert heard_beeps(tmp_path / "out.mp4") == pytest.approx([0.5, 1.5], abs=STEP)


def test_opus_is_encoded_again_when_a_rate_is_asked_for(tmp_path):
    source = make_loud_clip(tmp_path / "in.mkv", beeps([0.5, 1.5], 2), codec="libopus")
    chunks = recoded(source, tmp_path / "out.mp4", SoundOptions(6, copy=False))
    assert [packet for audio in chunks for packet in audio.packets] != packets_of(source)
    assert heard_beeps(tmp_path / "out.mp4") == pytest.approx([0.5, 1.5], abs=STEP)


@pytest.mark.parametrize(
    "codec, rate, layout", [("aac", 44100, "stereo"), ("aac", 16000, "mono"), ("libmp3lame", 48000, "stereo")]
)
def test_other_sound_becomes_mono_opus(tmp_path, codec, rate, layout):
    source = make_loud_clip(tmp_path / "in.mkv", beeps([0.5, 1.5], 2, rate), codec=codec, rate=rate, layout=layout)
    chunks = recoded(source, tmp_path / "out.mp4")
    assert chunks[0].format.channels == 1
    assert heard_beeps(tmp_path / "out.mp4") == pytest.approx(heard_beeps(source), abs=STEP)


@pytest.mark.parametrize("codec", ["pcm_s16le", "libopus"])
def test_sound_before_the_first_picture_is_left_out(tmp_path, codec):
    source = make_loud_clip(tmp_path / "in.mkv", beeps([0.5, 1.5, 2.5], 3), frames=10, codec=codec, first_picture=1)
    chunks = recoded(source, tmp_path / "out.mp4")
    assert heard_beeps(tmp_path / "out.mp4") == pytest.approx([0.5, 1.5], abs=STEP)
    assert sum(audio.samples for audio in chunks) < 2.3 * RATE


@pytest.mark.parametrize("codec", ["pcm_s16le", "libopus"])
def test_sound_after_the_last_picture_is_left_out(tmp_path, codec):
    source = make_loud_clip(tmp_path / "in.mkv", beeps([0.5], 1.99), frames=5, codec=codec)
    chunks = recoded(source, tmp_path / "out.mp4")
    assert sum(audio.samples for audio in chunks) < 1.1 * RATE


@pytest.mark.parametrize("codec", ["pcm_s16le", "libopus"])
def test_a_hole_in_the_sound_stays_silent_and_moves_nothing(tmp_path, codec):
    pcm = beeps([0.5, 1.5, 2.5], 3)
    source = make_loud_clip(tmp_path / "in.mkv", pcm, frames=15, codec=codec, silent=lambda time: 1 <= time < 2)
    recoded(source, tmp_path / "out.mp4")
    assert heard_beeps(tmp_path / "out.mp4") == pytest.approx([0.5, 2.5], abs=STEP)


@pytest.mark.parametrize("codec", ["pcm_s16le", "libopus"])
def test_sound_that_begins_late_stays_late(tmp_path, codec):
    source = make_loud_clip(tmp_path / "in.mkv", beeps([1.5], 2), codec=codec, silent=lambda time: time < 1)
    chunks = recoded(source, tmp_path / "out.mp4")
    assert heard_beeps(tmp_path / "out.mp4") == pytest.approx([1.5], abs=STEP)
    assert chunks[0].format.delay == pytest.approx(RATE, abs=RATE * STEP)


@pytest.mark.parametrize("kbps", [6, 12, 16])
def test_voice_takes_the_rate_that_was_asked_for(tmp_path, kbps):
    time = np.arange(10 * RATE) / RATE
    hum = sum(np.sin(2 * np.pi * 140 * k * time + k) / k for k in range(1, 20)) * (1 + np.sin(2 * np.pi * 4 * time))
    pcm = (hum * 2500 + np.random.default_rng(0).normal(0, 300, len(time))).astype(np.int16)
    source = make_loud_clip(tmp_path / "in.mkv", pcm, frames=50)
    chunks = recoded(source, tmp_path / "out.mkv", SoundOptions(kbps))
    size = sum(len(packet) for audio in chunks for packet in audio.packets)
    assert 0.6 * kbps < size * 8 / 10 / 1000 < 1.15 * kbps


def test_a_rate_that_opus_does_not_have_is_refused():
    with pytest.raises(BcdError, match="3 kbit/s"):
        SoundOptions(3)


def test_sound_changes_no_time_of_the_pictures(tmp_path):
    source = make_loud_clip(tmp_path / "in.mkv", beeps([0.5], 2))
    recoded(source, tmp_path / "out.mp4")
    with read_frames(source, None, 8) as before, read_frames(tmp_path / "out.mp4", None, 8) as after:
        times = [[pts * video.time_base for pts, _ in video] for video in (before, after)]
    assert times[1] == [time - times[0][0] for time in times[0]] and after.info.has_audio


# ---- through the command


@pytest.fixture(scope="module")
def talk(tmp_path_factory):
    path = tmp_path_factory.mktemp("talk") / "talk.mkv"
    pictures = head_frames(3, 10, 32)
    return make_loud_clip(path, beeps([0.25, 1.25], 2), frames=50, frame_rate=25, pictures=pictures)


@pytest.fixture(scope="module")
def talk_bcd(talk, tiny_model):
    from bcdcodec.files.encode_file import EncodeOptions, encode_file

    encode_file(talk, talk.with_suffix(".bcd"), EncodeOptions(tiny_model, "cpu"))
    return talk.with_suffix(".bcd")


def test_a_talk_comes_back_with_its_sound(tiny, talk_bcd, tmp_path):
    assert tiny("decode", talk_bcd, tmp_path / "out.mp4").code == 0
    assert heard_beeps(tmp_path / "out.mp4") == pytest.approx([0.25, 1.25], abs=STEP)


def test_without_audio_the_file_is_that_of_a_silent_clip(tiny, talk, tmp_path):
    done = tiny("encode", talk, tmp_path / "a.bcd", "--no-audio")
    assert (done.code, done.err) == (0, "")
    with open_bcd(tmp_path / "a.bcd") as reader:
        assert reader.byte_counts.audio == 0 and reader.audio_format is None
    assert tiny("decode", tmp_path / "a.bcd", tmp_path / "out.mp4").code == 0
    with read_frames(tmp_path / "out.mp4", None, 8) as video:
        assert not video.info.has_audio


def test_info_counts_sound_apart(bcd, talk_bcd):
    import json

    facts = json.loads(bcd("info", talk_bcd, "--json").out)
    assert facts["audio"]["channels"] == 1 and facts["audio"]["duration_s"] == pytest.approx(2, abs=0.07)
    assert sum(facts["bytes"][name] for name in ("motion", "content", "container", "audio")) == talk_bcd.stat().st_size
    assert facts["kbps"]["audio"] == pytest.approx(facts["bytes"]["audio"] * 8 / 2 / 1000, abs=1e-3)
    assert facts["kbps"]["total"] == pytest.approx(talk_bcd.stat().st_size * 8 / 2 / 1000, abs=1e-3)
    assert "Opus, mono" in bcd("info", talk_bcd).out


def test_sound_follows_the_motion(faces, talk, other_person, tmp_path):
    talk_bcd = tmp_path / "talk.bcd"
    assert faces("encode", talk, talk_bcd).code == 0
    with open_bcd(talk_bcd) as reader:
        given = list(reader.audio())
    assert faces("decode", talk_bcd, tmp_path / "out.bcd", "--content", other_person).code == 0
    with open_bcd(tmp_path / "out.bcd") as reader:
        assert list(reader.audio()) == given
    assert faces("decode", talk_bcd, tmp_path / "out.mp4", "--content", other_person).code == 0
    assert len(heard_beeps(tmp_path / "out.mp4")) == 2
    assert faces("decode", other_person, tmp_path / "silent.bcd", "--content", talk_bcd).code == 0
    with open_bcd(tmp_path / "silent.bcd") as reader:
        assert reader.audio_format is None


def test_an_output_that_holds_no_sound_says_so(tiny, talk_bcd, tmp_path):
    done = tiny("decode", talk_bcd, tmp_path / "out.gif")
    assert done.code == 0 and "the sound of" in done.err and "out.gif" in done.err
    assert tiny("decode", talk_bcd, tmp_path / "b.gif", "--no-audio").err == ""


def test_a_cut_file_has_sound_up_to_the_cut(tiny, talk_bcd, tmp_path):
    data = talk_bcd.read_bytes()
    motion = data.rindex(b"MOTN")
    (tmp_path / "cut.bcd").write_bytes(data[: (motion + data.rindex(b"TAIL")) // 2])
    assert tiny("decode", tmp_path / "cut.bcd", tmp_path / "out.mp4").code == 0
    with read_frames(tmp_path / "out.mp4", None, 8) as video:
        frames = len(list(video))
    assert 0 < frames < 50
    assert heard_beeps(tmp_path / "out.mp4")[0] == pytest.approx(0.25, abs=STEP)


def test_sound_alone_is_no_video(tmp_path):
    from video_clips import make_audio

    with pytest.raises(VideoError, match="no video"):
        read_frames(make_audio(tmp_path / "a.mka"), None, 8, SoundOptions())
