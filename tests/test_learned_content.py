"""Content profile learned: exact both ways, the same channel by channel or at once, refused where it is wrong."""

from dataclasses import replace

import numpy as np
import pytest
from vector_parts import DEEP, LEARNED, SMALL, content_for, numbers

from bcdcodec.container.payloads import pack_content, unpack_content
from bcdcodec.entropy import ModelTables, decode_content, encode_content
from bcdcodec.entropy.learned_content import CLASSES, LearnedContentModel
from bcdcodec.entropy.profiles import CONTENT_LEARNED
from bcdcodec.errors import FormatError, LimitError, ModelError

MODEL = DEEP.learned


def values_of(spread: int, rows: int, columns: int, seed: str = "values") -> np.ndarray:
    return (numbers(seed, (rows * columns, MODEL.channels), spread) - spread // 2).astype(np.int16)


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (1, 5), (4, 1), (3, 4), (8, 8)])
@pytest.mark.parametrize("spread", [1, 3, 30, 300, 65535])
def test_values_come_back(rows, columns, spread):
    values = values_of(spread, rows, columns)
    assert np.array_equal(decode_content(encode_content(values, rows, columns, MODEL), rows, columns, MODEL), values)


def test_tables_are_the_same_one_channel_at_a_time_and_all_at_once():
    residuals = MODEL.residuals(values_of(9, 3, 4), 3, 4)
    one_by_one = MODEL.contexts(3, 4)
    rows = []
    for channel in residuals.T:
        rows.append(one_by_one.tables_of())
        one_by_one.add(channel)
    every = MODEL.all_contexts(residuals, 3, 4)
    assert np.array_equal(np.stack(rows, axis=1), every)
    assert np.array_equal(every[:, :3], np.tile([0, 1, 2], (12, 1)))
    assert len(np.unique(every)) > 20, "the vectors' network is to choose among many tables"


def test_what_is_known_of_a_value_is_what_came_before_it():
    residuals = MODEL.residuals(values_of(9, 3, 4), 3, 4)
    changed = residuals.copy()
    changed[:, 20:] += 5
    before, after = (MODEL.all_contexts(each, 3, 4) for each in (residuals, changed))
    assert np.array_equal(before[:, :21], after[:, :21]) and not np.array_equal(before, after)


def test_predicted_channels_are_guessed_from_left_above_and_both():
    grid = np.array([[10, 12, 9], [11, 14, 9], [30, 3, 50]])
    left_out = MODEL.residuals(np.repeat(grid.reshape(9, 1), MODEL.channels, axis=1), 3, 3)[:, 0].reshape(3, 3)
    # 14 - clip(11 + 12 - 10), 9 - clip(14 + 9 - 12, 9, 14), 3 - clip(30 + 14 - 11, 14, 30), 50 - clip(3 + 9 - 14, 3, 9)
    assert left_out.tolist() == [[10, 2, -3], [1, 14 - 12, 9 - 11], [19, 3 - 30, 50 - 3]]


def test_sums_are_exact_at_the_limits_of_the_weights():
    worst = replace(
        MODEL, unit_bias=np.full_like(MODEL.unit_bias, 1 << 30), unit_weights=np.full_like(MODEL.unit_weights, 32767),
        output_bias=np.full_like(MODEL.output_bias, 1 << 30), output_weights=np.full_like(MODEL.output_weights, -32768),
        direct_weights=np.full_like(MODEL.direct_weights, 32767))  # fmt: skip
    contexts = worst.contexts(1, 1)
    contexts.add(np.full((MODEL.channels, 1), 60000))
    x = contexts.features(np.array([40]))[0, 0].tolist()
    assert x == [320] * 8 + [0] * 8  # 1023 and more; no neighbours
    unit = max(0, (1 << 30) + sum(32767 * f for f in x)) >> 7
    y = (1 << 30) - 32768 * unit * 24 + sum(32767 * f for f in x)
    assert contexts.rows_of(np.array([40])).tolist() == [[3 + min(63, max(0, y >> 16))]]
    assert abs(y) < 1 << 53


