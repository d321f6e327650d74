"""Due schedules become flights. A tick only does SQL; any number of schedulers may tick at once.

The slot's unique row is the lock: two schedulers that both find a schedule due make one flight. A broker that is down
loses nothing, because the hint is the last and least thing that happens.

What is left out is written down too, as a slot with the reason: `skipped:overlap`, `skipped:catch_up`,
`skipped:blackout` or `skipped:paused`.
"""

from __future__ import annotations

import datetime as dt
import functools
import itertools
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import orjson
import structlog
from psycopg.types.json import Jsonb

from hive import crash
from hive.config.schedule import Schedule, blacked_out, due, jitter_of, next_slot
from hive.errors import trail
from hive.flight.create import Bee, Made, Wanted, create_flight, create_flights
from hive.flight.told import tell_created
from hive.ledger.db import UNREACHABLE, Transaction
from hive.ledger.hints import Hint
from hive.runtime import Runtime

log = structlog.get_logger()

_BATCH = 1000
"""Schedules that one transaction settles."""
TOLD = 20
"""Of the slots of one schedule that are left out at once, the latest so many are written down and counted: after an
outage of weeks the first tick must not take minutes."""
ON_TIME = dt.timedelta(seconds=60)
"""A slot of this age at most is not a missed one."""
AHEAD = dt.timedelta(seconds=60)
"""A schedule that was settled so much later than now was settled by a clock that has been set back since."""
_LOOK = 10.0
"""Seconds between two looks for such schedules: it reads all of them."""
_looked = float("-inf")


class Place(NamedTuple):
    """Where a round stands in the order of due schedules."""

    slot: dt.datetime
    schedule: int


def tick(rt: Runtime, now: dt.datetime | None = None) -> int:
    """Make the flights of all due slots. Gives how many schedules were due.

    `now` is for simulations: the database's clock decides where it is not given.
    """
    total = 0
    past: Place | None = None
    while True:
        count, past, hints = _batch(rt, now, past)
        if hints:
            crash.point("schedule:after-commit")
        rt.send(hints)
        total += count
        if count < _BATCH:
            return total


def _is_time_to_look() -> bool:
    global _looked  # noqa: PLW0603 - a process looks at its own pace, by a clock that nobody sets
    if time.monotonic() - _looked < _LOOK:
        return False
    _looked = time.monotonic()
    return True


def _set_back(tx: Transaction, now: dt.datetime | None) -> None:
    """Count the slots from now again of schedules that a clock moved on which ran ahead, and was set right since.

    What was left out of the time between may fly when it comes; a slot that was flown ahead of time is not flown twice.
    """
    moved: list[tuple[int, dt.datetime | None, int, dt.datetime]] = []
    for row in tx.run("settled_ahead", now=now, ahead=AHEAD, most=_BATCH).fetchall():
        following, reopened = row.next_slot if row.enabled else None, 0
        try:
            schedule = schedule_of(row.spec)
            if not row.enabled or row.next_slot > row.now:
                following = next_slot(schedule, row.now)
            since = slot_key(schedule, row.now)
            reopened = tx.run("reopen_slots", bee=row.bee, prefix=f"{schedule.name}@", since=since).rowcount
        except ValueError as error:  # one that cannot be read must not come again and again
            _say_failed(row, error)
        log.warning("schedule.set_back", bee=row.name, schedule=row.schedule_name, ahead=str(row.settled - row.now))
        moved.append((row.schedule, following, -min(row.missed, reopened), row.now))
    if moved:
        _move(tx, moved)


def _move(tx: Transaction, moved: Iterable[tuple[int, dt.datetime | None, int, dt.datetime]]) -> None:
    ids, slots, missed, settled = zip(*moved, strict=True)
    tx.run("move_schedules", ids=list(ids), slots=list(slots), missed=list(missed), settled=list(settled))


