"""Slot -> flight: the one way a flight begins, for schedules, people and events alike."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hive import crash
from hive.flight.told import tell_created
from hive.jars.jar import jar_of, jars_of, new_snapshot_jar
from hive.ledger.db import Transaction
from hive.ledger.hints import ADHOC, SCHEDULED, Hint
from hive.runtime import Runtime
from hive.vault.envelope import new_data_key, wrap

_TOGETHER = 500
"""Flights that are made with one statement."""


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


@dataclass(frozen=True)
class Wanted:
    """A flight to make for a slot. `delay`: seconds before its first task may be claimed (a schedule's jitter)."""

    bee: Bee
    slot_key: str
    delay: float = 0.0


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
    at: dt.datetime | None = None,
) -> Made | None:
    """Take the slot and make its flight; None when the slot was taken before.

    `at`: the instant that a snapshot's jar is named by, now if it is not given. The caller commits and sends the hints
    after.
    """
    wanted = Wanted(bee, slot_key, delay)
    if mode != "snapshot":
        jars = [jar_of(tx, bee.jar, bee.tenant)]
        made = _create(tx, rt, [wanted], jars, mode=mode, full_refresh=full_refresh, priority=priority)
        return made[0]
    tx.psycopg.execute("SAVEPOINT no_jar")
    jars = [new_snapshot_jar(tx, bee.name, bee.tenant, comb=_comb(tx, bee), scrubbed=True, at=at)]
    made = _create(tx, rt, [wanted], jars, mode=mode, full_refresh=full_refresh, priority=priority)
    if made[0] is None:
        tx.psycopg.execute("ROLLBACK TO SAVEPOINT no_jar")
    return made[0]


def _comb(tx: Transaction, bee: Bee) -> str:
    """The comb that the bee was made of; its own name where there was none."""
    row = tx.psycopg.execute("SELECT config #>> '{extras,comb,id}' FROM hive.bee WHERE id = %s", [bee.id]).fetchone()
    return str((row and row[0]) or bee.name)


def create_flights(
    tx: Transaction, rt: Runtime, wanted: Sequence[Wanted], *, priority: int = SCHEDULED
) -> list[Made | None]:
    """Continuous flights of many slots, in a few statements; None for each slot that was taken before."""
    names = {(w.bee.jar, w.bee.tenant) for w in wanted}
    jars = jars_of(tx, names)
    ids = [jars[w.bee.jar] for w in wanted]
    return _create(tx, rt, wanted, ids, mode="continuous", full_refresh=False, priority=priority) if wanted else []


def _create(
    tx: Transaction,
    rt: Runtime,
    wanted: Sequence[Wanted],
    jars: Sequence[int],
    *,
    mode: str,
    full_refresh: bool,
    priority: int,
) -> list[Made | None]:
    made: list[Made | None] = []
    for first in range(0, len(wanted), _TOGETHER):
        some = slice(first, first + _TOGETHER)
        made += _create_some(tx, rt, wanted[some], jars[some], mode=mode, full_refresh=full_refresh, priority=priority)
    return made


def _create_some(
    tx: Transaction,
    rt: Runtime,
    wanted: Sequence[Wanted],
    jars: Sequence[int],
    *,
    mode: str,
    full_refresh: bool,
    priority: int,
) -> list[Made | None]:
    flights = [uuid.uuid4() for _ in wanted]
    rows = tx.run(
        "create_flights",
        bees=[w.bee.id for w in wanted],
        slot_keys=[w.slot_key for w in wanted],
        flights=flights,
        modes=[mode] * len(wanted),
        full_refresh=full_refresh,
        jars=list(jars),
        config_versions=[w.bee.config_version for w in wanted],
        data_keys=[wrap(rt.key.key, new_data_key(), flight.bytes) for flight in flights],
        queues=[w.bee.queue for w in wanted],
        priority=priority,
        delays=[w.delay for w in wanted],
        room=rt.settings.hints_per_queue,
    ).fetchall()
    found = {row.flight: row for row in rows}
    made: list[Made | None] = []
    for flight in flights:
        row = found.get(flight)
        if row is None:
            made.append(None)
            continue
        hint = Hint(row.day, row.id, "plan", row.queue, flight, None, priority)
        made.append(Made(flight, [hint] if row.hinted else []))
    return made


def fly_now(
    rt: Runtime, bee: Bee, *, mode: str = "continuous", full_refresh: bool = False, request: str | None = None
) -> uuid.UUID:
    """An ad-hoc flight: made, committed and hinted. The same `request` twice gives one flight only."""
    slot_key = f"adhoc:{request or uuid.uuid4()}"
    # A jar may stay that its flight was not made for; a snapshot's may not.
    with rt.db.transaction() if mode == "snapshot" else rt.db.single() as tx:
        made = create_flight(tx, rt, bee, slot_key, mode=mode, full_refresh=full_refresh, priority=ADHOC)
        flight = made.flight if made else _flight_of_slot(tx, bee.id, slot_key)
    crash.point("create:after-commit")
    if made:
        tell_created(flight, bee.name, slot_key)
        rt.send(made.hints)
    return flight


def _flight_of_slot(tx: Transaction, bee: int, slot_key: str) -> uuid.UUID:
    row: Any = tx.psycopg.execute(
        "SELECT flight FROM hive.slot WHERE bee = %s AND slot_key = %s", [bee, slot_key]
    ).fetchone()
    found: uuid.UUID = row[0]
    return found
