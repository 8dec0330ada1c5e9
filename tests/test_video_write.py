"""Images and times become a file or a folder, exactly, whole or not at all."""

import io
import os
import threading
from fractions import Fraction

import av
import numpy as np
import pytest
from video_clips import GREY, RED, TICK, corner_colours, make_clip, quadrants, read_all, written

from bcdcodec.errors import VideoError
from bcdcodec.video import read_frames, write_video


@pytest.mark.parametrize(
    ("time_base", "ticks"),
    [
        (Fraction(1, 25), [0, 1, 2, 3, 4]),
        (Fraction(1001, 30000), [0, 1, 2, 3]),
        (Fraction(1, 90000), [900, 3600, 9000, 9001, 20000]),
        (Fraction(1, 1000), [5, 33, 67, 1000]),
        (Fraction(1, 1_000_000), [0, 40_000, 79_999]),
        (Fraction(1, 12), [3]),
    ],
)
def test_mp4_keeps_every_time_and_the_length_exactly(tmp_path, time_base, ticks):
    last = 7
    path = written(tmp_path / "a.mp4", ticks, time_base, duration=last)
    pts, _, reader = read_all(path)
    assert [t * reader.time_base for t in pts] == [t * time_base for t in ticks]
    assert reader.last_duration * reader.time_base == last * time_base
    assert reader.info.duration_s == pytest.approx(float((ticks[-1] + last - ticks[0]) * time_base), abs=1e-5)


def test_mp4_read_and_written_again_has_the_same_times(tmp_path):
    first = make_clip(tmp_path / "a.mp4", [0, 13, 14, 200, 413], Fraction(1, 600))
    with read_frames(first, None, 32) as reader:
        with write_video(tmp_path / "b.mp4", 32, 32, reader.time_base) as writer:
            for pts, image in reader:
                writer.write(image, pts, reader.last_duration)
    (pts_a, _, a), (pts_b, _, b) = read_all(first), read_all(tmp_path / "b.mp4")
    assert (pts_a, a.time_base, a.last_duration) == (pts_b, b.time_base, b.last_duration)


def test_mkv_keeps_times_to_the_millisecond(tmp_path):
    pts, _, reader = read_all(written(tmp_path / "a.mkv", range(9), Fraction(1001, 30000)))
    for i, tick in enumerate(pts):
        assert abs(tick * reader.time_base - i * Fraction(1001, 30000)) <= Fraction(1, 2000)


def test_webm_keeps_every_picture_at_its_time(tmp_path):
    ticks = [0, 1, 2, 5, 6, 9, 10, 11, 12, 13]
    pts, images, reader = read_all(written(tmp_path / "a.webm", ticks, Fraction(1, 25)))
    assert [round(float(p * reader.time_base * 25), 2) for p in pts] == ticks and len(images) == len(ticks)


def test_odd_sizes_are_padded_to_even_ones_by_repetition(tmp_path):
    path = written(tmp_path / "a.mp4", range(2), size=(65, 49))
    with av.open(str(path)) as container:
        image = next(container.decode(video=0)).to_ndarray(format="rgb24").astype(int)
    assert image.shape == (50, 66, 3)
    inner = np.abs(image[4:20, 4:28] - np.array(RED)).max()
    edge = np.abs(image[-4:, -4:] - np.array(GREY)).max()
    assert max(inner, edge) <= 6


def test_pictures_survive_each_format(tmp_path):
    for name, tolerance in {"a.mp4": 4, "a.mkv": 4, "a.webm": 4, "a.gif": 3, "a.apng": 0, "folder": 0}.items():
        _, images, _ = read_all(written(tmp_path / name, range(3)))
        for i, image in enumerate(images):
            apart = np.abs(corner_colours(image) - corner_colours(quadrants(32, 32, i)))
            assert apart.max() <= tolerance, name


def test_a_folder_gets_numbered_pngs(tmp_path):
    written(f"{tmp_path}/frames.v2/", range(3))
    names = sorted(path.name for path in (tmp_path / "frames.v2").iterdir())
    assert names == ["000000.png", "000001.png", "000002.png"]


def test_metadata_is_found_again_in_every_format(tmp_path):
    tags = {"comment": "reenacted: motion of A, face of B", "bcd_model": "heads"}
    for name in ("a.mp4", "a.mkv", "a.webm"):
        with av.open(str(written(tmp_path / name, range(2), metadata=tags))) as container:
            found = {key.lower(): value for key, value in container.metadata.items()}
        assert tags.items() <= found.items()
    for name in ("a.gif", "a.apng", "folder"):
        path = written(tmp_path / name, range(2), metadata=tags)
        data = (path / "000001.png" if name == "folder" else path).read_bytes()
        assert all(key.encode() in data and tags[key].encode() in data for key in tags)
        assert len(read_all(path)[0]) == 2


