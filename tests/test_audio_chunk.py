"""Sound in the container: Opus packets, their times, and what files without it are spared."""

import io
from dataclasses import replace

import pytest
from make_vectors import VECTORS
from vector_parts import SMALL, SOUND, content_for, file_bytes, head_for, motion_for, recording, sound_for, split

from bcdcodec.container import Audio, AudioFormat, BcdWriter, open_bcd, opus_samples, read_recording, write_recording
from bcdcodec.errors import FormatError, LimitError


@pytest.mark.parametrize(
    "packet, samples",
    [
        (b"\x00", 480),  # SILK, 10 ms
        (b"\x18", 2880),  # SILK, 60 ms
        (b"\x60", 480),  # hybrid, 10 ms
        (b"\x80", 120),  # CELT, 2.5 ms
        (b"\xf8", 960),  # CELT, 20 ms
        (b"\xf9", 1920),  # two frames of one size
        (b"\xfa", 1920),  # two frames of two sizes
        (b"\x1b\x02", 5760),  # two frames of 60 ms by a count
        (b"\x83\x30", 5760),  # 48 frames of 2.5 ms
    ],
)
def test_the_length_of_a_packet_is_as_rfc_6716_states_it(packet, samples):
    assert opus_samples(packet) == samples


@pytest.mark.parametrize("packet", [b"", b"\x1b", b"\x1b\x03", b"\x1b\x00"])
def test_what_is_no_packet_is_refused(packet):
    with pytest.raises(FormatError):
        opus_samples(packet)


def test_sound_survives_its_file_and_is_counted_apart():
    sound = sound_for()
    data = file_bytes(recording(audio=sound), SMALL)
    found = read_recording(io.BytesIO(data), SMALL)
    assert found.audio == sound and found.complete
    with open_bcd(io.BytesIO(data)) as reader:
        assert reader.audio_format == SOUND
        assert reader.audio_seconds == (6720 + 480 + 1920 + 120 - 312) / 48000
        counts, plain = reader.byte_counts, len(file_bytes(recording(), SMALL))
        assert counts.total == len(data)
        assert counts.audio == sum(len(payload) for kind, payload in split(data) if kind == b"AUDI")
        assert len(data) - plain == counts.audio + 9 + 10  # the headers of the two chunks


def test_a_file_without_sound_stays_a_file_of_version_1_0():
    versions = [split(file_bytes(recording(audio=sound), SMALL))[0][1][0] for sound in ((), sound_for())]
    assert versions == [0x10, 0x11]


def test_what_stands_in_audi_of_version_1_0_is_skipped():
    with open_bcd(VECTORS / "sound_of_1_0.bcd") as reader:
        assert reader.complete and reader.audio_format is None and list(reader.audio()) == []
        assert reader.byte_counts.audio == len(b"no sound")


def test_sound_stands_before_the_motion_of_its_time():
    # Motion of 0.24 and 0.16 s; sound of 0.14 s from the start, then from 0.15 s, then from 0.3 s.
    first, second = sound_for()
    third = Audio(14400, second.packets)
    kinds = [kind for kind, _ in split(file_bytes(recording(audio=(first, second, third)), SMALL))]
    assert kinds == [b"HEAD", b"CONT", b"AUDI", b"AUDI", b"MOTN", b"AUDI", b"MOTN", b"TAIL"]
    pts = [motion_for(SMALL, 0, 6, pts=range(0, 240, 40)), motion_for(SMALL, 6, 4, pts=range(240, 400, 40))]
    variable = recording(audio=(first, second, third), motions=pts, frame_duration=0, time_base_den=1000)
    assert [kind for kind, _ in split(file_bytes(variable, SMALL))] == kinds


def test_a_cut_file_keeps_the_sound_of_its_whole_chunks():
    data = file_bytes(recording(audio=sound_for()), SMALL)
    second = data.rindex(b"AUDI")
    for cut in range(second, data.index(b"MOTN")):
        found = read_recording(io.BytesIO(data[:cut]), SMALL)
        assert found.audio == sound_for()[:1] and not found.complete


@pytest.mark.parametrize(
    "audio, error",
    [
        (replace(sound_for()[0], format=None), FormatError),
        (replace(sound_for()[0], first_sample=1), FormatError),
        (replace(sound_for()[0], packets=()), LimitError),
        (replace(sound_for()[0], packets=(b"\x18" + bytes(65535),)), LimitError),
        (replace(sound_for()[0], format=AudioFormat(3, 0)), LimitError),
        (replace(sound_for()[0], format=AudioFormat(1, -1)), LimitError),
    ],
)
def test_a_writer_refuses_sound_that_no_file_may_hold(audio, error):
    with pytest.raises(error):
        write_recording(io.BytesIO(), recording(audio=(audio,)), SMALL)


def test_sound_cannot_be_added_to_a_recording_begun_without():
    writer = BcdWriter(io.BytesIO(), head_for(SMALL), SMALL)
    writer.write_content(content_for(SMALL))
    with pytest.raises(FormatError, match="without sound"):
        writer.write_audio(sound_for()[0])
