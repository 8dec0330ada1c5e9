"""A single picture becomes a content without motion, and is shown in the motion of others."""

import io
import json

import numpy as np
import pytest
from head_clips import head_frames
from PIL import Image
from test_pipes import Pipe
from video_clips import BLUE, GREEN, GREY, RED, corner_colours, quadrants

import bcdcodec
from bcdcodec.container import open_bcd
from bcdcodec.video import read_frames

# Where the corners of a picture are shown, top left, top right, bottom left, bottom right, by EXIF's Orientation.
SHOWN = {
    1: (RED, GREEN, BLUE, GREY), 2: (GREEN, RED, GREY, BLUE), 3: (GREY, BLUE, GREEN, RED), 4: (BLUE, GREY, RED, GREEN),
    5: (RED, BLUE, GREEN, GREY), 6: (BLUE, RED, GREY, GREEN), 7: (GREY, GREEN, BLUE, RED), 8: (GREEN, GREY, RED, BLUE),
}  # fmt: skip


def photo(path, picture, orientation=None):
    exif = Image.Exif()
    if orientation:
        exif[0x0112] = orientation
    Image.fromarray(picture).save(path, quality=95, exif=exif)
    return path


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
@pytest.mark.parametrize("orientation", SHOWN)
def test_a_photo_is_upright_as_its_exif_says(tmp_path, orientation, suffix):
    path = photo(tmp_path / f"a{suffix}", quadrants(64, 48), orientation)
    with read_frames(path, None, 32) as video:
        assert video.is_photo
        assert (video.info.width, video.info.height) == ((48, 64) if orientation > 4 else (64, 48))
        _, image = next(iter(video))
    np.testing.assert_allclose(corner_colours(image), SHOWN[orientation], atol=14)


@pytest.fixture(scope="module")
def face(tmp_path_factory):
    picture = np.full((96, 80, 3), 90, np.uint8)
    picture[16:80, 8:72] = head_frames(12, 1, 64)[0]
    return photo(tmp_path_factory.mktemp("photo") / "face.jpg", picture)


@pytest.fixture(scope="module")
def face_bcd(face, tiny_model):
    from bcdcodec.files.encode_file import EncodeOptions, encode_file

    done = encode_file(face, face.with_suffix(".bcd"), EncodeOptions(tiny_model, "cpu"))
    assert done.frames == 0 and "without motion" in done.notes[0]
    return face.with_suffix(".bcd")


def test_a_photo_makes_a_small_file_of_a_content_alone(bcd, face_bcd, tiny_model):
    with open_bcd(face_bcd) as reader:
        assert (reader.frames, reader.content_count, reader.complete) == (0, 1, True)
        assert reader.byte_counts.motion == 0
        assert reader.head.crop == (0, 8, 80, 80)
    assert bcd("verify", face_bcd, "--model", tiny_model).code == 0
    assert "a reference image without motion" in bcd("info", face_bcd).out
    facts = json.loads(bcd("info", face_bcd, "--json").out)
    assert facts["frames"] == 0 and facts["kbps"]["total"] is None and facts["bits_per_frame"] is None


def test_its_content_is_that_of_the_picture_as_a_clip(face, face_bcd, tiny_model):
    codec = bcdcodec.load(tiny_model)
    with read_frames(face, None, codec.picture_size) as video:
        pictures = np.stack([image for _, image in video])
    found = bcdcodec.read(face_bcd, tiny_model)
    assert np.array_equal(found.contents[0].values, codec.encode(pictures).contents[0].values)


@pytest.mark.parametrize("name", ["out.mp4", "out.bcd"])
def test_a_photo_talks_as_another_recording_does(bcd, recording, face_bcd, tiny_model, tmp_path, name):
    done = bcd("decode", recording, tmp_path / name, "--content", face_bcd, "--model", tiny_model)
    assert done.code == 0 and "marked as synthesised" in done.err
    if name.endswith(".bcd"):
        with open_bcd(tmp_path / name) as reader:
            assert reader.head.reenacted and reader.frames == 62
        assert "SYNTHESISED" in bcd("info", tmp_path / name).out
    else:
        assert b"synthesised" in (tmp_path / name).read_bytes()


@pytest.mark.parametrize("name", ["out.mp4", "out.bcd"])
def test_a_face_without_motion_cannot_be_decoded_by_itself(bcd, recording, face_bcd, tiny_model, tmp_path, name):
    done = bcd("decode", face_bcd, tmp_path / name, "--content", recording, "--model", tiny_model)
    assert done.code == 1 and "give it with --content" in done.err and not (tmp_path / name).exists()


def test_pictures_one_after_the_other_in_a_pipe_are_a_video():
    data = io.BytesIO()
    for i in range(3):
        Image.fromarray(quadrants(32, 32, 20 * i)).save(data, "JPEG")
    with read_frames(Pipe(data.getvalue()), None, 16) as video:
        assert not video.is_photo and len(list(video)) == 3
