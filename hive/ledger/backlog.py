"""How much is sealed and has not landed, of all flights: above a limit nothing new is read."""

from __future__ import annotations

import time

from hive.ledger.db import Database

FRESH = 1.0
"""Seconds for which an answer serves. Asking at each claim took as long as the claim, for it looks into the batches of
every day,
and what a process reads within a second is little beside the limit."""


class Backlog:
    """What one process knows of it."""

    def __init__(self, db: Database, limit: int) -> None:
        """`limit`: bytes, of settings.pending_bytes."""
        self._db = db
        self._limit = limit
        self._asked_at = -FRESH
        self._full = False

    def is_full(self) -> bool:
        """Whether the limit was reached, at most a second ago."""
        now = time.monotonic()
        if now - self._asked_at >= FRESH:
            with self._db.single() as tx:
                row = tx.run("sealed_bytes").fetchone()
            assert row is not None
            self._full = row.bytes >= self._limit
            self._asked_at = now
        return self._full
