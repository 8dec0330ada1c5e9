"""Every frame of a source is shown at its time, whatever its rate; about as many are coded as in training."""

import json
from dataclasses import replace
from fractions import Fraction

import av
import numpy as np
import pytest
import torch
from head_clips import head_frames, write_clip
from video_clips import make_clip, quadrants, turn_mp4

import bcdcodec
from bcdcodec.coding.decoder import motion_vectors
from bcdcodec.container import Motion, open_bcd
from bcdcodec.video import read_frames


def times(path):
    """When frames are shown, seconds from the first, and the length in seconds."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        packets = sorted((p.pts, p.duration) for p in container.demux(stream) if p.pts is not None)
        start = packets[0][0]
        return [(p - start) * stream.time_base for p, _ in packets], (sum(packets[-1]) - start) * stream.time_base


def through(source, folder, model):
    """Encode and decode a source; returns the .bcd file and the video."""
    from bcdcodec.files.decode_file import DecodeOptions, decode_file
    from bcdcodec.files.encode_file import EncodeOptions, encode_file

    encode_file(source, folder / "a.bcd", EncodeOptions(model, "cpu"))
    decode_file(folder / "a.bcd", folder / "out.mp4", options=DecodeOptions(model, "cpu"))
    return folder / "a.bcd", folder / "out.mp4"


@pytest.mark.parametrize(
    "rate, coded",
    [(10, 13), (25, 13), (Fraction(30000, 1001), 13), (30, 13), (50, 7), (60, 7), (Fraction(60000, 1001), 7), (120, 3)],
    ids=str,
)
def test_a_clip_of_any_rate_comes_back_frame_by_frame(tiny_model, tmp_path, rate, coded):
    source = write_clip(tmp_path / "in.mp4", head_frames(6, 13, 32), time_base=1 / Fraction(rate))
    file, video = through(source, tmp_path, tiny_model)
    assert times(video) == times(source)
    assert times(video) == ([i / Fraction(rate) for i in range(13)], 13 / Fraction(rate))
    with open_bcd(file) as reader:
        assert (reader.frames, reader.coded_frames) == (13, coded)


def test_a_variable_rate_around_50_comes_back_exactly(tiny_model, tmp_path):
    pts = np.cumsum([0, 20, 20, 21, 19, 20, 20, 20, 20, 20, 20, 20, 60]).tolist()
    source = write_clip(tmp_path / "in.mp4", head_frames(6, 13, 32), pts, Fraction(1, 1000))
    file, video = through(source, tmp_path, tiny_model)
    assert times(video) == times(source)
    with open_bcd(file) as reader:
        assert (reader.frames, reader.coded_frames) == (13, 7)


def test_frames_at_uneven_distances_are_all_coded(tiny_model, tmp_path):
    pts = [0, 1, 2, 3, 5, 4000, 4001, 8000]
    source = write_clip(tmp_path / "in.mp4", head_frames(6, 8, 32), pts, Fraction(1, 90000))
    file, video = through(source, tmp_path, tiny_model)
    assert times(video) == times(source)
    with open_bcd(file) as reader:
        assert reader.coded_frames == 8


def test_a_turned_clip_of_odd_size_is_coded_upright(tiny_model, tmp_path):
    upright = make_clip(tmp_path / "upright.mp4", range(5), width=37, height=51)
    turned = make_clip(tmp_path / "turned.mp4", range(5), width=51, height=37)
    turn_mp4(turned, (0, 1, -1, 0))
    with read_frames(upright, None, 32) as a, read_frames(turned, None, 32) as b:
        assert (a.info.width, a.info.height) == (b.info.width, b.info.height) == (37, 51)
        turned_back = np.rot90(next(iter(b))[1])  # stored upright, shown turned clockwise
        assert np.abs(turned_back.astype(int) - quadrants(32, 32)).mean() < 12
    file, video = through(turned, tmp_path, tiny_model)
    with open_bcd(file) as reader:
        assert (reader.head.source_width, reader.head.source_height, reader.head.crop) == (37, 51, (0, 7, 37, 37))
    assert times(video) == times(turned)


def test_info_says_which_frames_are_coded(tiny, bcd, tmp_path):
    source = write_clip(tmp_path / "in.mp4", head_frames(6, 12, 32), time_base=Fraction(1, 50))
    tiny("encode", source, tmp_path / "a.bcd")
    assert "6 of them are coded" in bcd("info", tmp_path / "a.bcd").out
    facts = json.loads(bcd("info", tmp_path / "a.bcd", "--json").out)
    assert (facts["frames"], facts["coded_frames"], facts["duration_s"]) == (12, 6, pytest.approx(0.24))
    assert facts["bits_per_frame"] == pytest.approx(facts["bytes"]["motion"] * 8 / 6)


# ---- between coded frames


@pytest.fixture(scope="module")
def codec(tiny_model):
    return bcdcodec.load(tiny_model)


@pytest.fixture(scope="module")
def fast(codec):
    """A recording of 70 frames at 50 a second, in two chunks of 35 and 35 frames."""
    return codec.encode(head_frames(21, 70, 32), 50)


def test_left_out_frames_lie_halfway(codec, fast):
    (motion,) = fast.motions
    assert (motion.stride, motion.frames, len(motion.codes)) == (2, 70, 35)
    ((_, vectors),) = motion_vectors(codec.session, iter([motion]))
    coded = codec.model.vq.lookup(torch.from_numpy(motion.codes.astype(np.int64))[None])[0]
    assert torch.equal(vectors[::2], coded)
    torch.testing.assert_close(vectors[1:-1:2], (coded[:-1] + coded[1:]) / 2)
    assert torch.equal(vectors[-1], coded[-1]), "after the last coded frame it is repeated"


def test_the_seam_between_chunks_changes_no_frame(codec, fast):
    (motion,) = fast.motions
    parts = [Motion(0, 0, motion.codes[:13], None, 2, 25), Motion(25, 0, motion.codes[13:], None, 2, 44)]
    whole = [Motion(0, 0, motion.codes[:12], None, 2, 24), Motion(24, 0, motion.codes[12:], None, 2, 46)]
    vectors = torch.cat([v for _, v in motion_vectors(codec.session, iter(whole))])
    torch.testing.assert_close(vectors, next(v for _, v in motion_vectors(codec.session, iter([motion]))))
    shorter = torch.cat([v for _, v in motion_vectors(codec.session, iter(parts))])
    assert len(shorter) == 69
    torch.testing.assert_close(shorter[24:26], torch.stack([vectors[24], vectors[26]]))


def test_no_frame_lies_between_two_scenes(codec, fast):
    (motion,) = fast.motions
    parts = [Motion(0, 0, motion.codes[:12], None, 2, 24), Motion(24, 1, motion.codes[12:], None, 2, 46)]
    first, _ = (v for _, v in motion_vectors(codec.session, iter(parts)))
    assert torch.equal(first[23], first[22])


def test_half_the_codes_give_all_the_pictures(codec, fast):
    pictures = codec.decode(fast)
    assert len(pictures) == 70
    every = replace(fast.motions[0], stride=1, shown=None)
    assert np.array_equal(codec.decode(replace(fast, motions=(every,)))[0], pictures[0])
