"""Sequence numbers of 16 bits as numbers that do not wrap."""

from __future__ import annotations

from bcdcodec.stream.packets import SEQUENCES


def unwrapped(number: int, near: int) -> int:
    """The number that equals `number` modulo 65536 and is nearest to `near`; not below 0."""
    found = near + (number - near + SEQUENCES // 2) % SEQUENCES - SEQUENCES // 2
    return found if found >= 0 else found + SEQUENCES


def content_number(number: int, newest: int) -> int:
    """The content number that equals `number` modulo 8, at most 3 above the `newest` that is known, else below it."""
    found = newest + 3 - (newest + 3 - number) % 8
    return found if found >= 0 else found + 8
