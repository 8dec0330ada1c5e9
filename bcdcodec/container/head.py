"""The HEAD chunk: what the recording is and which model and tables it was made with."""

import struct
from dataclasses import dataclass, replace

from bcdcodec.container.varint import pack_varint, read_varint
from bcdcodec.entropy.profiles import CONTENT_NEIGHBOURS, CONTENT_PROFILES, PROFILE_STATIC, PROFILES
from bcdcodec.errors import FormatError, LimitError, TruncatedError, UnsupportedError

MAJOR, MINOR = 1, 1
MINOR_AUDIO = 1  # the first minor version whose AUDI has a meaning
MAX_SIDE = 8192  # pixels
MAX_GROUPS = 1024
MODEL_FINGERPRINT_BYTES = 8
TABLES_FINGERPRINT_BYTES = 4
NAME_BYTES = 16

# Fields that are only there where they differ from what most recordings have; a reader must understand all these flags.
FLAG_CROP = 1  # not the source's centred largest square
FLAG_CODED_HEIGHT = 2  # other than the coded width
FLAG_SHAPE = 4  # not 64 groups of 32 codes
FLAG_SEED = 8  # not 0
FLAG_PROFILES = 16  # not both 0
FLAG_IGNORABLE = 128  # a byte of flags that a reader need not understand
_KNOWN_FLAGS = FLAG_CROP | FLAG_CODED_HEIGHT | FLAG_SHAPE | FLAG_SEED | FLAG_PROFILES | FLAG_IGNORABLE
DEFAULT_SHAPE = (64, 32)  # groups, codes

IGNORABLE_GENERATED = 1
IGNORABLE_REENACTED = 2

# version (major in the high four bits), flags, frame count, fingerprints of model and tables, length of the model name
# The count is of fixed size at a fixed place: it is filled in when all is written.
_START = struct.Struct("<BBI8s4sB")


@dataclass(frozen=True)
class Head:
    """Everything that holds for the whole recording.

    Frame i is shown at pts ticks, a tick is `time_base_num / time_base_den` seconds. With a constant
    frame rate pts = i * frame_duration; with `frame_duration` 0 every Motion carries its pts.
    """

    source_width: int  # pixels of the source picture, 1..8192
    source_height: int
    crop: tuple[int, int, int, int]  # x, y, width, height in the source picture: what was coded
    coded_width: int  # pixels of the model's picture
    coded_height: int
    time_base_num: int
    time_base_den: int
    frame_duration: int  # ticks; 0 = variable
    frame_count: int  # 0 = unknown
    groups: int  # codes a frame, 1..1024
    codes: int  # values a code can take, 2..256
    sampler_seed: int
    model_fingerprint: bytes  # 8 bytes
    tables_fingerprint: bytes  # 4 bytes
    model_name: str  # up to 16 printable ASCII characters
    generated: bool = False  # the video this was made from is synthetic
    reenacted: bool = False  # content and motion come from different sources
    entropy_profile: int = PROFILE_STATIC  # of MOTN
    content_profile: int = CONTENT_NEIGHBOURS  # of CONT

    def __post_init__(self):
        """Raise LimitError or FormatError for values that a file cannot or may not hold."""
        for name in ("source_width", "source_height", "coded_width", "coded_height"):
            _within(name, getattr(self, name), 1, MAX_SIDE)
        if len(self.crop) != 4:
            raise FormatError(f"HEAD: crop has {len(self.crop)} values, expected x, y, width, height")
        x, y, width, height = self.crop
        inside = min(x, y) >= 0 and min(width, height) >= 1
        if not inside or x + width > self.source_width or y + height > self.source_height:
            size = f"{self.source_width} x {self.source_height}"
            raise FormatError(f"HEAD: crop {x},{y},{width},{height} does not lie inside the {size} source picture")
        for name in ("time_base_num", "time_base_den"):
            _within(name, getattr(self, name), 1, 0xFFFFFFFF)
        for name in ("frame_duration", "frame_count"):
            _within(name, getattr(self, name), 0, 0xFFFFFFFF)
        _within("groups", self.groups, 1, MAX_GROUPS)
        _within("codes", self.codes, 2, 256)
        _within("sampler_seed", self.sampler_seed, 0, (1 << 64) - 1)
        for name, size in (
            ("model_fingerprint", MODEL_FINGERPRINT_BYTES),
            ("tables_fingerprint", TABLES_FINGERPRINT_BYTES),
        ):
            if len(getattr(self, name)) != size:
                raise FormatError(f"HEAD: {name} has {len(getattr(self, name))} bytes, expected {size}")
        name = self.model_name
        if len(name) > NAME_BYTES or not name.isascii() or not name.isprintable():
            raise FormatError(f"HEAD: model name {name!r} is not up to {NAME_BYTES} printable ASCII characters")
        for name, known in (
            ("entropy_profile", tuple(PROFILES.values())),
            ("content_profile", tuple(CONTENT_PROFILES.values())),
        ):
            if getattr(self, name) not in known:
                knows = ", ".join(map(str, known))
                raise UnsupportedError(
                    f"HEAD: {name} is {getattr(self, name)}, this version knows {knows}; use a newer bcdcodec"
                )


