"""Short clips as people have them (GIF, APNG, folder of PNGs) go in, and come out enlarged by whole numbers."""

import av
import numpy as np
import pytest
from PIL import Image
from video_clips import read_all

import bcdcodec
from bcdcodec.errors import BcdError, LimitError, VideoError
from bcdcodec.files.decode_file import DecodeOptions, decode_file
from bcdcodec.files.encode_file import EncodeOptions, encode_file
from bcdcodec.video import enlarge

SIDE = 32  # of the tiny model


@pytest.fixture(scope="module")
def sprite():
    """Eight pictures of a coloured square that walks over transparent ground, RGBA [t, 32, 32, 4]."""
    frames = np.zeros((8, SIDE, SIDE, 4), np.uint8)
    for i, frame in enumerate(frames):
        frame[..., :3] = (250, 240, 230)  # a colour that must not show where alpha is 0
        frame[8:24, 2 * i : 2 * i + 12] = (200, 40 + 10 * i, 90, 255)
    return frames


@pytest.fixture(scope="module")
def on_black(sprite):
    return sprite[..., :3] * (sprite[..., 3:] == 255)


def save(frames, path, **options):
    first, *others = [Image.fromarray(frame) for frame in frames]
    first.save(path, save_all=True, append_images=others, **options)
    return path


def save_folder(frames, folder):
    folder.mkdir()
    for i, frame in enumerate(frames):
        Image.fromarray(frame).save(folder / f"walk-{i + 1}.png")
    return folder


def test_transparent_pictures_are_read_on_black(sprite, on_black, tmp_path):
    sources = [
        save(sprite, tmp_path / "a.apng", duration=100),
        save(sprite, tmp_path / "a.gif", duration=100, disposal=2),
        save_folder(sprite, tmp_path / "folder"),
    ]
    for source in sources:
        _, images, _ = read_all(source, SIDE)
        np.testing.assert_array_equal(images, on_black, err_msg=source.name)


def test_a_half_transparent_colour_and_a_transparent_palette_entry_are_mixed_with_black(tmp_path):
    picture = np.zeros((SIDE, SIDE, 4), np.uint8)
    picture[:, :16] = (200, 100, 51, 128)
    picture[:, 16:] = (255, 255, 255, 0)
    half = Image.fromarray(picture)
    half.save(tmp_path / "rgba.png")
    half.quantize(4).save(tmp_path / "palette.png")
    for name in ("rgba.png", "palette.png"):
        _, (image,), _ = read_all(tmp_path / name, SIDE)
        np.testing.assert_array_equal(image[0, [0, 31]], [(100, 50, 26), (0, 0, 0)], err_msg=name)


def test_durations_of_a_gif_become_its_timestamps(sprite, tiny_model, tmp_path):
    durations = [100, 50, 200, 100, 30, 100, 100, 400]  # milliseconds
    source = save(sprite, tmp_path / "a.gif", duration=durations, disposal=2)
    done = encode_file(source, tmp_path / "a.bcd", EncodeOptions(tiny_model, "cpu"))
    (motion,) = bcdcodec.read(tmp_path / "a.bcd", tiny_model).motions
    head = bcdcodec.read(tmp_path / "a.bcd", tiny_model).head
    seconds = [float(p) * head.time_base_num / head.time_base_den for p in motion.pts]
    np.testing.assert_allclose(seconds, np.cumsum([0, *durations[:-1]]) / 1000)
    assert done.frames == 8


def test_the_same_pictures_give_the_same_codes_from_every_lossless_source(sprite, on_black, tiny_model, tmp_path):
    sources = [
        save(sprite, tmp_path / "a.apng", duration=40),
        save(sprite, tmp_path / "a.gif", duration=40, disposal=2),
        save_folder(on_black, tmp_path / "folder"),
    ]
    expected = bcdcodec.load(tiny_model).encode(on_black)
    for source in sources:
        encode_file(source, tmp_path / "a.bcd", EncodeOptions(tiny_model, "cpu"))
        found = bcdcodec.read(tmp_path / "a.bcd", tiny_model)
        assert found.head.crop == (0, 0, SIDE, SIDE)
        np.testing.assert_array_equal(found.motions[0].codes, expected.motions[0].codes)
        np.testing.assert_array_equal(found.contents[0].values, expected.contents[0].values)


