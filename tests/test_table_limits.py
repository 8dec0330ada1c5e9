"""Tables out of range and files of tables that are none are refused by name; profiles by their tables."""

from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load, save
from vector_parts import CONTEXT, LEARNED, SMALL

from bcdcodec.entropy import FrequencyTables, ModelTables
from bcdcodec.entropy.profiles import profile_name, profile_number
from bcdcodec.errors import BcdError, ModelError


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: replace(SMALL.content, band_of_channel=np.zeros(6, np.int64)), r"int64 \[6\], expected uint8"),
        (lambda: replace(SMALL.content, band_of_channel=np.full(6, 2, np.uint8)), r"3 bands want \[30, 128\]"),
        (lambda: replace(SMALL.content, predicted_channels=7), "7 predicted channels, expected 0 to 6"),
        (lambda: replace(LEARNED.learned, predicted_channels=-1), "-1 predicted channels"),
        (lambda: replace(SMALL, motion=FrequencyTables.from_counts(np.ones((5, 257), int))), "257 codes"),
        (lambda: FrequencyTables.from_counts(np.array([[-1, 2]])), "expected non-negative integers"),
        (lambda: FrequencyTables.from_counts(np.array([[1, 2]]), 0), "pseudo count is 0"),
        (lambda: FrequencyTables.from_counts(np.array([[1, 1 << 40]])), "largest count"),
    ],
)
def test_tables_out_of_range_are_refused(make, message):
    with pytest.raises(ModelError, match=message):
        make()


@pytest.mark.parametrize(
    "changes, message",
    [
        (dict(motion_frequencies=SMALL.motion.frequencies.astype(np.int64)), "int64"),
        (dict(predicted_channels=np.array([2, 2], np.uint32)), "has 2 values, expected 1"),
        (dict(layout_version=np.array([2], np.uint32)), "have layout 2, this version reads 1"),
    ],
)
def test_files_of_tables_are_as_they_are_saved(changes, message, tmp_path):
    path = tmp_path / "tables.safetensors"
    SMALL.save(path)
    path.write_bytes(save(load(path.read_bytes()) | changes))
    with pytest.raises(ModelError, match=message):
        ModelTables.load(path)


def test_a_file_of_tables_above_its_limit_is_not_read(tmp_path):
    with open(tmp_path / "tables.safetensors", "wb") as file:
        file.truncate((64 << 20) + 1)
    with pytest.raises(ModelError, match="67108865 bytes, the limit is"):
        ModelTables.load(tmp_path / "tables.safetensors")


def test_tables_that_cannot_be_written_are_one_error(tmp_path):
    with pytest.raises(ModelError, match="cannot write tables .*: No such file"):
        SMALL.save(tmp_path / "no" / "tables.safetensors")


def test_a_profile_that_there_is_not_is_named():
    with pytest.raises(BcdError, match="no entropy profile 'best', expected one of static, context"):
        profile_number("best")


def test_a_model_codes_in_the_best_profile_that_it_has_tables_for():
    assert (SMALL.motion_profile(), CONTEXT.motion_profile(), CONTEXT.motion_profile("static")) == (0, 1, 0)
    with pytest.raises(ModelError, match="no context tables"):
        SMALL.motion_profile("context")
    assert profile_name(CONTEXT.motion_profile("context")) == "context"
