"""The paper's model as it is shipped: what characters it was not trained on look like in the motion of others."""

from pathlib import Path

import numpy as np
import pytest

import bcdcodec
from bcdcodec.benchmarks.measure.pictures import psnr
from bcdcodec.training.data.sheets import Sheets, split

SHEETS = Path(__file__).resolve().parents[2] / "shared" / "data" / "sprites"


@pytest.fixture(scope="module")
def codec():
    return bcdcodec.load("sprites-bcd")


def test_a_file_of_it_is_written_and_decoded_the_same_twice(codec, tmp_path):
    frames = np.random.default_rng(0).integers(0, 255, (6, 64, 64, 3), np.uint8)
    bcdcodec.write(tmp_path / "x.bcd", codec.encode(frames))
    found = bcdcodec.read(tmp_path / "x.bcd")
    first, again = (codec.decode(found, steps=1) for _ in range(2))
    assert first.shape == frames.shape  # the last window of four is filled up
    assert (first == again).all()


@pytest.mark.skipif(not SHEETS.is_dir(), reason=f"the sheets of Sprites are not at {SHEETS}")
def test_a_character_takes_the_action_of_another_one(codec):
    sheets, test = Sheets.load(SHEETS), split()[1]
    driving, content, truth = sheets.clip(test[0], 2), sheets.clip(test[50], 6), sheets.clip(test[50], 2)
    found = codec.decode(codec.encode(driving), content=codec.encode(content), steps=1)
    own, still = (psnr(other, truth) for other in (driving, content[:1].repeat(8, 0)))
    assert psnr(found, truth) > 3 + max(own, still)
