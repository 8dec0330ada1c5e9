"""A strict parser of the AV1 temporal units that a reference picture may be (format-spec.md, section 16).

It reads every bit of the sequence header and of the frame header (AV1 specification, sections 5.5 and 5.9) and refuses
what this format does not use, so that a decoder is only given units whose size, references and cost are known.
"""

from dataclasses import dataclass

from bcdcodec.errors import FormatError

OBU_SEQUENCE_HEADER, OBU_FRAME = 1, 6
KEY_FRAME, INTER_FRAME = 0, 1
NO_PRIMARY_REFERENCE = 7
SELECT = 2  # seq_force_screen_content_tools and seq_force_integer_mv: every frame says so itself
REFERENCE_SLOTS, REFERENCES = 8, 7
SEGMENTS = 8
# Bits and sign of the features of a segment, section 5.9.14; the first one changes the quantiser index.
SEGMENT_FEATURES = ((8, True), (6, True), (6, True), (6, True), (6, True), (3, False), (0, False), (0, False))
MAX_QUANTISER = 255


@dataclass(frozen=True)
class SequenceHeader:
    """The fields of a sequence header that the frame headers after it depend on."""

    width: int  # pixels
    height: int
    reduced: bool  # reduced_still_picture_header: one key frame, to which nothing may refer
    superblock: int  # pixels a side: 64 or 128
    warped_motion: bool
    order_hint_bits: int  # 0: none
    reference_motion_vectors: bool
    screen_content_tools: int  # 0, 1 or SELECT
    integer_motion_vectors: int  # 0, 1 or SELECT
    cdef: bool
    restoration: bool
    separate_chroma_quantisers: bool


@dataclass(frozen=True)
class FrameHeader:
    """What is known of a frame before it is decoded."""

    inter: bool
    order_hint: int
    quantiser: int  # base_q_idx, 1..255
    segment_quantisers: tuple[int, ...]  # change of it by segment [8]; empty without segmentation
    data_bytes: int  # of its tile


@dataclass(frozen=True)
class KeyUnit:
    """A temporal unit of a sequence header and one shown key frame."""

    sequence: SequenceHeader
    frame: FrameHeader


def parse_key_unit(unit: bytes, width: int, height: int) -> KeyUnit:
    """Return what the headers of a key unit of `width` x `height` pixels state.

    Raises FormatError for anything but the units of section 16.
    """
    payload, at = _read_obu(unit, 0, OBU_SEQUENCE_HEADER, "sequence header")
    sequence = _read_sequence_header(_Bits(payload, "sequence header"))
    if (sequence.width, sequence.height) != (width, height):
        found = f"{sequence.width} x {sequence.height}"
        raise FormatError(f"AV1 sequence header states {found} pixels, expected {width} x {height}")
    frame, end = _read_obu(unit, at, OBU_FRAME, "frame")
    if end != len(unit):
        raise FormatError(f"AV1 unit has {len(unit)} bytes, its sequence header and its frame end at byte {end}")
    return KeyUnit(sequence, _read_frame_header(frame, sequence, None))


def parse_inter_unit(unit: bytes, base: KeyUnit) -> FrameHeader:
    """Return what the header of an inter frame states whose only reference is `base`; FormatError for anything else."""
    if base.sequence.reduced:
        raise FormatError("AV1 inter frame refers to a reduced still picture, expected a key frame with a full header")
    payload, end = _read_obu(unit, 0, OBU_FRAME, "frame")
    if end != len(unit):
        raise FormatError(f"AV1 unit has {len(unit)} bytes, its frame ends at byte {end}")
    return _read_frame_header(payload, base.sequence, base.frame)


