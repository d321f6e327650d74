"""The same rules against the real ledger: threads that stop at the protocol's named steps until they are told to go on.

A worker here is the real code with a runtime of its own. It stops where `HIVE_CRASH_AT` could kill it; it dies by an
exception that nothing catches, which ends its transactions as the end of its connections would.
"""

from __future__ import annotations

import json
import os
import threading
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from hive import crash
from hive.flight import process
from hive.janitor import Janitor, expire
from hive.ledger import partitions
from hive.runtime import Runtime
from tests.hive.nest import Nest, make_nest, nest, rows_of, write

__all__ = ["make_nest", "nest"]

PATIENCE = 20.0
STOPS = {
    "collect:before-claim", "collect:after-claim", "collect:before-seal-commit", "collect:after-seal-commit",
    "collect:before-ack", "process:before-claim", "process:after-claim", "process:before-landing",
    "process:after-commit", "process:before-ack",
}  # fmt: skip
"""Between transactions: whoever stops here holds no lock."""
IN_TRANSACTION = ["process:mid-write", "process:before-commit"]
numbers = st.integers(0, 99)
births = count(1)


class Killed(BaseException):
    """The process is gone. No handler of the code may see it."""


class Hand:
    """One worker with one hint: a thread that stops at each named step until it is told to go on."""

    by_thread: dict[int, Hand] = {}  # noqa: RUF012  one for each thread of the test's process

    def __init__(self, nest: Nest, rt: Runtime, task: Any) -> None:
        self.rt, self.doomed, self.die_at = rt, False, ""
        self.rt.owner = self.owner = f"hand:{next(births)}:1"
        self.beat()
        self._stopped, self._go = threading.Event(), threading.Event()
        self.failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(nest, task), daemon=True)

    def beat(self) -> None:
        with self.rt.db.transaction() as tx:
            tx.run("beat", id=self.owner, host="nest", pid=1, queues=[], lease=3600, rss=0)

    def _run(self, nest: Nest, task: Any) -> None:
        self.by_thread[threading.get_ident()] = self
        try:
            nest.work(task, self.rt)
        except Killed:
            pass
        except BaseException as error:  # noqa: BLE001 - the test's own thread reports it
            self.failure = error
        finally:
            del self.by_thread[threading.get_ident()]
            self._stopped.set()

    def step(self) -> bool:
        """Go on to the next stop. False: it has come to its end."""
        self._stopped.clear()
        if self._thread.ident is None:
            self._thread.start()
        else:
            self._go.set()
        assert self._stopped.wait(PATIENCE), "a worker neither stops nor ends"
        if self.failure is not None:
            raise self.failure
        return self._thread.is_alive() and self._thread.ident in self.by_thread

    def at(self, name: str) -> None:
        """Called in the worker's thread."""
        if name == self.die_at:
            raise Killed
        if name not in STOPS:
            return
        self._stopped.set()
        self._go.wait()
        self._go.clear()
        if self.doomed:
            raise Killed


def point(name: str) -> None:
    hand = Hand.by_thread.get(threading.get_ident())
    if hand is not None:
        hand.at(name)


