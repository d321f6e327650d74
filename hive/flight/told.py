"""What is told of a flight: a line in the log when it starts and one when it is closed, and its trace.

It starts where its first task is claimed: a worker has a log, whoever makes a flight (a command, somebody's own
program) may have none. A process without a log of the hive's is told no lines.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

import structlog

from hive import logs
from hive.ledger.db import UNREACHABLE, Database
from hive.telemetry import traces

log = structlog.get_logger()


def tell_created(flight: uuid.UUID, bee: str, slot: str) -> None:
    """For its trace; the line follows when it starts."""
    traces.created(flight, bee, slot)


def tell_started(flight: uuid.UUID, bee: str, slot: str) -> None:
    """Once for each flight, however often its tasks are claimed."""
    if logs.is_on():
        log.info("flight.started", bee=bee, flight=str(flight), slot=slot)


def tell_ended(
    db: Database, flight: uuid.UUID, closed: Any, state: str, code: str | None, counts: Mapping[str, int]
) -> None:
    """`closed` is the row of `close_flight`; counts that are 0 are left out."""
    some = {name: count for name, count in counts.items() if count}
    failed = {"code": code} if code else {}
    if logs.is_on():
        say = log.warning if state == "failed" else log.info
        about = {"bee": closed.name, "flight": str(flight), "state": state, "seconds": round(closed.seconds, 3)}
        say("flight.ended", **about, **failed, **some)
    told = {"connector.name": closed.name, "hive.flight": str(flight), "hive.state": state}
    told |= {f"hive.{name}": count for name, count in some.items()} | ({"error.type": code} if code else {})
    try:
        traces.closed(db, flight, told)
    except UNREACHABLE:  # it is closed, and nobody should try that again for a trace
        log.info("trace.unfinished", flight=str(flight))
