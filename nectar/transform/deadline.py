"""A time limit on a call in this process. It ends Python code wherever it is, and C code when that comes back."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_AGAIN = 1.0
"""Seconds until the next alarm: code that catches everything catches one."""


class Overdue(BaseException):
    """The time is over. No Exception, so that a function's own `except Exception` lets it pass."""


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Raise Overdue in the block once it lasts longer. Outside the main thread nothing is bounded."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGALRM, _ring)
    try:
        signal.setitimer(signal.ITIMER_REAL, seconds, _AGAIN)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    finally:
        signal.signal(signal.SIGALRM, before)


def _ring(*_: object) -> None:
    raise Overdue
