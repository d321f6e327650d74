"""`celery beat` as our scheduler: each tick makes the due flights, answers events and runs one janitor pass."""

from __future__ import annotations

import signal
import time
from typing import Any

import structlog
from celery.beat import Scheduler

from hive import events, scheduler, worker
from hive.celery import queue_lengths, send
from hive.config.load import configured
from hive.errors import trail
from hive.folders import FolderWatch
from hive.janitor import Janitor
from hive.jars.index import Indexer
from hive.jars.own import Mover
from hive.ledger.db import UNREACHABLE
from hive.reloader import Reloader
from hive.runtime import Runtime, runtime
from hive.settings import environment, settings
from hive.versions import Change

log = structlog.get_logger()

_SHORTEST = 0.1
"""Seconds between two rounds at least, however dense the slots are."""


class HiveScheduler(Scheduler):
    """Holds no schedule of its own: the ledger's are the truth, and any number of beats may run."""

    def setup_schedule(self) -> None:
        self._janitor: Janitor | None = None
        self._beat: worker.Heartbeat | None = None
        self._files: events.FileWatch | None = None
        self._folders: FolderWatch | None = None
        self._indexer: Indexer | None = None
        self._mover: Mover | None = None
        self._kept = 0.0
        paths = configured(settings().config, environment())
        self._reloader = Reloader(paths, _reload, watch=settings().watch) if paths else None
        if (reloader := self._reloader) is not None:
            signal.signal(signal.SIGHUP, lambda *_: reloader.ask())

    def tick(self, *_: Any, **__: Any) -> float:
        """One round; gives the seconds until the next. A database that is away is tried again."""
        pause = min(1.0, settings().janitor)
        try:
            pause = self._round(pause)
            return self._folders.rest(pause) if self._folders is not None else pause
        except UNREACHABLE:
            log.warning("database.unreachable", where="beat")
        except Exception as error:  # noqa: BLE001 - beat must go on, whatever one round ran into
            log.error("beat.failed", kind=type(error).__name__, trail=trail(error))
        return float(pause)

    def _round(self, pause: float) -> float:
        """A slot that is near is waited for: the round after this one begins at its instant."""
        rt = runtime(send)
        if self._reloader is not None:
            self._reloader.look()
        janitor = self._janitor or self._begin(rt)
        try:
            scheduler.tick(rt)
            events.tick(rt)
        finally:
            if time.monotonic() - self._kept >= pause - _SHORTEST:
                self._kept = time.monotonic()
                janitor.tick()
        soon = scheduler.until_next(rt)
        return float(pause if soon is None else min(pause, max(_SHORTEST, soon)))

    def _begin(self, rt: Runtime) -> Janitor:
        worker.return_memory()
        self._beat = worker.begin(rt)
        self._janitor = Janitor(rt, queue_lengths)
        self._files = events.FileWatch(rt)
        self._files.start()
        self._folders = FolderWatch(rt)
        self._folders.start()
        if rt.settings.search:
            self._indexer = Indexer(rt.db)
            self._indexer.start()
        self._mover = Mover(rt.db, rt.settings.own_table)
        self._mover.start()
        worker.say_ready(rt.settings)
        return self._janitor

    def close(self) -> None:
        """End what goes on beside the ticks."""
        if self._files is not None:
            self._files.stop()
        if self._folders is not None:
            self._folders.stop()
        if self._indexer is not None:
            self._indexer.stop()
        if self._mover is not None:
            self._mover.stop()
        if self._beat is not None:
            self._beat.stop()


def _reload() -> Change:
    """In a thread beside the ticks, with connections of its own."""
    from hive.manager import HiveManager

    with HiveManager(settings()) as hive:
        return hive.reload(secrets=False, note=True)
