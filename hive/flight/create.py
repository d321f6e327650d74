"""Slot -> flight: the one way a flight begins, for schedules, people and events alike."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

from hive import crash
from hive.jars.jar import jar_of, new_snapshot_jar
from hive.ledger.db import Transaction
from hive.ledger.hints import ADHOC, SCHEDULED, Hint
from hive.runtime import Runtime
from hive.vault.envelope import new_data_key, wrap


@dataclass(frozen=True)
class Bee:
    """What creating a flight needs to know of a bee."""

    id: int
    name: str
    tenant: str
    queue: str
    config_version: int
    jar: str


@dataclass(frozen=True)
class Made:
    """A new flight, and what to tell the broker once it is committed."""

    flight: uuid.UUID
    hints: list[Hint]


def create_flight(
    tx: Transaction,
    rt: Runtime,
    bee: Bee,
    slot_key: str,
    *,
    mode: str = "continuous",
    full_refresh: bool = False,
    priority: int = SCHEDULED,
    delay: float = 0.0,
) -> Made | None:
    """Take the slot and make its flight; None when the slot was taken before.

    `delay` seconds pass before the first task may be claimed (a schedule's jitter). The caller commits and sends the
    hints after.
    """
    flight = uuid.uuid4()
    if mode == "snapshot":
        tx.psycopg.execute("SAVEPOINT no_jar")
        jar = new_snapshot_jar(tx, bee.name, bee.tenant, scrubbed=True)
    else:
        jar = jar_of(tx, bee.jar, bee.tenant)
    row = tx.run(
        "create_flight",
        bee=bee.id,
        slot_key=slot_key,
        flight=flight,
        mode=mode,
        full_refresh=full_refresh,
        jar=jar,
        config_version=bee.config_version,
        data_key=wrap(rt.key.key, new_data_key(), flight.bytes),
        queue=bee.queue,
        priority=priority,
        delay=delay,
        room=rt.settings.hints_per_queue,
    ).fetchone()
    if row is None:
        if mode == "snapshot":
            tx.psycopg.execute("ROLLBACK TO SAVEPOINT no_jar")
        return None
    hint = Hint(row.day, row.id, "plan", bee.queue, flight, None)
    return Made(flight, [hint] if row.hinted else [])


def fly_now(
    rt: Runtime, bee: Bee, *, mode: str = "continuous", full_refresh: bool = False, request: str | None = None
) -> uuid.UUID:
    """An ad-hoc flight: made, committed and hinted. The same `request` twice gives one flight only."""
    slot_key = f"adhoc:{request or uuid.uuid4()}"
    with rt.db.transaction() as tx:
        made = create_flight(tx, rt, bee, slot_key, mode=mode, full_refresh=full_refresh, priority=ADHOC)
        flight = made.flight if made else _flight_of_slot(tx, bee.id, slot_key)
    crash.point("create:after-commit")
    if made:
        rt.send(made.hints)
    return flight


def _flight_of_slot(tx: Transaction, bee: int, slot_key: str) -> uuid.UUID:
    row: Any = tx.psycopg.execute(
        "SELECT flight FROM hive.slot WHERE bee = %s AND slot_key = %s", [bee, slot_key]
    ).fetchone()
    found: uuid.UUID = row[0]
    return found
