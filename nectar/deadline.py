"""A limit on the time that one value may take. The clock is the caller's: nothing here reads one of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Deadline:
    """At most so many seconds for each value, by a clock such as `time.monotonic`.

    Raises ValueError for a limit that is not above zero.
    """

    seconds: float
    clock: Callable[[], float]

    def __post_init__(self) -> None:
        if not self.seconds > 0:
            raise ValueError(f"a deadline needs a number of seconds above zero, not {self.seconds}")
