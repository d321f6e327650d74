"""What works, what waits and what is broken, in one look at the ledger."""

from __future__ import annotations

import importlib.metadata
from typing import Any

from psycopg.rows import dict_row

from hive.ledger.db import Database

_QUEUES = """
SELECT queue AS name, count(*) FILTER (WHERE state = 'queued')::int AS waiting,
       count(*) FILTER (WHERE state = 'running')::int AS running
  FROM hive.task WHERE state IN ('queued', 'running') GROUP BY queue ORDER BY queue
"""
_BEES = """
SELECT b.name, b.connector, b.enabled, f.state AS last_state, f.finished_at AS last_finished,
       (SELECT min(next_slot) FROM hive.schedule s WHERE s.bee = b.id AND s.enabled) AS next_slot
  FROM hive.bee b LEFT JOIN LATERAL (SELECT state, finished_at FROM hive.flight
       WHERE bee = b.id ORDER BY created_at DESC LIMIT 1) f ON true ORDER BY b.name
"""
_WORKERS = """
SELECT w.id, w.host, w.pid, w.queues, w.alive_until > clock_timestamp() AS alive, w.beat_at AS last_heartbeat, w.rss,
       (SELECT count(*) FROM hive.task t WHERE t.owner = w.id AND t.state = 'running')::int AS running
  FROM hive.worker w ORDER BY w.id
"""


def look(db: Database, *, patience: float = 10.0) -> dict[str, Any]:
    """Version, queues, bees and workers. Raises the driver's error after `patience` seconds."""
    with db.transaction() as tx:
        tx.psycopg.execute("SELECT set_config('statement_timeout', %s, true)", [f"{int(patience * 1000)}ms"])
        rows = tx.psycopg.cursor(row_factory=dict_row)
        queues, bees, workers = [rows.execute(query).fetchall() for query in (_QUEUES, _BEES, _WORKERS)]
    version = importlib.metadata.version("worker-bees")
    return {"status": "ok", "version": version, "queues": queues, "bees": bees, "workers": workers}