def pack_head(head: Head, minor: int = 0) -> bytes:
    """Return the payload of HEAD; its size does not depend on the frame count.

    `minor`: the lowest version that has all that the file uses, so that older readers can tell.
    """
    crop = tuple(head.crop)
    optional = {
        FLAG_CROP: crop if crop != _centred_square(head.source_width, head.source_height) else (),
        FLAG_CODED_HEIGHT: (head.coded_height,) if head.coded_height != head.coded_width else (),
        FLAG_SHAPE: (head.groups, head.codes) if (head.groups, head.codes) != DEFAULT_SHAPE else (),
        FLAG_SEED: (head.sampler_seed,) if head.sampler_seed else (),
    }
    profiles = bytes([head.entropy_profile, head.content_profile])
    ignorable = IGNORABLE_GENERATED * head.generated | IGNORABLE_REENACTED * head.reenacted
    flags = sum(flag for flag, values in optional.items() if values)
    flags |= FLAG_PROFILES * any(profiles) | FLAG_IGNORABLE * (ignorable != 0)
    name = head.model_name.encode("ascii")
    numbers = (
        head.source_width, head.source_height, *optional[FLAG_CROP],
        head.coded_width, *optional[FLAG_CODED_HEIGHT],
        head.time_base_num, head.time_base_den, head.frame_duration,
        *optional[FLAG_SHAPE], *optional[FLAG_SEED],
    )  # fmt: skip
    return b"".join([
        _START.pack(
            MAJOR << 4 | minor, flags, head.frame_count, head.model_fingerprint, head.tables_fingerprint, len(name)
        ),
        name,
        *(pack_varint(number) for number in numbers),
        profiles if any(profiles) else b"",
        bytes([ignorable]) if ignorable else b"",
    ])  # fmt: skip


def unpack_head(payload: bytes) -> Head:
    """Return the Head in a payload.

    Raises UnsupportedError for a newer major version, an unknown must-understand flag or profile,
    LimitError and FormatError for values out of range.
    """
    if not payload:
        raise FormatError("HEAD has 0 bytes, expected at least a version")
    major, minor = payload[0] >> 4, payload[0] & 15
    if major != MAJOR:
        raise UnsupportedError(
            f"the file has format version {major}, this bcdcodec reads {MAJOR}; use a newer bcdcodec"
        )
    try:
        head, end = _read_head(payload)
    except TruncatedError as error:
        raise FormatError(f"HEAD has {len(payload)} bytes and ends inside its fields, expected more") from error
    if minor <= MINOR and len(payload) != end:
        raise FormatError(f"HEAD of version {major}.{minor} has {len(payload)} bytes, expected {end}")
    return head


