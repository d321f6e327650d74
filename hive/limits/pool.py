"""`hive_connection_pool` of the configuration that flies, obeyed by the pool of connections of this process."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from bees.core.pool import shared
from hive.ledger.db import Database, Transaction

LOOK = 10.0
"""Seconds between two looks."""
_POOL = (
    "SELECT id, coalesce(body -> 'pool', '{}') FROM hive.config_version WHERE body ? 'bees' ORDER BY id DESC LIMIT 1"
)


def pool_of(tx: Transaction) -> tuple[int, dict[str, Any]]:
    """(version, block) of the fleet that flies; the block is empty where it has none."""
    row = tx.psycopg.execute(_POOL).fetchone()
    return (0, {}) if row is None else (int(row[0]), dict(row[1]))


class PoolLimits:
    """Made per process, after the fork."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._look_at = 0.0
        self._obeyed: Mapping[str, Any] = {}

    def obey(self) -> None:
        """Take what was changed. A process that nobody told anything keeps the limits of the pool itself."""
        if time.monotonic() < self._look_at:
            return
        with self._db.single() as tx:
            _, told = pool_of(tx)
        self._look_at = time.monotonic() + LOOK
        if told != self._obeyed:
            shared().configure(told)
            self._obeyed = told
