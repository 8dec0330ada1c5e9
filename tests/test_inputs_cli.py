"""What `bcd encode` does with troublesome sources: the notes it gives, the tracks it reads, where it writes."""

import json
import os
import threading

import numpy as np
import pytest
from head_clips import head_frames, write_clip
from PIL import Image
from sound_clips import beeps, make_loud_clip
from test_tracks import DEFAULT, SILENCE, TONE, clip_of_tracks, damaged

import bcdcodec
from bcdcodec.container import open_bcd


@pytest.fixture
def encoded(bcd, tiny_model, tmp_path):
    """Encodes a source with these options; returns what the command said."""

    def run(source, *options, target="a.bcd"):
        done = bcd("encode", source, tmp_path / target, "--model", tiny_model, *options)
        assert done.code == 0, done.err
        return done.err

    return run


def test_damage_is_told_and_is_no_reference(encoded, tmp_path):
    said = encoded(damaged(tmp_path / "in.mp4"))
    assert "is damaged" in said and "none of them is a reference" in said


def test_tracks_are_chosen_by_number(encoded, tmp_path):
    source = clip_of_tracks(
        tmp_path / "in.mkv", [(48, None), (64, DEFAULT)], [(SILENCE, "mono", None), (TONE, "mono", None)]
    )
    said = encoded(source)
    assert "2 video tracks: track 2 (64x64)" in said and "2 sound tracks: track 2 is read, as" in said
    assert "tracks" not in encoded(source, "--video-track", 1, "--audio-track", 1, target="b.bcd")
    with open_bcd(tmp_path / "b.bcd") as reader:
        assert reader.head.source_width == 48


def test_copied_opus_of_a_high_rate_is_told_with_both_rates(encoded, tmp_path):
    noise = np.random.default_rng(0).integers(-9000, 9000, 96000).astype(np.int16)
    pictures = head_frames(3, 10, 32)
    source = make_loud_clip(tmp_path / "in.mkv", noise, 50, 25, codec="libopus", pictures=pictures)
    said = encoded(source)
    assert "is copied at" in said and "kbit/s of motion: --audio-kbps 7" in said
    assert "copied" not in encoded(source, "--audio-kbps", 7, target="b.bcd")
    quiet = make_loud_clip(tmp_path / "b.mkv", beeps([], 2), 50, 25, codec="pcm_s16le", pictures=pictures)
    assert "copied" not in encoded(quiet, target="c.bcd")


def test_the_reference_of_a_fade_is_taken_from_its_end(encoded, tiny_model, tmp_path):
    """The content is that of the clip without its faded frames."""
    heads = head_frames(5, 40, 32)
    white = np.maximum(0, 1 - np.arange(40) / 16).reshape(-1, 1, 1, 1)
    faded = np.rint(heads + (255.0 - heads) * white).astype(np.uint8)
    encoded(write_clip(tmp_path / "in.mp4", faded), "--scenes", "off")
    recording = bcdcodec.read(tmp_path / "a.bcd", tiny_model)
    from bcdcodec.coding.content import reference_image
    from bcdcodec.coding.session import open_session
    from bcdcodec.model_folder import open_model

    image = reference_image(open_session(open_model(tiny_model)), recording.contents[0])
    if image is None:
        pytest.skip("the tiny model's content is no image")
    assert np.abs(image.astype(float).mean() - heads.mean()) < 25


@pytest.mark.parametrize("name", ["ü" * 120 + ".bcd", "line\nfeed 🎬.bcd"])
def test_long_and_odd_names_are_written(encoded, clip, tmp_path, name):
    encoded(clip, "--no-audio", target=name)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_link_is_written_through(encoded, clip, tmp_path):
    (tmp_path / "link.bcd").symlink_to(tmp_path / "real.bcd")
    encoded(clip, "--no-audio", target="link.bcd")
    assert (tmp_path / "link.bcd").is_symlink() and not (tmp_path / "real.bcd").is_symlink()
    with open_bcd(tmp_path / "real.bcd") as reader:
        assert reader.complete and reader.frames == 62


def test_a_named_pipe_gets_the_chunks_as_they_come(encoded, clip, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    received = []
    reader = threading.Thread(target=lambda: received.append((tmp_path / "pipe").read_bytes()))
    reader.start()
    encoded(clip, "--no-audio", target="pipe")
    reader.join(60)
    (tmp_path / "got.bcd").write_bytes(received[0])
    with open_bcd(tmp_path / "got.bcd") as read:
        assert read.complete and read.frames == 62


def test_a_face_without_crop_auto_is_wrong_usage(bcd, clip, tmp_path):
    done = bcd("encode", clip, tmp_path / "a.bcd", "--face", 2)
    assert done.code == 2 and "--face goes with --crop auto" in done.err


def test_the_crop_of_a_reduced_photo_is_in_its_own_pixels(encoded, bcd, tmp_path):
    Image.new("RGB", (9000, 6000), (90, 120, 150)).save(tmp_path / "in.jpg")
    said = encoded(tmp_path / "in.jpg", "--crop", "3000,1000,4000,4000")
    assert "read at 4500x3000 pixels" in said
    facts = json.loads(bcd("info", tmp_path / "a.bcd", "--json").out)
    assert (facts["source_width"], facts["crop"]) == (4500, [1500, 500, 2000, 2000])


def test_a_batch_goes_on_after_a_failure_and_lists_it(bcd, tiny_model, tmp_path):
    for name in ("a.mp4", "b.mp4"):
        write_clip(tmp_path / name, head_frames(3, 4, 32))
    write_clip(tmp_path / "b.mkv", head_frames(3, 4, 32))
    Image.fromarray(head_frames(3, 1, 32)[0]).save(tmp_path / "photo.jpg")
    (tmp_path / "broken.mp4").write_text("no video")
    done = bcd("encode", tmp_path, "--out", tmp_path / "out" / "deep", "--model", tiny_model)
    assert done.code == 1
    assert "4 of 5 encoded; failed:" in done.out and "broken.mp4 is not a video" in done.err
    names = sorted(path.name for path in (tmp_path / "out" / "deep").iterdir())
    assert names == ["a.bcd", "b.mkv.bcd", "b.mp4.bcd", "photo.bcd"]


def test_a_batch_takes_a_folder_of_pictures_as_one_clip(bcd, tiny_model, tmp_path):
    (tmp_path / "shots").mkdir()
    for i, picture in enumerate(head_frames(3, 4, 32)):
        Image.fromarray(picture).save(tmp_path / "shots" / f"{i}.jpg")
    done = bcd("encode", tmp_path / "shots", "--out", tmp_path / "out", "--model", tiny_model)
    assert done.code == 0 and "1 of 1 encoded" in done.out
    with open_bcd(tmp_path / "out" / "shots.bcd") as reader:
        assert reader.frames == 4


@pytest.mark.parametrize("paths", [1, 3])
def test_without_out_two_paths_are_wanted(bcd, clip, paths):
    done = bcd("encode", *[clip] * paths)
    assert done.code == 2 and "use --out DIR" in done.err
