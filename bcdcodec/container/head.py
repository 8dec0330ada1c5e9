"""The HEAD chunk: what the recording is and which model and tables it was made with."""

import struct
from dataclasses import dataclass

from ..errors import FormatError, LimitError, UnsupportedError

MAJOR, MINOR = 1, 0
MAX_SIDE = 8192  # pixels
MAX_GROUPS = 1024
MODEL_FINGERPRINT_BYTES = 16
TABLES_FINGERPRINT_BYTES = 8
NAME_BYTES = 16

FLAG_GENERATED = 1
FLAG_REENACTED = 2

# version major and minor, must-understand flags, ignorable flags, source size, crop, coded size, time base,
# frame duration, frame count, groups, codes, seed, profiles, model fingerprint, tables fingerprint, model name
_LAYOUT = struct.Struct("<4B8H4I2HQ2B16s8s16s")
HEAD_BYTES = _LAYOUT.size  # 90; a newer minor version may append to it


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
    model_fingerprint: bytes  # 16 bytes
    tables_fingerprint: bytes  # 8 bytes
    model_name: str  # up to 16 printable ASCII characters
    generated: bool = False  # the video this was made from is synthetic
    reenacted: bool = False  # content and motion come from different sources
    entropy_profile: int = 0  # 0 = static tables
    content_profile: int = 0  # 0 = neighbour contexts

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
        for name in ("entropy_profile", "content_profile"):
            if getattr(self, name) != 0:
                raise UnsupportedError(f"HEAD: {name} is {getattr(self, name)}, this version knows 0; use a newer bcdcodec")


def pack_head(head: Head) -> bytes:
    """Return the payload of HEAD."""
    ignorable = FLAG_GENERATED * head.generated | FLAG_REENACTED * head.reenacted
    return _LAYOUT.pack(
        MAJOR, MINOR, 0, ignorable,
        head.source_width, head.source_height, *head.crop, head.coded_width, head.coded_height,
        head.time_base_num, head.time_base_den, head.frame_duration, head.frame_count,
        head.groups, head.codes, head.sampler_seed, head.entropy_profile, head.content_profile,
        head.model_fingerprint, head.tables_fingerprint, head.model_name.encode("ascii"),
    )  # fmt: skip


def unpack_head(payload: bytes) -> Head:
    """Return the Head in a payload.

    Raises UnsupportedError for a newer major version, an unknown must-understand flag or profile,
    LimitError and FormatError for values out of range.
    """
    if not payload:
        raise FormatError("HEAD has 0 bytes, expected at least a version")
    if payload[0] != MAJOR:
        raise UnsupportedError(f"the file has format version {payload[0]}, this bcdcodec reads {MAJOR}; use a newer bcdcodec")
    if len(payload) < HEAD_BYTES:
        raise FormatError(f"HEAD has {len(payload)} bytes, expected at least {HEAD_BYTES}")
    minor = payload[1]
    if minor <= MINOR and len(payload) != HEAD_BYTES:
        raise FormatError(f"HEAD of version {MAJOR}.{minor} has {len(payload)} bytes, expected {HEAD_BYTES}")
    fields = _LAYOUT.unpack(payload[:HEAD_BYTES])
    required, ignorable = fields[2:4]
    if required:
        raise UnsupportedError(f"HEAD has must-understand flags {required:#04x}, this version knows none; use a newer bcdcodec")
    name = fields[23].rstrip(b"\0")
    if not name.isascii():
        raise FormatError(f"HEAD: model name {name!r} is not ASCII")
    return Head(
        source_width=fields[4],
        source_height=fields[5],
        crop=fields[6:10],
        coded_width=fields[10],
        coded_height=fields[11],
        time_base_num=fields[12],
        time_base_den=fields[13],
        frame_duration=fields[14],
        frame_count=fields[15],
        groups=fields[16],
        codes=fields[17],
        sampler_seed=fields[18],
        model_fingerprint=fields[21],
        tables_fingerprint=fields[22],
        model_name=name.decode("ascii"),
        generated=bool(ignorable & FLAG_GENERATED),
        reenacted=bool(ignorable & FLAG_REENACTED),
        entropy_profile=fields[19],
        content_profile=fields[20],
    )


def _within(name: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise LimitError(f"HEAD: {name} is {value}, expected {low} to {high}")
