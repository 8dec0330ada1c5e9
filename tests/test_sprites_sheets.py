"""The Sprites dataset: what a folder of sheets renders to, against an independent rendering of the same sheets."""

import hashlib

import numpy as np
import pytest
from PIL import Image
from sprite_sheets import REAL, needs_sheets, write_sheets

from bcdcodec.errors import BcdError
from bcdcodec.training.data import sheets as module
from bcdcodec.training.data.sheets import (
    ACTIONS,
    ATTRIBUTES,
    CHARACTERS,
    MOTIONS,
    Sheets,
    attributes,
    motion_frame,
    split,
)

# The dataset's definition, written out again: sheet row and columns of every action's eight frames.
WALK, SPELLCARD, SLASH = (8, 1, 2, 3, 4, 5, 6, 7), (0, 1, 2, 3, 4, 5, 4, 6), (0, 1, 2, 3, 4, 5, 4, 0)
DEFINITION = {
    "walk left": (9, WALK),
    "walk front": (10, WALK),
    "walk right": (11, WALK),
    "spellcard left": (1, SPELLCARD),
    "spellcard front": (2, SPELLCARD),
    "spellcard right": (3, SPELLCARD),
    "slash left": (13, SLASH),
    "slash front": (14, SLASH),
    "slash right": (15, SLASH),
}


def rendered(folder, character, action):
    """The clip as Pillow renders it from whole sheets."""
    image = Image.new("RGBA", (832, 1344), (0, 0, 0, 255))
    layers = [(name, character // 6 ** (3 - i) % 6) for i, name in enumerate(("body", "bottomwear", "topwear", "hair"))]
    for name, choice in [*layers, ("shoes", 1)]:
        image = Image.alpha_composite(image, Image.open(folder / name / f"{choice}.png").convert("RGBA"))
    row, columns = DEFINITION[action]
    sheet = np.array(image.convert("RGB"))
    return np.stack([sheet[64 * row : 64 * row + 64, 64 * column : 64 * column + 64] for column in columns])


def test_clips_of_made_up_sheets_equal_pillows_rendering(sheets):
    loaded = Sheets.load(sheets)
    for action, name in enumerate(ACTIONS):
        assert np.array_equal(loaded.clip(1234, action), rendered(sheets, 1234, name))


def test_half_transparent_pixels_round_as_pillow_does():
    rng = np.random.default_rng(0)
    layer, below = rng.integers(0, 256, (64, 64, 4), np.uint8), rng.integers(0, 256, (64, 64, 3), np.uint8)
    opaque = Image.fromarray(below).convert("RGBA")
    expected = np.array(Image.alpha_composite(opaque, Image.fromarray(layer)).convert("RGB"))
    assert np.array_equal(module._over(layer, below), expected)


@needs_sheets
def test_clips_have_the_checksums_of_an_independent_rendering():
    sheets = Sheets.load(REAL)
    rng = np.random.default_rng(7)
    for character in (0, CHARACTERS - 1, *rng.integers(0, CHARACTERS, 6)):
        for action, name in enumerate(ACTIONS):
            ours, theirs = sheets.clip(character, action), rendered(REAL, character, name)
            assert hashlib.sha256(ours.tobytes()).digest() == hashlib.sha256(theirs.tobytes()).digest(), (
                character,
                name,
            )


@needs_sheets
def test_the_sheets_have_exactly_63_distinct_motion_frames():
    sheets = Sheets.load(REAL)
    frames = {sheets.clip(5, action)[t].tobytes(): motion_frame(action, t) for action in range(9) for t in range(8)}
    assert len(frames) == 63 == MOTIONS
    assert sorted(frames.values()) == list(range(63))


def test_names_of_actions_match_the_definition():
    assert ACTIONS == tuple(DEFINITION)
    for action, name in enumerate(ACTIONS):
        columns = DEFINITION[name][1]
        for t in range(8):
            for u in range(8):
                assert (motion_frame(action, t) == motion_frame(action, u)) == (columns[t] == columns[u])


def test_frames_of_a_clip_are_its_motion_frames(sheets):
    sheets = Sheets.load(sheets)
    clip = sheets.clip(17, 7)
    for t in range(8):
        assert np.array_equal(clip[t], sheets.frame(17, motion_frame(7, t)))


def test_character_numbers_spell_their_attributes():
    assert attributes(0) == (0, 0, 0, 0)
    assert attributes(1 * 216 + 2 * 36 + 3 * 6 + 4) == (1, 2, 3, 4)
    assert ATTRIBUTES == ("body", "bottomwear", "topwear", "hair")
    with pytest.raises(BcdError, match="1296"):
        attributes(1296)


def test_split_is_the_published_permutation():
    train, test = split()
    order = np.random.RandomState(423).permutation(1296)
    assert np.array_equal(train, order[:1000]) and np.array_equal(test, order[1000:])
    assert len(set(train) | set(test)) == 1296


def test_a_missing_sheet_is_named(sheets, tmp_path):
    with pytest.raises(BcdError, match=r"body.0\.png"):
        Sheets.load(tmp_path)
    folder = write_sheets(tmp_path / "odd")
    Image.new("RGBA", (64, 64)).save(folder / "hair" / "3.png")
    with pytest.raises(BcdError, match="64x64"):
        Sheets.load(folder)


def test_all_characters_at_once_are_what_they_are_alone(sheets):
    sheets = Sheets.load(sheets)
    for motion in (0, 14, 62):
        alone = sheets.frames(np.arange(CHARACTERS), np.full(CHARACTERS, motion))
        assert np.array_equal(sheets.everyone(motion), alone)
