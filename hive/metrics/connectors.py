"""Polls of each connector, in the words and the spelling of document 003. A connector is a bee, a poll is a flight."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import starmap
from typing import Any

from hive.condition import LATE, UNWELL, Flying, advice, judge, keyless_bees, open_conditions, slots_left_out
from hive.config.model import UnknownBee
from hive.ledger.db import Database
from hive.metrics.figures import begin, missing_drivers, why_grounded

PATIENCE = 5.0


@dataclass(frozen=True)
class ConnectorMetrics:
    """Totals over all flights, open ones included where they have read something; times are in UTC."""

    connectorName: str  # noqa: N815 - the spelling is the document's
    lastPollTime: str | None  # noqa: N815
    lastSuccessTime: str | None  # noqa: N815
    totalPolls: int  # noqa: N815
    successfulPolls: int  # noqa: N815
    failedPolls: int  # noqa: N815
    itemsFetched: int  # noqa: N815
    itemsPublished: int  # noqa: N815
    averageLatencyMs: int  # noqa: N815
    """Of the flights that ended, from their start to their end."""

    def json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class ConnectorHealth:
    """`state` is one of `hive.condition.STATES`, `healthy` whether no person must look, `why` a sentence.

    `error` is the code of an open flight's last error, else of the last flight's where that failed; `advice` the next
    step, see `hive.condition.advice`.
    """

    connectorName: str  # noqa: N815
    healthy: bool
    state: str
    lastSuccessTime: str | None  # noqa: N815
    secondsSinceSuccess: float | None  # noqa: N815
    nextPollTime: str | None  # noqa: N815
    error: str | None
    advice: str | None
    why: str

    def json(self) -> dict[str, Any]:
        return asdict(self)


class MetricsCollector:
    """Looks at the ledger each time it is asked."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def get_metrics(self, name: str) -> ConnectorMetrics:
        """Raises UnknownBee."""
        return _metrics(self._row(name))

    def all_metrics(self) -> list[ConnectorMetrics]:
        """Of every enabled bee, by name."""
        return [_metrics(row) for row in self._rows(None) if row.enabled]

    def is_healthy(self, name: str, within: float = 300.0) -> bool:
        """Whether its last complete flight ended less than so many seconds ago. Raises UnknownBee."""
        age = self._row(name).success_age
        return age is not None and age <= within

    def health(self) -> list[ConnectorHealth]:
        """Of every enabled bee, by name, judged by its own schedule; bees that cannot fly are among them."""
        with self._db.transaction() as tx:
            begin(tx, PATIENCE)
            rows = tx.run("connector_figures", bee=None, late=LATE).fetchall()
            flying, left_out, grounded = open_conditions(tx), slots_left_out(tx), why_grounded(tx)
            keyless = keyless_bees(tx)
        missing, told = missing_drivers(), []
        for row in rows:
            if row.enabled:
                why = grounded.pop(row.name, None) or missing.get(row.connector)
                flown = _health(row, why, flying.get(row.id), left_out.get(row.id, 0), keyless.get(row.id))
                told.append(flown)
        return sorted([*told, *starmap(_grounded, grounded.items())], key=lambda one: one.connectorName)

    def _row(self, name: str) -> Any:
        for row in self._rows(name):
            return row
        raise UnknownBee(f"no bee is named {name!r}: `hive bees` lists those that there are")

    def _rows(self, bee: str | None) -> list[Any]:
        with self._db.transaction() as tx:
            begin(tx, PATIENCE)
            return tx.run("connector_figures", bee=bee, late=LATE).fetchall()


def _metrics(row: Any) -> ConnectorMetrics:
    ended = row.complete + row.failed + row.cancelled
    return ConnectorMetrics(
        connectorName=row.name,
        lastPollTime=_instant(row.polled_at),
        lastSuccessTime=_instant(row.success_at),
        totalPolls=ended,
        successfulPolls=row.complete,
        failedPolls=row.failed,
        itemsFetched=row.read,
        itemsPublished=row.landed,
        averageLatencyMs=round(1000 * row.seconds / ended) if ended else 0,
    )


def _health(
    row: Any, cannot_fly: str | None, flying: Flying | None, left_out: int, keyless: Mapping[str, Any] | None
) -> ConnectorHealth:
    found = judge(
        cannot_fly=cannot_fly, paused=row.paused, patient=row.patient, open_breaker=row.open_breaker, flying=flying,
        late=row.late, last_state=row.last_state, last_error=row.last_error, left_out=left_out,
        keyless=keyless,
    )  # fmt: skip
    error = found.error or {}
    return ConnectorHealth(
        connectorName=row.name,
        healthy=found.state not in UNWELL,
        state=found.state,
        lastSuccessTime=_instant(row.success_at),
        secondsSinceSuccess=row.success_age,
        nextPollTime=_instant(row.next_slot),
        error=error.get("code"),
        advice=advice(found, row.name),
        why=found.why,
    )


def _grounded(name: str, why: str) -> ConnectorHealth:
    """A bee of the configuration that was left out, because it cannot fly."""
    then = "mend what is named, then `hive reload`"
    return ConnectorHealth(name, False, "misconfigured", None, None, None, "cannot_fly", then, why)


def _instant(at: dt.datetime | None) -> str | None:
    return None if at is None else at.astimezone(dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