def test_an_exception_leaves_nothing_and_keeps_the_old_file(tmp_path):
    for name in ("a.mp4", "a.gif", "folder"):
        with pytest.raises(RuntimeError):
            with write_video(tmp_path / name, 32, 32, TICK) as writer:
                writer.write(quadrants(32, 32), 0)
                writer.write(quadrants(32, 32), 1)
                raise RuntimeError("the decoder failed")
        assert list(tmp_path.iterdir()) == []
    (tmp_path / "a.mp4").write_bytes(b"older")
    with pytest.raises(VideoError, match="no frame to write"):
        with write_video(tmp_path / "a.mp4", 32, 32, TICK):
            pass
    assert (tmp_path / "a.mp4").read_bytes() == b"older"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_target_that_cannot_be_written_is_refused_at_once(tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thing").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for name, words in {
        "none/a.mp4": "cannot write .*none/a.mp4: No such file or directory",
        "a.avi": r"\.avi is not one of \.mp4, \.mkv, \.webm, \.gif, \.apng or a folder",
        "full": "is not empty but holds 1 entries",
        "file": "it is a file",
    }.items():
        with pytest.raises(VideoError, match=words):
            write_video(tmp_path / name, 32, 32, TICK)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "full"]


def test_a_wrong_image_or_time_is_refused_with_both_values(tmp_path):
    with write_video(tmp_path / "a.mp4", 32, 24, TICK) as writer:
        writer.write(quadrants(32, 24), 5)
        with pytest.raises(VideoError, match=r"uint8 \[32, 32, 3\].*takes uint8 \[24, 32, 3\]"):
            writer.write(quadrants(32, 32), 6)
        with pytest.raises(VideoError, match="pts 5, not after 5"):
            writer.write(quadrants(32, 24), 5)


def test_the_caller_may_reuse_its_array(tmp_path):
    array = np.empty((32, 32, 3), np.uint8)
    with write_video(tmp_path / "a.apng", 32, 32, TICK) as writer:
        for i in range(3):
            array[:] = 50 * i
            writer.write(array, i)
    assert [image[0, 0, 0] for image in read_all(tmp_path / "a.apng")[1]] == [0, 50, 100]


# ---- names, links and pipes


@pytest.mark.parametrize("name", ["ü" * 122 + ".mp4", "a" * 246 + ".apng", "a" * 250 + "/", "line\nfeed 🎬.mkv"])
def test_long_and_odd_names_are_written(tmp_path, name):
    target = str(tmp_path / name.rstrip("/")) + "/" * name.endswith("/")
    written(target, range(3), metadata={"comment": "tagged"})
    assert [path.name for path in tmp_path.iterdir()] == [name.rstrip("/")]
    assert len(read_all(tmp_path / name.rstrip("/"))[0]) == 3


@pytest.mark.parametrize("exists", [True, False])
def test_a_link_is_written_through(tmp_path, exists):
    (tmp_path / "there").mkdir()
    target, link = tmp_path / "there" / "real.mp4", tmp_path / "link.mp4"
    if exists:
        target.write_bytes(b"old")
    link.symlink_to(target)
    written(link, range(3))
    assert link.is_symlink() and len(read_all(target)[0]) == 3
    assert [path.name for path in target.parent.iterdir()] == ["real.mp4"]


@pytest.mark.parametrize("name, kind", [("pipe", "matroska"), ("pipe.webm", "matroska")])
def test_a_named_pipe_gets_what_can_be_read_from_the_front(tmp_path, name, kind):
    os.mkfifo(tmp_path / name)
    received = []
    reader = threading.Thread(target=lambda: received.append((tmp_path / name).read_bytes()))
    reader.start()
    written(tmp_path / name, range(5))
    reader.join(20)
    assert (tmp_path / name).is_fifo()
    with av.open(io.BytesIO(received[0])) as container:
        assert kind in container.format.name and sum(1 for _ in container.decode(video=0)) == 5


def test_a_pipe_named_like_a_file_that_is_written_twice_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe.mp4")
    with pytest.raises(VideoError, match="is a pipe, which takes Matroska or WebM: let its name end in .mkv or .webm"):
        written(tmp_path / "pipe.mp4", range(3))
