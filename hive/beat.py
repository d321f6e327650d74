"""`celery beat` as our scheduler: each tick makes the due flights and runs one janitor pass."""

from __future__ import annotations

from typing import Any

import structlog
from celery.beat import Scheduler

from hive import scheduler, worker
from hive.celery import queue_lengths, send
from hive.errors import trail
from hive.janitor import Janitor
from hive.ledger.db import UNREACHABLE
from hive.runtime import runtime
from hive.settings import settings

log = structlog.get_logger()


class HiveScheduler(Scheduler):
    """Holds no schedule of its own: the ledger's are the truth, and any number of beats may run."""

    def setup_schedule(self) -> None:
        self._janitor: Janitor | None = None
        self._beat: worker.Heartbeat | None = None

    def tick(self, *_: Any, **__: Any) -> float:
        """One round; gives the seconds until the next. A database that is away is tried again."""
        try:
            self._round()
        except UNREACHABLE:
            log.warning("database.unreachable", where="beat")
        except Exception as error:  # noqa: BLE001 - beat must go on, whatever one round ran into
            log.error("beat.failed", kind=type(error).__name__, trail=trail(error))
        return float(min(1.0, settings().janitor))

    def _round(self) -> None:
        rt = runtime(send)
        if self._janitor is None:
            self._beat = worker.begin(rt)
            self._janitor = Janitor(rt, queue_lengths)
            worker.say_ready(rt.settings)
        try:
            scheduler.tick(rt)
        finally:
            self._janitor.tick()

    def close(self) -> None:
        if self._beat is not None:
            self._beat.stop()