def test_tables_survive_a_file_and_every_number_is_in_the_fingerprint(tmp_path):
    LEARNED.save(tmp_path / "tables.safetensors")
    loaded = ModelTables.load(tmp_path / "tables.safetensors")
    assert loaded.fingerprint(1, 1) == LEARNED.fingerprint(1, 1) and loaded.content_profile == CONTENT_LEARNED
    assert loaded.fingerprint(1) == replace(LEARNED, learned=None).fingerprint(1), "files of before still open"
    found = {LEARNED.fingerprint(0, 1)}
    for name in ("unit_bias", "unit_weights", "output_bias", "output_weights", "direct_weights"):
        array = np.array(getattr(LEARNED.learned, name))
        array.flat[0] += 1
        found.add(replace(LEARNED, learned=replace(LEARNED.learned, **{name: array})).fingerprint(0, 1))
    assert len(found) == 6
    with pytest.raises(ModelError, match="no learned content tables"):
        SMALL.fingerprint(0, CONTENT_LEARNED)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(predicted_channels=2), "67 learned content tables, 2 predicted channels want 66"),
        (dict(unit_bias=np.zeros((0, 24), np.int32)), "expected 1 to 65535"),
        (dict(unit_bias=np.zeros((43, 65), np.int32)), "65 units"),
        (dict(unit_bias=np.zeros(43, np.int32)), "0 channels and 0 units"),
        (dict(unit_weights=np.zeros((16, 24), np.int32)), "unit_weights is int32"),
        (dict(output_weights=np.zeros(23, np.int16)), r"output_weights is int16 \[23\], expected int16 \[24\]"),
        (dict(output_bias=np.full(43, (1 << 30) + 1, np.int32)), "limit is"),
    ],
)
def test_wrong_tables_are_refused(changes, message):
    with pytest.raises(ModelError, match=message):
        replace(MODEL, **changes)


def test_tables_for_other_channels_than_the_model_s_are_refused():
    with pytest.raises(ModelError, match="43 channels, 3 of them predicted, the others for 6, 2"):
        replace(SMALL, learned=MODEL)


def test_damaged_contents_are_refused_or_read_as_something_else_and_nothing_worse():
    payload = pack_content(content_for(LEARNED, spread=200), LEARNED, CONTENT_LEARNED)[0]
    read = 0
    for at in range(6, len(payload)):
        for bit in (1, 16, 128):
            damaged = payload[:at] + bytes([payload[at] ^ bit]) + payload[at + 1 :]
            try:
                unpack_content(damaged, LEARNED, CONTENT_LEARNED)
                read += 1
            except (FormatError, LimitError):
                pass
    assert read


def test_a_fit_codes_unseen_contents_in_fewer_bytes_than_neighbours_do():
    torch = pytest.importorskip("torch")
    assert torch.get_num_threads() > 0
    from bcdcodec.entropy import ContentModel, FrequencyTables, count_contexts
    from bcdcodec.training.entropy_fit.content_tables import fit_learned_content

    rng = np.random.default_rng(0)

    def contents(count):  # busy and quiet columns of tokens, sizes that fall with the channel, two smooth channels
        found = []
        for _ in range(count):
            busy = np.exp(rng.normal(0, 1.2, (1, 6, 1)) + rng.normal(0, 0.2, (6, 6, 1)))
            values = rng.laplace(0, 1, (6, 6, 24)) * busy * 4 / (1 + np.arange(24))
            values[..., :2] = np.cumsum(np.cumsum(rng.normal(0, 2, (6, 6, 2)), 0), 1)
            found.append(np.rint(values).reshape(36, 24).astype(np.int16))
        return found

    seen, unseen, bands = contents(60), contents(20), np.minimum(np.arange(24) // 3, 7).astype(np.uint8)
    neighbours = ContentModel(
        FrequencyTables.from_counts(64 * sum(count_contexts(v, 6, 6, bands, 2) for v in seen)), bands, 2)  # fmt: skip
    learned = fit_learned_content(seen, 6, 6, 2)
    assert isinstance(learned, LearnedContentModel) and learned.tables.n_tables == 2 + CLASSES
    size = {model: sum(len(encode_content(v, 6, 6, model)) for v in unseen) for model in (neighbours, learned)}
    assert size[learned] < 0.97 * size[neighbours]
