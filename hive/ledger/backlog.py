"""How much is sealed and has not landed, of all flights, and the disk's room: beyond a limit nothing new is read."""

from __future__ import annotations

import shutil
import time
from contextlib import suppress
from pathlib import Path

import structlog

from hive.ledger.db import Database

log = structlog.get_logger()

FRESH = 1.0
"""Seconds for which an answer serves. Asking at each claim took as long as the claim, for it looks into the batches of
every day, and what a process reads within a second is little beside the limit."""


class Backlog:
    """What one process knows of it."""

    def __init__(self, db: Database, limit: int, disk: Path | None = None, reserve: int = 0) -> None:
        """`limit`: bytes, of settings.pending_bytes. `disk`: a folder on the database's disk, where that is here, of
        which `reserve` bytes are not used up by reading.
        """
        self._db = db
        self._limit = limit
        self._disk = disk
        self._reserve = reserve
        self._asked_at = -FRESH
        self._full = False
        self._low = False

    def is_full(self) -> bool:
        """Whether a limit was reached, at most a second ago."""
        now = time.monotonic()
        if now - self._asked_at >= FRESH:
            with self._db.single() as tx:
                row = tx.run("sealed_bytes").fetchone()
            assert row is not None
            self._full = row.bytes >= self._limit
            self._asked_at = now
        return self.is_low() or self._full

    def is_low(self) -> bool:
        """Whether the disk has so little room that what was read must land first."""
        low = False
        with suppress(OSError):  # a folder that is gone says nothing
            low = self._disk is not None and shutil.disk_usage(self._disk).free < self._reserve
        if low and not self._low:
            log.warning("reading.stands_still", reason="low_disk", folder=str(self._disk), reserve=self._reserve)
        self._low = low
        return low
