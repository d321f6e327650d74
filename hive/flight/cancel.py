"""Ending a flight before its source does: reading stops, what is sealed lands, and then the flight is closed.

The cursor moved with every sealed batch. One that never landed would be lost without a trace, so nothing sealed is
dropped: the watermark has no gap, and the next flight goes on exactly where this one ended.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from psycopg.types.json import Jsonb

from hive.flight.close import close_if_done
from hive.ledger.db import Transaction
from hive.runtime import Runtime

CANCELLED = {
    "class": "Cancelled",
    "code": "cancelled",
    "message": "cancelled by a person",
    "place": "",
    "advice": "fly the bee again: it goes on where this flight ended",
}
DISABLED = {
    "class": "Cancelled",
    "code": "bee_disabled",
    "message": "the bee was disabled while it flew",
    "place": "",
    "advice": "enable it in its configuration, and its next flight goes on where this one ended",
}


class FlightClosed(LookupError):
    """The flight has ended already."""


@dataclass(frozen=True)
class Stopped:
    """`tasks`: how many reading tasks were ended; 0 says that everything was read. `landing`: batches still to land."""

    tasks: int
    landing: int


def stop(rt: Runtime, flight: uuid.UUID, why: Mapping[str, Any] = CANCELLED) -> Stopped:
    """End the reading of an open flight, free its leases and source slots.

    A worker in the middle of it is refused at its next seal. Where everything is read already nothing is stopped, and
    the flight ends as it would have. Raises FlightClosed, or LookupError where there is no such flight.
    """
    with rt.db.transaction() as tx:
        row = tx.psycopg.execute("SELECT day, state FROM hive.flight WHERE id = %s", [flight]).fetchone()
        if row is None:
            raise LookupError(f"no flight has the id {flight}; `hive flights` lists them")
        day, state = row
        if state not in ("queued", "running"):
            raise FlightClosed(f"flight {flight} has ended already: it is {state}")
        ended: list[int] = []
        # Tasks first, then the flight: in this order a claim locks them, too.
        while _reads(tx, day, flight):
            found = tx.run("stop_reading", day=day, flight=flight, why=Jsonb(dict(why))).fetchall()
            ended += [task.id for task in found]
        if ended:
            tx.run("free_leases_of", tasks=ended)
            tx.run("free_source_slots_of", tasks=ended)
            tx.run("mark_stopped", flight=flight, why=Jsonb(dict(why)))
        landing = tx.psycopg.execute(
            "SELECT count(*)::int FROM hive.batch WHERE day = %s AND flight = %s AND state = 'sealed'", [day, flight]
        ).fetchone()
    assert landing is not None
    close_if_done(rt.db, flight, day)  # nobody else would, where nothing had begun
    return Stopped(len(ended), landing[0])


def _reads(tx: Transaction, day: dt.date, flight: uuid.UUID) -> bool:
    """Whether a task of the flight is to read yet, as of now and not of when the transaction began."""
    row = tx.run("still_reads", day=day, flight=flight).fetchone()
    return row is not None and bool(row.open)
