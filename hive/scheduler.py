"""Due schedules become flights. A tick only does SQL; any number of schedulers may tick at once.

The slot's unique row is the lock: two schedulers that both find a schedule due make one flight. A broker that is down
loses nothing, because the hint is the last and least thing that happens.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

import structlog
from psycopg.types.json import Jsonb

from hive.config.schedule import Schedule, due, jitter_of, next_slot
from hive.errors import trail
from hive.flight.create import Bee, create_flight
from hive.ledger.db import UNREACHABLE, Transaction
from hive.ledger.hints import Hint
from hive.runtime import Runtime

log = structlog.get_logger()

_DUE = """
SELECT s.id AS schedule, s.name AS schedule_name, s.spec, s.next_slot,
       b.id, b.name, b.tenant, b.queue, b.config_version,
       coalesce(b.config -> 'honey_jar' ->> 'name', b.config ->> 'honey_jar', b.name) AS jar, clock_timestamp() AS now
  FROM hive.schedule s JOIN hive.bee b ON b.id = s.bee
 WHERE s.enabled AND b.enabled AND s.next_slot <= clock_timestamp()
 ORDER BY s.next_slot LIMIT 50 FOR UPDATE OF s SKIP LOCKED
"""


def tick(rt: Runtime) -> int:
    """Make the flights of all due slots. Gives how many schedules were due."""
    hints: list[Hint] = []
    with rt.db.transaction() as tx:
        from psycopg.rows import namedtuple_row

        rows: list[Any] = tx.psycopg.cursor(row_factory=namedtuple_row).execute(_DUE).fetchall()
        for row in rows:
            try:
                with tx.psycopg.transaction():
                    hints += _fly_due(tx, rt, row)
            except UNREACHABLE:
                raise
            except Exception as error:  # noqa: BLE001 - one schedule that cannot be read must not stop the others
                log.error(
                    "schedule.failed",
                    bee=row.name,
                    schedule=row.schedule_name,
                    kind=type(error).__name__,
                    trail=trail(error),
                )
    rt.send(hints)
    return len(rows)


def slots_to_fly(schedule: Schedule, next_due: dt.datetime, now: dt.datetime) -> tuple[list[dt.datetime], int]:
    """(the due slots that the catch-up rule flies, how many it leaves out). A slot due just now is never left out."""
    since = next_due - dt.timedelta(microseconds=1)
    latest = due(schedule, since, now, limit=max(1, schedule.catch_up_limit))
    if not latest:
        return [], 0
    if schedule.catch_up == "all":
        return latest, 0
    on_time = now - latest[-1] <= dt.timedelta(seconds=60)
    if schedule.catch_up == "none" and not on_time:
        return [], len(latest)
    return latest[-1:], len(latest) - 1


def _fly_due(tx: Transaction, rt: Runtime, row: Any) -> list[Hint]:
    schedule = Schedule.of(row.spec)
    slots, missed = slots_to_fly(schedule, row.next_slot, row.now)
    bee = Bee(row.id, row.name, row.tenant, row.queue, row.config_version, row.jar)
    hints: list[Hint] = []
    for slot in slots:
        key = f"{row.schedule_name}@{slot.isoformat()}"
        if _left_out(tx, schedule, bee):
            tx.run("skip_slot", bee=bee.id, slot_key=key)
            continue
        made = create_flight(tx, rt, bee, key, mode=schedule.mode, delay=jitter_of(schedule, bee.name, slot))
        if made is not None:
            hints += made.hints
            log.info("flight.created", bee=bee.name, flight=str(made.flight), slot=key)
    tx.psycopg.execute(
        "UPDATE hive.schedule SET next_slot = %s, missed = missed + %s WHERE id = %s",
        [next_slot(schedule, row.now), missed, row.schedule],
    )
    return hints


def _left_out(tx: Transaction, schedule: Schedule, bee: Bee) -> bool:
    """Whether the overlap rule leaves this slot out: `buffer_one` keeps one flight waiting, `skip` none."""
    if schedule.overlap == "allow":
        return False
    row = tx.run("open_flights", bee=bee.id, mode=schedule.mode).fetchone()
    assert row is not None
    return bool(row.open >= (2 if schedule.overlap == "buffer_one" else 1))


def set_schedules(tx: Transaction, bee: int, schedules: tuple[Schedule, ...]) -> None:
    """Give a bee exactly these schedules. One that did not change keeps its next slot."""
    now = tx.run("clock").fetchone()
    assert now is not None
    names = [s.name for s in schedules]
    tx.psycopg.execute("DELETE FROM hive.schedule WHERE bee = %s AND NOT name = ANY (%s)", [bee, names])
    for schedule in schedules:
        tx.psycopg.execute(
            "INSERT INTO hive.schedule (bee, name, spec, next_slot) VALUES (%(bee)s, %(name)s, %(spec)s, %(slot)s)"
            " ON CONFLICT (bee, name) DO UPDATE SET spec = excluded.spec, next_slot = excluded.next_slot"
            " WHERE schedule.spec IS DISTINCT FROM excluded.spec",
            {"bee": bee, "name": schedule.name, "spec": Jsonb(schedule.spec()), "slot": next_slot(schedule, now.now)},
        )