def _batch(rt: Runtime, now: dt.datetime | None, past: Place | None) -> tuple[int, Place | None, list[Hint]]:
    """One transaction: (how many schedules were due, where to go on, what to tell the broker)."""
    with rt.db.transaction() as tx:
        if past is None and (now is not None or _is_time_to_look()):
            _set_back(tx, now)
        rows = tx.run(
            "due_schedules",
            now=now,
            past_slot=past and past.slot,
            past=past and past.schedule,
            most=_BATCH,
        ).fetchall()
        if not rows:
            return 0, past, []
        # The planner takes the lists of a batch for short ones.
        tx.psycopg.execute("SELECT set_config('enable_nestloop', 'off', true)")
        try:
            with tx.psycopg.transaction():
                hints = _settle(tx, rt, rows)
        except UNREACHABLE:
            raise
        except Exception as error:  # noqa: BLE001 - one schedule that cannot be settled must not stop the others
            if len(rows) == 1:
                _say_failed(rows[0], error)
                hints = []
            else:
                hints = [hint for row in rows for hint in _settle_alone(tx, rt, row)]
        return len(rows), Place(rows[-1].next_slot, rows[-1].schedule), hints


def _settle_alone(tx: Transaction, rt: Runtime, row: Any) -> list[Hint]:
    try:
        with tx.psycopg.transaction():
            return _settle(tx, rt, [row])
    except UNREACHABLE:
        raise
    except Exception as error:  # noqa: BLE001 - see above
        _say_failed(row, error)
        return []


def _say_failed(row: Any, error: Exception) -> None:
    log.error(
        "schedule.failed", bee=row.name, schedule=row.schedule_name, kind=type(error).__name__, trail=trail(error)
    )


@dataclass
class _Plan:
    """What a batch writes."""

    wanted: list[Wanted] = field(default_factory=list)
    snapshots: list[tuple[Bee, str, float]] = field(default_factory=list)
    skipped: list[tuple[int, str, str]] = field(default_factory=list)
    moved: list[tuple[int, dt.datetime | None, int, dt.datetime]] = field(default_factory=list)

    def skip(self, bee: Bee, schedule: Schedule, slots: Iterable[dt.datetime], why: str) -> None:
        self.skipped += [(bee.id, slot_key(schedule, slot), why) for slot in slots]


def _settle(tx: Transaction, rt: Runtime, rows: Sequence[Any]) -> list[Hint]:
    """Fly or leave out the due slots of some schedules, and move these on."""
    plan = _Plan()
    counted = tx.run("open_flights", bees=list({row.id for row in rows})).fetchall()
    under_way = Counter({(row.bee, row.mode): row.open for row in counted})
    for row in rows:
        try:
            _plan(plan, row, under_way)
        except Exception as error:  # noqa: BLE001 - one schedule that cannot be read must not stop the others
            _say_failed(row, error)
    if not plan.moved:
        return []
    made: list[Made | None] = create_flights(tx, rt, plan.wanted)
    made += [create_flight(tx, rt, bee, key, mode="snapshot", delay=delay) for bee, key, delay in plan.snapshots]
    _skip(tx, plan.skipped)
    _move(tx, plan.moved)
    keys = [(w.bee.name, w.slot_key) for w in plan.wanted] + [(bee.name, key) for bee, key, _ in plan.snapshots]
    for (name, key), one in zip(keys, made, strict=True):
        if one is not None:
            tell_created(one.flight, name, key)
    return [hint for one in made if one is not None for hint in one.hints]


def _plan(plan: _Plan, row: Any, under_way: Counter[tuple[int, str]]) -> None:
    """`under_way` counts what is planned, too."""
    schedule = schedule_of(row.spec)
    bee = Bee(row.id, row.name, row.tenant, row.queue, row.config_version, row.jar)
    slots, missed = slots_to_fly(schedule, row.next_slot, row.now)
    dark = blacked_out(schedule, row.settled or row.next_slot, row.now, TOLD)
    following = next_slot(schedule, row.now)
    before = [slot for slot in missed if row.settled is not None and slot <= row.settled]
    plan.skip(bee, schedule, before, "paused")  # `resume` had chosen it, and then a later one came due, too
    plan.skip(bee, schedule, missed[len(before) :], "catch_up")
    plan.skip(bee, schedule, dark, "blackout")
    mode = (bee.id, schedule.mode)
    before_these = under_way[mode]
    for slot in slots:
        # Slots that are caught up are one another's predecessors: the stream's lease lets them fly in turn.
        counted = before_these if schedule.catch_up == "all" else under_way[mode]
        if counted >= _ROOM[schedule.overlap]:
            plan.skip(bee, schedule, [slot], "overlap")
            continue
        under_way[mode] += 1
        key, delay = slot_key(schedule, slot), jitter_of(schedule, bee.name, slot)
        if schedule.mode == "snapshot":
            plan.snapshots.append((bee, key, delay))
        else:
            plan.wanted.append(Wanted(bee, key, delay))
    plan.moved.append((row.schedule, following, len(missed), row.now))


