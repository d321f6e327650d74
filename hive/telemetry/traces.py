"""A flight as one trace, from its slot to its last landing, whatever processes had a hand in it.

    hive.flight                                  from the slot to the close; written by whoever closes the flight
      hive.slot                                  the flight is made
      connector.message_queue.publish            a hint goes to the broker; its context travels in the message's headers
        connector.execute                        a reading task, with what the bee does inside it:
          connector.rest.request, connector.database.query, connector.message_queue.publish
        nectar.process                           a scrubbing and landing task

The trace's id is the flight's, and the id of its first span follows from it: a hint that the janitor sends again, or a
message whose headers were lost, still belongs to its flight. Nothing here costs anything where no endpoint is set.
"""

from __future__ import annotations

import datetime as dt
import threading
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from structlog.contextvars import bound_contextvars

from hive.telemetry.switch import on

if TYPE_CHECKING:
    from hive.flight.task import Task
    from hive.ledger.db import Database
    from hive.ledger.hints import Hint
    from hive.telemetry.otel import Tracing

HEADER = "traceparent"
"""https://www.w3.org/TR/trace-context/#traceparent-header"""
FLUSH = 2.0
"""Seconds that a process which ends gives to what has not been sent."""

_carried: ContextVar[str] = ContextVar("hive_traceparent", default="")


@contextmanager
def about(task: Task) -> Iterator[None]:
    """While a task is worked on: each line of the log names flight, bee and task, and its span is open."""
    with bound_contextvars(flight=str(task.flight), bee=task.bee_name, task=task.ref):
        if not on("traces"):
            yield
            return
        with _tracing().task(task, _carried.get()):
            yield


@contextmanager
def carried(traceparent: str | None) -> Iterator[None]:
    """What a message's headers say of its sender."""
    token = _carried.set(traceparent or "")
    try:
        yield
    finally:
        _carried.reset(token)


@contextmanager
def published(hint: Hint) -> Iterator[dict[str, str]]:
    """While a hint is sent: gives the headers that go with it."""
    if not on("traces"):
        yield {}
        return
    with _tracing().published(hint) as traceparent:
        yield {HEADER: traceparent}


def note(attributes: Mapping[str, str | int | float | bool]) -> None:
    """Of the task in hand."""
    if on("traces"):
        _tracing().note(attributes)


def failed(code: str) -> None:
    """The task in hand ended in an error."""
    if on("traces"):
        _tracing().failed(code)


def created(flight: uuid.UUID, bee: str, slot: str) -> None:
    """A flight was made for a slot."""
    if on("traces"):
        _tracing().slot(flight, {"connector.name": bee, "hive.flight": str(flight), "hive.slot": slot})


def closed(db: Database, flight: uuid.UUID, told: Mapping[str, Any]) -> None:
    """A flight was closed; `told` goes with it as attributes."""
    if not on("traces"):
        return
    with db.single() as tx:
        row: Any = tx.psycopg.execute(
            "SELECT created_at, finished_at, slot_key FROM hive.flight WHERE id = %s", [flight]
        ).fetchone()
    if row is not None:
        began, ended, slot = row
        _tracing().flight(flight, _nanoseconds(began), _nanoseconds(ended), {**told, "hive.slot": slot})


def stop() -> None:
    """Send what is left, for a moment; a collector that does not answer keeps no process from its end."""
    from hive.telemetry import switch

    if switch.on.cache_info().currsize and on("traces"):
        ending = threading.Thread(target=_tracing().stop, name="telemetry-stop", daemon=True)
        ending.start()
        ending.join(FLUSH)


def _tracing() -> Tracing:
    from hive.telemetry.otel import tracing

    return tracing()


def _nanoseconds(at: dt.datetime) -> int:
    return int(at.timestamp() * 1e6) * 1000
