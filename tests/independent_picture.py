"""Section 16 of format-spec.md for the independent reader: the fields of a picture, and what its AV1 unit may be."""


class Bits:
    def __init__(self, data):
        self.text = "".join(f"{byte:08b}" for byte in data)
        self.at = 0

    def read(self, bits):
        if self.at + bits > len(self.text):
            raise ValueError("AV1 header ends")
        self.at += bits
        return int(self.text[self.at - bits : self.at] or "0", 2)

    def must(self, bits, value):
        if self.read(bits) != value:
            raise ValueError(f"AV1 header, bit {self.at}")


def obus(unit):
    """Return [(type, payload)] of a unit that is OBUs with sizes and nothing else."""
    found, at = [], 0
    while at < len(unit):
        if unit[at] & 0b10000111 != 0b10:
            raise ValueError("OBU header")
        size, shift, start = 0, 0, at + 1
        while True:
            size |= (unit[start] & 127) << shift
            start, shift = start + 1, shift + 7
            if unit[start - 1] < 128:
                break
        if start - at > 5 or (start - at > 2 and not unit[start - 1]) or start + size > len(unit):
            raise ValueError("OBU size")
        found.append((unit[at] >> 3, unit[start : start + size]))
        at = start + size
    return found


def sequence_header(payload):
    """Return (width, height, reduced, order hint bits, screen content tools, integer vectors, superblock side)."""
    bits = Bits(payload)
    bits.must(3, 0)
    still, reduced = bits.read(1), bits.read(1)
    if still != reduced:
        raise ValueError("still_picture")
    if reduced:
        bits.read(5)
    else:
        bits.must(19, 0)
        if bits.read(5) > 7:
            bits.read(1)
    widths = bits.read(4) + 1, bits.read(4) + 1
    width, height = (bits.read(n) + 1 for n in widths)
    if not reduced:
        bits.must(1, 0)
    superblock = 128 if bits.read(1) else 64
    bits.read(2)
    hint, screen, integer = 0, 2, 2
    if not reduced:
        bits.read(4)
        hint = bits.read(1)
        bits.read(2 * hint)
        screen = 2 if bits.read(1) else bits.read(1)
        integer = 2 if not screen or bits.read(1) else bits.read(1)
        hint = hint and 1 + bits.read(3)
    bits.must(1, 0)
    bits.read(2)
    bits.must(3, 0)  # 8 bits, colour, no description
    bits.must(1, 1)  # full range
    bits.must(2, 0)
    bits.read(1)
    bits.must(1, 0)  # film grain
    bits.must(1, 1)
    if int(bits.text[bits.at :] or "0", 2) or len(bits.text) - bits.at > 7:
        raise ValueError("trailing bits")
    return width, height, reduced, hint, screen, integer, superblock


def picture(number, width, height, base, unit, keys):
    """Check one picture; `keys`: content number -> sequence header of its key frame, to which a key frame is added."""
    if base is None:
        (first, header), (second, frame) = obus(unit)
        if first != 1:
            raise ValueError("no sequence header")
        sequence = sequence_header(header)
    else:
        ((second, frame),) = obus(unit)
        sequence = keys[base]
        if sequence[2]:
            raise ValueError("inter frame of a still picture")
    if second != 6 or sequence[:2] != (width, height):
        raise ValueError("no frame, or of another size")
    if not sequence[2]:
        bits = Bits(frame)
        bits.must(1, 0)
        bits.must(2, 0 if base is None else 1)
        bits.must(1, 1)
        if base is not None:
            bits.read(1)
        disabled = bits.read(1)
        tools = sequence[4] if sequence[4] < 2 else bits.read(1)
        if tools and sequence[5] == 2:
            bits.read(1)
        bits.must(1, 0)  # frame_size_override_flag
        if base is None:
            bits.read(sequence[3])
            bits.must(1, 0)  # render_and_frame_size_different
            bits.read(tools + (1 - disabled))
            bits.must(1, 1)  # one tile
            bits.must((width > sequence[6]) + (height > sequence[6]), 0)
    if base is None:
        keys[number] = sequence
