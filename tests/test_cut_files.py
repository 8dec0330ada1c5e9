"""What comes before the end of a cut file or a cut coded stream is read."""

from dataclasses import replace

import numpy as np
from vector_parts import CONTEXT, SMALL, SOUND, file_bytes, join, motion_for, packets_for, recording, split

from bcdcodec.container import Audio, Surroundings, open_bcd, verify_file
from bcdcodec.entropy.context import decode_context_prefix, encode_context
from bcdcodec.errors import TruncatedError

PLAIN = file_bytes(recording(), SMALL)


def test_a_file_cut_at_any_byte_has_the_sound_and_the_frames_before_the_cut(tmp_path):
    motions = [motion_for(SMALL, 0, 4, pts=[0, 1, 5, 9]), motion_for(SMALL, 4, 3, pts=[90, 700, 701])]
    sound = (Audio(0, packets_for("a", [3, 3]), SOUND), Audio(1 << 21, packets_for("b", [3])))
    given = recording(motions=motions, audio=sound, metadata={"title": "x"}, frame_duration=0)
    data = file_bytes(replace(given, surroundings=(Surroundings(0, b"RIFF"),)), SMALL)
    codes, path = np.concatenate([motion.codes for motion in motions]), tmp_path / "x.bcd"
    found = set()
    for cut in range(len(data)):
        path.write_bytes(data[:cut])
        try:
            reader = open_bcd(path)
        except TruncatedError:
            assert cut < data.index(b"mETa")
            continue
        with reader:
            assert reader.byte_counts.total == cut and not reader.complete and reader.duration_seconds >= 0
            read = np.concatenate([np.zeros((0, 5), np.uint8), *(motion.codes for motion in reader.motion(SMALL))])
            assert np.array_equal(read, codes[: len(read)])
            assert list(reader.audio()) == list(sound[: len(list(reader.audio()))])
            found.add((len(read), len(list(reader.audio()))))
        report = verify_file(path, SMALL)
        assert report.frames == len(read) and not report.codes_checked
    assert {(0, 0), (0, 1), (4, 1), (7, 1), (7, 2)} <= found and len(found) >= 8


def test_without_a_content_there_is_nothing_to_check(tmp_path):
    path = tmp_path / "x.bcd"
    path.write_bytes(join([split(PLAIN)[0]]))
    assert verify_file(path, SMALL).frames == 0


def test_a_cut_stream_of_the_context_profile_can_hold_all_its_frames():
    codes = motion_for(CONTEXT, 0, 6).codes
    assert np.array_equal(
        decode_context_prefix(encode_context(codes, CONTEXT.context) + bytes(8), 6, CONTEXT.context), codes
    )
