"""The pipeline: Ray Data hands the jobs to a pool of workers, each with its own copy of the model."""

from __future__ import annotations

import logging
import os
import socket
import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from bcdcodec.distributed.jobs import Job, list_jobs
from bcdcodec.distributed.worker import FAILED, Result, Worker, remove_partial
from bcdcodec.errors import BcdError
from bcdcodec.files import PathLike
from bcdcodec.files.encode_file import EncodeOptions
from bcdcodec.model_folder import SHIPPED, open_model

BLOCKS = 10_000  # of jobs at most: one block costs the driver some kilobytes and milliseconds
RETRIES = 3  # of a block whose worker died; a video that kills every worker must not hold up the others for ever
PASSES = 2  # the second takes what the first lost, one job a block
PATIENCE = 5.0  # seconds for a cluster's address to answer: Ray itself tries for two minutes


def encode_all(
    sources: Sequence[PathLike], folder: PathLike, options: EncodeOptions | None = None, workers: int = 1
) -> Iterator[Result]:
    """Encode the videos of the sources (see `list_jobs`) into `folder`; yields one result each, as they are done.

    Runs on the cluster that RAY_ADDRESS names or this process is connected to, else on this machine. Each worker
    has one core, and an equal share of the GPUs unless the options ask for the CPU. A worker that dies is started
    again and its job repeated; files that are there are left alone, so a run that was stopped goes on where it was.
    On a cluster the model, sources and targets must have the same paths on every machine. Raises ModelError, and
    BcdError without Ray, for too many workers, or as `list_jobs`.
    """
    options = options or EncodeOptions()
    model = open_model(options.model)
    model.tables.motion_profile(options.profile)  # raises here, not in every worker
    if model.path.parent != SHIPPED:
        options = replace(options, model=model.path.resolve())  # workers have another working directory
    jobs = list_jobs(sources, folder)
    ray = connected()
    resources = ray.cluster_resources()
    if workers > resources.get("CPU", 0):
        raise BcdError(
            f"{workers} workers are asked for, Ray has {resources.get('CPU', 0):g} cores: each worker needs one"
        )
    gpus = 0.0 if options.device == "cpu" else gpu_share(resources, workers)
    if options.device not in ("auto", "cpu") and not gpus:
        raise BcdError(f"--device {options.device} is asked for, Ray has no GPU here: use auto or cpu")
    return _encode(jobs, options, workers, gpus)


def gpu_share(resources: dict[str, float], workers: int) -> float:
    """GPUs a worker: a fraction where there are more workers than GPUs, else one; 0 where there are none."""
    gpus = resources.get("GPU", 0.0)
    if not gpus:
        return 0.0
    per_gpu = -(-workers // int(gpus))  # workers on one GPU, at most
    return 1.0 if per_gpu <= 1 else int(10_000 / per_gpu) / 10_000  # Ray counts in ten-thousandths


def connected() -> Any:
    """Ray, running: the cluster that RAY_ADDRESS names, or one of this process. Raises BcdError without Ray."""
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise BcdError("several workers need Ray: pip install 'bcdcodec[distributed]'") from error
    if not ray.is_initialized():
        _start(ray)
    return ray


def _start(ray: Any) -> None:
    _keep_logs_from_the_terminal()
    address = os.environ.get("RAY_ADDRESS", "local")
    _check_reachable(address)
    own = {"include_dashboard": False} if address == "local" else {}
    try:
        with _without_stderr():  # Ray's C++ part says there what it sets
            ray.init(address, log_to_driver=False, logging_level="error", **own)
    except Exception as error:  # ConnectionError, ValueError, RuntimeError and Ray's own
        raise BcdError(f"Ray does not start at {address}: {' '.join(str(error).split())}") from error


def _check_reachable(address: str) -> None:
    """Raise BcdError where nothing answers at an address with a host and a port; other addresses are Ray's own."""
    host, colon, port = address.rpartition("://")[2].rpartition(":")
    if not colon or not port.isdecimal():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), PATIENCE).close()
    except (OSError, OverflowError) as error:
        raise BcdError(f"no Ray at RAY_ADDRESS {address}: {error}; `ray start --head` starts a cluster") from error


@contextmanager
def _without_stderr() -> Iterator[None]:
    """Standard error, of C libraries too, goes nowhere for the time of the block."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _keep_logs_from_the_terminal() -> None:
    """Ray's warnings and progress, not its files below /tmp/ray/session_latest/logs."""
    # Of its C++ part: that a restarted worker needs arguments which this process holds; it does, to the end.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    logging.getLogger("ray").setLevel(logging.ERROR)
    for handler in logging.getLogger("ray.data").handlers:
        if isinstance(handler, logging.StreamHandler):
            handler.setLevel(logging.CRITICAL)


def _encode(jobs: list[Job], options: EncodeOptions, workers: int, gpus: float) -> Iterator[Result]:
    waiting = {job.source: job for job in jobs}
    for one_pass in range(PASSES):
        if not waiting:
            break
        blocks = min(len(waiting), BLOCKS) if one_pass == 0 else len(waiting)
        for result in _run(list(waiting.values()), options, min(workers, len(waiting)), gpus, blocks):
            del waiting[result.source]
            yield result
    for job in waiting.values():
        yield Result(job.source, job.target, FAILED, message=f"its worker died {PASSES * (RETRIES + 1)} times")
    remove_partial(jobs)


def _run(jobs: Iterable[Job], options: EncodeOptions, workers: int, gpus: float, blocks: int) -> Iterator[Result]:
    import ray.data

    context = ray.data.DataContext.get_current()
    context.max_errored_blocks = -1  # of workers that died too often: the next pass takes their jobs
    context.enable_progress_bars = context.print_on_execution_start = False
    items = ray.data.from_items([asdict(job) for job in jobs], override_num_blocks=blocks)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # max_task_retries: as it is until Ray 2.64
        results = items.map_batches(
            BatchWorker,
            fn_constructor_args=(options,),
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(size=workers, max_tasks_in_flight_per_actor=2),
            num_cpus=1,
            num_gpus=gpus,
            max_task_retries=RETRIES,
            udf_modifying_row_count=False,
        )
    for row in results.iter_rows():
        yield Result(**row)


class BatchWorker:
    """A `Worker` as Ray Data calls it: columns of arrays to columns of arrays."""

    def __init__(self, options: EncodeOptions):
        self.worker = Worker(options)

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        jobs = [Job(str(source), str(target)) for source, target in zip(batch["source"], batch["target"])]
        rows = [asdict(self.worker.encode(job)) for job in jobs]
        return {name: np.array([row[name] for row in rows]) for name in rows[0]}