class _Bits:
    """Reads a header bit by bit, highest bit first."""

    def __init__(self, data: bytes, where: str):
        self.data = data
        self.where = where
        self.at = 0  # bits

    def f(self, bits: int) -> int:
        """Return an unsigned integer of so many bits."""
        if self.at + bits > 8 * len(self.data):
            raise FormatError(f"AV1 {self.where} ends after {len(self.data)} bytes, inside its fields")
        value = 0
        for _ in range(bits):
            value = value << 1 | self.data[self.at >> 3] >> (7 - (self.at & 7)) & 1
            self.at += 1
        return value

    def flag(self) -> bool:
        return bool(self.f(1))

    def su(self, bits: int) -> int:
        """Return a signed integer of so many bits, in two's complement."""
        value = self.f(bits)
        return value - (1 << bits) if value >> (bits - 1) else value

    def expect(self, name: str, bits: int, expected: int) -> None:
        """Read a field that has one value in this format."""
        self.equal(name, self.f(bits), expected)

    def equal(self, name: str, found: int, expected: int) -> None:
        if found != expected:
            raise FormatError(f"AV1 {self.where}: {name} is {found}, expected {expected}")


def _read_obu(unit: bytes, at: int, kind: int, name: str) -> tuple[bytes, int]:
    """Return the payload of the OBU at a byte, of a kind that must be there, and the position after it."""
    bits = _Bits(unit[at : at + 1], f"OBU header at byte {at}, where the {name} is expected")
    bits.expect("obu_forbidden_bit", 1, 0)
    bits.expect("obu_type", 4, kind)
    bits.expect("obu_extension_flag", 1, 0)
    bits.expect("obu_has_size_field", 1, 1)
    bits.expect("obu_reserved_1bit", 1, 0)
    size, start = 0, at + 1
    for i in range(4):
        if start >= len(unit):
            raise FormatError(f"AV1 unit ends after {len(unit)} bytes, inside the size of its {name}")
        byte = unit[start]
        size |= (byte & 0x7F) << 7 * i
        start += 1
        if byte < 0x80:
            if i and not byte:
                raise FormatError(f"AV1 {name}: obu_size {size} is not in its shortest form")
            break
    else:
        raise FormatError(f"AV1 {name}: obu_size has more than 4 bytes")
    if start + size > len(unit):
        raise FormatError(f"AV1 {name}: obu_size is {size}, the unit has {len(unit) - start} bytes after it")
    return unit[start : start + size], start + size


def _read_sequence_header(bits: _Bits) -> SequenceHeader:
    bits.expect("seq_profile", 3, 0)
    still = bits.f(1)
    reduced = bits.flag()
    bits.equal("still_picture", still, int(reduced))
    if reduced:
        bits.f(5)  # seq_level_idx
    else:
        bits.expect("timing_info_present_flag", 1, 0)
        bits.expect("initial_display_delay_present_flag", 1, 0)
        bits.expect("operating_points_cnt_minus_1", 5, 0)
        bits.expect("operating_point_idc", 12, 0)
        if bits.f(5) > 7:  # seq_level_idx
            bits.f(1)  # seq_tier
    width_bits, height_bits = 1 + bits.f(4), 1 + bits.f(4)
    width, height = 1 + bits.f(width_bits), 1 + bits.f(height_bits)
    if not reduced:
        bits.expect("frame_id_numbers_present_flag", 1, 0)
    superblock = 128 if bits.flag() else 64
    bits.f(2)  # enable_filter_intra, enable_intra_edge_filter
    warped_motion = reference_motion_vectors = False
    screen_content_tools = integer_motion_vectors = SELECT
    order_hint_bits = 0
    if not reduced:
        bits.f(2)  # enable_interintra_compound, enable_masked_compound
        warped_motion = bits.flag()
        bits.f(1)  # enable_dual_filter
        order_hint = bits.flag()
        if order_hint:
            bits.f(1)  # enable_jnt_comp
            reference_motion_vectors = bits.flag()
        screen_content_tools = SELECT if bits.flag() else bits.f(1)
        if screen_content_tools:
            integer_motion_vectors = SELECT if bits.flag() else bits.f(1)
        if order_hint:
            order_hint_bits = 1 + bits.f(3)
    bits.expect("enable_superres", 1, 0)
    cdef, restoration = bits.flag(), bits.flag()
    bits.expect("high_bitdepth", 1, 0)
    bits.expect("mono_chrome", 1, 0)
    bits.expect("color_description_present_flag", 1, 0)
    bits.expect("color_range", 1, 1)
    bits.expect("chroma_sample_position", 2, 0)
    separate_chroma_quantisers = bits.flag()
    bits.expect("film_grain_params_present", 1, 0)
    bits.expect("trailing_one_bit", 1, 1)
    _expect_zeros_to_byte(bits)
    if bits.at != 8 * len(bits.data):
        raise FormatError(f"AV1 sequence header has {len(bits.data)} bytes, its fields end at byte {bits.at // 8}")
    return SequenceHeader(
        width=width,
        height=height,
        reduced=reduced,
        superblock=superblock,
        warped_motion=warped_motion,
        order_hint_bits=order_hint_bits,
        reference_motion_vectors=reference_motion_vectors,
        screen_content_tools=screen_content_tools,
        integer_motion_vectors=integer_motion_vectors,
        cdef=cdef,
        restoration=restoration,
        separate_chroma_quantisers=separate_chroma_quantisers,
    )