def repack_head(payload: bytes, frame_count: int, frame_duration: int) -> bytes:
    """Return a payload of HEAD with another frame count and duration, and all else as it was.

    Its version and what a newer minor version has behind the known fields stay.
    """
    head, end = _read_head(payload)
    changed = replace(head, frame_count=frame_count, frame_duration=frame_duration)
    return pack_head(changed, payload[0] & 15) + payload[end:]


def _read_head(payload: bytes) -> tuple[Head, int]:
    """Return the Head and the position after its fields; TruncatedError if they are not all there."""
    cursor = _Cursor(payload)
    _, flags, frame_count, model_fingerprint, tables_fingerprint, name_bytes = _START.unpack(cursor.take(_START.size))
    unknown = flags & ~_KNOWN_FLAGS
    if unknown:
        known = f"this version knows {_KNOWN_FLAGS:#04x}"
        raise UnsupportedError(f"HEAD has must-understand flags {unknown:#04x}, {known}; use a newer bcdcodec")
    if name_bytes > NAME_BYTES:
        raise FormatError(f"HEAD: the model name has {name_bytes} bytes, the limit is {NAME_BYTES}")
    name = cursor.take(name_bytes)
    if not name.isascii():
        raise FormatError(f"HEAD: model name {name!r} is not ASCII")
    source_width, source_height = cursor.varints(2)
    crop = tuple(cursor.varints(4)) if flags & FLAG_CROP else _centred_square(source_width, source_height)
    coded_width = cursor.varints(1)[0]
    coded_height = cursor.varints(1)[0] if flags & FLAG_CODED_HEIGHT else coded_width
    time_base_num, time_base_den, frame_duration = cursor.varints(3)
    groups, codes = cursor.varints(2) if flags & FLAG_SHAPE else DEFAULT_SHAPE
    sampler_seed = cursor.varints(1)[0] if flags & FLAG_SEED else 0
    entropy_profile, content_profile = cursor.take(2) if flags & FLAG_PROFILES else (0, 0)
    ignorable = cursor.take(1)[0] if flags & FLAG_IGNORABLE else 0
    head = Head(
        source_width=source_width,
        source_height=source_height,
        crop=crop,
        coded_width=coded_width,
        coded_height=coded_height,
        time_base_num=time_base_num,
        time_base_den=time_base_den,
        frame_duration=frame_duration,
        frame_count=frame_count,
        groups=groups,
        codes=codes,
        sampler_seed=sampler_seed,
        model_fingerprint=model_fingerprint,
        tables_fingerprint=tables_fingerprint,
        model_name=name.decode("ascii"),
        generated=bool(ignorable & IGNORABLE_GENERATED),
        reenacted=bool(ignorable & IGNORABLE_REENACTED),
        entropy_profile=entropy_profile,
        content_profile=content_profile,
    )
    return head, cursor.at


class _Cursor:
    """A place in a payload that moves on with each field."""

    def __init__(self, payload: bytes):
        self.payload = payload
        self.at = 0

    def take(self, size: int) -> bytes:
        if len(self.payload) < self.at + size:
            raise TruncatedError(f"a field ends at byte {len(self.payload)} of its chunk, expected {self.at + size}")
        self.at += size
        return self.payload[self.at - size : self.at]

    def varints(self, count: int) -> list[int]:
        values = []
        for _ in range(count):
            value, self.at = read_varint(self.payload, self.at)
            values.append(value)
        return values


def _centred_square(width: int, height: int) -> tuple[int, int, int, int]:
    """Return x, y, width, height of the largest square in the middle, rounded towards the top left."""
    side = min(width, height)
    return (width - side) // 2, (height - side) // 2, side, side


def _within(name: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise LimitError(f"HEAD: {name} is {value}, expected {low} to {high}")
