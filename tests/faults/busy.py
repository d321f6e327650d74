"""Much to do: a backlog of scheduled flights, while people ask for theirs."""

from __future__ import annotations

import json
import random
import time

from tests.faults.fleet import Fleet, wait
from tests.faults.registry import Broken, fault

BACKLOG = 100_000
AT_ONCE = 2_000
ASKED = 20
"""Flights by hand whose time is taken, before and during."""
LONGEST = 60.0
SLOWER, LATER = 2.0, 1.0
"""A flight by hand may take so many times as long as without the backlog, and so many seconds more."""


@fault("backlog of 100,000 due tasks", "backlog", 15, spoils=True)
def backlog(fleet: Fleet, chance: random.Random) -> None:
    """Of a bee with little to read. What of it has not flown by then is thrown away at the end."""
    name, asked = (_bee(fleet, f"{word}-{chance.getrandbits(24):06x}") for word in ("backlog", "asked"))
    before = p95(seconds_by_hand(fleet, asked))
    began = time.monotonic()
    pile_up(fleet, name)
    fleet.say(f"{BACKLOG} flights were made in {time.monotonic() - began:.1f} s")
    try:
        during = p95(seconds_by_hand(fleet, asked))
        ((left,),) = fleet.rows(
            "SELECT count(*) FROM hive.task t JOIN hive.bee b ON b.id = t.bee WHERE b.name = %s AND t.state = 'queued'",
            name,
        )
    finally:
        throw_away(fleet, name)
    fleet.say(f"by hand, p95: {before:.2f} s without and {during:.2f} s with {left} tasks that wait")
    if left < BACKLOG // 2:
        raise Broken(f"the backlog was gone too soon: {left} of {BACKLOG} were left")
    if during > before * SLOWER + LATER:
        raise Broken(f"flights by hand took {during:.2f} s (p95) instead of {before:.2f} s")


def _bee(fleet: Fleet, name: str) -> str:
    """A bee with a folder of its own, which is empty."""
    (fleet.home / name).mkdir()
    source, rows = {"path": str(fleet.home / name)}, {"patterns": "*.jsonl", "key": "id"}
    fleet.hive.register_worker("local", {"name": name, "source": source, "streams": {"rows": rows}})
    return name


def seconds_by_hand(fleet: Fleet, name: str) -> list[float]:
    """How long flights take that somebody asks for and waits for, with one new record each, by the ledger's clock."""
    took = []
    for _ in range(ASKED):
        number = time.monotonic_ns()
        (fleet.home / name / f"{number}.jsonl").write_text(json.dumps({"id": number}) + "\n")
        flight = fleet.hive.fly(name).id
        ended = wait(f"flight {flight}", lambda flight=flight: _seconds(fleet, flight), limit=LONGEST, pause=0.1)
        took.append(float(ended[0][0]))
    return took


def _seconds(fleet: Fleet, flight: str) -> list[tuple[float]]:
    return fleet.rows(
        "SELECT extract(epoch FROM finished_at - created_at) FROM hive.flight"
        " WHERE id = %s AND state = 'complete' AND records_landed = 1",
        flight,
    )  # type: ignore[return-value]


def pile_up(fleet: Fleet, name: str) -> None:
    """Slots of one bee, as a schedule that was paused for long leaves them."""
    from hive.flight.create import Wanted, create_flights

    bee, rt = fleet.hive._bee(name), fleet.hive._rt
    for first in range(0, BACKLOG, AT_ONCE):
        with rt.db.transaction() as tx:
            create_flights(tx, rt, [Wanted(bee, f"backlog@{n:06}") for n in range(first, first + AT_ONCE)])


def throw_away(fleet: Fleet, name: str) -> None:
    fleet.rows(
        "WITH t AS (UPDATE hive.task t SET state = 'done', finished_at = clock_timestamp() FROM hive.bee b"
        " WHERE b.id = t.bee AND b.name = %s AND t.state = 'queued' RETURNING t.flight)"
        " UPDATE hive.flight f SET state = 'cancelled', finished_at = clock_timestamp() FROM t WHERE f.id = t.flight"
        " RETURNING 1",
        name,
    )


def p95(values: list[float]) -> float:
    return sorted(values)[int(0.95 * (len(values) - 1))]
