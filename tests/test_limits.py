"""Values that no field can hold: none is packed, and a file that states one is refused by name."""

import io
from dataclasses import replace

import numpy as np
import pytest
from vector_parts import (
    SMALL,
    SOUND,
    content_for,
    file_bytes,
    head_for,
    join,
    motion_for,
    packets_for,
    put,
    recording,
    split,
    with_chunk,
)
from vector_pictures import KEY

from bcdcodec.container import Audio, open_bcd, verify_file
from bcdcodec.container.audio import pack_audio
from bcdcodec.container.chunks import MAX_CHUNK_BYTES, pack_chunk
from bcdcodec.container.index import unpack_index
from bcdcodec.container.metadata import META_BYTES, pack_metadata, unpack_metadata
from bcdcodec.container.payloads import pack_content
from bcdcodec.container.picture import pack_picture
from bcdcodec.container.varint import pack_varint
from bcdcodec.entropy import RangeEncoder, encode_motion
from bcdcodec.errors import FormatError, LimitError

PLAIN = file_bytes(recording(), SMALL)
NINE = [motion_for(SMALL, i, 1) for i in range(9)]


@pytest.mark.parametrize(
    "pack, message",
    [
        (lambda: pack_varint(-1), "-1 cannot be written"),
        (lambda: pack_varint(1 << 64), "cannot be written"),
        (lambda: pack_chunk(b"abcd", bytes(MAX_CHUNK_BYTES + 1)), "abcd would have 67108865 bytes, the limit is"),
        (lambda: pack_audio(Audio(0, (), SOUND)), "0 packets, expected 1 to"),
        (lambda: pack_audio(Audio(-1, packets_for("a", [3]), SOUND)), "begins at sample -1"),
        (lambda: pack_metadata({"a": 1 << 64}), "cannot be stored"),
        (lambda: pack_picture(3, replace(KEY, base=3)), "refers to content 3, expected one before it"),
        (lambda: pack_content(content_for(SMALL, 1024), SMALL), "content number is 1024"),
        (
            lambda: pack_content(replace(content_for(SMALL), rows=0, columns=0, picture=KEY), SMALL),
            "0 rows, 0 columns, step 3 and 24 values, expected 0 of all",
        ),
        (lambda: head_for(SMALL, crop=(0, 0, 640)), "crop has 3 values"),
        (lambda: encode_motion(np.zeros((2, 5), np.int16), SMALL.motion), "codes are int16"),
        (lambda: RangeEncoder().encode(SMALL.motion, np.zeros(2, np.int32), np.zeros(3, np.int64)), "as many"),
    ],
)
def test_what_no_chunk_can_hold_is_not_packed(pack, message):
    with pytest.raises(FormatError, match=message):
        pack()


def test_metadata_above_its_limit_is_refused_before_it_is_parsed():
    with pytest.raises(LimitError, match="1048577 bytes"):
        unpack_metadata(bytes(META_BYTES + 1))
    large = with_chunk(PLAIN, 1, b"mETa", bytes(META_BYTES + 1))
    with open_bcd(io.BytesIO(large)) as reader, pytest.raises(LimitError, match="1048577"):
        reader.read(SMALL)


def test_metadata_with_other_keys_than_strings_is_refused():
    with pytest.raises(FormatError, match="the key 1"):
        pack_metadata({"a": {1: 2}})


def test_an_index_of_other_chunks_is_refused():
    payload = split(file_bytes(recording(motions=NINE), SMALL))[-2][1]
    assert len(unpack_index(payload)) == 10
    with pytest.raises(FormatError, match="chunk kind 2"):
        unpack_index(put(payload, 0, b"\2"))


@pytest.mark.parametrize("payload, error, message", [
    (b"", FormatError, "0 bytes, expected at least a version"),
    (split(PLAIN)[0][1][:20], FormatError, "has 20 bytes and ends inside its fields"),
    (split(PLAIN)[0][1].replace(b"vectors", b"vect\xf6rs"), FormatError, "is not ASCII"),
])  # fmt: skip
def test_a_head_that_cannot_be_read_is_named(payload, error, message):
    with pytest.raises(error, match=message):
        open_bcd(io.BytesIO(join([(b"HEAD", payload), *split(PLAIN)[1:]])))


@pytest.mark.parametrize("kind, payload, message", [
    (b"CONT", pack_varint(1024 << 2) + b"\0\1\1\1\0", "content number is 1024"),
    (b"CONT", b"\0" + pack_varint(1 << 32) + b"\1\1\1\0", "begins at frame 4294967296"),
    (b"CONT", b"\0\0\1\1\1", "expected its step"),
    (b"MOTN", b"\0\4" + pack_varint(1024), "uses content 1024"),
    (b"iNDX", b"abc", None),  # nothing depends on it
])  # fmt: skip
def test_fields_out_of_range_are_named(kind, payload, message, tmp_path):
    path = tmp_path / "x.bcd"
    path.write_bytes(with_chunk(PLAIN, 1, kind, payload))
    with open_bcd(path) as reader:
        assert (message in str(reader.fault)) if message else reader.fault is None
    assert not verify_file(path).ok
