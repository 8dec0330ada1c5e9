"""Within a scene another reference, earlier or new, is taken where the present one has too large a warp error."""

import json

import numpy as np
import pytest
import torch
from head_clips import head_frames, write_clip

import bcdcodec
from bcdcodec.coding import encoder as encoding
from bcdcodec.coding.encoder import StreamOptions
from bcdcodec.coding.references import EXTRA_SECONDS, KEPT, MAX_SCENES, UNIT, ReferenceBuffer, ReferenceEntry, bad_run
from bcdcodec.container import Content, Motion, Recording, open_bcd
from bcdcodec.container.payloads import MAX_CONTENTS


@pytest.fixture(scope="module")
def codec(tiny_model):
    return bcdcodec.load(tiny_model)


@pytest.fixture(scope="module")
def there_and_back():
    """One procedural head, another, and the first again."""
    a, b = (head_frames(seed, 100, 32) for seed in (31, 32))
    return np.concatenate([a, b, a[::-1]])


@pytest.fixture
def unseen_cuts(monkeypatch):
    """As if no jump of the picture were one of scenes: what changes does so in the midst of them, as in fades."""
    monkeypatch.setattr(encoding, "numbered_scenes", lambda frames, most: ((0, frame) for frame in frames))


def encoded(codec, frames, **options):
    items = list(codec.encode_stream(enumerate(frames), StreamOptions(**options)))
    return [i for i in items if isinstance(i, Content)], [i for i in items if isinstance(i, Motion)]


def test_runs_of_errors():
    errors = torch.full((5 * UNIT,), 0.5)
    assert bad_run(errors, 1.0) == (5 * UNIT, 5 * UNIT)
    errors[2 * UNIT : 4 * UNIT] = 2.0
    assert bad_run(errors, 1.0) == (2 * UNIT, 4 * UNIT)
    errors[UNIT] = 4.0  # one picture is none of a unit
    assert bad_run(errors, 1.0) == (2 * UNIT, 4 * UNIT)
    assert bad_run(errors[: 2 * UNIT + UNIT // 2], 1.0) == (2 * UNIT, 2 * UNIT + UNIT // 2)
    assert bad_run(errors[: 2 * UNIT + UNIT // 2 - 1], 1.0) == (2 * UNIT + UNIT // 2 - 1,) * 2  # too few to tell
    assert bad_run(errors[:0], 1.0) == (0, 0)


def test_scenes_always_find_a_number():
    known, view = ReferenceBuffer(), ReferenceEntry(Content(0, 0, 1, 1, 0, None, np.zeros((1, 1), np.int16)), None)
    numbers = []
    while known.spare:
        numbers.append(known.add(view).content.number)
    assert numbers == list(range(MAX_CONTENTS - MAX_SCENES))
    assert [view.content.number for view in known.latest] == numbers[-KEPT:]


def test_what_a_content_no_longer_reaches_gets_another_and_the_earlier_is_taken_again(unseen_cuts):
    heads = bcdcodec.load("heads")
    a, b = (head_frames(seed, 5 * UNIT, 256) for seed in (31, 32))
    contents, motions = encoded(heads, np.concatenate([a, b, a[::-1]]))
    assert [c.first_frame for c in contents] == [0, 5 * UNIT]
    assert [(m.first_frame, m.content) for m in motions] == [(0, 0), (5 * UNIT, 1), (10 * UNIT, 0)]


def test_off_means_one_content(codec, there_and_back, unseen_cuts):
    contents, motions = encoded(codec, there_and_back)
    one, shown = encoded(codec, there_and_back, scenes=False)
    assert len(contents) > len(one) == 1 and {m.content for m in shown} == {0}
    assert np.array_equal(one[0].values, contents[0].values)
    for chunks in (motions, shown):
        assert sum(m.frames for m in chunks) == len(there_and_back)


def test_it_shows_what_one_content_does_not(codec, there_and_back, unseen_cuts):
    head = codec.encode(there_and_back[:1]).head
    errors = []
    for scenes in (False, True):
        contents, motions = encoded(codec, there_and_back, scenes=scenes)
        decoded = codec.decode(Recording(head, tuple(contents), tuple(motions)))
        assert decoded.shape == there_and_back.shape
        errors.append(np.square(decoded.astype(float) - there_and_back).mean())
    assert errors[1] < 0.7 * errors[0]


def test_a_scene_that_comes_again_is_shown_by_its_content(codec):
    a, b = (head_frames(seed, 60, 32) for seed in (31, 32))
    contents, motions = encoded(codec, np.concatenate([a, b, a[::-1], b[::-1]]))
    assert [c.first_frame for c in contents] == [0, 60]
    assert [(m.first_frame, m.content) for m in motions] == [(0, 0), (60, 1), (120, 0), (180, 1)]


def test_a_head_that_talks_keeps_its_content(codec):
    for seed in (31, 32, 33):
        contents, motions = encoded(codec, head_frames(seed, 100, 32))
        assert len(contents) == len(motions) == 1


@pytest.mark.parametrize("options", [{}, {"kbps": 0.1, "profile": "static"}])
def test_codes_do_not_depend_on_the_size_of_chunks(codec, there_and_back, unseen_cuts, options):
    found = []
    for size in (256, 7):
        contents, motions = encoded(codec, there_and_back, chunk_frames=size, **options)
        assert len(contents) > 1
        frame = 0
        for motion in motions:
            assert motion.first_frame == frame and len(motion.codes) <= size
            frame += motion.frames
        assert frame == len(there_and_back)
        found.append(
            (
                np.concatenate([m.codes for m in motions]),
                np.concatenate([np.full(m.frames, m.content) for m in motions]),
            )
        )
    assert all(np.array_equal(a, b) for a, b in zip(*found))


def test_footage_that_nothing_reaches_takes_few_contents(codec, unseen_cuts):
    frames = np.concatenate([head_frames(seed, 20, 32) for seed in range(25)])  # another person all the time
    contents, motions = encoded(codec, frames)
    assert 2 < len(contents) <= 2 + len(frames) / codec.config.frame_rate / EXTRA_SECONDS
    assert sum(m.frames for m in motions) == len(frames)


def test_through_files_both_ways(bcd, tiny_model, there_and_back, unseen_cuts, tmp_path):
    source = write_clip(tmp_path / "in.mp4", there_and_back)
    assert bcd("encode", source, tmp_path / "a.bcd", "--model", tiny_model).code == 0
    facts = json.loads(bcd("info", tmp_path / "a.bcd", "--json").out)
    assert facts["frames"] == len(there_and_back) and facts["contents"] > 1
    assert bcd("verify", tmp_path / "a.bcd", "--model", tiny_model).code == 0
    assert bcd("decode", tmp_path / "a.bcd", tmp_path / "out.mp4", "--model", tiny_model).code == 0
    with open_bcd(tmp_path / "a.bcd") as reader:
        assert reader.frames == len(there_and_back)