_ROOM = {"skip": 1, "buffer_one": 2, "allow": float("inf")}
"""Flights of a bee and mode that may be under way: `buffer_one` keeps one waiting, `skip` none."""


def slot_key(schedule: Schedule, slot: dt.datetime) -> str:
    """By which a slot is known: the schedule's name and the instant."""
    return f"{schedule.name}@{slot.astimezone(dt.UTC).isoformat()}"


def slots_to_fly(
    schedule: Schedule, next_due: dt.datetime, now: dt.datetime
) -> tuple[list[dt.datetime], list[dt.datetime]]:
    """(the due slots that the catch-up rule flies, the latest `TOLD` of those that it leaves out), oldest first.

    A slot that is due just now is never left out.
    """
    since = next_due - dt.timedelta(microseconds=1)
    most = schedule.catch_up_limit if schedule.catch_up == "all" else 1
    latest = due(schedule, since, now, limit=most + TOLD)
    if not latest:
        return [], []
    if schedule.catch_up == "all":
        return latest[-most:], latest[:-most]
    if schedule.catch_up == "none" and now - latest[-1] > ON_TIME:
        return [], latest
    return latest[-1:], latest[:-1]


@functools.lru_cache(maxsize=20_000)
def schedule_of(spec: str) -> Schedule:
    """A schedule from the ledger's text. Raises pydantic's ValidationError."""
    return Schedule.of(orjson.loads(spec))


def _skip(tx: Transaction, skipped: Sequence[tuple[int, str, str]]) -> None:
    if skipped:
        bees, keys, whys = zip(*skipped, strict=True)
        tx.run("skip_slots", bees=list(bees), slot_keys=list(keys), whys=list(whys))


def until_next(rt: Runtime) -> float | None:
    """Seconds until the next slot; None: no slot is to come."""
    with rt.db.single() as tx:
        row = tx.run("next_wake").fetchone()
    return None if row is None else max(0.0, row.seconds)


def set_all_schedules(tx: Transaction, wanted: Mapping[int, Sequence[Schedule]]) -> None:
    """Give bees exactly these schedules, in one statement. One that did not change keeps its next slot."""
    clock = tx.run("clock").fetchone()
    assert clock is not None
    rows = [(bee, schedule) for bee, schedules in wanted.items() for schedule in schedules]
    tx.run(
        "set_schedules",
        all=list(wanted),
        now=clock.now,
        bees=[bee for bee, _ in rows],
        names=[schedule.name for _, schedule in rows],
        specs=[Jsonb(schedule.spec()) for _, schedule in rows],
        slots=[next_slot(schedule, clock.now) for _, schedule in rows],
    )


def pause(tx: Transaction, bee: int) -> bool:
    """No schedule and no event flies this bee until `resume`. Gives False where it was paused before.

    Flights that are under way go on, and people may still fly it.
    """
    return bool(
        tx.psycopg.execute(
            "UPDATE hive.bee SET paused_at = clock_timestamp() WHERE id = %s AND paused_at IS NULL", [bee]
        ).rowcount
    )


