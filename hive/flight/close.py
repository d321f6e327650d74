"""The end of a flight: totals, the flight log, a snapshot made visible.

A moment after a landing's commit.
"""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Any

from psycopg.types.json import Jsonb

from hive.flight.missed import retire_missed
from hive.flight.told import tell_ended
from hive.jars import jar
from hive.ledger.db import Database, Transaction
from hive.ledger.tables import DURATIONS

STOPPED = ("cancelled", "bee_disabled", "superseded")
"""Codes that say that the reading of a flight was ended: see hive/flight/cancel.py."""
FIELDS = 500
"""Fields whose scrubbing is counted one by one, of a landing and of a flight: members of objects may have any name."""
CODES = 20
"""Codes of errors that are counted one by one, of a bee; those that come later are `other`."""
ORGANIZATIONS = ["organizations", "organizational_units", "org_units"]
"""Streams whose records are organizations; those of all others are entities."""
_COUNTS = ("read", "bytes", "landed", "unchanged", "superseded", "deleted", "quarantined", "organizations", "retries")


def close_if_done(db: Database, flight: uuid.UUID, day: dt.date) -> str | None:
    """Close a flight without open tasks; gives its final state, or None while it is open or closed already.

    Two last landings may both come here: the second finds it closed.
    """
    with db.single() as tx:
        found = _totals(tx, flight, day)
        if found is not None and (found.whole or found.sections):
            changed = found.whole
            if found.sections:
                from hive.flight.sections import retire_left  # here, so that schedulers carry no polars

                changed |= retire_left(db, flight, day)
            if found.whole:  # last: what it holds back is what a person is asked about
                retire_missed(db, flight, day)
            found = _totals(tx, flight, day) if changed else found
        if found is None:
            return None
        unbalanced = _balance(found)
        error = found.error or unbalanced or found.flight_error
        state = "failed" if error or found.dead else "complete"
        if found.flight_error and found.flight_error.get("code") in STOPPED and not unbalanced:
            state = "cancelled"
        counts = {n: getattr(found, n) for n in _COUNTS}
        values = {"flight": flight, "state": state, "error": Jsonb(error) if error else None, **counts}
        values |= {"scrubbed": found.scrubbed, "durations": list(DURATIONS), "codes": CODES}
        values["changed"] = bool(found.landed or found.deleted)
        if found.mode != "snapshot":
            closed = tx.run("close_flight", **values).fetchone()
    if found.mode == "snapshot":
        with db.transaction() as tx:
            closed = tx.run("close_flight", **values).fetchone()
            if closed is not None:
                (jar.show_snapshot if state == "complete" else jar.drop_snapshot)(tx, found.jar, found.part)
    if closed is None:
        return None
    tell_ended(db, flight, closed, state, str(error.get("code")) if error and state == "failed" else None, counts)
    return state


def _totals(tx: Transaction, flight: uuid.UUID, day: dt.date) -> Any:
    return tx.run("totals", flight=flight, day=day, fields=FIELDS, organizations=ORGANIZATIONS).fetchone()


def _balance(totals: Any) -> dict[str, Any] | None:
    """Every record that was read must be accounted for."""
    ended = totals.landed + totals.unchanged + totals.superseded + totals.deleted + totals.quarantined
    ended -= totals.missed  # deleted because a complete read did not meet them
    if totals.read == ended:
        return None
    return {
        "class": "Unbalanced",
        "code": "unbalanced",
        "message": f"{totals.read} records were read and {ended} are accounted for",
        "place": "",
        "advice": "look at `hive quarantine list`, then fly the bee with --full-refresh",
    }