class Fleet(RuleBasedStateMachine):
    """One bee at a time, three workers, any hint at any time."""

    nest: Nest
    runtimes: list[Runtime]

    def __init__(self) -> None:
        super().__init__()
        self.bee = f"bee{next(births)}"
        self.folder = self.nest.register(self.bee)
        self.files: list[Any] = []
        self.hands: dict[int, Hand] = {}
        self.versions = count(1)

    @initialize(keys=st.lists(st.integers(0, 2), min_size=1, max_size=7))
    def begin(self, keys: list[int]) -> None:
        self.offer(keys)
        self.nest.fly(self.bee)

    @rule(keys=st.lists(st.integers(0, 2), min_size=1, max_size=5))
    def offer(self, keys: list[int]) -> None:
        rows = [{"id": key, "version": next(self.versions)} for key in keys]
        self.files.append(write(self.folder / f"{len(self.files):03}.jsonl", rows))

    @rule()
    def somebody_flies_it(self) -> None:
        self.nest.fly(self.bee)

    @precondition(lambda self: len(self.hands) < len(self.runtimes))
    @rule(which=numbers)
    def a_hint_comes(self, which: int) -> None:
        """About a task that waits, or about any that there ever was."""
        every = self.nest.rows(
            "SELECT t.day, t.id, t.kind FROM hive.task t JOIN hive.bee b ON b.id = t.bee WHERE b.name = %s ORDER BY 2",
            self.bee,
        )
        due = self.nest.due()
        tasks = due if due and which % 4 else every
        place = next(n for n in range(len(self.runtimes)) if n not in self.hands)
        self.hands[place] = Hand(self.nest, self.runtimes[place], tasks[which % len(tasks)])
        self._step(place)

    @rule(which=numbers)
    def somebody_quick_works_a_task_off(self, which: int) -> None:
        due = self.nest.due()
        if due:
            self.nest.work(due[-1 - which % len(due)])

    @precondition(lambda self: self.hands)
    @rule(which=numbers, stops=st.integers(1, 5))
    def a_worker_goes_on(self, which: int, stops: int) -> None:
        place = self._chosen(which)
        for _ in range(stops):
            if place in self.hands:
                self._step(place)

    @precondition(lambda self: self.hands)
    @rule(which=numbers)
    def a_worker_dies(self, which: int) -> None:
        place = self._chosen(which)
        self.hands[place].doomed = True
        self._step(place)

    @precondition(lambda self: self.hands)
    @rule(which=numbers, where=st.sampled_from(IN_TRANSACTION))
    def a_worker_will_die_in_its_transaction(self, which: int, where: str) -> None:
        self.hands[self._chosen(which)].die_at = where

    @precondition(lambda self: self.hands)
    @rule(which=numbers)
    def a_worker_is_taken_for_dead(self, which: int) -> None:
        """It stood still longer than its lease, and will go on."""
        self.nest.bury(self.hands[self._chosen(which)].owner)
        expire(self.nest.rt)

    @precondition(lambda self: self.hands)
    @rule(which=numbers)
    def a_worker_beats_again(self, which: int) -> None:
        self.hands[self._chosen(which)].beat()

    @rule()
    def the_janitor_comes(self) -> None:
        Janitor(self.nest.rt).tick()

    @rule()
    def the_janitor_was_away(self) -> None:
        with self.nest.rt.db.transaction() as tx:
            tx.run("grant_grace", lease=3600, away=60)

    @rule()
    def time_passes(self) -> None:
        self.nest.hurry()

    @rule()
    def old_days_are_dropped(self) -> None:
        day = self.nest.one("SELECT (clock_timestamp() AT TIME ZONE 'UTC')::date")
        with self.nest.rt.db.engine.begin() as connection:
            partitions.drop_before(connection, day)

    def _chosen(self, which: int) -> int:
        return sorted(self.hands)[which % len(self.hands)]

    def _step(self, place: int) -> None:
        hand = self.hands[place]
        if not hand.step():
            del self.hands[place]
            self.nest.bury(hand.owner)
            hand.rt.working.clear()

    @invariant()
    def nothing_is_wrong(self) -> None:
        offered = [json.loads(line) for file in self.files for line in file.read_text().splitlines()]
        assert all(data in offered for data in self.nest.jar(self.bee).values()), "ghost"
        passed = "SELECT count(*) FROM hive.batch b JOIN hive.checkpoint c ON c.id = b.checkpoint"
        assert self.nest.one(f"{passed} WHERE b.seq <= c.landed_seq AND b.state = 'sealed'") == 0, "gap"
        assert self.nest.rows("SELECT state, error FROM hive.flight WHERE state IN ('failed', 'cancelled')") == []

    def teardown(self) -> None:
        """Nobody dies any more: everything comes to its end."""
        if not self.files:
            return
        while self.hands:
            hand = self.hands[min(self.hands)]
            hand.die_at = ""
            self._step(min(self.hands))
        self.nest.fly(self.bee)
        for _ in range(30):
            expire(self.nest.rt)
            self.nest.hurry()
            self.nest.drain()
            Janitor(self.nest.rt).tick()
            if not self.nest.one("SELECT count(*) FROM hive.flight WHERE state IN ('queued', 'running')"):
                break
        assert self.nest.jar(self.bee) == rows_of(*self.files), "lost"
        assert self.nest.rows("SELECT DISTINCT state FROM hive.flight") == [("complete",)]
        assert self.nest.rows("SELECT id FROM hive.task WHERE state <> 'done'") == [], "stuck"
        assert self.nest.rows("SELECT checkpoint FROM hive.lease WHERE task IS NOT NULL") == [], (
            "a lease is held for ever"
        )
        assert self.nest.one("SELECT count(*) FROM hive.payload") == 0
        assert self.nest.rows("SELECT id FROM hive.checkpoint WHERE landed_seq <> sealed_seq") == [], "gap"
        twice = self.nest.rows(
            "SELECT b.id FROM hive.batch b LEFT JOIN hive.receipt r ON r.checkpoint = b.checkpoint AND r.seq = b.seq"
            " GROUP BY b.id, b.rows HAVING b.rows IS DISTINCT FROM sum(r.row_to - r.row_from)"
        )
        assert twice == [], "lost or dup"


@pytest.fixture
def drive(make_nest, monkeypatch):
    """Run the machine on so many examples."""
    nest = make_nest(batch_rows=2)
    land = process._land

    def gated(work: Any) -> bool:
        point("process:before-landing")
        return land(work)

    monkeypatch.setattr(crash, "point", point)
    monkeypatch.setattr(process, "_land", gated)

    class Driven(Fleet):
        runtimes = [nest.runtime(f"hand{n}:0:1") for n in range(3)]  # noqa: RUF012

    Driven.nest = nest

    def driven(examples: int, **chosen: Any) -> Nest:
        options = {"stateful_step_count": 40, "deadline": None, "database": None, "derandomize": True, **chosen}
        quiet = {"suppress_health_check": list(HealthCheck), "report_multiple_bugs": False}
        run_state_machine_as_test(Driven, settings=settings(max_examples=examples, **options, **quiet))
        return nest

    return driven


def test_the_real_ledger_keeps_its_promises(drive):
    """More of it, with other seeds each time: HIVE_MODEL_EXAMPLES=500."""
    wanted = os.environ.get("HIVE_MODEL_EXAMPLES")
    nest = drive(int(wanted or "15"), derandomize=wanted is None)

    assert nest.one("SELECT count(*) FROM hive.flight") > 15
