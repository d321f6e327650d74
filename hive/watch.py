"""The parent's eye on its pool: a child that takes all the memory, or whose task goes nowhere, is killed.

Each child tells on a board in shared memory when it last got on; idle, it gets on by itself. The parent only compares,
so code that never gives the interpreter back is found as well. What goes nowhere is found by the first of these:

  no batch for HIVE_STALL   nor an entry of a listing, nor an answer; also where it only waits
  no batch for HIVE_SPIN    of processor time, and neither read nor written nor gathered anything (hive/spinning.py),
                            nor gone on in a listing (bees/core/progress.py)
  silent for a HIVE_LEASE   nearly, and computes: C code lets no other thread have a turn, so the process cannot beat
                            either, and the task would be taken from it in a moment anyway
  silent for SILENT         whatever it is, its tasks were taken from it long ago

The cause is written on the task, and the child killed. What becomes of the task is decided where every death of a
worker is: it counts, and is tried again, halved or given up - after two stalls in a row, if it cannot be halved.
"""

from __future__ import annotations

import contextlib
import functools
import mmap
import os
import signal
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import structlog
from psycopg.types.json import Jsonb

from bees.core import progress
from hive.ledger.db import Database
from hive.runtime import Runtime
from hive.settings import Settings
from hive.spinning import Spinning, counts_of
from hive.worker import name_of

log = structlog.get_logger()

LOOK = 0.5
"""Seconds between two looks."""
PAUSE = 5.0
"""After so many seconds between two looks the parent itself was asleep, and its children are given their time anew."""
_SLOTS = 1024
SILENT = 60.0
"""Seconds without a word after which a child is killed that does not even compute; or six leases, if that is longer."""
_MOST_OF, _SOME_OF = 0.8, 0.1
"""Of a lease: the silence of a child that computes, and the processor time that shows that it does."""
_REMEMBERED = 1000
"""Tasks that stalled here, of which the watch knows."""
_PATIENCE = 3.0
"""Seconds for which the ledger is asked to take a cause down."""
_ENTRY = struct.Struct("qd?dqq")
SMALLEST = 1 << 30
"""Below it no process is too large by itself, however small the machine is."""
_CHILD_FIRST = "500"
"""Where the kernel must choose whom to kill, it shall be a child, whose task is then tried again, and no server."""


class Entry(NamedTuple):
    """What a child says of itself. Moments are by the clock that all processes of a machine share.

    at     when its task last got on; without a task, when it said so
    told   when it said this; 0 of one that says it but once
    task   a number of what it has in hand; 0: nothing
    steps  how often its bee said that it gets on without a batch (bees/core/progress.py)
    """

    pid: int
    at: float
    works: bool
    told: float
    task: int
    steps: int


class Board:
    """Made by the parent before it forks. Two children of one place overwrite each other: neither is judged then."""

    def __init__(self) -> None:
        self._shared = mmap.mmap(-1, _SLOTS * _ENTRY.size)

    def tell(
        self, pid: int, at: float, *, works: bool = True, told: float = 0.0, task: int = 0, steps: int = 0
    ) -> None:
        _ENTRY.pack_into(self._shared, self._place(pid), pid, at, works, told, task, steps)

    def forget(self, pid: int) -> None:
        _ENTRY.pack_into(self._shared, self._place(pid), 0, 0.0, False, 0.0, 0, 0)

    def entries(self) -> list[Entry]:
        return [entry for entry in map(Entry._make, _ENTRY.iter_unpack(self._shared[:])) if entry.pid]

    def told(self) -> dict[int, float]:
        """Process -> when it last got on."""
        return {entry.pid: entry.at for entry in self.entries()}

    def idle(self, now: float) -> list[int]:
        """The processes, if there are some, all of them have nothing to do, and said so just now; else none."""
        entries = self.entries()
        idle = all(not entry.works and now - entry.at < PAUSE for entry in entries)
        return [entry.pid for entry in entries] if idle else []

    def _place(self, pid: int) -> int:
        return pid % _SLOTS * _ENTRY.size


Cause = dict[str, Any]
"""Why a child is killed: class, code, message, place, advice."""


