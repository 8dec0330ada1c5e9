"""The worst inputs of 1 MB that we could think of: `python tests/worst_inputs.py [NAME...]`.

Each is opened by the reader, described as by `bcd info --json`, verified without tables and with them, and repaired
without tables, in a process of its own. Printed are seconds of processor time of each, and the peak of the process's
memory with Python and its libraries.
"""

from __future__ import annotations

import io
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from vector_parts import SMALL, SOUND, content_for, file_bytes, head_for, picture_for, recording
from vector_pictures import KEY

from bcdcodec.container import Audio, Content, verify_file
from bcdcodec.container.audio import pack_audio
from bcdcodec.container.chunks import SIGNATURE, pack_chunk
from bcdcodec.container.head import pack_head
from bcdcodec.container.limits import MAX_FRAMES, MAX_VALUES
from bcdcodec.container.payloads import pack_content
from bcdcodec.container.pts import FrameTimes, pack_pts
from bcdcodec.container.repair import repair
from bcdcodec.container.varint import pack_varint
from bcdcodec.entropy import ModelTables
from bcdcodec.entropy.content import MAX_VALUES as VALUES_A_CONTENT
from bcdcodec.entropy.profiles import CONTENT_LEARNED, PROFILE_CONTEXT
from bcdcodec.errors import BcdError
from bcdcodec.files.info import describe_file
from bcdcodec.model_folder import open_model

SIZE = 1_000_000  # bytes
CONTENT = pack_chunk(b"CONT", pack_content(content_for(SMALL), SMALL)[0])
HEAD = pack_chunk(b"HEAD", pack_head(head_for(SMALL, frame_duration=1), 1))
VARIABLE = pack_chunk(b"HEAD", pack_head(head_for(SMALL, frame_duration=0), 1))


def filled(start: bytes, chunk: Callable[[int], bytes]) -> bytes:
    """A file of `start` and the chunks 0, 1, 2, ... that fit."""
    parts, size = [SIGNATURE + start], len(SIGNATURE + start)
    while size < SIZE:
        parts.append(chunk(len(parts) - 1))
        size += len(parts[-1])
    return b"".join(parts[:-1])


def motion(number: int, frames: int, times: bytes = b"") -> bytes:
    """A MOTN of `frames` that has 0 coded bytes: zeros are read behind its end."""
    fields = pack_varint(number * frames) + pack_varint(frames << 2 | (1 if times else 0)) + b"\0"
    return pack_chunk(b"MOTN", fields + (pack_varint(4 * number * frames) + times if times else b""))


def even(frames: int) -> bytes:
    """Times of frames one tick apart: one run."""
    return pack_varint(1) + pack_varint(2 * (frames - 2))


def uneven(frames: int) -> bytes:
    """Times of other distances from frame to frame: a byte each."""
    return pack_pts(FrameTimes.of(np.cumsum([0, *(1 + i % 3 for i in range(frames - 1))])))[1:]


def metadata(fill: bytes) -> bytes:
    count = (SIZE - 600) // len(fill)
    payload = b"\x81\xa1a\xdd" + count.to_bytes(4, "big") + fill * count
    return SIGNATURE + HEAD + pack_chunk(b"mETa", payload) + CONTENT


def sound(number: int, packets: int) -> bytes:
    payload = pack_audio(Audio(number * packets * 120, (bytes([16 * 8]),) * packets, None if number else SOUND))
    return pack_chunk(b"AUDI", payload)


def index(entries: int) -> bytes:
    size = 3 * entries + 4
    return b"\0\1\0" * entries + (size + 4 + len(pack_varint(size)) + 4).to_bytes(4, "little")


def picture(number: int) -> bytes:
    return pack_chunk(b"CONT", pack_content(picture_for(SMALL, number, KEY), SMALL)[0])


def zeros(tables: ModelTables, tokens: int, profile: int = 0) -> bytes:
    """The payload of a CONT 0 whose values are all 0, which takes few bytes."""
    values = np.zeros((tokens, tables.content.channels), np.int16)
    return pack_content(Content(0, 0, 1, tokens, 0, None, values), tables, profile)[0]


def numbered(payload: bytes, number: int) -> bytes:
    """A CONT of the payload of CONT 0."""
    return pack_chunk(b"CONT", pack_varint(4 * number) + payload[1:])


