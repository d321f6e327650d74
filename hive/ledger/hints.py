"""Hints: which tasks to tell the broker about. The ledger chooses; sending is somebody else's (hive/celery.py)."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from hive.ledger.db import Transaction

ADHOC, SCHEDULED = 0, 1
"""Priorities: people do not wait behind schedules."""


@dataclass(frozen=True)
class Hint:
    """`Look at this task`: all that ever travels through the broker."""

    day: dt.date
    id: int
    kind: str
    queue: str
    flight: uuid.UUID
    parent: int | None
    priority: int

    @property
    def ref(self) -> str:
        """Day and number in one short word, such as 20261121.1234."""
        return f"{self.day:%Y%m%d}.{self.id}"

    @property
    def goes_first(self) -> bool:
        """Before all that waits in its queue: the beginning of a flight that somebody asked for, and nothing after it.

        Reading legs last long, so what waits may be an hour's work. A flight's later tasks take turns with all others:
        one that lands a day long must not keep what is scheduled waiting for that day.
        """
        return self.kind == "plan" and self.priority == ADHOC

    @property
    def celery_id(self) -> str:
        """A flight's first task has the flight's id: it is the root that Flower shows."""
        return celery_id(self.flight, self.id if self.parent is not None else None)


Send = Callable[[Sequence[Hint]], None]
"""Sends hints, best effort: whatever is lost, the janitor sends again."""


def celery_id(flight: uuid.UUID, task: int | None) -> str:
    return str(uuid.uuid5(flight, str(task)) if task is not None else flight)


def parse_ref(ref: str) -> tuple[dt.date, int]:
    """The day and number of `Hint.ref`. Raises ValueError for anything else."""
    day, _, number = ref.partition(".")
    return dt.datetime.strptime(day, "%Y%m%d").replace(tzinfo=dt.UTC).date(), int(number)


def choose(tx: Transaction, queue: str, room: int) -> list[Hint]:
    """The next hints of a queue that has room for them: ad-hoc tasks first, and of each kind bee by bee in turn."""
    row = tx.run("read_turn", queue=queue).fetchone()
    turn = row.turn if row else 0
    picked: list[Any] = []
    for priority in (ADHOC, SCHEDULED):
        for after in (turn, 0) if turn else (0,):
            if len(picked) < room:
                picked += tx.run("hint_next", queue=queue, room=room, turn=after, priority=priority).fetchall()
    if picked:
        tx.run("move_turn", queue=queue, turn=picked[-1].bee)
    return hints_of(picked)


def hints_of(rows: Sequence[object]) -> list[Hint]:
    return [Hint(r.day, r.id, r.kind, r.queue, r.flight, r.parent, r.priority) for r in rows]  # type: ignore[attr-defined]
