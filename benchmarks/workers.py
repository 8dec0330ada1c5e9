"""Throughput of bulk encoding with one and with more workers: `python -m bcdcodec.benchmarks workers CLIPS`."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bcdcodec.distributed import Result, encode_all
from bcdcodec.distributed.pipeline import connected
from bcdcodec.distributed.worker import FAILED
from bcdcodec.errors import BcdError
from bcdcodec.files.encode_file import EncodeOptions

HEAD = """\
| workers | start, s | first to last video, s | seconds of video a second | the same while all work |
| ---: | ---: | ---: | ---: | ---: |"""


@dataclass(frozen=True)
class Run:
    """One bulk encoding of all clips."""

    workers: int
    start: float  # seconds until the first video was begun: processes, model
    lasted: float  # seconds from the begin of the first video to the end of the last
    rate: float  # seconds of video a second, from the first to the last
    full_rate: float  # the same while every worker had a video


def workers_table(clips: Path, workers: Sequence[int], repeats: int, model: str) -> Iterator[str]:
    """Lines of a Markdown table, as they are measured, and a line for each number of workers with its share.

    In each of `repeats` rounds every number of workers, and one, has its turn; shares are of one round. The machine
    should do nothing else. Raises BcdError for a clip that fails, without Ray, or for more workers than cores.
    """
    numbers = sorted({1, *workers})
    connected()
    rounds: list[list[Run]] = []
    yield HEAD
    for _ in range(repeats):
        rounds.append([])
        for number in numbers:
            run = measure(clips, number, model)
            rounds[-1].append(run)
            yield f"| {number} | {run.start:.1f} | {run.lasted:.1f} | {run.rate:.3f} | {run.full_rate:.3f} |"
    yield ""
    for i, number in enumerate(numbers[1:], start=1):
        full = [runs[i].full_rate / runs[0].full_rate / number for runs in rounds]
        whole = [runs[i].rate / runs[0].rate / number for runs in rounds]
        yield (
            f"{number} workers do {_median(full)} of {number} times what one does while all work, "
            f"{_median(whole)} from the first to the last video"
        )


def measure(clips: Path, workers: int, model: str) -> Run:
    """Encode the clips once, into a folder that is removed."""
    with tempfile.TemporaryDirectory() as folder:
        called = time.time()
        results = list(encode_all([clips], folder, EncodeOptions(model), workers))
    if failed := [f"{result.source}: {result.message}" for result in results if result.status == FAILED]:
        raise BcdError(f"{len(failed)} of {len(results)} clips fail: {failed[0]}")
    first, last = min(r.began for r in results), max(r.began + r.seconds for r in results)
    video = sum(result.duration_s for result in results)
    return Run(workers, first - called, last - first, video / (last - first), full_rate(results))


def full_rate(results: Sequence[Result]) -> float:
    """Seconds of video a second from when the last worker begins to when the first one ends; a video counts in part."""
    names = {result.worker for result in results}
    own = [[result for result in results if result.worker == name] for name in names]
    begin = max(min(result.began for result in mine) for mine in own)
    end = min(max(result.began + result.seconds for result in mine) for mine in own)
    if end <= begin:
        raise BcdError(f"{len(results)} clips are too few: the workers were never busy together")
    inside = [max(0.0, min(r.began + r.seconds, end) - max(r.began, begin)) / r.seconds for r in results]
    return sum(result.duration_s * share for result, share in zip(results, inside)) / (end - begin)


def _median(values: Sequence[float]) -> str:
    """The median, with the lowest and the highest of several."""
    spread = f" ({min(values):.2f} to {max(values):.2f})" if len(values) > 1 else ""
    return f"{np.median(values):.2f}{spread}"
