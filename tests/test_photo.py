"""A single picture becomes a content without motion, and is shown in the motion of others."""

import io
import json
import shutil
import struct
import subprocess
import sys

import numpy as np
import pytest
from head_clips import head_frames
from PIL import Image, ImageCms
from test_pipes import Pipe
from video_clips import BLUE, GREEN, GREY, RED, corner_colours, quadrants, written

import bcdcodec
from bcdcodec.container import open_bcd
from bcdcodec.errors import VideoError
from bcdcodec.video import Crop, read_frames

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


def pictures_of(path, size=64):
    with read_frames(path, None, size) as video:
        return list(video), video


def test_every_orientation_is_upright_in_heic_and_avif_too(tmp_path):
    heif = pytest.importorskip("pillow_heif")
    heif.register_heif_opener()
    for suffix in (".heic", ".avif"):
        for orientation in (1, 3, 6, 8):
            path = photo(tmp_path / f"{orientation}{suffix}", quadrants(64, 48), orientation)
            frames, video = pictures_of(path)
            assert video.is_photo and (video.info.width < video.info.height) == (orientation > 4)
            np.testing.assert_allclose(corner_colours(frames[0][1]), SHOWN[orientation], atol=14)


def test_a_heic_grid_is_the_whole_picture(tmp_path):
    heif = pytest.importorskip("pillow_heif")
    heif.register_heif_opener()
    before, heif.options.GRID_TILE_SIZE = heif.options.GRID_TILE_SIZE, 256
    try:
        Image.fromarray(quadrants(600, 600)).save(tmp_path / "a.heic", quality=90)
    finally:
        heif.options.GRID_TILE_SIZE = before
    frames, video = pictures_of(tmp_path / "a.heic")
    assert (video.info.width, video.info.height, len(frames)) == (600, 600, 1)
    np.testing.assert_allclose(corner_colours(frames[0][1]), [RED, GREEN, BLUE, GREY], atol=14)


def test_an_avif_grid_is_the_whole_picture(tmp_path):
    if shutil.which("avifenc") is None:
        pytest.skip("avifenc writes AVIF grids, Pillow does not")
    photo(tmp_path / "a.png", quadrants(512, 512))
    command = ["avifenc", "--grid", "2x2", str(tmp_path / "a.png"), str(tmp_path / "a.avif")]
    subprocess.run(command, check=True, capture_output=True)
    frames, video = pictures_of(tmp_path / "a.avif")
    assert (video.info.width, video.info.height, len(frames)) == (512, 512, 1)
    np.testing.assert_allclose(corner_colours(frames[0][1]), [RED, GREEN, BLUE, GREY], atol=14)


def test_heic_without_pillow_heif_is_refused_with_what_to_install(tmp_path, monkeypatch):
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(64))
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(VideoError, match=r"needs pillow-heif: pip install 'bcdcodec\[heif\]'"):
        read_frames(tmp_path / "a.heic", None, 32)


@pytest.mark.parametrize("gain_side", [32, 64])
def test_of_several_pictures_in_a_jpeg_the_first_is_taken(tmp_path, gain_side):
    """As Ultra HDR photos and stereo cameras write them; the second picture of the same size or another."""
    main, gain = (Image.fromarray(quadrants(side, side, 100 * (side != 64))) for side in (64, gain_side))
    main.save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=[gain.convert("L").convert("RGB")], quality=95)
    frames, video = pictures_of(tmp_path / "a.jpg")
    assert video.is_photo and len(frames) == 1 and "holds 2 pictures" in video.notes[0]
    np.testing.assert_allclose(corner_colours(frames[0][1]), [RED, GREEN, BLUE, GREY], atol=14)


def test_a_gain_map_without_an_index_is_no_second_frame(tmp_path):
    data = io.BytesIO()
    for side in (64, 32):
        Image.fromarray(quadrants(side, side)).save(data, "JPEG", quality=95)
    (tmp_path / "a.jpg").write_bytes(data.getvalue())
    assert len(pictures_of(tmp_path / "a.jpg")[0]) == 1
    frames, video = pictures_of(io.BytesIO(data.getvalue()))
    assert video.is_photo and len(frames) == 1


def test_a_motion_photo_is_a_photo(tmp_path):
    clip = written(tmp_path / "a.mp4", range(5)).read_bytes()
    data = io.BytesIO()
    Image.fromarray(quadrants(64, 64)).save(data, "JPEG", quality=95)
    (tmp_path / "a.jpg").write_bytes(data.getvalue() + clip)
    frames, video = pictures_of(tmp_path / "a.jpg")
    assert video.is_photo and len(frames) == 1


