"""Context tables fitted on some clips make others of the same kind small."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")

from vector_parts import SMALL, wandering  # noqa: E402

from bcdcodec.entropy import FrequencyTables, encode_context, encode_motion  # noqa: E402
from bcdcodec.training.entropy_fit.context_tables import (  # noqa: E402
    blank_tables,
    change_bits,
    changes,
    fit_context,
    observe,
    successors,
)


def counted(clips: list[np.ndarray], codes: int) -> FrequencyTables:
    counts = np.zeros((clips[0].shape[1], codes), np.int64)
    for clip in clips:
        np.add.at(counts, (np.arange(clip.shape[1]), clip), 1)
    return FrequencyTables.from_counts(counts)


def cycles(count: int, seed: int) -> list[np.ndarray]:
    """Clips [8, 1] of one group of 72 codes: one of nine cycles of eight, always from its start, as sprites walk."""
    starts = np.random.default_rng(seed).integers(0, 9, count)
    return [(8 * start + np.arange(8)).astype(np.uint8)[:, None] for start in starts]


def test_nine_cycles_cost_little_more_than_which_of_the_nine():
    training, fresh = cycles(900, 0), cycles(100, 1)
    motion = counted(training, 72)
    tables = fit_context(training, motion)
    together = np.concatenate(fresh[:1])
    assert len(encode_context(together, tables)) == 1  # log2(9) = 3.17 bits, in whole bytes
    bits = [8 * len(encode_context(clip, tables)) for clip in fresh]
    static = [8 * len(encode_motion(clip, motion)) for clip in fresh]
    assert sum(bits) < 0.3 * sum(static)


def test_fitted_tables_code_unseen_clips_in_less_than_blank_and_static_ones():
    model = replace(SMALL, motion=FrequencyTables.from_counts(np.zeros((12, 8), np.int64)), context=None)
    clips = [wandering(model, 1000 * i, 60).codes for i in range(40)]
    motion = counted(clips[:32], 8)
    tables = fit_context(clips[:32], motion)

    def size(coded):
        return sum(map(len, coded))

    fitted = size(encode_context(clip, tables) for clip in clips[32:])
    assert fitted < 0.9 * size(encode_context(clip, blank_tables(12, 8)) for clip in clips[32:])
    assert fitted < 0.7 * size(encode_motion(clip, motion) for clip in clips[32:])


def test_what_is_observed_are_the_places_that_coding_uses():
    clip = np.array([[0, 0], [0, 1], [0, 1], [1, 0]], np.uint8)
    observed = observe([clip], 2, 3)
    code, age, visits, activity = observed.places
    assert observed.moved.tolist() == [[False, True], [False, False], [True, True]]
    assert code.tolist() == [[0, 3], [0, 4], [0, 4]]  # group i's code x is place 3 i + x
    assert age.tolist() == [[15, 15], [15, 0], [15, 1]]
    assert visits.tolist() == [[0, 0], [8, 0], [16, 8]]  # 8 digits(stayed) + digits(left)
    # group 1 is in stage 4, after group 0; 64 stage + 8 digits(changes before) + digits(changes in the frame before)
    assert activity.tolist() == [[0, 256], [1, 257], [0, 264]]


def test_a_change_back_is_known_by_where_it_came_from():
    clip = np.array([[0], [1], [0], [1], [0]], np.uint8)
    seen = changes([clip], 1, 3)
    assert (seen.code.tolist(), seen.new.tolist(), seen.former.tolist()) == ([0, 1, 0, 1], [1, 0, 1, 0], [-1, 0, 1, 0])
    assert seen.followed.tolist() == [[0, 0, 0], [0, 0, 0], [0, 1, 0], [1, 0, 0]]
    rows = successors([], counted([clip], 3), 1)[seen.group, seen.code]
    assert change_bits(seen, rows, (0, 0, 1 << 20)) < change_bits(seen, rows, (0, 0, 0))


def test_successors_are_integer_tables_without_a_code_after_itself():
    clips = cycles(50, 2)
    table = successors(clips, counted(clips, 72), 3)
    assert (table.sum(2, dtype=int) == 32768).all() and not table[0, np.arange(72), np.arange(72)].any()
    assert table[0, 3].argmax() == 4 and (table[0] + np.eye(72, dtype=int)).min() == 1


def test_few_groups_get_tables_of_where_they_came_from_and_many_do_not():
    walks = [np.array([[0], [2], [1], [2], [3], [2], [1]], np.uint8)[i : i + 5] for i in range(3)] * 20
    table = fit_context(walks, counted(walks, 4)).pairs
    assert (table.sum(-1, dtype=int) == 32768).all()
    assert table[0, 0, 2].argmax() == 1 and table[0, 1, 2].argmax() == 3 and table[0, 3, 2].argmax() == 1
    many = [np.zeros((2, 64), np.uint8)]
    assert fit_context(many, counted(many, 32)).pairs is None


def test_a_model_of_too_many_groups_and_codes_gets_no_context_tables():
    assert fit_context([], FrequencyTables(np.full((1024, 256), 256))) is None


def test_stills_alone_give_tables_too():
    stills = [np.array([[i % 4, 1]], np.uint8) for i in range(6)]
    tables = fit_context(stills, counted(stills, 4))
    assert (tables.first.frequencies[1].argmax(), tables.first.n_symbols) == (1, 4)