class Watch:
    """One look is `look`; `run` looks until the process ends. Nothing here holds a lock that a fork could copy."""

    def __init__(
        self,
        board: Board,
        settings: Settings,
        kill: Callable[[int, int], None] = os.kill,
        *,
        own: int | None = None,
        note: Callable[[int, int, Cause], None] = lambda *_: None,
    ) -> None:
        """`note` writes down why a process is killed and what task it has in hand, before it is."""
        self._board, self._kill, self._note, self._settings = board, kill, note, settings
        self._memory = most_memory(settings)
        self._own = own or os.getpid()
        self._since = self._last = time.monotonic()
        self._seen: dict[int, Spinning] = {}
        self._stalled: dict[int, None] = {}

    def run(self) -> None:
        while True:
            time.sleep(LOOK)
            self.look(time.monotonic())

    def look(self, now: float) -> None:
        if now - self._last > PAUSE:
            self._since = now
            self._seen.clear()
        self._last = now
        entries = self._board.entries()
        for pid in self._seen.keys() - {entry.pid for entry in entries}:
            del self._seen[pid]
        for entry in entries:
            rss = memory_of(entry.pid, self._own)
            if rss is None:
                self._board.forget(entry.pid)
            elif cause := self._cause(entry, now, rss):
                self._end(entry, cause)

    def _cause(self, entry: Entry, now: float, rss: int) -> Cause | None:
        """What is wrong with a child, if anything is."""
        if rss > self._memory:
            log.error("worker.too_large", pid=entry.pid, bytes=rss, limit=self._memory, setting="HIVE_CHILD_MEMORY")
            return too_large(self._memory)
        still = now - max(entry.at, self._since)
        silent = now - max(entry.told, self._since) if entry.told else 0.0
        seen = self._seen.setdefault(entry.pid, Spinning())
        if still > LOOK and (counts := counts_of(entry.pid, now, rss)):
            seen.look(counts, (entry.at, entry.steps), entry.told)
        lease, spin = self._settings.lease, self._settings.spin / (2 if entry.task in self._stalled else 1)
        if still > self._settings.stall:
            how, seconds, limit, setting = stalled, still, self._settings.stall, "HIVE_STALL"
        elif entry.works and still > 0 and seen.spent > spin:
            how, seconds, limit, setting = spinning, seen.spent, spin, "HIVE_SPIN"
        elif silent > _MOST_OF * lease and seen.held > _SOME_OF * lease:
            how, seconds, limit, setting = holding, silent, _MOST_OF * lease, "HIVE_LEASE"
        elif silent > max(SILENT, 6 * lease):
            how, seconds, limit, setting = mute, silent, max(SILENT, 6 * lease), "HIVE_LEASE"
        else:
            return None
        why = how.__name__
        log.error("worker.stalled", pid=entry.pid, why=why, seconds=round(seconds), limit=limit, setting=setting)
        return how(limit)

    def _end(self, entry: Entry, cause: Cause) -> None:
        self._board.forget(entry.pid)
        self._seen.pop(entry.pid, None)
        if cause["code"] == STALLED and entry.task:
            self._stalled[entry.task] = None
            while len(self._stalled) > _REMEMBERED:
                del self._stalled[next(iter(self._stalled))]
        self._note(entry.pid, entry.task, cause)
        with contextlib.suppress(ProcessLookupError):
            self._kill(entry.pid, signal.SIGKILL)


STALLED = "worker_stalled"


def _lost(code: str, message: str, advice: str) -> Cause:
    return {"class": "WorkerLost", "code": code, "message": message, "place": "", "advice": advice}


def too_large(limit: float) -> Cause:
    return _lost(
        "worker_too_large",
        f"the task's process held more than {limit:.0f} bytes of memory",
        "smaller batches or pages, or more memory for each process (HIVE_CHILD_MEMORY)",
    )


def stalled(limit: float) -> Cause:
    return _lost(
        STALLED,
        f"the task read and landed no batch for {limit:g} seconds",
        "see what the source or the connector waits for; if that is how it is, raise HIVE_STALL",
    )


