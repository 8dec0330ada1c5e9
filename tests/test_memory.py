"""Memory does not grow with the length of a clip, and what was freed is used again."""

import platform
import subprocess
import sys

import pytest
from head_clips import TICK, head_frames

from bcdcodec.container import AudioFormat
from bcdcodec.video import write_video

MEASURE = """
import resource, sys
from bcdcodec.files.decode_file import DecodeOptions, decode_file
from bcdcodec.files.encode_file import EncodeOptions, encode_file

folder, model = sys.argv[1:]
peaks = []
for name in ("short", "long"):
    encode_file(f"{folder}/{name}.mkv", f"{folder}/{name}.bcd", EncodeOptions(model, "cpu"))
    peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    decode_file(f"{folder}/{name}.bcd", f"{folder}/{name}.mp4", options=DecodeOptions(model, "cpu"))
    peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
print(*peaks)
"""
SHORT, LONG = 30, 300  # seconds
PACKET_BYTES = 1000  # of sound in 20 ms: 15 MB in the long clip
ALLOWED_KIB = 10 * 1024  # the pictures of the long clip alone take 22 MiB as bytes, 88 as floats


def test_a_clip_of_five_minutes_takes_no_more_memory_than_one_of_thirty_seconds(tiny_model, tmp_path):
    frames = head_frames(4, 25, 32)
    for name, seconds in (("short", SHORT), ("long", LONG)):
        with write_video(tmp_path / f"{name}.mkv", 32, 32, TICK, sound=AudioFormat(1, 312)) as video:
            for i in range(seconds * 25):
                for block in (2 * i, 2 * i + 1):
                    video.write_sound(960 * block, b"\xf8" + bytes(PACKET_BYTES))
                video.write(frames[i % 25], i)
    command = [sys.executable, "-c", MEASURE, str(tmp_path), str(tiny_model)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    encode_short, decode_short, encode_long, decode_long = map(int, done.stdout.split())
    assert encode_long - decode_short < ALLOWED_KIB, done.stdout
    assert decode_long - encode_long < ALLOWED_KIB, done.stdout


KEEP = """
import resource
import sys
from bcdcodec.memory import keep_freed_memory

def resident():  # MiB
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize() / 2**20

if sys.argv[1] == "keep":
    keep_freed_memory()
before = resident()
block = bytearray(100 * 2**20)
del block
print(resident() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library than glibc")
@pytest.mark.parametrize("kept", [True, False])
def test_glibc_keeps_large_blocks_when_told_to(kept):
    done = subprocess.run(
        [sys.executable, "-c", KEEP, "keep" if kept else "no"], capture_output=True, text=True, check=True
    )
    assert (float(done.stdout) > 90) == kept, done.stdout
