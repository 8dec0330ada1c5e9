"""A recording of hours by simulation: `python tests/long_file.py --hours 8 [--profile context]`.

Codes drawn from the tables of the shipped model `heads`, without pictures, go through the writer and the readers.
Printed are seconds of processor time and MiB of memory: for writing, for opening and reading from the start, and for
random access to 200 times from opening the file to the codes of the frame.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from vector_parts import content_for, head_for

from bcdcodec.container import CHUNK_FRAMES, BcdWriter, Motion, RandomAccess, open_bcd
from bcdcodec.entropy import ModelTables

FRAME_RATE = 25


def motions(tables: ModelTables, frames: int) -> Iterator[Motion]:
    """Chunks of codes drawn from the motion tables; eight chunks in turn, so that drawing takes no time."""
    rng = np.random.default_rng(0)
    bounds = (tables.motion.frequencies / 65536).cumsum(1)  # [g, k]
    drawn = (rng.random((8, CHUNK_FRAMES, tables.groups, 1)) > bounds[None, None]).sum(-1)
    drawn = np.minimum(drawn, tables.codes - 1).astype(np.uint8)
    for i, first in enumerate(range(0, frames, CHUNK_FRAMES)):
        yield Motion(first, 0, drawn[i % 8][: frames - first])


def write_long(path: Path, tables: ModelTables, frames: int, profile: int = 0) -> None:
    head = head_for(tables, entropy_profile=profile, content_profile=tables.content_profile)
    with BcdWriter(path, head, tables) as writer:
        writer.write_content(content_for(tables))
        for motion in motions(tables, frames):
            writer.write_motion(motion)


def seek_times(path: Path, tables: ModelTables, count: int) -> list[float]:
    """Processor seconds from opening the file to the codes of a frame, for `count` random times."""
    found = []
    with RandomAccess(path) as access:
        seconds = access.duration_seconds
    for at in np.random.default_rng(1).random(count) * seconds:
        started = time.process_time()
        with RandomAccess(path) as access:
            frame = access.frame_at(at)
            motion = access.motion(frame, tables)
        found.append(time.process_time() - started)
        assert frame == int(at * FRAME_RATE) and 0 <= frame - motion.first_frame < motion.frames
    return found


def memory_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / (1 << 20)


def main() -> None:
    """Write, read and seek; print what it took."""
    from bcdcodec.model_folder import open_model

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hours", type=float, default=8)
    parser.add_argument("--profile", choices=["static", "context"], default="static")
    given = parser.parse_args()
    tables, frames = open_model("heads").tables, round(given.hours * 3600 * FRAME_RATE)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "long.bcd"
        before, started = memory_mib(), time.process_time()
        write_long(path, tables, frames, tables.motion_profile(given.profile))
        print(f"{frames} frames, {path.stat().st_size} bytes", flush=True)
        print(
            f"writing: {time.process_time() - started:.1f} s, memory grew by {memory_mib() - before:.1f} MiB",
            flush=True,
        )
        before, started = memory_mib(), time.process_time()
        with open_bcd(path) as reader:
            print(f"opening from the start: {1000 * (time.process_time() - started):.0f} ms", flush=True)
            assert sum(motion.frames for motion in reader.motion(tables)) == frames
        print(
            f"reading: {time.process_time() - started:.1f} s, memory grew by {memory_mib() - before:.1f} MiB",
            flush=True,
        )
        times = sorted(seek_times(path, tables, 200))
        print(f"random access: median {1000 * times[100]:.1f} ms, at most {1000 * times[-1]:.1f} ms")


if __name__ == "__main__":
    main()
