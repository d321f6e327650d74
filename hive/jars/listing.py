"""What jars there are and what is in them, for people."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from psycopg.rows import dict_row

from hive.config.problems import did_you_mean
from hive.ledger.db import Database, Transaction

_JARS = """
SELECT j.name, j.kind, j.visible, coalesce(s.records, '{}') AS records, j.created_at, j.updated_at
  FROM hive.jar j
  LEFT JOIN (SELECT c.jar, jsonb_object_agg(c.name, c.n) AS records
               FROM (SELECT st.jar, st.name, sum(coalesce(h.n, 0))::bigint AS n
                       FROM hive.stream st
                       LEFT JOIN (SELECT stream, count(*) AS n FROM hive.honey
                                   WHERE deleted_at IS NULL GROUP BY stream) h ON h.stream = st.id
                      GROUP BY 1, 2) c
              GROUP BY c.jar) s ON s.jar = j.id
 WHERE j.status <> 'archived' ORDER BY j.name
"""

_STREAMS = """
SELECT s.id, b.name AS bee, s.name AS stream, 'jars.' || quote_ident(s.view) AS view,
       coalesce(p.columns, '{}') AS columns,
       (SELECT count(*) FROM hive.honey h WHERE h.part = %(part)s AND h.jar = s.jar AND h.bee = s.bee
           AND h.stream = s.id AND h.deleted_at IS NULL) AS records,
       (SELECT coalesce(sum(q.records), 0)::bigint FROM hive.quarantine q
         WHERE q.stream = s.id AND q.state = 'open') AS quarantined
  FROM hive.stream s JOIN hive.bee b ON b.id = s.bee
  LEFT JOIN LATERAL (SELECT columns FROM hive.pollen WHERE stream = s.id ORDER BY version DESC LIMIT 1) p ON true
 WHERE s.jar = %(jar)s ORDER BY b.name, s.name
"""


@dataclass(frozen=True)
class FoundJar:
    """A jar's place in the tables."""

    id: int
    part: int
    visible: bool


def jars(db: Database) -> list[dict[str, Any]]:
    """Every jar with its records by stream; an unfinished snapshot is listed as not visible, and shows none."""
    with db.transaction() as tx:
        return tx.psycopg.cursor(row_factory=dict_row).execute(_JARS).fetchall()


def show(db: Database, name: str) -> dict[str, Any]:
    """One jar and its streams. Raises LookupError with the name that was perhaps meant."""
    with db.transaction() as tx:
        found = find_jar(tx, name)
        rows = tx.psycopg.cursor(row_factory=dict_row)
        told = rows.execute(
            "SELECT name, kind, visible, description, owner, tags, metadata, created_at, updated_at"
            " FROM hive.jar WHERE id = %s",
            [found.id],
        ).fetchone()
        streams = streams_of(tx, found)
    assert told is not None
    return {**told, "streams": [{k: v for k, v in stream.items() if k != "id"} for stream in streams]}


def streams_of(tx: Transaction, jar: FoundJar) -> list[dict[str, Any]]:
    """The jar's streams: id, bee, stream, view, columns (name -> kind), records and quarantined."""
    rows = tx.psycopg.cursor(row_factory=dict_row)
    return rows.execute(_STREAMS, {"jar": jar.id, "part": jar.part}).fetchall()


def find_jar(tx: Transaction, name: str) -> FoundJar:
    """Raises LookupError with the name that was perhaps meant."""
    row = tx.psycopg.execute("SELECT id, part, visible FROM hive.jar WHERE name = %s", [name]).fetchone()
    if row is None:
        names = [r[0] for r in tx.psycopg.execute("SELECT name FROM hive.jar WHERE status <> 'archived'")]
        raise LookupError(f"no jar is named {name!r}{did_you_mean(name, names) or '; `hive jars` lists them'}")
    return FoundJar(*row)
