"""The end of a flight: totals, the flight log, a snapshot made visible.

A short transaction after a landing's commit.
"""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Any

from psycopg.types.json import Jsonb

from hive.jars import jar
from hive.ledger.db import Database


def close_if_done(db: Database, flight: uuid.UUID, day: dt.date) -> str | None:
    """Close a flight without open tasks; gives its final state, or None while it is open or closed already.

    Two last landings may both come here: the second waits for the flight's row and finds it closed.
    """
    with db.single() as tx:
        row = tx.run("is_open", flight=flight, day=day).fetchone()
    if row is None or row.open:
        return None
    with db.transaction() as tx:
        found = tx.run("lock_flight", flight=flight, day=day).fetchone()
        if found is None:
            return None
        error = found.error or found.flight_error or _balance(found)
        state = "failed" if error or found.dead else "complete"
        if found.mode == "snapshot":
            (jar.show_snapshot if state == "complete" else jar.drop_snapshot)(tx, found.jar, found.part)
        counts = {
            n: getattr(found, n)
            for n in ("read", "bytes", "landed", "unchanged", "superseded", "deleted", "quarantined")
        }
        kept = Jsonb(error) if error else None
        tx.run("close_flight", flight=flight, bee=found.bee, jar=found.jar, state=state, error=kept, **counts)
        return state


def _balance(totals: Any) -> dict[str, Any] | None:
    """Every record that was read must be accounted for."""
    ended = totals.landed + totals.unchanged + totals.superseded + totals.deleted + totals.quarantined
    if totals.read == ended:
        return None
    return {
        "class": "Unbalanced",
        "code": "unbalanced",
        "message": f"{totals.read} records were read and {ended} are accounted for",
        "place": "",
        "advice": "look at `hive quarantine list`, then fly the bee with --full-refresh",
    }
