"""The parser of AV1 units refuses every field that the format fixes, whatever bytes it is given."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from vector_parts import randomly_damaged
from vector_pictures import INTER, KEY, ODD, OTHER_KEY, STILL

from bcdcodec.container.av1 import parse_inter_unit, parse_key_unit
from bcdcodec.container.picture import check_picture
from bcdcodec.errors import FormatError, LimitError

SEQUENCE_START = 2  # bytes before the payload of the sequence header
KEY_FRAME_START = SEQUENCE_START + KEY.unit[1] + 3  # a size of two bytes
INTER_FRAME_START = 3
KEY_PARSED = parse_key_unit(KEY.unit, KEY.width, KEY.height)


def with_bits(unit: bytes, start: int, at: int, bits: str) -> bytes:
    """Return a unit with other bits from bit `at` of the payload that starts at byte `start`."""
    text = "".join(f"{byte:08b}" for byte in unit[start:])
    text = text[:at] + bits + text[at + len(bits) :]
    return unit[:start] + int(text, 2).to_bytes(len(text) // 8, "big")


# Offsets in bits in the payload of KEY's sequence header (AV1 specification, 5.5.1 and 5.5.2).
SEQUENCE_FIELDS = [
    (0, "001", "seq_profile is 1, expected 0"),
    (3, "1", "still_picture is 1, expected 0"),
    (5, "1", "timing_info_present_flag is 1"),
    (6, "1", "initial_display_delay_present_flag is 1"),
    (7, "00010", "operating_points_cnt_minus_1 is 2"),
    (12, "000100000001", "operating_point_idc is 257"),
    (37, "1011110", "95 x 64 pixels, expected 96 x 64"),
    (44, "111110", "96 x 63 pixels, expected 96 x 64"),
    (50, "1", "frame_id_numbers_present_flag is 1"),
    (66, "1", "enable_superres is 1"),
    (69, "1", "high_bitdepth is 1"),
    (70, "1", "mono_chrome is 1"),
    (71, "1", "color_description_present_flag is 1"),
    (72, "0", "color_range is 0, expected 1"),
    (73, "01", "chroma_sample_position is 1"),
    (76, "1", "film_grain_params_present is 1"),
    (77, "0", "trailing_one_bit is 0"),
    (79, "1", "padding bit is 1"),
]

# The same of the payload of KEY's frame (5.9.2).
KEY_FIELDS = [
    (0, "1", "show_existing_frame is 1"),
    (1, "01", "frame_type is 1, expected 0"),
    (1, "10", "frame_type is 2, expected 0"),
    (1, "11", "frame_type is 3, expected 0"),
    (3, "0", "show_frame is 0"),
    (6, "1", "frame_size_override_flag is 1"),
    (14, "1", "render_and_frame_size_different is 1"),
    (16, "0", "uniform_tile_spacing_flag is 0"),
    (17, "1", "increment_tile_cols_log2 is 1"),
    (18, "00000000", "base_q_idx is 0"),
]

INTER_FIELDS = [
    (0, "1", "show_existing_frame is 1"),
    (1, "00", "frame_type is 0, expected 1"),
    (1, "10", "frame_type is 2, expected 1"),
    (3, "0", "show_frame is 0"),
    (7, "1", "frame_size_override_flag is 1"),
    (26, "1", "frame_refs_short_signaling is 1"),
    (48, "1", "render_and_frame_size_different is 1"),
]


@pytest.mark.parametrize("at, bits, message", SEQUENCE_FIELDS)
def test_a_field_of_the_sequence_header_that_the_format_fixes_is_refused(at, bits, message):
    with pytest.raises(FormatError, match=message):
        parse_key_unit(with_bits(KEY.unit, SEQUENCE_START, at, bits), KEY.width, KEY.height)


@pytest.mark.parametrize("at, bits, message", KEY_FIELDS)
def test_a_field_of_a_key_frame_that_the_format_fixes_is_refused(at, bits, message):
    with pytest.raises(FormatError, match=message):
        parse_key_unit(with_bits(KEY.unit, KEY_FRAME_START, at, bits), KEY.width, KEY.height)


@pytest.mark.parametrize("at, bits, message", INTER_FIELDS)
def test_a_field_of_an_inter_frame_that_the_format_fixes_is_refused(at, bits, message):
    with pytest.raises(FormatError, match=message):
        parse_inter_unit(with_bits(INTER.unit, INTER_FRAME_START, at, bits), KEY_PARSED)


def test_an_error_resilient_inter_frame_must_state_the_order_hint_of_its_key():
    """With error_resilient_mode a decoder invents the pictures whose order hints it does not have."""
    text = "".join(f"{byte:08b}" for byte in INTER.unit[INTER_FRAME_START:])
    hint = f"{KEY_PARSED.frame.order_hint:07b}"
    resilient = text[:4] + "1" + text[5:15] + text[18:26]  # no primary_ref_frame

    def parsed(hints: str):
        bits = resilient + hints + text[26:]
        payload = int(bits[: len(bits) // 8 * 8], 2).to_bytes(len(bits) // 8, "big")
        size = len(payload)
        parse_inter_unit(bytes([0x32, size & 127 | 128, size >> 7]) + payload, KEY_PARSED)

    with pytest.raises(FormatError, match="ref_order_hint is 5, expected 0"):
        parsed(hint * 7 + "0000101")
    try:
        parsed(hint * 8)
    except FormatError as error:
        assert "ref_order_hint" not in str(error)


@pytest.mark.parametrize("picture", [KEY, OTHER_KEY, STILL, ODD])
def test_a_key_unit_cut_anywhere_in_its_headers_is_refused(picture):
    for cut in range(len(picture.unit)):
        with pytest.raises(FormatError):
            parse_key_unit(picture.unit[:cut], picture.width, picture.height)


def test_a_frame_without_tile_is_refused():
    parsed = parse_key_unit(KEY.unit, KEY.width, KEY.height)
    payload = KEY.unit[KEY_FRAME_START : len(KEY.unit) - parsed.frame.data_bytes]
    unit = KEY.unit[: KEY_FRAME_START - 3] + bytes([0x32, len(payload)]) + payload
    with pytest.raises(FormatError, match="expected a tile"):
        parse_key_unit(unit, KEY.width, KEY.height)


def test_every_flipped_bit_of_the_headers_is_refused_or_leaves_the_size_as_it_is():
    for at in range(8 * (KEY_FRAME_START + 12)):
        unit = bytearray(KEY.unit)
        unit[at // 8] ^= 0x80 >> at % 8
        try:
            parsed = parse_key_unit(bytes(unit), KEY.width, KEY.height)
        except FormatError as error:
            assert "\n" not in str(error)
            continue
        assert (parsed.sequence.width, parsed.sequence.height) == (KEY.width, KEY.height)
        assert parsed.frame.quantiser > 0 and parsed.frame.data_bytes > 0


def test_random_units_give_format_errors_only_and_take_no_memory():
    rng = np.random.default_rng(5)
    units = [KEY.unit, INTER.unit, STILL.unit, ODD.unit]
    tracemalloc.start()
    for i in range(2000):
        unit = randomly_damaged(units[i % 4], rng, most=4, reach=40, longest=4)
        for parse in (lambda u: parse_key_unit(u, 96, 64), lambda u: parse_inter_unit(u, KEY_PARSED)):
            try:
                parse(unit)
            except FormatError as error:
                assert "\n" not in str(error)
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


def test_pictures_are_checked_against_the_contents_before_them():
    key = check_picture(0, KEY, {})
    assert check_picture(1, INTER, {0: key}) is None
    with pytest.raises(FormatError, match="content 1: its picture refers to content 0, .*: none"):
        check_picture(1, INTER, {})
    with pytest.raises(FormatError, match="96 x 64 pixels, that of content 0 64 x 64"):
        check_picture(1, INTER, {0: check_picture(0, OTHER_KEY, {})})
    with pytest.raises(LimitError, match="width is 4096, expected 16 to 2048"):
        check_picture(0, replace(KEY, width=4096), {})
    with pytest.raises(LimitError, match="0 bytes"):
        check_picture(0, replace(KEY, unit=b""), {})
