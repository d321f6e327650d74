"""A worker process's life in the ledger: its name, its heartbeat, and its death as its parent sees it."""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import threading
from collections.abc import Sequence

import psutil
import pyarrow as pa
import structlog

from hive.ledger.db import UNREACHABLE, Database
from hive.runtime import Runtime
from hive.settings import Settings

log = structlog.get_logger()

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
"""Of malloc.h."""


def name_of(pid: int) -> str:
    """`host:pid:start`: a pid that is used again is another worker."""
    return f"{socket.gethostname()}:{pid}:{int(psutil.Process(pid).create_time() * 100)}"


class Heartbeat:
    """A thread that says that this process lives, on a connection of its own: a long COPY must not silence it."""

    def __init__(self, settings: Settings, owner: str, queues: Sequence[str] = ()) -> None:
        self._settings = settings
        self._owner = owner
        self._queues = list(queues)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Beat once, then go on in the background. Raises when the database cannot be reached."""
        db = Database(self._settings.database(), pool_size=1, transaction_pooling=self._settings.transaction_pooling)
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
    """Tell `hive up` that this process works."""
    if settings.ready_file is not None:
        settings.ready_file.touch()


def bury_the_dead(db: Database) -> int:
    """Mark the worker processes of this host that exist no more: their tasks need not wait for the lease."""
    buried = 0
    with db.transaction() as tx:
        for row in tx.run("workers_of_host", host=socket.gethostname()).fetchall():
            try:
                alive = name_of(row.pid) == row.id
            except psutil.NoSuchProcess:
                alive = False
            if not alive:
                tx.run("bury", id=row.id)
                buried += 1
    return buried


def begin(rt: Runtime, queues: Sequence[str] = ()) -> Heartbeat:
    """Give a runtime its name in the ledger and start its heartbeat."""
    rt.owner = name_of(os.getpid())
    beat = Heartbeat(rt.settings, rt.owner, queues)
    beat.start()
    return beat
