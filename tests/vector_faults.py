"""The faulty files among the conformance vectors, and the class of error that a reader must give."""

import io
import struct
from dataclasses import replace

import numpy as np
from vector_parts import (
    CONTEXT,
    SMALL,
    changes_to_itself,
    contextual,
    file_bytes,
    join,
    learned,
    motion_for,
    numbers,
    put,
    recording,
    sound_for,
    split,
    with_chunk,
    with_payload,
)
from vector_pictures import INTER, KEY, OTHER_KEY, STILL

from bcdcodec.container import Picture, write_recording
from bcdcodec.container.chunks import SIGNATURE, pack_chunk
from bcdcodec.container.metadata import pack_metadata
from bcdcodec.container.varint import pack_varint


def faulty_picture_vectors() -> dict[str, tuple[str, bytes, str]]:
    """Return name -> (tables' name, bytes, class of the error) of files whose reference pictures no file may hold."""

    def content(number: int, picture: Picture, **stated: int) -> bytes:
        """Return a CONT of a picture alone; `stated`: other values of its fields."""
        distance = 0 if picture.base is None else number - picture.base
        fields = {"width": picture.width, "height": picture.height, "distance": distance, "bytes": len(picture.unit)}
        start = (4 * number + 2, 0, 0, *(fields | stated).values())
        return b"".join(map(pack_varint, start)) + picture.unit

    def file(*contents: bytes) -> tuple[str, bytes, str]:
        parts = split(file_bytes(recording(), SMALL))
        parts[1:2] = [(b"CONT", payload) for payload in contents]
        return "small", join(parts), "FormatError"

    def limit(**stated: int) -> tuple[str, bytes, str]:
        return *file(content(0, KEY, **stated))[:2], "LimitError"

    def unit(change) -> tuple[str, bytes, str]:
        """Return a file whose picture has another unit, its length stated right."""
        return file(content(0, replace(KEY, unit=change(KEY.unit))))

    def sequence(at: int, bits: int) -> tuple[str, bytes, str]:
        """Return a file with bits of a byte of the sequence header's payload changed."""
        return unit(lambda u: put(u, 2 + at, bytes([u[2 + at] ^ bits])))

    def frame(at: int, bits: int) -> tuple[str, bytes, str]:
        """Return a file with bits of a byte of the frame's payload changed."""
        start = 2 + KEY.unit[1] + 3
        return unit(lambda u: put(u, start + at, bytes([u[start + at] ^ bits])))

    key, header = content(0, KEY), KEY.unit[: 2 + KEY.unit[1]]
    inter = replace(INTER, base=1)
    return {
        "picture_too_wide": limit(width=2049),
        "picture_too_low": limit(height=15),
        "picture_empty": limit(bytes=0),
        "picture_of_too_many_bytes": limit(bytes=(1 << 20) + 1),
        "picture_cut": (*file(key[:-1])[:2], "TruncatedError"),
        "picture_of_another_size": file(content(0, KEY, width=95)),
        "picture_values_without_rows": file(put(key, 2, b"\1")[:3] + b"\0\6\3" + key[3:]),
        "picture_with_temporal_delimiter": unit(lambda u: b"\x12\0" + u),
        "picture_with_metadata": unit(lambda u: u + b"\x2a\1\x80"),
        "picture_with_padding": unit(lambda u: u + b"\0"),
        "picture_of_two_frames": unit(lambda u: u + INTER.unit),
        "picture_of_two_keys": unit(lambda u: u + u),
        "picture_without_sequence": unit(lambda u: u[len(header) :]),
        "picture_without_frame": unit(lambda u: header),
        "picture_of_reserved_obu_bit": unit(lambda u: bytes([u[0] | 1]) + u[1:]),
        "picture_of_long_obu_size": unit(lambda u: u[:1] + bytes([u[1] | 0x80, 0]) + u[2:]),
        "picture_of_profile_1": sequence(0, 0x20),
        "picture_of_two_operating_points": sequence(1, 0x10),
        "picture_of_10_bits": sequence(8, 0x04),
        "picture_without_colour": sequence(8, 0x02),
        "picture_of_limited_range": sequence(9, 0x80),
        "picture_with_film_grain": sequence(9, 0x08),
        "picture_with_superresolution": sequence(8, 0x20),
        "picture_shows_existing_frame": frame(0, 0x80),
        "picture_not_shown": frame(0, 0x10),
        "picture_of_overridden_size": frame(0, 0x02),
        "picture_of_two_tiles": frame(2, 0x40),
        "picture_is_inter_without_base": file(content(0, replace(INTER, base=None))),
        "picture_refers_before_the_first": file(content(0, INTER, distance=1)),
        "picture_refers_to_tokens": file(split(file_bytes(recording(), SMALL))[1][1], content(1, INTER)),
        "picture_refers_to_inter": file(key, content(1, INTER), content(2, inter)),
        "picture_refers_to_another_size": file(content(0, OTHER_KEY), content(1, INTER)),
        "picture_refers_to_a_still": file(
            content(0, STILL), content(1, replace(INTER, width=STILL.width, height=STILL.height))
        ),
        "picture_is_key_with_base": file(key, content(1, replace(KEY, base=0))),
    }


