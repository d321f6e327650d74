"""How long the value that is being judged may still take; recognisers ask here, wherever they are called from."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from nectar.deadline import Deadline
from nectar.scrub.find.findings import ScanError

_SHORTEST = 0.001
"""Seconds. What is given to a pattern at least: a limit of zero means none to it."""

_until: ContextVar[tuple[Deadline, float] | None] = ContextVar("until", default=None)
_asked: ContextVar[Deadline | None] = ContextVar("deadline", default=None)


def seconds(most: float) -> float:
    """The time for one pattern: what is left for this value, and no more than `most`."""
    until = _until.get()
    if until is None:
        return most
    deadline, end = until
    return min(most, max(_SHORTEST, end - deadline.clock()))


def check() -> None:
    """Raise ScanError when this value's time is over. For loops that no pattern's own limit ends."""
    until = _until.get()
    if until is not None and until[0].clock() > until[1]:
        raise ScanError("scan_timed_out")


@contextmanager
def within(deadline: Deadline | None) -> Iterator[None]:
    """The limit for each value that is scanned in this block; None leaves the one there is."""
    if deadline is None:
        yield
        return
    token = _asked.set(deadline)
    try:
        yield
    finally:
        _asked.reset(token)


def asked() -> Deadline | None:
    """The limit of the innermost `within`."""
    return _asked.get()


@dataclass
class Spent:
    """The time that each value has had, by its number: it is judged in several turns.

    Each turn begins and ends, whatever comes of it; no context manager, because there are millions of turns.
    """

    deadline: Deadline
    used: dict[int, float] = field(default_factory=dict)
    _turn: tuple[int, float, float] = (0, 0.0, 0.0)

    def begin(self, number: int) -> None:
        """A turn of this value."""
        start = self.deadline.clock()
        end = start + self.deadline.seconds - self.used.get(number, 0.0)
        self._turn = (number, start, end)
        _until.set((self.deadline, end))

    def end(self) -> None:
        """Raises ScanError when this value's time is over."""
        number, start, end = self._turn
        now = self.deadline.clock()
        self.used[number] = self.used.get(number, 0.0) + now - start
        _until.set(None)
        if now > end:
            raise ScanError("scan_timed_out")
