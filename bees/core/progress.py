"""Whether a bee gets on while it gives no batch: it goes through a listing, or through answers that hold nothing new.

A worker's parent ends what computes and gets nowhere (`HIVE_SPIN`). What is received from a socket shows in no count of
the kernel, so whoever goes through very much says so here. Outside a worker nobody reads it.
"""

from __future__ import annotations

_steps = 0


def step() -> None:
    """One more entry of a listing, or one more answer."""
    global _steps  # noqa: PLW0603 - one number a process, which one thread of it reads
    _steps += 1


def steps() -> int:
    """How many there were."""
    return _steps
