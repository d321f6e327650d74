"""What the ledger holds at one moment, as metrics need it: right whoever has flown, has died or is gone."""

from __future__ import annotations

import functools
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hive.condition import LATE, QUIET, Flying, keyless_bees, open_conditions, slots_left_out
from hive.ledger.db import Database, Transaction
from hive.registry import ConnectorInfo, connectors
from hive.versions import grounded_bees

_DRIVERS_LAST = 30.0
"""Seconds for which what is installed is not looked at again: that takes a tenth of a second."""
NEWEST = 2000
"""So many of the fleet's newest tasks tell how its workers do."""


@dataclass(frozen=True)
class Figures:
    """Rows of the statements in `hive/ledger/sql/metrics.sql`."""

    bees: list[Any]
    flights: Any
    faults: list[Any]
    taken_out: list[Any]
    queues: list[Any]
    workers: list[Any]
    flying: dict[int, Flying]
    """Bees with open flights, by their number."""
    left_out: dict[int, int]
    """Slots that came to nothing since a bee's last complete flight began, by its number."""
    keyless: dict[int, dict[str, Any]]
    """Errors of bees of whose last records none has the key, by their number."""
    grounded: dict[str, str]
    """Why bees cannot fly, by their name."""


def figures(db: Database, *, patience: float) -> Figures:
    """Raises UNREACHABLE, or the driver's error where a statement takes longer than `patience` seconds."""
    with db.transaction() as tx:
        begin(tx, patience)
        found = Figures(
            bees=tx.run("bee_figures", late=LATE).fetchall(),
            flights=tx.run("all_flights").fetchone(),
            faults=tx.run("faults_by_type").fetchall(),
            taken_out=tx.run("taken_out_by_kind").fetchall(),
            queues=tx.run("queue_figures").fetchall(),
            workers=tx.run("worker_figures", newest=NEWEST, quiet=QUIET, worker=None).fetchall(),
            flying=open_conditions(tx),
            left_out=slots_left_out(tx),
            keyless=keyless_bees(tx),
            grounded=why_grounded(tx),
        )
    with db.transaction() as tx:
        tx.run("on_disk")
    return found


def why_grounded(tx: Transaction) -> dict[str, str]:
    """Bees of the configuration in force that cannot fly, and why."""
    return {name: "; ".join(told["reasons"]) for name, told in grounded_bees(tx).items() if told["enabled"]}


def missing_drivers() -> dict[str, str]:
    """Connectors of which something is not installed, and how to install it; at most half a minute old."""
    return {
        name: about.missing for name, about in _known(int(time.monotonic() // _DRIVERS_LAST)).items() if about.missing
    }


def connector_versions() -> dict[str, str]:
    """Connectors and their versions; as old."""
    return {name: str(about.version) for name, about in _known(int(time.monotonic() // _DRIVERS_LAST)).items()}


@functools.lru_cache(maxsize=1)
def _known(_period: int) -> Mapping[str, ConnectorInfo]:
    return connectors()


def begin(tx: Transaction, patience: float) -> None:
    """All statements of the transaction see one moment, change nothing and take at most so many seconds each."""
    tx.psycopg.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
    tx.psycopg.execute("SELECT set_config('statement_timeout', %s, true)", [f"{int(patience * 1000)}ms"])
