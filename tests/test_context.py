"""Profile context: exact against a second decoder, near its ideal, small where codes stay, harmless when damaged."""

from dataclasses import replace

import numpy as np
import pytest
from independent_context import ContextChunk, context_frame
from independent_reader import RangeDecoder as IndependentDecoder
from vector_parts import CONTEXT, PAIRS, SMALL, STAGES, WIDE, make_context, wandering

from bcdcodec.entropy import (
    FrequencyTables,
    ModelTables,
    decode_context,
    decode_context_prefix,
    encode_context,
    encode_motion,
)
from bcdcodec.entropy.context_state import ContextState, clipped
from bcdcodec.entropy.context_tables import array_layout, change_frequencies
from bcdcodec.errors import FormatError, ModelError

HEADS = make_context("heads", 64, 32)
TABLES = {"5 groups of 8": CONTEXT.context, "20 groups of 2": STAGES.context, "64 groups of 32": HEADS,
          "1 group of 64": make_context("one", 1, 64), "pairs": PAIRS.context}  # fmt: skip


@pytest.fixture(params=sorted(TABLES))
def tables(request):
    return TABLES[request.param]


def codes_for(tables, frames: int, kind="wandering") -> np.ndarray:
    """Return codes [t, g]: wandering as in faces, all at random, or the same in every frame."""
    g, k = tables.first.frequencies.shape
    if kind == "wandering":
        model = replace(SMALL, motion=tables.first, context=tables)
        return wandering(model, 0, frames).codes
    codes = np.random.default_rng(1).integers(0, k, (frames, g)).astype(np.uint8)
    return codes if kind == "random" else np.repeat(codes[:1], frames, axis=0)


def ideal_bits(codes: np.ndarray, tables) -> float:
    """Return the information of codes [t, g] under the frequencies that the profile gives them."""
    state, first = ContextState(tables), tables.first.frequencies
    bits = -np.log2(first[np.arange(codes.shape[1]), codes[0]] / 65536).sum()
    state.begin(codes[0])
    for before, frame in zip(codes, codes[1:]):
        moved, changes, logits = frame != before, 0, state.change_logits()
        for stage, groups in state.stages:
            logits[groups] += state.activity(stage, changes)
            changes += int(moved[groups].sum())
        flags = change_frequencies()[clipped(logits), moved.astype(int)]
        changed = np.flatnonzero(moved)
        new = state.successor_frequencies(changed)[np.arange(changes), frame[changed]]
        bits -= np.log2(flags / 65536).sum() + np.log2(new / 65536).sum()
        state.advance(frame)
    return float(bits)


@pytest.mark.parametrize("kind", ["wandering", "random", "still"])
def test_an_integer_decoder_reads_constrictions_streams(tables, kind):
    codes = codes_for(tables, 40, kind)
    plain = {name: getattr(tables, name).reshape(-1, shape[-1]).tolist() for name, (_, shape) in
             array_layout(*tables.first.frequencies.shape).items()}  # fmt: skip
    plain |= {} if tables.pairs is None else {"pairs": tables.pairs.reshape(-1, tables.first.n_symbols).tolist()}
    chunk = ContextChunk({"first": tables.first.frequencies.tolist(), **plain}, *tables.first.frequencies.shape)
    decoder = IndependentDecoder(encode_context(codes, tables))
    for frame in codes.tolist():
        assert context_frame(decoder, chunk) == frame
        chunk.add(frame)


@pytest.mark.parametrize("frames", [1, 2, 100, 256, 1200])
def test_coded_motion_round_trips_within_half_a_percent_and_32_bits_of_its_ideal(frames):
    for kind in ("wandering", "random") if frames < 1200 else ("wandering",):
        codes = codes_for(CONTEXT.context, frames, kind)
        data = encode_context(codes, CONTEXT.context)
        assert 8 * len(data) <= 1.005 * ideal_bits(codes, CONTEXT.context) + 32
        assert np.array_equal(decode_context(data, frames, CONTEXT.context), codes)


def test_what_a_chunk_repeats_costs_less_than_what_is_new():
    codes = codes_for(HEADS, 60)
    known = np.concatenate([codes, codes])
    once, twice = len(encode_context(codes, HEADS)), len(encode_context(known, HEADS))
    assert twice - once < 0.9 * once
    assert len(encode_context(known, HEADS)) < len(encode_motion(known, HEADS.first))


def test_frequencies_of_new_codes_are_tables_whatever_was_seen():
    state = ContextState(CONTEXT.context)
    codes = codes_for(CONTEXT.context, 600, "random")
    state.begin(codes[0])
    for frame in codes[1:]:
        changed = np.flatnonzero(frame != state.contexts()[0] % 8)
        frequencies = FrequencyTables(
            state.successor_frequencies(np.arange(5))
        ).frequencies  # checks their range and sums
        assert (frequencies[np.arange(5), state.contexts()[0] % 8] == 1).all()
        state.advance(frame)
        assert state.frame_changes == len(changed)