def test_a_photo_of_more_pixels_than_a_file_can_state_is_reduced(tmp_path):
    Image.fromarray(quadrants(12000, 9000)).save(tmp_path / "a.jpg", quality=60)
    with read_frames(tmp_path / "a.jpg", Crop(3000, 1500, 6000, 6000), 64) as video:
        ((_, image),) = list(video)
        assert (video.info.width, video.info.height, video.crop) == (6000, 4500, Crop(1500, 750, 3000, 3000))
        assert "read at 6000x4500 pixels, a half of its size" in video.notes[0]
    np.testing.assert_allclose(corner_colours(image), [RED, GREEN, BLUE, GREY], atol=14)


def test_a_photo_beyond_every_limit_is_refused_at_once(tmp_path):
    data = io.BytesIO()
    Image.new("RGB", (64, 64)).save(data, "JPEG")
    patched = bytearray(data.getvalue())
    at = patched.index(b"\xff\xc0") + 5
    patched[at : at + 4] = struct.pack(">HH", 20000, 30000)
    (tmp_path / "a.jpg").write_bytes(patched)
    with pytest.raises(VideoError, match="30000x20000 pixels, more than 16384 a side: make it smaller"):
        read_frames(tmp_path / "a.jpg", None, 32)


@pytest.mark.parametrize("suffix", [".webp", ".avif", ".gif", ".apng"])
def test_an_animation_is_a_video_with_its_times(tmp_path, suffix):
    pictures = [Image.fromarray(quadrants(64, 64, 20 * i)) for i in range(4)]
    options = {"format": "PNG"} if suffix == ".apng" else {}
    pictures[0].save(
        tmp_path / f"a{suffix}", save_all=True, append_images=pictures[1:], duration=[40, 120, 40, 40], **options
    )
    frames, video = pictures_of(tmp_path / f"a{suffix}")
    assert not video.is_photo and len(frames) == 4
    assert [float(pts * video.time_base) for pts, _ in frames] == pytest.approx([0, 0.04, 0.16, 0.2])
    np.testing.assert_allclose(corner_colours(frames[0][1]), [RED, GREEN, BLUE, GREY], atol=14)


@pytest.mark.parametrize("suffix", [".webp", ".avif", ".png"])
def test_what_is_transparent_in_a_photo_is_black(tmp_path, suffix):
    rgba = np.dstack([quadrants(64, 64), np.full((64, 64), 255, np.uint8)])
    rgba[:, 32:, 3] = 0
    Image.fromarray(rgba).save(tmp_path / f"a{suffix}")
    colours = corner_colours(pictures_of(tmp_path / f"a{suffix}")[0][0][1])
    np.testing.assert_allclose(colours, [RED, (0, 0, 0), BLUE, (0, 0, 0)], atol=14)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
