"""The loop of a training run: steps until it is done, with checkpoints, measurements and a log on the way."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, TextIO

LOG_EVERY = 10  # steps


class Trains(Protocol):
    """What `run_to_end` runs."""

    step: int
    elapsed: float  # seconds of training, without checkpoints and measurements

    @property
    def progress(self) -> float:
        """Share of the run that is done, 0..1."""

    def train_step(self) -> dict:
        """One optimiser step; its record for the log."""

    def save(self) -> None:
        """Write the checkpoint."""

    def look(self, log: TextIO) -> None:
        """Measure, into the log, and draw."""


def run_to_end(
    trainer: Trains, out: Path, checkpoint_minutes: float, evaluate_minutes: float, name: str, shown: tuple[str, ...]
) -> None:
    """Train until `progress` is 1; log to `out/log.jsonl`. `shown`: fields of a record beside the progress bar.

    SIGTERM ends the run after the step in progress, with a checkpoint from which it can be resumed.
    """
    from tqdm import tqdm

    next_save, next_look = (trainer.elapsed + 60 * minutes for minutes in (checkpoint_minutes, evaluate_minutes))
    with (
        _terminated() as terminated,
        (out / "log.jsonl").open("a") as log,
        tqdm(total=1000, initial=int(1000 * trainer.progress), disable=None, unit="‰", desc=name) as bar,
    ):
        while trainer.progress < 1 and not terminated.is_set():
            began = time.monotonic()
            record = trainer.train_step()
            trainer.elapsed += time.monotonic() - began
            if trainer.step % LOG_EVERY == 0:
                log.write(json.dumps(record) + "\n")
                log.flush()
            bar.update(int(1000 * trainer.progress) - bar.n)
            bar.set_postfix_str(" ".join(f"{part} {record[part]}" for part in ("step", *shown)))
            if trainer.elapsed >= next_save:
                trainer.save()
                next_save = trainer.elapsed + 60 * checkpoint_minutes
            if trainer.elapsed >= next_look and not terminated.is_set():
                trainer.look(log)
                next_look = trainer.elapsed + 60 * evaluate_minutes
        trainer.save()
        if not terminated.is_set():
            trainer.look(log)


@contextmanager
def _terminated() -> Iterator[threading.Event]:
    """An event that SIGTERM sets, in place of ending the process. Outside the main thread nothing sets it."""
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event
        return
    before = signal.signal(signal.SIGTERM, lambda number, frame: event.set())
    try:
        yield event
    finally:
        signal.signal(signal.SIGTERM, before)