def _read_frame_header(payload: bytes, sequence: SequenceHeader, base: FrameHeader | None) -> FrameHeader:
    """Return the header of a frame OBU: a key frame, or an inter frame whose references all are `base`."""
    bits = _Bits(payload, "frame header")
    inter = base is not None
    error_resilient = not inter
    if not sequence.reduced:
        bits.expect("show_existing_frame", 1, 0)
        bits.expect("frame_type", 2, INTER_FRAME if inter else KEY_FRAME)
        bits.expect("show_frame", 1, 1)
        if inter:
            error_resilient = bits.flag()
    disable_cdf_update = bits.flag()
    screen_content = bits.flag() if sequence.screen_content_tools == SELECT else bool(sequence.screen_content_tools)
    integer_motion = False
    if screen_content:
        every_frame = sequence.integer_motion_vectors == SELECT
        integer_motion = bits.flag() if every_frame else bool(sequence.integer_motion_vectors)
    if not sequence.reduced:
        bits.expect("frame_size_override_flag", 1, 0)
    order_hint = bits.f(sequence.order_hint_bits)
    primary_reference = NO_PRIMARY_REFERENCE if error_resilient else bits.f(3)
    if inter:
        _read_references(bits, sequence, base, error_resilient)
    bits.expect("render_and_frame_size_different", 1, 0)
    copies_blocks = False  # allow_intrabc
    if inter:
        if not integer_motion:
            bits.f(1)  # allow_high_precision_mv
        if not bits.flag():  # is_filter_switchable
            bits.f(2)  # interpolation_filter
        bits.f(1)  # is_motion_mode_switchable
        if sequence.reference_motion_vectors and not error_resilient:
            bits.f(1)  # use_ref_frame_mvs
    elif screen_content:
        copies_blocks = bits.flag()
    if not sequence.reduced and not disable_cdf_update:
        bits.f(1)  # disable_frame_end_update_cdf
    _expect_one_tile(bits, sequence)
    quantiser, deltas = _read_quantisers(bits, sequence)
    segments = _read_segmentation(bits, primary_reference, base)
    if bits.flag():  # delta_q_present
        bits.f(2)  # delta_q_res
        if not copies_blocks and bits.flag():  # delta_lf_present
            bits.f(3)  # delta_lf_res, delta_lf_multi
    used = [min(max(quantiser + change, 0), MAX_QUANTISER) for change in segments or (0,)]
    lossless = not any(used) and not any(deltas)
    if not lossless and not copies_blocks:
        _read_filters(bits, sequence)
    if not lossless:
        bits.f(1)  # tx_mode_select
    if inter:
        bits.f(1)  # reference_select; skip_mode_present is never there, as all references are one picture
        if sequence.warped_motion and not error_resilient:
            bits.f(1)  # allow_warped_motion
    bits.f(1)  # reduced_tx_set
    if inter:
        for _ in range(REFERENCES):
            bits.expect("is_global", 1, 0)
    _expect_zeros_to_byte(bits)
    data_bytes = len(payload) - bits.at // 8
    if not data_bytes:
        raise FormatError(f"AV1 frame has {len(payload)} bytes, all of them its header, expected a tile after it")
    return FrameHeader(inter, order_hint, quantiser, segments, data_bytes)


