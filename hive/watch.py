"""The parent's eye on its pool: a child that takes all the memory, or whose task goes nowhere, is killed.

Each child tells on a board in shared memory when it last got on; idle, it gets on by itself. The parent only compares,
so code that never gives the interpreter back is found as well. What becomes of the task is decided where every death of
a worker is: it counts, and is tried again, halved or given up.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import signal
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path

import structlog

from hive.runtime import Runtime
from hive.settings import Settings

log = structlog.get_logger()

LOOK = 0.5
"""Seconds between two looks."""
PAUSE = 5.0
"""After so many seconds between two looks the parent itself was asleep, and its children are given their time anew."""
_SLOTS = 1024
_ENTRY = struct.Struct("qd?")
"""Process number; when it last got on, by the clock that all processes of a machine share; whether it has work."""
SMALLEST = 1 << 30
"""Below it no process is too large by itself, however small the machine is."""
_CHILD_FIRST = "500"
"""Where the kernel must choose whom to kill, it shall be a child, whose task is then tried again, and no server."""


class Board:
    """Made by the parent before it forks. Two children of one place overwrite each other: neither is judged then."""

    def __init__(self) -> None:
        self._shared = mmap.mmap(-1, _SLOTS * _ENTRY.size)

    def tell(self, pid: int, at: float, *, works: bool = True) -> None:
        _ENTRY.pack_into(self._shared, self._place(pid), pid, at, works)

    def forget(self, pid: int) -> None:
        _ENTRY.pack_into(self._shared, self._place(pid), 0, 0.0, False)

    def told(self) -> dict[int, float]:
        """Process -> when it last got on."""
        return {pid: at for pid, at, _ in _ENTRY.iter_unpack(self._shared[:]) if pid}

    def idle(self, now: float) -> list[int]:
        """The processes, if there are some, all of them have nothing to do, and said so just now; else none."""
        entries = [entry for entry in _ENTRY.iter_unpack(self._shared[:]) if entry[0]]
        idle = all(not works and now - at < PAUSE for _, at, works in entries)
        return [pid for pid, _, _ in entries] if idle else []

    def _place(self, pid: int) -> int:
        return pid % _SLOTS * _ENTRY.size


class Watch:
    """One look is `look`; `run` looks until the process ends. Nothing here takes a lock that a fork could copy."""

    def __init__(
        self, board: Board, settings: Settings, kill: Callable[[int, int], None] = os.kill, *, own: int | None = None
    ) -> None:
        self._board, self._kill = board, kill
        self._stall = settings.stall
        self._memory = settings.child_memory or max(SMALLEST, machine_memory() // 2)
        self._own = own or os.getpid()
        self._since = self._last = time.monotonic()

    def run(self) -> None:
        while True:
            time.sleep(LOOK)
            self.look(time.monotonic())

    def look(self, now: float) -> None:
        if now - self._last > PAUSE:
            self._since = now
        self._last = now
        for pid, at in self._board.told().items():
            rss = memory_of(pid, self._own)
            if rss is None:
                self._board.forget(pid)
                continue
            still = now - max(at, self._since)
            if rss > self._memory:
                log.error("worker.too_large", pid=pid, bytes=rss, limit=self._memory, setting="HIVE_CHILD_MEMORY")
            elif still > self._stall:
                log.error("worker.stalled", pid=pid, seconds=round(still), limit=self._stall, setting="HIVE_STALL")
            else:
                continue
            self._board.forget(pid)
            with contextlib.suppress(ProcessLookupError):
                self._kill(pid, signal.SIGKILL)


def start(board: Board, settings: Settings) -> None:
    """In the parent: watch from now on, in the background."""
    threading.Thread(target=Watch(board, settings).run, name="watch", daemon=True).start()


def alone(rt: Runtime) -> None:
    """In a process that works without a parent over it (the janitor, while there is no broker): it watches itself."""
    threading.Thread(target=_watch_itself, args=(rt,), name="watch", daemon=True).start()


def _watch_itself(rt: Runtime) -> None:
    limit, memory = rt.settings.stall, rt.settings.child_memory or max(SMALLEST, machine_memory() // 2)
    while True:
        time.sleep(LOOK)
        still = time.monotonic() - rt.moved_at
        if rt.working and (still > limit or (memory_of(os.getpid(), os.getppid()) or 0) > memory):
            log.error("worker.stalled", pid=os.getpid(), seconds=round(still), limit=limit, setting="HIVE_STALL")
            os.kill(os.getpid(), signal.SIGKILL)


def tell(board: Board, rt: Runtime) -> None:
    """In a child, again and again: it got on now where it has nothing in hand, else when its task last did."""
    works = bool(rt.working)
    board.tell(os.getpid(), rt.moved_at if works else time.monotonic(), works=works)


def die_first() -> None:
    """In a child: let the kernel's out-of-memory killer choose this process."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(_CHILD_FIRST)


def memory_of(pid: int, parent: int) -> int | None:
    """Bytes that a process holds in memory; None where it is no child of `parent`, or is no more."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    if fields[0] == "Z" or int(fields[1]) != parent:
        return None
    return int(fields[21]) * mmap.PAGESIZE


def machine_memory() -> int:
    """Bytes that the machine has, or the container in which this runs."""
    known = [int(Path("/proc/meminfo").read_text().split()[1]) * 1024]
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        with contextlib.suppress(OSError, ValueError):
            known.append(int(Path(path).read_text()))
    return min(known)
