"""Leases for people: who reads which stream, and taking that right away."""

from __future__ import annotations

from typing import Any

from psycopg.rows import dict_row

from hive.config.model import UnknownBee
from hive.config.problems import did_you_mean
from hive.ledger.db import Database

_HELD = """
SELECT b.name AS bee, s.name AS stream, j.name AS jar, t.flight::text AS flight, t.owner AS worker, l.taken_at,
       t.state IS NOT DISTINCT FROM 'running'
       AND EXISTS (SELECT FROM hive.worker w WHERE w.id = t.owner AND w.alive_until > clock_timestamp()) AS alive
  FROM hive.lease l JOIN hive.checkpoint c ON c.id = l.checkpoint JOIN hive.bee b ON b.id = c.bee
  JOIN hive.stream s ON s.id = c.stream JOIN hive.jar j ON j.id = c.jar
  LEFT JOIN hive.task t ON t.day = l.day AND t.id = l.task
 WHERE l.task IS NOT NULL ORDER BY b.name, s.name, j.name
"""


def held(db: Database) -> list[dict[str, Any]]:
    """Every stream that is being read: bee, stream, jar, flight, worker, since when, and whether that worker lives."""
    with db.transaction() as tx:
        return tx.psycopg.cursor(row_factory=dict_row).execute(_HELD).fetchall()


def release(db: Database, bee: str) -> int:
    """Free all leases of a bee, gives how many; places at its source that nobody uses are free, too. Raises UnknownBee.

    The lease's fence is raised: what its reader still wants to write is refused, and its task begins anew from the
    last sealed batch.
    """
    with db.transaction() as tx:
        row = tx.psycopg.execute("SELECT id FROM hive.bee WHERE name = %s", [bee]).fetchone()
        if row is None:
            names = [r[0] for r in tx.psycopg.execute("SELECT name FROM hive.bee")]
            raise UnknownBee(f"no bee is named {bee!r}{did_you_mean(bee, names) or '; `hive bees` lists them'}")
        freed = tx.psycopg.execute(
            "UPDATE hive.lease l SET task = NULL, fence = nextval('hive.fence') FROM hive.checkpoint c"
            " WHERE c.id = l.checkpoint AND c.bee = %s AND l.task IS NOT NULL",
            [row[0]],
        )
        tx.psycopg.execute(  # places at the source that belong to tasks which do not run any more
            "UPDATE hive.source_slot s SET task = NULL WHERE source = %s AND task IS NOT NULL"
            " AND NOT EXISTS (SELECT FROM hive.task t WHERE t.id = s.task AND t.state = 'running')",
            [bee],
        )
        return freed.rowcount