def test_colours_of_a_profile_become_srgb(tmp_path, suffix):
    """A profile of sRGB whose red and green are swapped."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    wide = bytearray(profile.replace(b"sRGB", b"xRGB").replace("sRGB".encode("utf-16-be"), "xRGB".encode("utf-16-be")))
    red, green = wide.index(b"rXYZ"), wide.index(b"gXYZ")
    wide[red : red + 4], wide[green : green + 4] = b"gXYZ", b"rXYZ"
    picture = quadrants(64, 64)[..., [1, 0, 2]]
    Image.fromarray(picture).save(tmp_path / f"a{suffix}", quality=95, icc_profile=bytes(wide))
    np.testing.assert_allclose(
        corner_colours(pictures_of(tmp_path / f"a{suffix}")[0][0][1]), [RED, GREEN, BLUE, GREY], atol=16
    )


@pytest.mark.parametrize("mode", ["CMYK", "L", "P", "LA", "I;16", "1"])
def test_other_pixel_formats_are_read(tmp_path, mode):
    grey = Image.fromarray(np.full((64, 64), 200, np.uint8))
    if mode == "I;16":
        Image.fromarray(np.full((64, 64), 200 * 257, np.uint16)).save(tmp_path / "a.png")
    else:
        grey.convert(mode).save(tmp_path / ("a.jpg" if mode == "CMYK" else "a.png"))
    (path,) = tmp_path.iterdir()
    frames, _ = pictures_of(path)
    assert abs(frames[0][1].mean() - 200) < 4  # of one bit, by its dither


@pytest.mark.parametrize("suffix", [".jpg", ".webp", ".avif", ".heic"])
def test_a_photo_that_ends_early_is_refused(tmp_path, suffix):
    if suffix == ".heic":
        pytest.importorskip("pillow_heif").register_heif_opener()
    path = photo(tmp_path / f"a{suffix}", np.random.default_rng(0).integers(0, 255, (200, 200, 3)).astype(np.uint8))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(VideoError, match="cannot be decoded|can be decoded"):
        read_frames(path, None, 32)


def test_one_pixel_is_a_photo(tmp_path):
    Image.new("RGB", (1, 1), RED).save(tmp_path / "a.png")
    np.testing.assert_array_equal(pictures_of(tmp_path / "a.png", 8)[0][0][1][4, 4], RED)


def test_a_folder_of_jpegs_is_a_video_and_each_is_upright(tmp_path):
    for number, orientation in ((2, 1), (10, 1), (1, 3)):
        photo(tmp_path / f"{number}.JPG", quadrants(64, 48), orientation)
    (tmp_path / "cover.png").write_bytes(b"not read")
    frames, video = pictures_of(tmp_path)
    assert len(frames) == 3 and not video.is_photo
    np.testing.assert_allclose(corner_colours(frames[0][1]), SHOWN[3], atol=14)
    np.testing.assert_allclose(corner_colours(frames[1][1]), SHOWN[1], atol=14)
    assert "the 3 JPEG are read, the 1 PNG are not" in video.notes[0]


@pytest.fixture(scope="module")
def face(tmp_path_factory):
    picture = np.full((96, 80, 3), 90, np.uint8)
    picture[16:80, 8:72] = head_frames(12, 1, 64)[0]
    return photo(tmp_path_factory.mktemp("photo") / "face.jpg", picture)


@pytest.fixture(scope="module")
def face_bcd(face, faces_model):
    from bcdcodec.files.encode_file import EncodeOptions, encode_file

    done = encode_file(face, face.with_suffix(".bcd"), EncodeOptions(faces_model, "cpu"))
    assert done.frames == 0 and "without motion" in done.notes[0]
    return face.with_suffix(".bcd")


def test_a_photo_makes_a_small_file_of_a_content_alone(faces, bcd, face_bcd):
    with open_bcd(face_bcd) as reader:
        assert (reader.frames, reader.content_count, reader.complete) == (0, 1, True)
        assert reader.byte_counts.motion == 0
        assert reader.head.crop == (0, 8, 80, 80)
    assert faces("verify", face_bcd).code == 0
    assert "a reference image without motion" in bcd("info", face_bcd).out
    facts = json.loads(bcd("info", face_bcd, "--json").out)
    assert facts["frames"] == 0 and facts["kbps"]["total"] is None and facts["bits_per_frame"] is None


def test_its_content_is_that_of_the_picture_as_a_clip(face, face_bcd, faces_model):
    codec = bcdcodec.load(faces_model)
    with read_frames(face, None, codec.picture_size) as video:
        pictures = np.stack([image for _, image in video])
    found = bcdcodec.read(face_bcd, faces_model)
    assert found.contents[0].picture == codec.encode(pictures).contents[0].picture


@pytest.mark.parametrize("name", ["out.mp4", "out.bcd"])
def test_a_photo_talks_as_another_recording_does(faces, bcd, faces_recording, face_bcd, tmp_path, name):
    done = faces("decode", faces_recording, tmp_path / name, "--content", face_bcd)
    assert done.code == 0 and "marked as synthesised" in done.err
    if name.endswith(".bcd"):
        with open_bcd(tmp_path / name) as reader:
            assert reader.head.reenacted and reader.frames == 62
        assert "SYNTHESISED" in bcd("info", tmp_path / name).out
    else:
        assert b"synthesised" in (tmp_path / name).read_bytes()


@pytest.mark.parametrize("name", ["out.mp4", "out.bcd"])
def test_a_face_without_motion_cannot_be_decoded_by_itself(faces, faces_recording, face_bcd, tmp_path, name):
    done = faces("decode", face_bcd, tmp_path / name, "--content", faces_recording)
    assert done.code == 1 and "give it with --content" in done.err and not (tmp_path / name).exists()


def test_pictures_one_after_the_other_in_a_pipe_are_a_video():
    data = io.BytesIO()
    for i in range(3):
        Image.fromarray(quadrants(32, 32, 20 * i)).save(data, "JPEG")
    with read_frames(Pipe(data.getvalue()), None, 16) as video:
        assert not video.is_photo and len(list(video)) == 3


def test_a_photo_can_be_the_content_itself(faces, faces_recording, face, tmp_path):
    done = faces("decode", faces_recording, tmp_path / "out.bcd", "--content", face)
    assert done.code == 0 and "marked as synthesised" in done.err and str(face) in done.err
    with open_bcd(tmp_path / "out.bcd") as reader:
        assert reader.head.reenacted and reader.frames == 62 and reader.content_count == 1
    done = faces("decode", faces_recording, tmp_path / "out", "--content", face, "--paste-back")
    assert done.code == 0
    with read_frames(tmp_path / "out", None, 32) as video:
        assert (video.info.width, video.info.height) == (80, 96)


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda path: path.write_text("no picture"), "neither a .bcd file nor a photo"),
        (lambda path: written(path, range(3)), "is a video: encode it first"),
    ],
)
def test_a_content_that_is_no_photo_is_refused(faces, faces_recording, tmp_path, make, words):
    make(tmp_path / "a.mp4")
    done = faces("decode", faces_recording, tmp_path / "out.mp4", "--content", tmp_path / "a.mp4")
    assert done.code == 1 and words in done.err and not (tmp_path / "out.mp4").exists()
