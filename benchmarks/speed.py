"""Speed of a model on this machine: times of each stage, ratio to real time, first-frame latency, peak memory."""

from __future__ import annotations

import io
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from bcdcodec.benchmarks.codec_runs import codec_run
from bcdcodec.container import write_recording
from bcdcodec.errors import BcdError
from bcdcodec.files.recording import read
from bcdcodec.video import read_frames, write_video
from bcdcodec.video.source import open_source

REPEATS = 3
# Peak memory is asked of the process itself: the system's account of a child starts at its parent's peak.
COMMAND = """
import atexit
import sys

def peak():
    try:
        line = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
        print(int(line.split()[1]) * 1024, file=sys.__stderr__)
    except OSError:
        import resource
        unit = 1 if sys.platform == "darwin" else 1024
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit, file=sys.__stderr__)

atexit.register(peak)
from bcdcodec.cli.main import main
main()
"""
FIRST_FRAME = """
import sys
from bcdcodec.files.recording import read
from bcdcodec.codec import load
recording = read(sys.argv[1], sys.argv[2])
codec = load(sys.argv[2])
next(codec.decode_stream(recording, seed=0))
print(flush=True)
"""


@dataclass(frozen=True)
class Machine:
    """What the times were taken on."""

    processor: str
    cores: int
    threads: int  # of torch
    memory_gib: float
    bf16: bool  # the processor multiplies bfloat16 matrices
    system: str
    versions: dict[str, str]


@dataclass(frozen=True)
class Speed:
    """Medians of `repeats` on one clip, seconds unless the name says otherwise. The stages have the model in memory."""

    machine: Machine
    clip: str
    frames: int
    seconds: float
    source_size: tuple[int, int]
    repeats: int
    encode_stages: dict[str, float]
    decode_stages: dict[str, float]
    encode_fps: float  # of all stages together
    decode_fps: float
    encode_times_real_time: float  # seconds of video a second
    decode_times_real_time: float
    first_frame_warm: float  # from codes in memory to the first picture
    first_frame_cold: float  # from the start of a process to the first picture
    encode_command: float  # `bcd encode`, from start to end
    decode_command: float
    encode_peak_mib: float  # of `bcd encode`
    decode_peak_mib: float


def machine() -> Machine:
    """This machine."""
    import av

    versions = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "av": av.__version__,
    }
    pages = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 0
    return Machine(
        _processor(),
        os.cpu_count() or 1,
        torch.get_num_threads(),
        round(pages / 2**30, 1),
        torch.cpu._is_avx512_bf16_supported(),
        f"{platform.system()} {platform.machine()}",
        versions,
    )


def measure_speed(model: str, path: Path, profile: str, repeats: int = REPEATS) -> Speed:
    """Times of coding and decoding the clip at `path` in a profile. Raises BcdError when it cannot be coded."""
    run = codec_run(model)
    with tempfile.TemporaryDirectory() as folder:
        recorded, decoded = Path(folder) / "clip.bcd", Path(folder) / "clip.mp4"
        coded = run.encode(path, recorded, profile)  # also warms up
        with read_frames(path, None, run.size) as video:
            info = video.info
            frames = np.stack([picture for _, picture in video])
        rate = info.frame_rate or 25
        _, reading = _timed(lambda: _decode_only(path), repeats)
        _, cropping = _timed(lambda: run.pictures(path), repeats)
        _, networks = _timed(lambda: run.codec.encode(frames, profile=profile), repeats)
        _, writing = _timed(lambda: write_recording(io.BytesIO(), coded.recording, run.tables), repeats)
        _, opening = _timed(lambda: read(recorded, model), repeats)
        pictures, sampling = _timed(lambda: run.decode(coded), repeats)
        _, saving = _timed(lambda: _save(decoded, pictures, 1 / rate), repeats)
        _, warm = _timed(lambda: next(run.codec.decode_stream(coded.recording, seed=0)), repeats)
        cold = float(np.median([_seconds_to_first_line([FIRST_FRAME, str(recorded), model]) for _ in range(repeats)]))
        commands = {}
        for verb, arguments in (("encode", [path, recorded, "--profile", profile]), ("decode", [recorded, decoded])):
            runs = [_run([COMMAND, verb, *map(str, arguments), "--model", model]) for _ in range(repeats)]
            commands[verb] = tuple(float(np.median(column)) for column in zip(*runs))
    encode_stages = {
        "read": reading,
        "crop and scale": max(0.0, cropping - reading),
        "reference, motion and alignment": networks,
        "entropy coding": writing,
    }
    decode_stages = {"entropy decoding": opening, "pictures": sampling, "write mp4": saving}
    seconds = float(len(frames) / rate)
    total_in, total_out = sum(encode_stages.values()), sum(decode_stages.values())
    return Speed(
        machine(),
        path.stem,
        len(frames),
        seconds,
        (info.width, info.height),
        repeats,
        encode_stages,
        decode_stages,
        len(frames) / total_in,
        len(frames) / total_out,
        seconds / total_in,
        seconds / total_out,
        warm,
        cold,
        commands["encode"][0],
        commands["decode"][0],
        commands["encode"][1],
        commands["decode"][1],
    )


def _decode_only(path: Path) -> None:
    source = open_source(path)
    try:
        for _ in source.frames():
            pass
    finally:
        source.close()


def _save(path: Path, pictures: np.ndarray, frame_seconds) -> None:
    with write_video(path, pictures.shape[2], pictures.shape[1], frame_seconds) as video:
        for i, picture in enumerate(pictures):
            video.write(picture, i)


def _timed(action: Callable, repeats: int) -> tuple:
    """What the last call returned, and the median of the calls' seconds."""
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        with torch.inference_mode():
            result = action()
        times.append(time.perf_counter() - began)
    return result, float(np.median(times))


def _seconds_to_first_line(arguments: list[str]) -> float:
    began = time.perf_counter()
    with subprocess.Popen([sys.executable, "-c", *arguments], stdout=subprocess.PIPE) as process:
        line = process.stdout.readline()
        took = time.perf_counter() - began
    if not line or process.returncode:
        raise BcdError(f"decoding the first frame in a process of its own failed with exit code {process.returncode}")
    return took


def _run(arguments: list[str]) -> tuple[float, float]:
    """Seconds and peak memory in MiB of a process that runs COMMAND. Raises BcdError when it fails."""
    began = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", *arguments], capture_output=True, text=True, check=False)
    took = time.perf_counter() - began
    if done.returncode:
        raise BcdError(f"bcd {' '.join(arguments[1:])} failed with exit code {done.returncode}")
    return took, int(done.stderr.splitlines()[-1]) / 2**20


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or "unknown processor"
