"""What flies next, and what was left out and why: the ledger's slots as people look at them."""

from __future__ import annotations

import datetime as dt
import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from psycopg.rows import namedtuple_row

from hive.config.schedule import Schedule, blacked_out, jitter_of, next_slot
from hive.ledger.db import Transaction
from hive.runtime import Runtime
from hive.scheduler import TOLD, schedule_of

_NEXT = """
SELECT b.name AS bee, s.name, s.spec::text AS spec, s.next_slot
  FROM hive.schedule s JOIN hive.bee b ON b.id = s.bee
 WHERE s.enabled AND b.enabled AND b.paused_at IS NULL AND (%(bee)s::int IS NULL OR b.id = %(bee)s)
 ORDER BY s.next_slot, b.name LIMIT %(most)s
"""
_MISSED = """
SELECT b.name AS bee, s.slot_key, s.outcome, s.created_at
  FROM hive.slot s JOIN hive.bee b ON b.id = s.bee
 WHERE s.flight IS NULL AND (%(bee)s::int IS NULL OR b.id = %(bee)s)
 ORDER BY s.created_at DESC, s.slot_key DESC LIMIT %(most)s
"""
_BLACKED_OUT = """
SELECT b.name AS bee, s.spec::text AS spec, s.settled, clock_timestamp() AS now
  FROM hive.schedule s JOIN hive.bee b ON b.id = s.bee
 WHERE s.enabled AND b.enabled AND b.paused_at IS NULL AND (%(bee)s::int IS NULL OR b.id = %(bee)s)
   AND s.settled IS NOT NULL AND s.spec -> 'blackout' <> '[]'
"""
_PAUSED = """
SELECT name, paused_at FROM hive.bee
 WHERE enabled AND paused_at IS NOT NULL AND (%(bee)s::int IS NULL OR id = %(bee)s) ORDER BY name
"""
WHY = {
    "overlap": "a flight was still open",
    "catch_up": "nobody was there at its time",
    "blackout": "it lies in a blackout",
    "paused": "the bee was paused",
}


@dataclass(frozen=True)
class Coming:
    """A slot to come; its flight starts at `starts_at`, which is later by the slot's jitter."""

    bee: str
    schedule: str
    slot: dt.datetime
    starts_at: dt.datetime


@dataclass(frozen=True)
class LeftOut:
    """A slot that was not flown. `why` is overlap, catch_up, blackout or paused."""

    bee: str
    schedule: str
    slot: dt.datetime
    why: str
    meaning: str


@dataclass(frozen=True)
class Slots:
    """`next` is in order of time, `missed` begins with the newest; `paused`: bee -> since when."""

    next: list[Coming]
    missed: list[LeftOut]
    paused: dict[str, dt.datetime]


def look(rt: Runtime, bee: int | None = None, most: int = 20) -> Slots:
    """`most` of the next slots of a bee or of all, as many that were left out lately, and who is paused."""
    with rt.db.transaction() as tx:
        return Slots(_coming(tx, bee, most), _left_out(tx, bee, most), _paused(tx, bee))


def _coming(tx: Transaction, bee: int | None, most: int) -> list[Coming]:
    """Of each schedule its next slot, lest a bee of every minute hide one of every day; then the ones after those."""
    ways = [_of_schedule(row) for row in _rows(tx, _NEXT, bee, most)]
    found = [one for way in ways for one in islice(way, 1)]
    merged = heapq.merge(*ways, key=_in_order)
    return sorted([*found, *islice(merged, most - len(found))], key=_in_order)


def _in_order(one: Coming) -> tuple[dt.datetime, str, str]:
    return one.slot, one.bee, one.schedule


def _of_schedule(row: Any) -> Iterator[Coming]:
    schedule = schedule_of(row.spec)
    slot: dt.datetime | None = row.next_slot
    while slot is not None:
        late = dt.timedelta(seconds=jitter_of(schedule, row.bee, slot))
        yield Coming(row.bee, schedule.name, slot, slot + late)
        slot = next_slot(schedule, slot)


def _left_out(tx: Transaction, bee: int | None, most: int) -> list[LeftOut]:
    found = []
    for row in _rows(tx, _MISSED, bee, most):
        name, _, instant = row.slot_key.rpartition("@")
        found.append(_told(row.bee, name, dt.datetime.fromisoformat(instant), row.outcome.partition(":")[2]))
    # What the running blackout took is written down at its end.
    for row in _rows(tx, _BLACKED_OUT, bee, most):
        schedule: Schedule = schedule_of(row.spec)
        taken = blacked_out(schedule, row.settled, row.now, min(most, TOLD))
        found += [_told(row.bee, schedule.name, slot, "blackout") for slot in taken]
    return sorted(found, key=lambda one: (one.slot, one.bee), reverse=True)[:most]


def _told(bee: str, schedule: str, slot: dt.datetime, why: str) -> LeftOut:
    return LeftOut(bee, schedule, slot, why, WHY.get(why, why))


def _paused(tx: Transaction, bee: int | None) -> dict[str, dt.datetime]:
    return {row.name: row.paused_at for row in _rows(tx, _PAUSED, bee, 0)}


def _rows(tx: Transaction, query: str, bee: int | None, most: int) -> list[Any]:
    cursor = tx.psycopg.cursor(row_factory=namedtuple_row)
    return cursor.execute(query.encode(), {"bee": bee, "most": most}).fetchall()