def spinning(limit: float) -> Cause:
    return _lost(
        STALLED,
        f"the task computed for {limit:g} seconds of processor time, and read, wrote and gave nothing meanwhile",
        "look for a loop without an end in the connector or a transformer; if it is honest work, raise HIVE_SPIN",
    )


def holding(limit: float) -> Cause:
    return _lost(
        STALLED,
        f"the task computed for {limit:g} seconds in code that lets no other thread of its process have a turn",
        "look for a search or a loop without an end in C code; if it is honest work, raise HIVE_LEASE",
    )


def mute(limit: float) -> Cause:
    return _lost(
        STALLED,
        f"the task's process said nothing for {limit:g} seconds",
        "look at the machine: it was stopped, or waits for a disk or a file system that does not answer",
    )


def start(board: Board, settings: Settings) -> None:
    """In the parent: watch from now on, in the background."""
    judge = Watch(board, settings, note=functools.partial(note, settings))
    threading.Thread(target=judge.run, name="watch", daemon=True).start()


def note(settings: Settings, pid: int, task: int, cause: Cause) -> None:
    """Write on the tasks of a process why it is killed. Where that fails, its death is one without a cause.

    `task`: what it had in hand, and may have been taken from it.
    """
    stalls = int(cause["code"] == STALLED)
    try:
        owner = name_of(pid)
        pooling = settings.transaction_pooling
        db = Database(settings.database(), pool_size=1, transaction_pooling=pooling, answer_limit=_PATIENCE)
        try:
            with db.transaction() as tx:
                tx.run("note_cause", owner=owner, cause=Jsonb(cause), stalls=stalls)
                if stalls and task:
                    tx.run("note_stall", owner=owner, task=task)
        finally:
            db.close()
    except Exception as error:  # noqa: BLE001 - the child must be killed, whatever is wrong with the ledger
        log.warning("worker.cause_not_noted", pid=pid, kind=type(error).__name__)


def alone(rt: Runtime) -> None:
    """In a process that works without a parent over it (the janitor, while there is no broker): it watches itself."""
    threading.Thread(target=_watch_itself, args=(rt,), name="watch", daemon=True).start()


def _watch_itself(rt: Runtime) -> None:
    """Code that lets no other thread of the process have a turn is not found so."""
    pid, memory = os.getpid(), most_memory(rt.settings)
    seen = Spinning()
    while True:
        time.sleep(LOOK)
        now = time.monotonic()
        rss = memory_of(pid, os.getppid()) or 0
        if not rt.working:
            continue
        if counts := counts_of(pid, now, rss):
            seen.look(counts, (rt.moved_at, progress.steps()), now)
        if rss > memory:
            cause = too_large(memory)
        elif now - rt.moved_at > rt.settings.stall:
            cause = stalled(rt.settings.stall)
        elif seen.spent > rt.settings.spin and now > rt.moved_at:
            cause = spinning(rt.settings.spin)
        else:
            continue
        log.error("worker.stalled", pid=pid, code=cause["code"], reason=cause["message"])
        note(rt.settings, pid, min(rt.working.copy(), default=0), cause)
        os.kill(pid, signal.SIGKILL)


def tell(board: Board, rt: Runtime) -> None:
    """In a child, again and again: it got on now where it has nothing in hand, else when its task last did."""
    task, now = min(rt.working.copy(), default=0), time.monotonic()
    steps = progress.steps()
    if task and steps != rt.steps:
        rt.steps = steps
        rt.moved()
    at = rt.moved_at if task else now
    board.tell(os.getpid(), at, works=bool(task), told=now, task=task, steps=steps)


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


def most_memory(settings: Settings) -> int:
    """Bytes above which a process is ended."""
    return settings.child_memory or max(SMALLEST, machine_memory() // 2)


def machine_memory() -> int:
    """Bytes that the machine has, or the container in which this runs."""
    known = [int(Path("/proc/meminfo").read_text().split()[1]) * 1024]
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        with contextlib.suppress(OSError, ValueError):
            known.append(int(Path(path).read_text()))
    return min(known)
