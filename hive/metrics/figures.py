"""What the ledger holds at one moment, as metrics need it: right whoever has flown, has died or is gone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hive.ledger.db import Database, Transaction

NEWEST = 2000
"""So many of the fleet's newest tasks tell how its workers do."""
LATE = 30.0
"""Seconds after which a due slot without a flight is late."""


@dataclass(frozen=True)
class Figures:
    """Rows of the statements in `hive/ledger/sql/metrics.sql`."""

    bees: list[Any]
    flights: Any
    faults: list[Any]
    taken_out: list[Any]
    queues: list[Any]
    workers: list[Any]


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
            workers=tx.run("worker_figures", newest=NEWEST, worker=None).fetchall(),
        )
    with db.transaction() as tx:
        tx.run("on_disk")
    return found


def begin(tx: Transaction, patience: float) -> None:
    """All statements of the transaction see one moment, change nothing and take at most so many seconds each."""
    tx.psycopg.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
    tx.psycopg.execute("SELECT set_config('statement_timeout', %s, true)", [f"{int(patience * 1000)}ms"])
