"""Whether a process computes and nothing comes of it: told by what the kernel counts of the thread that does its tasks.

A search, a parser or a transformation that takes long reads, writes, gathers memory or waits for somebody else; a loop
without an end does none of these. Its processor time counts, not the clock: on a busy machine honest work has its time.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

_READY, _WAITS = 0.8, 0.5
"""A thread that was ready to run for so much of a time computed, and for less than so much waited for somebody."""
_GROWTH = 1 << 20
"""Bytes of memory more than ever before: something is being gathered."""
_GATHERING = 4
"""Gathering counts, too, but so many times less: it ends where the memory does, which may be large."""


@dataclass(frozen=True)
class Counts:
    """Of a process' first thread, at one moment.

    at      the moment, by the clock that all processes of a machine share
    cpu     seconds that it has computed
    ready   seconds that it has computed or waited for a processor
    passed  bytes that it has read and written, sockets that are only received from left out
    memory  bytes that the process holds
    """

    at: float
    cpu: float
    ready: float
    passed: int
    memory: int


def counts_of(pid: int, at: float, memory: int) -> Counts | None:
    """None where the kernel does not tell, or the process is no more."""
    try:
        own = Path(f"/proc/{pid}/task/{pid}")
        cpu, waited, _ = (own / "schedstat").read_text().split()
        passed = dict(line.split(": ") for line in (own / "io").read_text().splitlines())
        computed = int(cpu) / 1e9
        return Counts(at, computed, computed + int(waited) / 1e9, int(passed["rchar"]) + int(passed["wchar"]), memory)
    except (OSError, ValueError, KeyError):
        return None


@dataclass
class Spinning:
    """Of one process, look after look."""

    spent: float = 0.0
    """Seconds of a processor since anything came of it."""
    held: float = 0.0
    """Seconds of a processor since another thread of it had its turn."""
    _got_on: object = field(default=None, repr=False)
    _told: float = field(default=-1.0, repr=False)
    _last: Counts | None = field(default=None, repr=False)
    _most: int = field(default=0, repr=False)

    def look(self, now: Counts, got_on: object, told: float) -> None:
        """`got_on`: another one once its task did; `told`: when a thread beside it last said so."""
        last, self._last = self._last, now
        computed = 0.0 if last is None else now.cpu - last.cpu
        self.held = self.held + computed if told == self._told else 0.0
        self._told = told
        grown = now.memory > self._most + _GROWTH
        self._most = max(self._most, now.memory) if grown else self._most
        if last is None or now.at <= last.at or got_on != self._got_on or now.passed != last.passed:
            self._got_on, self.spent = got_on, 0.0
            return
        share = (now.ready - last.ready) / (now.at - last.at)
        if share < _WAITS:
            self.spent = 0.0
        elif share >= _READY:
            self.spent += computed / _GATHERING if grown else computed
