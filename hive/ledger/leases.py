"""Leases for people: who reads which stream, and taking that right away."""

from __future__ import annotations

from typing import Any

from psycopg.rows import dict_row

from hive.config.model import UnknownBee
from hive.config.problems import did_you_mean
from hive.ledger.db import Database

_HELD = """
SELECT b.name AS bee, s.name AS stream, j.name AS jar, t.flight::text AS flight, t.owner AS worker, l.taken_at
  FROM hive.lease l JOIN hive.checkpoint c ON c.id = l.checkpoint JOIN hive.bee b ON b.id = c.bee
  JOIN hive.stream s ON s.id = c.stream JOIN hive.jar j ON j.id = c.jar
  LEFT JOIN hive.task t ON t.day = l.day AND t.id = l.task
 WHERE l.task IS NOT NULL ORDER BY b.name, s.name, j.name
"""


def held(db: Database) -> list[dict[str, Any]]:
    """Every stream that is being read: bee, stream, jar, flight, worker and since when."""
    with db.transaction() as tx:
        return tx.psycopg.cursor(row_factory=dict_row).execute(_HELD).fetchall()


def release(db: Database, bee: str) -> int:
    """Free all leases of a bee, gives how many. Raises UnknownBee.

    The lease's fence is raised: what its reader still wants to write is refused, and its task begins anew from the
    last sealed batch.
    """
    with db.transaction() as tx:
        row = tx.psycopg.execute("SELECT id FROM hive.bee WHERE name = %s", [bee]).fetchone()
        if row is None:
            names = [r[0] for r in tx.psycopg.execute("SELECT name FROM hive.bee")]
            raise UnknownBee(f"no bee is named {bee!r}{did_you_mean(bee, names)}")
        freed = tx.psycopg.execute(
            "UPDATE hive.lease l SET task = NULL, fence = nextval('hive.fence') FROM hive.checkpoint c"
            " WHERE c.id = l.checkpoint AND c.bee = %s AND l.task IS NOT NULL",
            [row[0]],
        )
        return freed.rowcount