def resume(tx: Transaction, bee: int, now: dt.datetime | None = None) -> bool:
    """Let a bee fly again. Gives False where it was not paused.

    Of the slots that came meanwhile those fly that its catch-up rule says; the others are written down as missed.
    Events that came meanwhile make it fly once, unless the rule is `none`.
    """
    row = tx.psycopg.execute(
        "UPDATE hive.bee SET paused_at = NULL WHERE id = %(bee)s AND paused_at IS NOT NULL"
        " RETURNING name, coalesce(config ->> 'catch_up', 'last'), coalesce(%(now)s, clock_timestamp())",
        {"bee": bee, "now": now},
    ).fetchone()
    if row is None:
        return False
    _, catch_up, at = row
    schedules = tx.psycopg.execute(
        "SELECT id, spec::text, next_slot FROM hive.schedule WHERE bee = %s AND enabled AND next_slot <= %s FOR UPDATE",
        [bee, at],
    ).fetchall()
    for number, spec, slot in schedules:
        schedule = schedule_of(spec)
        flown, missed = slots_to_fly(schedule, slot, at)
        _skip(tx, [(bee, slot_key(schedule, one), "paused") for one in missed])
        following = flown[0] if flown else next_slot(schedule, at)
        tx.run("move_schedules", ids=[number], slots=[following], missed=[len(missed)], settled=[at])
    if catch_up == "none":
        tx.run("answered", bees=[bee])
    return True


class TooMany(ValueError):
    """The range holds more slots than were allowed."""


def backfill(
    rt: Runtime,
    bee: Bee,
    since: dt.datetime,
    until: dt.datetime,
    *,
    schedule: str | None = None,
    most: int = 1000,
) -> list[str]:
    """Make the flights of the slots from `since` up to `until` that were not flown; gives their slot keys, in order.

    A slot that was left out is flown now; one that was flown is not flown twice, however often this is called. Raises
    LookupError for a schedule that the bee does not have, ValueError for a range that is none or not past, TooMany.
    """
    if since.tzinfo is None or until.tzinfo is None:
        raise ValueError("an instant without a time zone is no instant: write one such as 2026-03-01T00:00:00Z")
    if until <= since:
        raise ValueError(f"the range ends at {until.isoformat()}, which is not later than {since.isoformat()}")
    hints: list[Hint] = []
    made: list[str] = []
    with rt.db.transaction() as tx:
        clock = tx.run("clock").fetchone()
        assert clock is not None
        if until > clock.now:
            raise ValueError(f"the range ends at {until.isoformat()}, and that is still to come: the slots will fly")
        slots = _slots_between(_schedules(tx, bee, schedule), since, until, most)
        keys = [(slot, one, slot_key(one, slot)) for slot, one in slots]
        # What was left out is open again; what a flight has stays taken.
        tx.psycopg.execute(
            "DELETE FROM hive.slot WHERE bee = %s AND slot_key = ANY (%s) AND flight IS NULL",
            [bee.id, [key for _, _, key in keys]],
        )
        for snapshot, group in itertools.groupby(keys, key=lambda one: one[1].mode == "snapshot"):
            part = list(group)
            names = [key for _, _, key in part]
            if snapshot:
                done = [create_flight(tx, rt, bee, name, mode="snapshot", at=slot) for slot, _, name in part]
            else:
                done = create_flights(tx, rt, [Wanted(bee, name) for name in names])
            for name, one in zip(names, done, strict=True):
                if one is not None:
                    made.append(name)
                    hints += one.hints
    rt.send(hints)
    return made


def _schedules(tx: Transaction, bee: Bee, name: str | None) -> list[Schedule]:
    rows = tx.psycopg.execute("SELECT spec::text FROM hive.schedule WHERE bee = %s ORDER BY name", [bee.id]).fetchall()
    found = {one.name: one for one in (schedule_of(spec) for (spec,) in rows)}
    if not found:
        raise LookupError(f"bee {bee.name!r} has no schedule: there are no slots to fly")
    if name is not None and name not in found:
        raise LookupError(f"bee {bee.name!r} has no schedule {name!r}: it has {', '.join(found)}")
    return [found[name]] if name is not None else list(found.values())


def _slots_between(
    schedules: Iterable[Schedule], since: dt.datetime, until: dt.datetime, most: int
) -> list[tuple[dt.datetime, Schedule]]:
    slots: list[tuple[dt.datetime, Schedule]] = []
    for schedule in schedules:
        slot = next_slot(schedule, since - dt.timedelta(microseconds=1))
        while slot is not None and slot <= until:
            slots.append((slot, schedule))
            if len(slots) > most:
                raise TooMany(
                    f"the range holds more than {most} slots: choose a shorter one or a single schedule, or allow more "
                    "with --most"
                )
            slot = next_slot(schedule, slot)
    return sorted(slots, key=lambda pair: (pair[0], pair[1].name))
