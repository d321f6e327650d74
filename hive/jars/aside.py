"""Quarantine as people see it: what lies there and why, never a value; and how an entry goes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from psycopg.rows import dict_row

from hive.jars.quarantine import HEADER_BYTES, open_entry
from hive.ledger.db import Database
from hive.vault.envelope import NONCE_BYTES, TAG_BYTES

STATES = ("open", "retried", "dropped")
_ENTRY = """
SELECT q.id, b.name AS bee, j.name AS jar, s.name AS stream, q.flight::text AS flight, q.records, q.code, q.reason,
       q.place, q.state, q.created_at, q.seq, q."row", greatest(0, length(q.body) - %(frame)s) AS size
  FROM hive.quarantine q LEFT JOIN hive.bee b ON b.id = q.bee LEFT JOIN hive.jar j ON j.id = q.jar
  LEFT JOIN hive.stream s ON s.id = q.stream
"""
_FRAME = {"frame": NONCE_BYTES + TAG_BYTES + HEADER_BYTES}


_SEALED = """
SELECT q.checkpoint, q.seq, q."row", q.body, b.tenant FROM hive.quarantine q JOIN hive.bee b ON b.id = q.bee
 WHERE q.id = %s AND q.body IS NOT NULL
"""


def place_of(db: Database, key_of: Callable[[str], bytes], number: int) -> str:
    """Where an entry came from, as the source named it: a name may hold a personal value, so it is sealed.

    `key_of` gives a tenant's key of quarantined records. Raises LookupError.
    """
    with db.transaction() as tx:
        found = tx.psycopg.execute(_SEALED, [number]).fetchone()
    if found is None:
        raise LookupError(_unknown(number))
    checkpoint, seq, row, body, tenant = found
    return open_entry(key_of(tenant), checkpoint, seq, row, bytes(body))[0]


def entries(db: Database, state: str = "open") -> list[dict[str, Any]]:
    """The entries in this state (open, retried or dropped), oldest first."""
    with db.transaction() as tx:
        rows = tx.psycopg.cursor(row_factory=dict_row)
        return rows.execute(_ENTRY + " WHERE q.state = %(state)s ORDER BY q.id", {**_FRAME, "state": state}).fetchall()


def entry(db: Database, number: int) -> dict[str, Any]:
    """One entry: its kind of content, its size in bytes (the sealed place counts), reason and place.

    Raises LookupError.
    """
    with db.transaction() as tx:
        rows = tx.psycopg.cursor(row_factory=dict_row)
        found = rows.execute(_ENTRY + " WHERE q.id = %(id)s", {**_FRAME, "id": number}).fetchone()
    if found is None:
        raise LookupError(_unknown(number))
    return {**found, "content": _content(found)}


def drop(db: Database, number: int) -> None:
    """Give an open entry up: its content is destroyed, that it was there stays known. Raises LookupError."""
    with db.transaction() as tx:
        row = tx.psycopg.execute("SELECT state FROM hive.quarantine WHERE id = %s FOR UPDATE", [number]).fetchone()
        if row is None:
            raise LookupError(_unknown(number))
        if row[0] != "open":
            raise LookupError(f"the quarantined record {number} is {row[0]} already")
        tx.psycopg.execute("UPDATE hive.quarantine SET state = 'dropped', body = '' WHERE id = %s", [number])


def _unknown(number: int) -> str:
    return f"no quarantined record has the number {number}; `hive quarantine list` names them"


def _content(found: dict[str, Any]) -> str:
    if found["state"] == "dropped":
        return "destroyed"
    if found["records"] > 1:
        return f"{found['records']} records of one batch"
    # Only what a source could not make a record of carries the source's own position.
    return "bytes as the source gave them" if found["place"] else "one record"
