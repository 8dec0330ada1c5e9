"""What goes to stderr beside errors: the progress of long verbs and notes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click


@contextmanager
def progress_bar(label: str, unit: str = "frame") -> Iterator[Callable[[int, int | None], None]]:
    """A function of (units done, units in all, if known) that draws a bar, only where stderr is a terminal."""
    from tqdm import tqdm

    with tqdm(desc=label, unit=unit, disable=None, leave=False) as bar:

        def update(done: int, total: int | None) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield update


def show_notes(notes: tuple[str, ...]) -> None:
    for note in notes:
        click.echo(f"note: {note}", err=True)