@pytest.fixture(scope="module")
def coded(sprite, tiny_model, tmp_path_factory):
    path = tmp_path_factory.mktemp("coded") / "a.bcd"
    encode_file(save_folder(sprite, path.with_name("folder")), path, EncodeOptions(tiny_model, "cpu"))
    return path


@pytest.mark.parametrize("name", ["a.apng", "folder"])
def test_lossless_outputs_hold_exactly_the_decoded_pictures(coded, tiny_model, tmp_path, name):
    decode_file(coded, tmp_path / name, options=DecodeOptions(tiny_model, "cpu"))
    pictures = bcdcodec.load(tiny_model).decode(bcdcodec.read(coded, tiny_model))
    _, images, _ = read_all(tmp_path / name, SIDE)
    np.testing.assert_array_equal(images, pictures)


@pytest.mark.parametrize(("name", "tolerance"), [("a.apng", 0), ("folder", 0), ("a.gif", 40), ("a.mp4", 60)])
def test_scale_makes_every_pixel_a_square(tiny, coded, tiny_model, tmp_path, name, tolerance):
    assert tiny("decode", coded, tmp_path / name, "--scale", 4).code == 0
    pictures = bcdcodec.load(tiny_model).decode(bcdcodec.read(coded, tiny_model))
    _, images, reader = read_all(tmp_path / name, 4 * SIDE)
    assert (reader.info.width, reader.info.height) == (4 * SIDE, 4 * SIDE)
    expected = np.stack([np.kron(p, np.ones((4, 4, 1), np.uint8)) for p in pictures])
    assert np.abs(np.stack(images).astype(int) - expected).max() <= tolerance


def test_enlarging_repeats_pixels():
    image = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    np.testing.assert_array_equal(enlarge(image, 1), image)
    np.testing.assert_array_equal(enlarge(image, 3)[2:4, 2:4], image)
    assert enlarge(image, 3).shape == (6, 6, 3)


def test_scale_is_of_pictures_alone(clip, coded, tiny_model, faces_model, tmp_path_factory, tmp_path):
    face = tmp_path_factory.mktemp("face") / "a.bcd"
    encode_file(clip, face, EncodeOptions(faces_model, "cpu"))
    with pytest.raises(BcdError, match="--scale 2 enlarges pictures, .*b.bcd holds codes"):
        decode_file(face, tmp_path / "b.bcd", face, options=DecodeOptions(faces_model, "cpu", scale=2))
    with pytest.raises(LimitError, match="--scale 1000 makes pictures of 32000 x 32000 pixels, the limit is 16384"):
        decode_file(coded, tmp_path / "a.mp4", options=DecodeOptions(tiny_model, "cpu", scale=1000))
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_no_clip_says_what_is_wrong(sprite, tmp_path):
    mixed = save_folder(sprite, tmp_path / "mixed")
    Image.fromarray(sprite[0, :20]).save(mixed / "walk-5.png")
    with pytest.raises(VideoError, match="walk-5.png is 32x20 pixels, walk-1.png is 32x32: .* must be of one size"):
        read_all(mixed, SIDE)
    (mixed / "walk-5.png").write_bytes(b"GIF89a, not really")
    with pytest.raises(VideoError, match="walk-5.png is not a picture"):
        read_all(mixed, SIDE)
    (mixed / "walk-5.png").write_bytes((mixed / "walk-1.png").read_bytes()[:50])
    with pytest.raises(VideoError, match="walk-5.png is not a picture: it is empty, damaged"):
        read_all(mixed, SIDE)
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("")
    with pytest.raises(VideoError, match="texts holds no picture"):
        read_all(tmp_path / "texts", SIDE)


def test_a_moving_picture_without_alpha_is_read_as_before(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (3, SIDE, SIDE, 3), dtype=np.uint8)
    _, images, _ = read_all(save(noise, tmp_path / "a.apng", duration=40), SIDE)
    np.testing.assert_array_equal(images, noise)
    with av.open(str(tmp_path / "a.apng")) as container:
        assert next(container.decode(video=0)).format.name == "rgb24"