def _read_references(bits: _Bits, sequence: SequenceHeader, base: FrameHeader, error_resilient: bool) -> None:
    bits.f(8)  # refresh_frame_flags: no frame follows that could use what is kept
    if sequence.order_hint_bits:
        if error_resilient:
            for _ in range(REFERENCE_SLOTS):
                bits.expect("ref_order_hint", sequence.order_hint_bits, base.order_hint)
        bits.expect("frame_refs_short_signaling", 1, 0)
    bits.f(3 * REFERENCES)  # ref_frame_idx: the key frame is in every slot


def _expect_one_tile(bits: _Bits, sequence: SequenceHeader) -> None:
    """Read tile_info of a picture that is small enough to be one tile."""
    bits.expect("uniform_tile_spacing_flag", 1, 1)
    for name, side in (("increment_tile_cols_log2", sequence.width), ("increment_tile_rows_log2", sequence.height)):
        if side > sequence.superblock:
            bits.expect(name, 1, 0)


def _read_quantisers(bits: _Bits, sequence: SequenceHeader) -> tuple[int, list[int]]:
    """Return base_q_idx and the differences of all others to it."""
    quantiser = bits.f(8)
    if not quantiser:
        raise FormatError(f"AV1 {bits.where}: base_q_idx is 0, expected 1 to {MAX_QUANTISER}")
    deltas = [_read_delta(bits)]
    apart = sequence.separate_chroma_quantisers and bits.flag()
    deltas += [_read_delta(bits) for _ in range(4 if apart else 2)]
    if bits.flag():  # using_qmatrix
        bits.f(12 if sequence.separate_chroma_quantisers else 8)  # qm_y, qm_u, qm_v
    return quantiser, deltas


def _read_delta(bits: _Bits) -> int:
    return bits.su(7) if bits.flag() else 0


def _read_segmentation(bits: _Bits, primary_reference: int, base: FrameHeader | None) -> tuple[int, ...]:
    """Return by how much the quantiser changes in each segment [8]; empty without segmentation."""
    if not bits.flag():  # segmentation_enabled
        return ()
    if primary_reference != NO_PRIMARY_REFERENCE:
        if bits.flag():  # segmentation_update_map
            bits.f(1)  # segmentation_temporal_update
        if not bits.flag():  # segmentation_update_data
            return base.segment_quantisers or (0,) * SEGMENTS
    changes = []
    for _ in range(SEGMENTS):
        values = [_read_feature(bits, size, signed) if bits.flag() else 0 for size, signed in SEGMENT_FEATURES]
        changes.append(values[0])
    return tuple(changes)


def _read_feature(bits: _Bits, size: int, signed: bool) -> int:
    return bits.su(size + 1) if signed else bits.f(size)


def _read_filters(bits: _Bits, sequence: SequenceHeader) -> None:
    """Read loop_filter_params, cdef_params and lr_params."""
    levels = bits.f(6), bits.f(6)
    if any(levels):
        bits.f(12)  # of the chroma planes
    bits.f(3)  # loop_filter_sharpness
    if bits.flag() and bits.flag():  # loop_filter_delta_enabled, loop_filter_delta_update
        for _ in range(REFERENCE_SLOTS + 2):  # of every reference frame, of two modes
            _read_delta(bits)
    if sequence.cdef:
        bits.f(2)  # cdef_damping_minus_3
        bits.f(12 << bits.f(2))  # strengths, as many sets as 2 to the cdef_bits
    if sequence.restoration:
        types = [bits.f(2) for _ in range(3)]
        if any(types):
            if bits.flag() and sequence.superblock == 64:  # lr_unit_shift
                bits.f(1)  # lr_unit_extra_shift
            if any(types[1:]):
                bits.f(1)  # lr_uv_shift


def _expect_zeros_to_byte(bits: _Bits) -> None:
    while bits.at % 8:
        bits.expect("padding bit", 1, 0)