def most_frames() -> bytes:
    """Frames of a face that does not move, in profile context of model `faces`, as many as are decoded unasked."""
    tables = open_model("faces").tables
    head = pack_head(head_for(tables, frame_duration=1, entropy_profile=PROFILE_CONTEXT), 1)
    chunks = b"".join(motion(i, 4096) for i in range(MAX_FRAMES // 4096))
    return SIGNATURE + pack_chunk(b"HEAD", head) + numbered(zeros(tables, 1), 0) + chunks


def most_values() -> bytes:
    """Contents in content profile learned of model `heads`, with as many values as are decoded unasked."""
    tables = open_model("heads").tables
    tokens = VALUES_A_CONTENT // tables.content.channels
    head = pack_head(head_for(tables, frame_duration=1, content_profile=CONTENT_LEARNED), 1)
    payload = zeros(tables, tokens, CONTENT_LEARNED)
    contents = [numbered(payload, i) for i in range(MAX_VALUES // (tokens * tables.content.channels))]
    return SIGNATURE + pack_chunk(b"HEAD", head) + b"".join(contents)


UNEVEN = uneven(4096)
LARGE = zeros(SMALL, VALUES_A_CONTENT // SMALL.content.channels)

INPUTS: dict[str, Callable[[], bytes]] = {
    "many empty chunks": lambda: filled(HEAD + CONTENT, lambda i: pack_chunk(b"aaaa", b"")),
    "motion of a frame": lambda: filled(HEAD + CONTENT, lambda i: motion(i, 1)),
    "motion of 4096 frames": lambda: filled(HEAD + CONTENT, lambda i: motion(i, 4096)),
    "even times": lambda: filled(VARIABLE + CONTENT, lambda i: motion(i, 4096, even(4096))),
    "uneven times": lambda: filled(VARIABLE + CONTENT, lambda i: motion(i, 4096, UNEVEN)),
    "metadata of lists": lambda: metadata(b"\x90"),
    "metadata of maps": lambda: metadata(b"\x80"),
    "metadata of numbers": lambda: metadata(b"\xcb\x3f\xf0\0\0\0\0\0\0"),
    "metadata of strings": lambda: metadata(b"\xa1\x01"),
    "an index": lambda: SIGNATURE + HEAD + CONTENT + pack_chunk(b"iNDX", index((SIZE - 600) // 3)),
    "stills": lambda: filled(HEAD + CONTENT, lambda i: pack_chunk(b"sURR", b"\0")),
    "sound of a packet": lambda: filled(HEAD + CONTENT, lambda i: sound(i, 1)),
    "sound of 4096 packets": lambda: filled(HEAD + CONTENT, lambda i: sound(i, 4096)),
    "pictures": lambda: SIGNATURE + HEAD + b"".join(picture(i) for i in range(1024)),
    "a large chunk that is not there": lambda: (
        SIGNATURE + HEAD + CONTENT + b"MOTN" + pack_varint(64 << 20) + bytes(SIZE)
    ),
    "zeros": lambda: SIGNATURE + HEAD + CONTENT + bytes(SIZE - 600),
    "a frame in a usual file": lambda: file_bytes(recording(), SMALL),
    "large contents": lambda: filled(HEAD, lambda i: numbered(LARGE, i)),
    "frames up to the limit": most_frames,
    "values up to the limit": most_values,
}
SLOW = ("frames up to the limit", "values up to the limit")  # with tables: minutes


def measure(path: Path) -> dict[str, float]:
    """Processor seconds of what is done with a file, and the peak of this process's memory in MiB."""
    from bcdcodec.container import open_bcd

    found = {}
    for name, use in (
        ("open", lambda: open_bcd(path).close()),
        ("info", lambda: json.dumps(describe_file(path))),
        ("verify", lambda: verify_file(path)),
        ("with tables", lambda: verify_file(path, tables_of(path))),
        ("repair", lambda: repair(path.read_bytes(), io.BytesIO())),
    ):
        started = time.process_time()
        try:
            use()
        except BcdError:
            pass
        found[name] = time.process_time() - started
    return found | {"MiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def tables_of(path: Path) -> ModelTables:
    from bcdcodec.container import open_bcd

    with open_bcd(path) as reader:
        if reader.head.groups == SMALL.groups:
            return SMALL
        return open_model("faces" if reader.head.entropy_profile == PROFILE_CONTEXT else "heads").tables


def main() -> None:
    """Measure all inputs, or those that are named."""
    if sys.argv[1:2] == ["--here"]:
        print(json.dumps(measure(Path(sys.argv[2]))))
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.bcd"
        for name in sys.argv[1:] or INPUTS:
            path.write_bytes(INPUTS[name]())
            done = subprocess.run([sys.executable, __file__, "--here", str(path)], capture_output=True, check=True)
            figures = json.loads(done.stdout)
            print(
                f"{name:32} {path.stat().st_size:8} bytes: "
                + ", ".join(f"{what} {value:5.2f} s" for what, value in figures.items() if what != "MiB")
                + f", {figures['MiB']:.0f} MiB",
                flush=True,
            )


if __name__ == "__main__":
    main()
