"""Coded values at the limits: those that leave their range are refused, the outermost come back."""

import numpy as np
import pytest
from vector_parts import SMALL

from bcdcodec.entropy import ContentModel, FrequencyTables, RangeDecoder, RangeEncoder, decode_content, encode_content
from bcdcodec.entropy.content import BIT_TABLES, ESCAPE
from bcdcodec.errors import FormatError


def test_values_that_leave_int16_are_refused():
    """Differences that are each allowed can add up to more."""
    tables, bands = SMALL.content.tables, np.zeros(1, np.uint8)
    tables = FrequencyTables(tables.frequencies[:10])
    apart, predicted = ContentModel(tables, bands, 0), ContentModel(tables, bands, 1)
    data = encode_content(np.full((2, 1), 30000, np.int16), 1, 2, apart)
    with pytest.raises(FormatError, match="span 30000 to 60000"):
        decode_content(data, 1, 2, predicted)


def test_an_escaped_value_of_too_many_bits_is_refused():
    model = ContentModel(FrequencyTables(SMALL.content.tables.frequencies[:10]), np.zeros(1, np.uint8), 0)
    encoder = RangeEncoder()
    encoder.encode(model.tables, np.array([ESCAPE]), np.zeros(1, np.int64))
    encoder.encode(BIT_TABLES, np.zeros(20, np.int32), np.zeros(20, np.int64))
    with pytest.raises(FormatError, match="more than 17 bits"):
        decode_content(encoder.finish() or b"\0", 1, 1, model)


def test_streams_whose_end_carries_into_the_words_before_come_back():
    """Symbols whose interval begins just below a round number: rounded up, its end changes words settled before."""
    tables, none = FrequencyTables(np.array([[30000, 35536]])), np.zeros(100, np.int64)
    symbols = RangeDecoder(b"\1").decode(tables, none)
    for count in range(1, 101):
        encoder = RangeEncoder()
        encoder.encode(tables, symbols[:count], none[:count])
        assert np.array_equal(RangeDecoder(encoder.finish()).decode(tables, none[:count]), symbols[:count])