def complete(given: bytes | tuple) -> tuple[str, bytes, str]:
    """Return tables' name, bytes and class of the error of a faulty file; what is left out is small and FormatError."""
    parts = (given,) if isinstance(given, bytes) else given
    parts = parts if isinstance(parts[0], str) else ("small", *parts)
    return parts if len(parts) == 3 else (*parts, "FormatError")


def faulty_vectors() -> dict[str, tuple[str, bytes, str]]:
    """Return name -> (tables' name, bytes, class of the error)."""
    plain = file_bytes(recording(), SMALL)
    motn = plain.index(b"MOTN")
    streaming = io.BytesIO()
    write_recording(streaming, recording(), SMALL)
    streaming = streaming.getvalue()

    def head(at, new):
        return with_payload(plain, b"HEAD", lambda p: put(p, at, new))

    def head_with(flag, at, new):
        return with_payload(plain, b"HEAD", lambda p: put(p, 1, bytes([p[1] | flag]))[:at] + new + p[at:])

    def tail(data, change):
        return with_payload(data, b"TAIL", change)

    def motion(change):
        return with_payload(plain, b"MOTN", change)

    def content(change):
        return with_payload(plain, b"CONT", change)

    even = file_bytes(recording(motions=[motion_for(SMALL, 0, 6, pts=range(0, 240, 40))], frame_duration=0), SMALL)

    def pts(*numbers):
        """Return a file of 6 frames with other numbers for its first pts 0, step 40 and token of a run of 5."""
        new = b"".join(pack_varint(number) for number in numbers)
        return with_payload(even, b"MOTN", lambda p: p[:3] + new + p[6:])

    loud = file_bytes(recording(audio=sound_for()), SMALL)

    def sound(change):
        return with_payload(loud, b"AUDI", change)

    context = contextual(motions=[motion_for(CONTEXT, 0, 2)])
    itself = changes_to_itself(CONTEXT.context)
    huge_grid = b"".join(pack_varint(v) for v in (0, 0, 1 << 20, 1 << 20, 6)) + b"\3"
    parts = split(plain)
    deep = b"\x81\xa1a" + b"\x91" * 9 + b"\xc0"
    vectors = {
        "empty": (b"", "TruncatedError"),
        "garbage": numbers("garbage", (300,), 256).astype(np.uint8).tobytes(),
        "text_mode": plain.replace(b"\r\n", b"\n", 1),
        "cut_signature": (plain[:5], "TruncatedError"),
        "cut_head": (plain[:40], "TruncatedError"),
        "no_head": join(parts[1:]),
        "second_head": with_chunk(plain, 2, *parts[0]),
        "newer_major": (head(0, b"\x20"), "UnsupportedError"),
        "must_understand_flag": (head_with(32, 37, b""), "UnsupportedError"),
        "entropy_profile": (head_with(16, 37, b"\x02\x00"), "UnsupportedError"),
        "content_profile": (head_with(16, 37, b"\x00\x02"), "UnsupportedError"),
        "side_9000": (head(26, pack_varint(9000)), "LimitError"),
        "crop_outside": head_with(1, 30, b"\xa1\x01\x00\xe0\x03\xe0\x03"),
        "time_base_zero": (head(31, b"\0"), "LimitError"),
        "one_code": (head(35, b"\x01"), "LimitError"),
        "name_too_long": head(18, b"\x11"),
        "seed_too_large": head(36, b"\xff" * 9 + b"\x02"),
        "long_head": with_payload(plain, b"HEAD", lambda p: p + b"x"),
        "short_head": with_payload(plain, b"HEAD", lambda p: p[:-1]),
        "other_model": (head(14, b"\0" * 4), "ModelMismatchError"),
        "other_groups": head(34, b"\x06"),
        "head_frame_count": head(2, b"\x09\x00"),
        "damaged_head": (put(plain, 30, b"\xff"), "ChecksumError"),
        "damaged_motion": (put(plain, motn + 20, bytes([plain[motn + 20] ^ 1])), "ChecksumError"),
        "unknown_critical": (with_chunk(plain, 2, b"ZZTP", b""), "UnsupportedError"),
        "no_chunk": plain[:motn] + b"\0" * 40,
        "chunk_too_long": (plain[: motn + 4] + pack_varint((64 << 20) + 1) + plain[motn + 5 :], "LimitError"),
        "length_of_5_bytes": (plain[: motn + 4] + pack_varint(1 << 28) + plain[motn + 5 :], "LimitError"),
        "long_length": put(plain, motn + 4, bytes([plain[motn + 4] | 0x80, 0])),
        "no_content": (SIGNATURE + pack_chunk(*parts[0]), "TruncatedError"),
        "content_number": content(lambda p: b"\x05" + p[1:]),
        "content_too_large": (content(lambda p: huge_grid), "LimitError"),
        "content_empty_grid": content(lambda p: put(p, 2, b"\0")),
        "content_channels": content(lambda p: put(p, 4, b"\x07")),
        "content_late": content(lambda p: put(p, 1, b"\x01")),
        "motion_4097_frames": (motion(lambda p: p[:1] + pack_varint(4 * 4097) + p[2:]), "LimitError"),
        "motion_no_frames": (motion(lambda p: put(p, 1, b"\0")), "LimitError"),
        "motion_gap": motion(lambda p: put(p, 0, b"\x01")),
        "motion_content": motion(lambda p: put(p, 2, b"\x01")),
        "motion_stride_1": (motion(lambda p: put(p, 1, bytes([p[1] | 2]))[:3] + b"\1" + p[3:]), "LimitError"),
        "motion_stride_65": (motion(lambda p: put(p, 1, bytes([p[1] | 2]))[:3] + b"\x41" + p[3:]), "LimitError"),
        "motion_outside_range": motion(lambda p: p[:3] + b"\xff" * 40),
        "context_outside_range": ("small_context", with_payload(context, b"MOTN", lambda p: p[:3] + b"\xff" * 60)),
        "context_change_to_itself": ("small_context", with_payload(context, b"MOTN", lambda p: p[:3] + itself)),
        "context_other_model": (
            "small_context",
            with_payload(context, b"HEAD", lambda p: put(p, 14, b"\0" * 4)),
            "ModelMismatchError",
        ),
        "context_without_tables": (context, "ModelMismatchError"),
        "learned_without_tables": (learned(), "ModelMismatchError"),
        "learned_other_model": (
            "learned",
            with_payload(learned(), b"HEAD", lambda p: put(p, 14, b"\0" * 4)),
            "ModelMismatchError",
        ),
        "learned_outside_range": ("learned", with_payload(learned(), b"CONT", lambda p: p[:6] + b"\xff" * 60)),
        "pts_at_constant_rate": motion(lambda p: put(p, 1, bytes([p[1] | 1]))[:3] + bytes(6) + p[3:]),
        "pts_run_too_long": pts(0, 40, 10),
        "pts_run_of_2_to_the_63": pts(0, 40, 2**64 - 2),
        "pts_second_run_too_long": pts(0, 40, 2, 3, 6),
        "pts_two_runs_in_one": pts(0, 40, 4, 2),
        "pts_usual_distance_zero": pts(0, 0, 8),
        "pts_distance_zero": pts(0, 40, 6, 157),
        "pts_distance_negative": pts(0, 40, 6, 161),
        "pts_usual_distance_unused": pts(0, 41, 1, 1, 1, 1, 1),
        "pts_usual_distance_the_larger": pts(0, 41, 1, 1, 2, 35),
        "pts_first_too_large": (pts(2**62, 40, 8), "LimitError"),
        "pts_last_too_large": (pts(0, 2**61, 8), "LimitError"),
        "pts_end_in_chunk": (with_payload(even, b"MOTN", lambda p: p[:5]), "TruncatedError"),
        "no_pts_at_variable_rate": head(33, b"\0"),
        "long_varint": motion(lambda p: b"\x80\x00" + p[1:]),
        "tables_sum": with_chunk(plain, 1, b"TABL", b"\1\0" * 40),
        "tables_size": with_chunk(plain, 1, b"TABL", b"\1\0" * 39),
        "tables_late": with_chunk(plain, 2, b"TABL", b"\1\0" * 40),
        "metadata_too_deep": (with_chunk(plain, 1, b"mETa", deep), "LimitError"),
        "metadata_extension": with_chunk(plain, 1, b"mETa", b"\x81\xa1a\xd4\x05\x00"),
        "metadata_timestamp": with_chunk(plain, 1, b"mETa", b"\x81\xa1a\xd6\xff\x00\x00\x00\x00"),
        "metadata_list": with_chunk(plain, 1, b"mETa", b"\x90"),
        "metadata_cut": with_chunk(plain, 1, b"mETa", pack_metadata({"a": "bcd"})[:-1]),
        "metadata_twice": with_chunk(with_chunk(plain, 1, b"mETa", b"\x80"), 1, b"mETa", b"\x80"),
        "tail_hash": (tail(plain, lambda p: put(p, 0, b"\0\0")), "ChecksumError"),
        "tail_count": tail(streaming, lambda p: put(p, 8, b"\x0b")),
        "tail_without_count": tail(streaming, lambda p: p[:8]),
        "tail_with_two_counts": tail(plain, lambda p: p + struct.pack("<I", 10)),
        "bytes_after_tail": plain + b"\0",
        "sound_ends_in_fields": (sound(lambda p: p[:4]), "TruncatedError"),
        "sound_ends_in_packets": (sound(lambda p: p[:-1]), "TruncatedError"),
        "sound_surplus_byte": sound(lambda p: p + b"\0"),
        "sound_three_channels": (sound(lambda p: put(p, 1, b"\3")), "LimitError"),
        "sound_gain": (sound(lambda p: p[:5] + b"\xff\xff\x7f" + p[7:]), "LimitError"),
        "sound_no_packets": (sound(lambda p: p[:7] + b"\0"), "LimitError"),
        "sound_empty_packet": sound(lambda p: p[:7] + b"\1\0"),
        "sound_packet_too_long": sound(lambda p: p[:7] + b"\1\2\x1b\3"),
        "sound_begins_late": sound(lambda p: put(p, 0, b"\1")),
        "sound_goes_back": with_chunk(loud, 4, b"AUDI", b"\x80\x01\1\1\x1b"),
        "chunk_after_tail": plain + pack_chunk(b"zzTp", b""),
        **faulty_picture_vectors(),
    }
    return {name: complete(given) for name, given in vectors.items()}
