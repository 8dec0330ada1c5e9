"""Coding is exact, near the entropy of its integer tables, and readable without constriction."""

import numpy as np
import pytest
from independent_reader import RangeDecoder as IndependentDecoder, cumulative
from vector_parts import SMALL, WIDE

from bcdcodec.entropy import (
    ContentModel,
    FrequencyTables,
    ModelTables,
    RangeDecoder,
    RangeEncoder,
    count_contexts,
    decode_content,
    decode_motion,
    decode_motion_prefix,
    encode_content,
    encode_motion,
)
from bcdcodec.errors import FormatError, LimitError, ModelError


def learned_tables(seed=0, groups=64, codes=32) -> FrequencyTables:
    """Return tables of about 137 bits a frame, the way training leaves them: some groups nearly still, some busy."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(groups, codes)) * np.linspace(1, 6, groups)[:, None]
    return FrequencyTables.from_counts(
        np.floor(np.exp(logits - logits.max(1, keepdims=True)) * 1e6).astype(np.int64), 1
    )


def edge_tables(groups=64, codes=32) -> FrequencyTables:
    """Return tables full of the smallest and the largest possible frequencies."""
    rng = np.random.default_rng(1)
    frequencies = np.array(learned_tables(2, groups, codes).frequencies)
    for g in range(0, groups, 2):
        frequencies[g] = 1
        frequencies[g, g % codes] = 65536 - (codes - 1)
    frequencies[1] = 1
    frequencies[1, :2] = (65536 - (codes - 2)) // 2
    frequencies[3] = 65536 // codes
    rng.shuffle(frequencies[5])
    return FrequencyTables(frequencies)


def drawn_codes(tables: FrequencyTables, frames: int, seed=3) -> np.ndarray:
    rng = np.random.default_rng(seed)
    columns = [rng.choice(tables.n_symbols, size=frames, p=row / 65536) for row in tables.frequencies]
    return np.stack(columns, axis=1).astype(np.uint8)  # [t, g]


def content_sample(rows, columns, d=24, spread=3.0, seed=0) -> tuple[np.ndarray, ContentModel]:
    rng = np.random.default_rng(seed)
    values = np.round(rng.laplace(0, spread, (rows * columns, d)) * np.linspace(3, 0.2, d)).astype(np.int16)
    bands = (np.arange(d) // 8).astype(np.uint8)
    counts = count_contexts(values, rows, columns, bands, 4)
    return values, ContentModel(FrequencyTables.from_counts(counts), bands, 4)


@pytest.mark.parametrize("tables", [learned_tables(), edge_tables()], ids=["learned", "edges"])
def test_an_integer_decoder_reads_constrictions_streams(tables):
    for codes in (drawn_codes(tables, 20), np.random.default_rng(4).integers(0, 32, (20, 64)).astype(np.uint8)):
        decoder = IndependentDecoder(encode_motion(codes, tables))
        rows = [cumulative(row.tolist()) for row in tables.frequencies]
        assert [[decoder.symbol(row) for row in rows] for _ in codes] == codes.tolist()


def test_every_symbol_of_every_table_is_decoded_by_the_integer_decoder():
    tables = edge_tables()
    symbols, rows = np.tile(np.arange(32), 64), np.repeat(np.arange(64), 32)
    encoder = RangeEncoder()
    encoder.encode(tables, symbols, rows)
    decoder = IndependentDecoder(encoder.finish())
    assert [decoder.symbol(cumulative(tables.frequencies[g].tolist())) for g in rows] == symbols.tolist()


def test_coder_weights_are_exact_in_single_precision():
    for tables in (edge_tables(), SMALL.content.tables, WIDE.motion):
        weights = tables.coder_weights
        assert weights.dtype == np.float32
        partial_sums = np.cumsum(weights, axis=1, dtype=np.float32)
        expected = np.cumsum(256 * tables.frequencies.astype(np.int64) - 1, axis=1)
        assert np.array_equal(partial_sums.astype(np.int64), expected)
        assert (expected[:, -1] == 2**24 - tables.n_symbols).all()  # so that constriction's scale is exactly 1


@pytest.mark.parametrize("tables", [learned_tables(), edge_tables()], ids=["learned", "edges"])
@pytest.mark.parametrize("frames", [1, 7, 100, 250, 4096])
def test_coded_motion_is_within_half_a_percent_and_32_bits_of_the_entropy(tables, frames):
    codes = drawn_codes(tables, frames)
    ideal = tables.ideal_bits(codes, np.tile(np.arange(64), frames))
    data = encode_motion(codes, tables)
    assert 8 * len(data) <= 1.005 * ideal + 32
    assert np.array_equal(decode_motion(data, frames, tables), codes)


def test_short_streams_end_at_any_state_of_the_coder():
    tables = FrequencyTables(np.array([[1, 65533, 1, 1], [16384] * 4, [65533, 1, 1, 1], [1, 1, 1, 65533]]))
    rng = np.random.default_rng(5)
    for _ in range(2000):
        n = int(rng.integers(1, 25))
        symbols, rows = rng.integers(0, 4, n), rng.integers(0, 4, n)
        encoder = RangeEncoder()
        encoder.encode(tables, symbols, rows)
        data = encoder.finish()
        assert 8 * len(data) <= tables.ideal_bits(symbols, rows) + 32
        assert not data.endswith(b"\0")
        assert np.array_equal(RangeDecoder(data).decode(tables, rows), symbols)


def test_a_stream_decodes_in_stages_as_in_one():
    tables = learned_tables()
    codes = drawn_codes(tables, 300).ravel()  # more than one batch of symbols
    rows = np.tile(np.arange(64), 300)
    staged, whole = RangeEncoder(), RangeEncoder()
    whole.encode(tables, codes, rows)
    for part in np.array_split(np.arange(codes.size), 7):
        staged.encode(tables, codes[part], rows[part])
    assert staged.finish() == whole.finish()
    decoder = RangeDecoder(whole.finish())
    parts = [decoder.decode(tables, part) for part in np.array_split(rows, 5)]
    assert np.array_equal(np.concatenate(parts), codes)


@pytest.mark.parametrize("tables", [learned_tables(), edge_tables()], ids=["learned", "edges"])
def test_a_cut_payload_gives_true_frames_only_and_nearly_all_of_them(tables):
    frames = 40
    codes = drawn_codes(tables, frames)
    data = encode_motion(codes, tables)
    for cut in range(0, len(data), 7):
        found = decode_motion_prefix(data[:cut], frames, tables)
        assert np.array_equal(found, codes[: len(found)])
        held = [encode_motion(codes[:t], tables) for t in (len(found) + 2,) if t <= frames]
        assert all(len(longer) > cut - 8 for longer in held), "a frame whose bytes are all there was withheld"
    assert len(decode_motion_prefix(data, frames, tables)) >= frames - 1


def test_damaged_codes_raise_a_format_error_or_decode_to_something():
    tables = learned_tables()
    rng = np.random.default_rng(6)
    for size in (0, 1, 5, 400):
        for _ in range(50):
            try:
                codes = decode_motion(rng.bytes(size), 30, tables)
            except FormatError:
                continue
            assert codes.shape == (30, 64) and codes.max() < 32
    with pytest.raises(FormatError, match="outside the range"):
        decode_motion(b"\xff" * 4000, 250, tables)


@pytest.mark.parametrize("rows, columns", [(8, 8), (1, 1), (1, 7), (5, 1), (16, 16)])
def test_content_round_trips(rows, columns):
    values, model = content_sample(rows, columns)
    data = encode_content(values, rows, columns, model)
    decoded = decode_content(data, rows, columns, model)
    assert decoded.dtype == np.int16
    assert np.array_equal(decoded, values)


def test_contexts_make_content_smaller_than_one_table_a_band():
    rng = np.random.default_rng(7)
    scale = np.exp(rng.normal(size=(64, 1)) * 1.5)  # busy and plain tokens, as in pictures
    values = np.round(rng.laplace(0, 1, (64, 48)) * scale).clip(-60, 60).astype(np.int16)
    bands = np.zeros(48, np.uint8)
    counts = 64 * count_contexts(values, 8, 8, bands, 0)  # so that the pseudo count weighs little
    model = ContentModel(FrequencyTables.from_counts(counts), bands, 0)
    flat = ContentModel(FrequencyTables.from_counts(np.repeat(counts.sum(0, keepdims=True), 10, axis=0)), bands, 0)
    assert len(encode_content(values, 8, 8, model)) < 0.95 * len(encode_content(values, 8, 8, flat))


def test_coded_content_is_near_the_ideal_of_its_contexts():
    values, model = content_sample(8, 8, spread=1.0)
    counts = count_contexts(values, 8, 8, model.band_of_channel, model.predicted_channels)
    assert counts[:, 127].sum() == 0  # no escapes, so that the tables say it all
    rows, symbols = np.repeat(np.indices(counts.shape).reshape(2, -1), counts.ravel(), axis=1)
    assert 8 * len(encode_content(values, 8, 8, model)) <= 1.005 * model.tables.ideal_bits(symbols, rows) + 32


def test_any_int16_value_is_coded_and_no_other():
    _, model = content_sample(3, 5)
    extremes = np.random.default_rng(8).choice([-32768, 32767, 0, 63, -63, 64, -64], (15, 24)).astype(np.int16)
    assert np.array_equal(decode_content(encode_content(extremes, 3, 5, model), 3, 5, model), extremes)
    with pytest.raises(LimitError, match="32768"):
        encode_content(np.full((15, 24), 32768), 3, 5, model)
    with pytest.raises(FormatError, match="24"):
        encode_content(extremes[:, :23], 3, 5, model)


def test_activity_buckets_begin_where_the_format_says():
    bands = np.zeros(2, np.uint8)
    for a, bucket in [(0, 0), (2, 2), (4, 4), (6, 5), (8, 5), (10, 6), (14, 7), (18, 7), (20, 8), (28, 8), (30, 9)]:
        counts = count_contexts(
            np.array([[a // 2, 0]]), 1, 1, bands, 0
        )  # one token: activity is 2 |v| of the channel before
        assert counts[bucket, 63] == 1 + (bucket == 0 and a == 0)


def test_fitting_tables_is_exact_and_gives_every_symbol_a_chance():
    tables = FrequencyTables.from_counts(np.array([[0, 0, 0, 0], [10**9, 0, 0, 1], [3, 3, 1, 1]]), 1)
    assert (tables.frequencies.sum(axis=1) == 65536).all() and tables.frequencies.min() >= 1
    assert tables.frequencies[0].tolist() == [16384] * 4
    assert tables.frequencies[1].tolist() == [65533, 1, 1, 1]
    assert tables.frequencies[2].tolist() == [21845, 21845, 10923, 10923]


@pytest.mark.parametrize(
    "frequencies, message",
    [
        ([[65535, 2]], "sums to 65537"),
        ([[65536, 0]], "span 0"),
        ([[65536]], "1 frequency tables of 1 symbols"),
        ([[0.5, 0.5]], "float64"),
        ([65535, 1], "int64 \\[2\\]"),
    ],
)
def test_tables_that_are_no_tables_are_refused(frequencies, message):
    with pytest.raises(ModelError, match=message):
        FrequencyTables(np.array(frequencies))


def test_fingerprints_change_with_any_part_of_the_tables():
    other_bands = ContentModel(SMALL.content.tables, np.array([0, 1, 1, 1, 1, 1], np.uint8), 2)
    other_predicted = ContentModel(SMALL.content.tables, SMALL.content.band_of_channel, 1)
    frequencies = np.array(SMALL.motion.frequencies)
    frequencies[1] = np.roll(frequencies[1], 1)
    all_tables = [
        SMALL,
        WIDE,
        ModelTables(SMALL.motion, other_bands),
        ModelTables(SMALL.motion, other_predicted),
        ModelTables(FrequencyTables(frequencies), SMALL.content),
    ]
    assert len({tables.fingerprint() for tables in all_tables}) == len(all_tables)


def test_model_tables_survive_a_file(tmp_path):
    SMALL.save(tmp_path / "tables.safetensors")
    loaded = ModelTables.load(tmp_path / "tables.safetensors")
    assert loaded.fingerprint() == SMALL.fingerprint()
    assert (loaded.groups, loaded.codes, loaded.content.channels) == (5, 8, 6)


def test_damaged_table_files_raise_model_errors(tmp_path):
    path = tmp_path / "tables.safetensors"
    with pytest.raises(ModelError, match="cannot read"):
        ModelTables.load(path)
    SMALL.save(path)
    good = path.read_bytes()
    rng = np.random.default_rng(9)
    for _ in range(200):
        at = int(rng.integers(0, len(good)))
        path.write_bytes(rng.choice([good[:at], good[:at] + b"\xff" + good[at + 1 :]]))
        try:
            ModelTables.load(path)
        except ModelError:
            pass
    path.write_bytes(good.replace(b"band_of_channel", b"hand_of_channel"))
    with pytest.raises(ModelError, match="hand_of_channel"):
        ModelTables.load(path)
