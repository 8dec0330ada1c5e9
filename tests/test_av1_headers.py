"""Every header that the AV1 specification allows for a reference picture is read: what a writer states is found.

The writer here follows sections 5.5 and 5.9 of the specification, with random values for all that is free.
"""

import random

import pytest

from bcdcodec.container.av1 import OBU_FRAME, OBU_SEQUENCE_HEADER, SELECT, parse_inter_unit, parse_key_unit

WIDTH, HEIGHT = 80, 48
FEATURE_BITS = (9, 7, 7, 7, 7, 3, 0, 0)  # of a segment, signs included
TILE = b"tile"


class Bits:
    """Writes fields bit by bit; those without a value are random."""

    def __init__(self, seed: str):
        self.chance = random.Random(seed)
        self.text = ""

    def f(self, bits: int, value: int | None = None) -> int:
        value = self.chance.getrandbits(bits) if value is None and bits else value or 0
        self.text += f"{value:0{bits}b}" if bits else ""
        return value

    def bytes(self) -> bytes:
        self.text += "0" * (-len(self.text) % 8)
        return int(self.text, 2).to_bytes(len(self.text) // 8, "big")


def obu(kind: int, payload: bytes) -> bytes:
    size = len(payload)
    return bytes([kind << 3 | 2]) + (bytes([size]) if size < 128 else bytes([size & 127 | 128, size >> 7])) + payload


def sequence_header(bits: Bits, reduced: bool) -> dict:
    bits.f(3, 0), bits.f(1, reduced), bits.f(1, reduced)
    if reduced:
        bits.f(5)
    else:
        bits.f(19, 0)  # no timing, no display delay, one operating point
        if bits.f(5) > 7:
            bits.f(1)
    bits.f(4, 6), bits.f(4, 5), bits.f(7, WIDTH - 1), bits.f(6, HEIGHT - 1)
    if not reduced:
        bits.f(1, 0)
    of = {"reduced": reduced, "superblock": 128 if bits.f(1) else 64, "screen": SELECT, "integer": SELECT, "hints": 0}
    of |= {"warped": 0, "vectors": 0}
    bits.f(2)
    if not reduced:
        bits.f(2)
        of["warped"] = bits.f(1)
        bits.f(1)
        hints = bits.f(1)
        if hints:
            bits.f(1)
            of["vectors"] = bits.f(1)
        of["screen"] = SELECT if bits.f(1) else bits.f(1)
        if of["screen"]:
            of["integer"] = SELECT if bits.f(1) else bits.f(1)
        if hints:
            of["hints"] = 1 + bits.f(3)
    bits.f(1, 0)
    of["cdef"], of["restoration"] = bits.f(1), bits.f(1)
    bits.f(3, 0), bits.f(1, 1), bits.f(2, 0)
    of["apart"] = bits.f(1)
    bits.f(1, 0), bits.f(1, 1)
    return of


def delta(bits: Bits, none: bool) -> int:
    return bits.f(7) if bits.f(1, 0 if none else None) else 0


def frame_header(bits: Bits, of: dict, base: dict | None, lossless: bool) -> dict:
    """Write a frame header; return order hint, quantiser and changes of it by segment."""
    inter, resilient = base is not None, True
    if not of["reduced"]:
        bits.f(1, 0), bits.f(2, int(inter)), bits.f(1, 1)
        if inter:
            resilient = bits.f(1)
    fixed = bits.f(1)  # disable_cdf_update
    screen = bits.f(1) if of["screen"] == SELECT else of["screen"]
    integer = (bits.f(1) if of["integer"] == SELECT else of["integer"]) if screen else 0
    if not of["reduced"]:
        bits.f(1, 0)
    hint = bits.f(of["hints"])
    primary = 7 if resilient else bits.f(3)
    if inter:
        bits.f(8)
        if of["hints"]:
            for _ in range(8 if resilient else 0):
                bits.f(of["hints"], base["hint"])
            bits.f(1, 0)
        bits.f(21)
    bits.f(1, 0)
    copies = 0
    if inter:
        if not integer:
            bits.f(1)
        if not bits.f(1):
            bits.f(2)
        bits.f(1)
        if of["vectors"] and not resilient:
            bits.f(1)
    elif screen:
        copies = bits.f(1)
    if not of["reduced"] and not fixed:
        bits.f(1)
    bits.f(1, 1)  # one tile
    bits.f(1, 0) if of["superblock"] < WIDTH else None
    quantiser = bits.f(8, 1 if lossless else bits.chance.randint(10, 255))
    deltas = [delta(bits, lossless)]
    both = bits.f(1) if of["apart"] else 0
    deltas += [delta(bits, lossless) for _ in range(4 if both else 2)]
    if bits.f(1):
        bits.f(12 if of["apart"] else 8)
    segments = ()
    if bits.f(1, 1 if lossless else None):
        new = True
        if primary != 7:
            if bits.f(1):
                bits.f(1)
            new = bits.f(1, 1 if lossless else None)
        if new:
            segments = tuple(segment(bits, lossless) for _ in range(8))
        else:
            segments = base["segments"] or (0,) * 8
    if bits.f(1):
        bits.f(2)
        if not copies and bits.f(1):
            bits.f(3)
    assert lossless == (not any(deltas) and all(quantiser + change <= 0 for change in segments or (0,)))
    if not lossless and not copies:
        filters(bits, of)
    if not lossless:
        bits.f(1)
    if inter:
        bits.f(1)
        if of["warped"] and not resilient:
            bits.f(1)
    bits.f(1)
    if inter:
        bits.f(7, 0)
    return {"hint": hint, "quantiser": quantiser, "segments": segments}


def segment(bits: Bits, lossless: bool) -> int:
    change = 0
    for i, size in enumerate(FEATURE_BITS):
        if bits.f(1, 1 if lossless and not i else None):
            # -1 turns quantiser 1 into 0; changes above -10 leave the others lossy
            value = bits.f(size, None if i else 511 if lossless else bits.chance.choice([0, 5, 503, 511]))
            change = change or (value - 512 if value >= 256 else value) * (i == 0)
    return change


def filters(bits: Bits, of: dict) -> None:
    level = bits.f(6, bits.chance.choice([0, 40])), bits.f(6, bits.chance.choice([0, 3]))
    if any(level):
        bits.f(12)
    bits.f(3)
    if bits.f(1) and bits.f(1):
        for _ in range(10):
            delta(bits, False)
    if of["cdef"]:
        bits.f(2)
        bits.f(12 << bits.f(2))
    if of["restoration"]:
        types = [bits.f(2) for _ in range(3)]
        if any(types):
            if bits.f(1) and of["superblock"] == 64:
                bits.f(1)
            if any(types[1:]):
                bits.f(1)


def frame(bits: Bits, of: dict, base: dict | None, lossless: bool) -> tuple[bytes, dict]:
    stated = frame_header(bits, of, base, lossless)
    return obu(OBU_FRAME, bits.bytes() + TILE), stated


@pytest.mark.parametrize("lossless", [False, True], ids=["lossy", "lossless"])
@pytest.mark.parametrize("reduced", [False, True], ids=["full", "reduced"])
def test_what_a_header_states_is_read(reduced, lossless):
    for seed in range(100):
        bits = Bits(f"sequence {seed}")
        of = sequence_header(bits, reduced)
        sequence = obu(OBU_SEQUENCE_HEADER, bits.bytes())
        unit, stated = frame(Bits(f"key {seed}"), of, None, lossless)
        key = parse_key_unit(sequence + unit, WIDTH, HEIGHT)
        assert (key.sequence.superblock, key.sequence.order_hint_bits) == (of["superblock"], of["hints"])
        found = [(key.frame, stated)]
        if not reduced:
            unit, after = frame(Bits(f"inter {seed}"), of, stated, lossless)
            found.append((parse_inter_unit(unit, key), after))
        for read, written in found:
            assert (read.order_hint, read.quantiser, read.segment_quantisers) == tuple(written.values())
            assert read.data_bytes == len(TILE)