def test_change_frequencies_follow_the_logistic_function():
    f = change_frequencies()
    assert f.shape == (6144, 2) and (f.sum(1) == 65536).all() and f.min() >= 1
    assert (np.diff(f[:, 1].astype(int)) >= 0).all()
    p = 1 / (1 + np.exp(-np.arange(-3072, 3072) / 256))
    divergence = p * np.log2(p * 65536 / f[:, 1]) + (1 - p) * np.log2((1 - p) * 65536 / f[:, 0])
    assert divergence.max() < 2e-4  # bits a symbol that the straight lines cost
    assert clipped(np.array([-99999, -3072, 0, 3071, 99999])).tolist() == [0, 0, 3072, 6143, 6143]


def test_a_cut_payload_gives_true_frames_only_and_nearly_all_of_them(tables):
    frames = 30
    codes = codes_for(tables, frames)
    data = encode_context(codes, tables)
    for cut in range(0, len(data), 1 + len(data) // 60):
        found = decode_context_prefix(data[:cut], frames, tables)
        assert np.array_equal(found, codes[: len(found)])
        held = [encode_context(codes[:t], tables) for t in (len(found) + 2,) if t <= frames]
        assert all(len(longer) > cut - 8 for longer in held), "a frame whose bytes are all there was withheld"


def test_damaged_codes_raise_a_format_error_or_decode_to_something(tables):
    rng = np.random.default_rng(6)
    g, k = tables.first.frequencies.shape
    outcomes = set()
    for size in (0, 1, 5, 400):
        for _ in range(30):
            try:
                codes = decode_context(rng.bytes(size), 30, tables)
            except FormatError:
                outcomes.add("refused")
                continue
            outcomes.add("decoded")
            assert codes.shape == (30, g) and codes.max() < k
    assert "decoded" in outcomes
    with pytest.raises(FormatError, match="outside the range"):
        decode_context(b"\xff" * 4000, 250, tables)


def test_tables_with_a_context_part_survive_a_file_and_keep_their_static_fingerprint(tmp_path):
    CONTEXT.save(tmp_path / "tables.safetensors")
    loaded = ModelTables.load(tmp_path / "tables.safetensors")
    assert loaded.fingerprint(1) == CONTEXT.fingerprint(1)
    assert loaded.fingerprint() == CONTEXT.fingerprint() == SMALL.fingerprint()
    PAIRS.save(tmp_path / "tables.safetensors")
    assert ModelTables.load(tmp_path / "tables.safetensors").fingerprint(1) == PAIRS.fingerprint(1)
    SMALL.save(tmp_path / "tables.safetensors")
    without = ModelTables.load(tmp_path / "tables.safetensors")
    assert without.context is None
    with pytest.raises(ModelError, match="no context tables"):
        without.fingerprint(1)


def test_the_context_fingerprint_changes_with_every_array():
    context = CONTEXT.context
    successors = context.successors.copy()
    successors[0, 0, 1:3] = successors[0, 0, 2:0:-1]
    changed = [replace(context, successors=successors), replace(context, first=SMALL.motion), context]
    changed.append(replace(context, pairs=np.repeat(context.successors[:, None], 8, axis=1)))
    for name in ("code_logits", "age_logits", "visit_logits", "activity_logits", "weights"):
        array = getattr(context, name).copy()
        array.flat[1] -= 1
        changed.append(replace(context, **{name: array}))
    assert len({replace(SMALL, context=each).fingerprint(1) for each in changed}) == len(changed)


@pytest.mark.parametrize(
    "name, change, message",
    [
        ("code_logits", lambda a: a.astype(np.int32), "int32"),
        ("code_logits", lambda a: a[:, :-1], "\\[5, 7\\]"),
        ("age_logits", lambda a: a + np.int16(3072), "3071"),
        ("successors", lambda a: a + np.uint16(1), "successors of code 0 of group 0"),
        ("successors", lambda a: np.roll(a, 1, axis=2), "32768"),
        ("weights", lambda a: a + np.uint32(1 << 20), "1048576"),
    ],
)
def test_context_tables_that_are_none_are_refused(name, change, message):
    with pytest.raises(ModelError, match=message):
        replace(CONTEXT.context, **{name: change(getattr(CONTEXT.context, name))})


def test_context_tables_of_another_shape_or_size_are_refused():
    with pytest.raises(ModelError, match="\\[20, 2\\]"):
        replace(WIDE, context=STAGES.context)
    first = FrequencyTables(np.full((1024, 256), 256))
    with pytest.raises(ModelError, match="16777216"):
        replace(HEADS, first=first)
    with pytest.raises(ModelError, match="1048576"):
        replace(HEADS, pairs=np.zeros((64, 32, 32, 32), np.uint16))
    with pytest.raises(ModelError, match="successors of code 0 of group 0"):
        replace(CONTEXT.context, pairs=np.ones((5, 8, 8, 8), np.uint16))
