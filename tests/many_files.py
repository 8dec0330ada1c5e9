"""A folder of 1,000 small videos, and a worker that is killed: `python tests/many_files.py [COUNT]`; needs Ray.

One video is broken, too. Printed are how many files there are, how many are whole, and what was lost.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from head_clips import head_frames, write_clip

from bcdcodec.container import verify_file
from bcdcodec.distributed import encode_all
from bcdcodec.files.encode_file import EncodeOptions


def main() -> None:
    """Encode with two workers; kill one after a tenth of the files, and again after half of them."""
    os.environ.setdefault("RAY_worker_niceness", "0")
    count = int(sys.argv[1]) if sys.argv[1:] else 1000
    with tempfile.TemporaryDirectory() as folder:
        sources, out = Path(folder) / "in", Path(folder) / "out"
        sources.mkdir()
        clips = [write_clip(Path(folder) / f"{i}.mp4", head_frames(i, 4, 32)) for i in range(8)]
        for i in range(count - 1):
            shutil.copy(clips[i % 8], sources / f"{i:04}.mp4")
        (sources / "broken.mp4").write_bytes(b"no video")
        started, statuses, killed = time.monotonic(), Counter(), 0
        for done, row in enumerate(encode_all([sources], out, EncodeOptions("sprites", "cpu"), workers=2), start=1):
            statuses[row.status] += 1
            if done in (count // 10, count // 2):
                os.kill(int(row.worker.split(":")[1]), signal.SIGKILL)
                killed += 1
            if done % 100 == 0:
                print(f"{done} of {count} after {time.monotonic() - started:.0f} s", flush=True)
        files = sorted(out.iterdir())
        whole = sum(not verify_file(path).findings for path in files)
        print(f"{killed} workers killed; {dict(statuses)}; {len(files)} files, {whole} of them whole")
        missing = {path.stem for path in sources.iterdir()} - {path.stem for path in files}
        print(f"without a file: {sorted(missing)}")
        assert whole == len(files) and missing == {"broken"}


if __name__ == "__main__":
    main()
