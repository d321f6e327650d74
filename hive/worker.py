"""A worker process's life in the ledger: its name, its heartbeat, and its death as its parent sees it."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import socket
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import psutil
import pyarrow as pa
import structlog
from psycopg.types.json import Jsonb

from hive.ledger.db import UNREACHABLE, Database
from hive.runtime import Runtime, open_runtime
from hive.settings import Settings

log = structlog.get_logger()

SHORTEST_WAIT = 5.0
"""Seconds that a heartbeat waits for its answer at least; else as long as a lease, after which it comes too late."""
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
"""Of malloc.h."""


def name_of(pid: int) -> str:
    """`host:pid:place.start`: a pid that is used again is another worker. Raises FileNotFoundError where none runs.

    The start is in ticks since the machine's, which setting the clock does not change.
    """
    ticks = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    return f"{socket.gethostname()}:{pid}:{_place()}.{ticks}"


@functools.cache
def _place() -> str:
    """Which boot of which machine and which pid namespace: elsewhere the same number is another process."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text()[:8]
    return f"{boot}.{Path('/proc/self/ns/pid').stat().st_ino}"


class Heartbeat:
    """A thread that says that this process lives, on a connection of its own: a long COPY must not silence it."""

    def __init__(self, settings: Settings, owner: str, queues: Sequence[str], working: set[int]) -> None:
        """`working`: numbers of the tasks that this process works on just now."""
        self._working = working
        self._settings = settings
        self._owner = owner
        self._queues = list(queues)
        self._pools: dict[str, list[int]] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Beat once, then go on in the background. Raises when the database cannot be reached."""
        chosen = self._settings
        db = Database(
            chosen.database(), pool_size=1, transaction_pooling=chosen.transaction_pooling,
            answer_limit=min(chosen.answer_limit, max(SHORTEST_WAIT, chosen.lease)),
        )  # fmt: skip
        self._db = db
        self._beat()
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(timeout=5)
        try:
            with self._db.transaction() as tx:
                tx.run("say_goodbye", id=self._owner)
        except UNREACHABLE:
            log.warning("heartbeat.no_goodbye", worker=self._owner)
        self._db.close()

    def _run(self) -> None:
        while not self._stop.wait(self._settings.heartbeat):
            try:
                self._beat()
            except UNREACHABLE:
                log.warning("heartbeat.missed", worker=self._owner)

    def _beat(self) -> None:
        with self._db.transaction() as tx:
            tx.run(
                "beat", id=self._owner, host=socket.gethostname(), pid=os.getpid(), queues=self._queues,
                lease=self._settings.lease, rss=psutil.Process().memory_info().rss,
            )  # fmt: skip
            if (pools := _pools()) != self._pools:
                tx.run("note_pools", id=self._owner, pools=Jsonb(pools) if pools else None)
                self._pools = pools
            strays = tx.run(
                "release_strays", owner=self._owner, working=list(self._working.copy()), lease=self._settings.lease
            ).fetchall()
        for stray in strays:
            log.warning("task.stray", task=stray.id, worker=self._owner)


def _pools() -> dict[str, list[int]]:
    """Connections of this process to sources, by connector: [all, idle, lent]."""
    pool = sys.modules.get("bees.core.pool")  # of bees that need one; the others do not load it
    return {} if pool is None else pool.shared().counts()


def return_memory() -> None:
    """Let what a large batch took go back to the system: glibc keeps freed memory in as many arenas as it likes.

    Measured with batches of 50,000 rows: a process that scrubs keeps 248 MB instead of 296.
    """
    with contextlib.suppress(OSError, AttributeError):  # another C library has no such switch
        libc = ctypes.CDLL("libc.so.6")
        for switch, value in ((_M_ARENA_MAX, 2), (_M_TRIM_THRESHOLD, 128 << 10), (_M_MMAP_THRESHOLD, 128 << 10)):
            libc.mallopt(switch, value)
    pa.set_memory_pool(pa.system_memory_pool())


def say_ready(settings: Settings) -> None:
    """Tell `hive up` that this process works. It does so, too, where the disk has no room for the word."""
    if settings.ready_file is not None:
        with contextlib.suppress(OSError):
            settings.ready_file.touch()


def bury_the_dead(db: Database) -> int:
    """Mark the worker processes of this host that exist no more: their tasks need not wait for the lease."""
    buried = 0
    with db.transaction() as tx:
        for row in tx.run("workers_of_host", host=socket.gethostname()).fetchall():
            if f":{_place()}." not in row.id:
                continue  # it runs where we cannot see it: its lease tells
            try:
                alive = name_of(row.pid) == row.id
            except (FileNotFoundError, ProcessLookupError):
                alive = False
            if not alive:
                tx.run("bury", id=row.id)
                buried += 1
    return buried


def check(settings: Settings) -> None:
    """See that there is a database with a schema, and that our hive key opens it.

    Raises NotRunning, MissingHiveKey, KeyFileRefused, NewerSchema or Unsealable with what to mend, or UNREACHABLE.
    """
    rt = open_runtime(settings)
    try:
        rt.keyring().key("record")
    finally:
        rt.close()


def begin(rt: Runtime, queues: Sequence[str] = ()) -> Heartbeat:
    """Give a runtime its name in the ledger and start its heartbeat."""
    rt.owner = name_of(os.getpid())
    rt.keyring().key("record")  # the wrong hive key is found now, not in the middle of the work
    beat = Heartbeat(rt.settings, rt.owner, queues, rt.working)
    beat.start()
    return beat
