"""The reference picture of a CONT: its fields and the rules for its AV1 temporal unit (format-spec.md, section 16)."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from bcdcodec.container.av1 import KeyUnit, parse_inter_unit, parse_key_unit
from bcdcodec.container.varint import pack_varint, read_varint
from bcdcodec.errors import FormatError, LimitError, TruncatedError

MIN_PICTURE_SIDE, MAX_PICTURE_SIDE = 16, 2048  # pixels
MAX_UNIT_BYTES = 1 << 20


@dataclass(frozen=True)
class Picture:
    """A reference picture as one AV1 temporal unit; `bcdcodec.video.av1` makes and decodes it."""

    width: int  # pixels
    height: int
    unit: bytes  # OBUs: a sequence header and a key frame, or one inter frame
    base: int | None = None  # number of the content whose key frame the inter frame refers to; None: a key frame

    def renumbered(self, numbers: Mapping[int, int]) -> "Picture":
        """Return the picture where contents have other numbers, new by old; KeyError without that of its base."""
        return self if self.base is None else replace(self, base=numbers[self.base])


def check_picture(number: int, picture: Picture, keys: Mapping[int, KeyUnit]) -> KeyUnit | None:
    """Return the parsed unit of content `number` if it is a key frame, None for an inter frame.

    `keys`: the key units of the contents before it. Raises FormatError and LimitError for what no file may hold.
    """
    _check_limits(number, picture)
    try:
        if picture.base is None:
            return parse_key_unit(picture.unit, picture.width, picture.height)
        base = keys.get(picture.base)
        if base is None:
            found = ", ".join(map(str, keys)) or "none"
            raise FormatError(
                f"its picture refers to content {picture.base}, contents with a key frame so far: {found}"
            )
        if (base.sequence.width, base.sequence.height) != (picture.width, picture.height):
            found = f"{base.sequence.width} x {base.sequence.height}"
            raise FormatError(
                f"its picture has {picture.width} x {picture.height} pixels, that of content {picture.base} {found}"
            )
        parse_inter_unit(picture.unit, base)
    except FormatError as error:
        raise FormatError(f"content {number}: {error}") from error
    return None


def pack_picture(number: int, picture: Picture) -> bytes:
    """Return the fields of a picture in the CONT of content `number`, its temporal unit last."""
    _check_limits(number, picture)
    distance = 0 if picture.base is None else number - picture.base
    if picture.base is not None and distance < 1:
        raise FormatError(f"content {number}: the picture refers to content {picture.base}, expected one before it")
    fields = (picture.width, picture.height, distance, len(picture.unit))
    return b"".join(map(pack_varint, fields)) + picture.unit


def read_picture(payload: bytes, at: int, number: int) -> tuple[Picture, int]:
    """Return the picture whose fields begin at a byte of the CONT of content `number`, and the position after it.

    Sizes are checked; `check_picture` checks the temporal unit.
    """
    width, at = read_varint(payload, at)
    height, at = read_varint(payload, at)
    distance, at = read_varint(payload, at)
    size, at = read_varint(payload, at)
    if distance > number:
        raise FormatError(f"content {number}: the picture refers to a content {distance} before it")
    picture = Picture(width, height, payload[at : at + size], number - distance if distance else None)
    _check_limits(number, picture, size)
    if at + size > len(payload):
        raise TruncatedError(f"content {number}: the picture states {size} bytes, {len(payload) - at} are there")
    return picture, at + size


def _check_limits(number: int, picture: Picture, stated: int | None = None) -> None:
    for name, side in (("width", picture.width), ("height", picture.height)):
        if not MIN_PICTURE_SIDE <= side <= MAX_PICTURE_SIDE:
            raise LimitError(
                f"content {number}: picture {name} is {side}, expected {MIN_PICTURE_SIDE} to {MAX_PICTURE_SIDE}"
            )
    size = len(picture.unit) if stated is None else stated
    if not 1 <= size <= MAX_UNIT_BYTES:
        raise LimitError(f"content {number}: the picture has {size} bytes, expected 1 to {MAX_UNIT_BYTES}")
