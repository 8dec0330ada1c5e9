"""A new scene gets its own content where the picture jumps, and nowhere else."""

import json

import numpy as np
import pytest
from head_clips import head_frames, write_clip

import bcdcodec
from bcdcodec.coding.encoder import StreamOptions
from bcdcodec.coding.scene_cuts import LEAST_FRAMES, difference, mean_colours, numbered_scenes
from bcdcodec.container import Content, Motion, open_bcd


def scenes_of(pictures, most=1024):
    return [number for number, _ in numbered_scenes(enumerate(pictures), most)]


@pytest.fixture(scope="module")
def people():
    """Twenty frames each of three procedural heads, and how unlike the cuts between them are."""
    return [head_frames(seed, 20, 32) for seed in (31, 32, 33)]


def test_every_frame_comes_out_once_and_in_order(people):
    frames = list(enumerate(np.concatenate(people)))
    out = [frame for _, frame in numbered_scenes(iter(frames), 1024)]
    assert [pts for pts, _ in out] == list(range(60))
    assert all(np.array_equal(a[1], b[1]) for a, b in zip(out, frames))


def test_a_cut_begins_a_scene(people):
    assert scenes_of(np.concatenate(people)) == [0] * 20 + [1] * 20 + [2] * 20


def test_a_talking_head_is_one_scene(people):
    for pictures in people:
        assert set(scenes_of(pictures)) == {0}


def test_a_flash_is_no_cut(people):
    pictures = people[0].copy()
    pictures[9] = 255
    assert set(scenes_of(pictures)) == {0}


def test_a_fade_and_a_slow_pan_are_no_cuts(people):
    fade = np.stack(
        [(people[0][i].astype(float) * (19 - i) / 19 + people[1][i] * i / 19).astype(np.uint8) for i in range(20)]
    )
    assert set(scenes_of(fade)) == {0}
    ramp = np.tile(np.arange(128, dtype=np.uint8), (32, 1))[..., None].repeat(3, 2)
    assert set(scenes_of([ramp[:, i : i + 32] for i in range(60)])) == {0}


def test_scenes_have_a_least_length_and_a_largest_number(people):
    flicker = [people[i // (LEAST_FRAMES // 2) % 2][i % 20] for i in range(60)]
    assert max(np.bincount(scenes_of(flicker))) >= LEAST_FRAMES and max(scenes_of(flicker)) <= 60 // LEAST_FRAMES
    assert set(scenes_of(np.concatenate(people), most=2)) == {0, 1}


def test_one_frame_is_one_scene():
    assert scenes_of(np.zeros((1, 8, 8, 3), np.uint8)) == [0] and scenes_of([]) == []


def test_mean_colours_of_sizes_that_blocks_do_not_divide():
    picture = np.random.default_rng(0).integers(0, 256, (37, 5, 3), dtype=np.uint8)
    colours = mean_colours(picture)
    assert colours.shape == (8, 5, 3)
    np.testing.assert_allclose(colours[0, 0], picture[:4, 0].mean(0))
    assert difference(colours, colours) == 0


# ---- through the codec


@pytest.fixture(scope="module")
def codec(tiny_model):
    return bcdcodec.load(tiny_model)


def test_each_scene_is_coded_as_if_it_were_alone(codec, people):
    items = list(codec.encode_stream(enumerate(np.concatenate(people))))
    contents = [item for item in items if isinstance(item, Content)]
    motions = [item for item in items if isinstance(item, Motion)]
    assert [(c.number, c.first_frame) for c in contents] == [(0, 0), (1, 20), (2, 40)]
    assert [(m.content, m.first_frame, m.frames) for m in motions] == [(0, 0, 20), (1, 20, 20), (2, 40, 20)]
    for pictures, content, motion in zip(people, contents, motions):
        alone = codec.encode(pictures)
        assert np.array_equal(alone.contents[0].values, content.values)
        assert np.array_equal(alone.motions[0].codes, motion.codes)


@pytest.mark.parametrize("chunk", [3, 8, 20])
def test_scenes_do_not_depend_on_the_size_of_chunks(codec, people, chunk):
    frames = np.concatenate(people)
    whole, parts = (list(codec.encode_stream(enumerate(frames), StreamOptions(size))) for size in (256, chunk))
    codes = [np.concatenate([item.codes for item in items if isinstance(item, Motion)]) for items in (whole, parts)]
    assert np.array_equal(*codes)
    assert [c.first_frame for c in parts if isinstance(c, Content)] == [0, 20, 40]


def test_a_file_of_several_scenes_shows_each_with_its_content(tiny, bcd, people, tmp_path):
    source = write_clip(tmp_path / "in.mp4", np.concatenate(people))
    assert tiny("encode", source, tmp_path / "a.bcd").code == 0
    facts = json.loads(bcd("info", tmp_path / "a.bcd", "--json").out)
    assert (facts["frames"], facts["contents"]) == (60, 3)
    assert tiny("verify", tmp_path / "a.bcd").code == 0
    assert tiny("decode", tmp_path / "a.bcd", tmp_path / "out.mp4").code == 0


def test_without_scenes_there_is_one_content(tiny, people, tmp_path):
    source = write_clip(tmp_path / "in.mp4", np.concatenate(people))
    assert tiny("encode", source, tmp_path / "a.bcd", "--scenes", "off").code == 0
    with open_bcd(tmp_path / "a.bcd") as reader:
        assert (reader.content_count, reader.frames) == (1, 60)
