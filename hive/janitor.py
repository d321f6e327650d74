"""The janitor: takes back what dead workers hold, hints what waits, closes what is done. Any number may run at once."""

from __future__ import annotations

import contextlib
import datetime as dt
import signal
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import psycopg
import sqlalchemy as sa
import structlog

from hive import watch, worker
from hive.errors import trail
from hive.flight.close import close_if_done
from hive.flight.pinned import pinned_config
from hive.flight.task import Task
from hive.flight.verdict import Verdict, backoff
from hive.flight.work import put_back, work
from hive.jars.index import Indexer
from hive.jars.own import Mover
from hive.ledger import partitions
from hive.ledger.db import UNREACHABLE, Transaction, is_away
from hive.ledger.hints import Hint, choose, hints_of
from hive.limits.policies import retry_of
from hive.logs import configure
from hive.runtime import Runtime, open_runtime
from hive.settings import settings

log = structlog.get_logger()

Lengths = Callable[[], dict[str, int]]
"""How many messages wait in each queue; raises OSError-like errors when the broker is out of reach."""

LOST_AFTER = 3.0
"""A hint of this age in an empty queue is lost."""
HINT_AGAIN = 60.0
"""A hint of this age is sent again whatever the queue looks like."""
MOST_STALLS = 2
"""Stalls in a row after which a task is not tried again: each of them held a process up for as long as may be."""


class Janitor:
    """One pass is `tick`. Keeps only its own clock: everything else is in the ledger."""

    def __init__(self, rt: Runtime, lengths: Lengths | None = None, *, works: bool = True) -> None:
        self._rt = rt
        self._lengths = lengths
        self._works = works
        self._watched = False
        self._last = time.monotonic()
        self._no_broker_since: float | None = None
        self._housekeeping = 0.0

    def tick(self) -> None:
        """One pass; every step is short and may be repeated."""
        now = time.monotonic()
        away, self._last = now - self._last, now
        if away > self._rt.settings.lease:
            self._grant_grace(away)
            return
        for step in (lambda: worker.bury_the_dead(self._rt.db), lambda: expire(self._rt), self._hint, self._close):
            _guarded(step)
        if now - self._housekeeping > 60 or not self._housekeeping:
            self._housekeeping = now
            _guarded(self._keep_house)

    def _grant_grace(self, away: float) -> None:
        with self._rt.db.transaction() as tx:
            tx.run("grant_grace", lease=self._rt.settings.lease, away=away)
        log.warning("janitor.was_away", seconds=round(away, 1))

    def _hint(self) -> None:
        room = self._rt.settings.hints_per_queue
        lengths = self._queue_lengths()  # before the transaction: a broker that hangs must not keep rows locked
        with self._rt.db.transaction() as tx:
            queues = [r.queue for r in tx.run("waiting_queues").fetchall()]
            hints = [h for queue in queues for h in choose(tx, queue, room)]
            hints += lost(tx, lengths, room) if lengths is not None else []
        self._rt.send(hints)
        if self._no_broker_since and time.monotonic() - self._no_broker_since > LOST_AFTER and self._works:
            self._work_alone()

    def _queue_lengths(self) -> dict[str, int] | None:
        if self._lengths is None:
            return None
        try:
            lengths = self._lengths()
        except Exception as error:  # noqa: BLE001 - whatever the transport raises means: no broker just now
            if self._no_broker_since is None:
                self._no_broker_since = time.monotonic()
                log.warning("broker.unreachable", kind=type(error).__name__)
            return None
        self._no_broker_since = None
        return lengths

    def _work_alone(self) -> None:
        """No broker: run what is due, through the functions that the Celery tasks call."""
        if not self._watched:
            self._watched = True
            watch.alone(self._rt)
        deadline = time.monotonic() + self._rt.settings.lease / 2
        while time.monotonic() < deadline:
            with self._rt.db.transaction() as tx:
                row = tx.psycopg.execute(
                    "SELECT day, id, kind FROM hive.task WHERE state = 'queued' AND available_at <= clock_timestamp()"
                    " ORDER BY kind DESC, priority, id LIMIT 1"
                ).fetchone()
            if row is None or not work(row[0], row[1], "process" if row[2] == "process" else "collect", self._rt):
                return
        self._last = time.monotonic()

    def _close(self) -> None:
        with self._rt.db.transaction() as tx:
            rows = tx.run("closable_flights").fetchall()
        for row in rows:
            close_if_done(self._rt.db, row.flight, row.day)

    def _keep_house(self) -> None:
        with self._rt.db.transaction() as tx:
            tx.run("forget_workers")
            tx.run("overdue_landings", limit=self._rt.settings.landing_limit)
            tx.run("forget_inbox", days=self._rt.settings.retention_days)
            clock = tx.run("clock").fetchone()
        with self._rt.db.transaction(limit=self._rt.settings.landing_limit) as tx:
            tx.run("forget_flights", days=self._rt.settings.history_days)
            tx.run("forget_slots", days=self._rt.settings.history_days)
            tx.run("forget_seen")
            tx.run("forget_rates")
            tx.run("forget_breakers")
        assert clock is not None
        with self._rt.db.engine.begin() as connection:
            partitions.ensure_days(connection, clock.today, days=8)
        with contextlib.suppress(sa.exc.OperationalError), self._rt.db.engine.begin() as connection:
            # A landing may hold a lock on an old day for minutes: whoever waits for it makes all claims wait behind.
            connection.exec_driver_sql("SET LOCAL lock_timeout = '200ms'")
            partitions.drop_before(connection, clock.today - dt.timedelta(days=self._rt.settings.retention_days))


def lost(tx: Transaction, lengths: dict[str, int], room: int) -> list[Hint]:
    """Hints that went out and are in no queue any more, again."""
    found: list[Hint] = []
    for row in tx.run("hinted_queues").fetchall():
        there = lengths.get(row.queue, 0)
        age = LOST_AFTER if there == 0 else HINT_AGAIN
        # As many messages as tasks: nothing is lost, nobody listens. More of them would help nobody.
        if row.age > age and there < row.outstanding:
            found += hints_of(tx.run("hint_again", queue=row.queue, age=age, room=room).fetchall())
    return found


def _guarded(step: Callable[[], object]) -> None:
    """A step that fails must not keep the others from their work; the database's absence concerns all of them."""
    try:
        step()
    except UNREACHABLE:
        raise
    except Exception as error:  # noqa: BLE001 - the other steps must have their turn
        log.error("janitor.failed", kind=type(error).__name__, trail=trail(error))


def run() -> None:
    """A process of its own: a pass each HIVE_JANITOR seconds until a signal ends it. Any number may run."""
    from hive.celery import queue_lengths, send

    configure()
    worker.return_memory()
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    rt = open_runtime(send=send, answer_limit=settings().answer_limit)
    beat: worker.Heartbeat | None = None
    keeper = Janitor(rt, queue_lengths)
    indexer = Indexer(rt.db)
    if rt.settings.search:
        indexer.start()
    mover = Mover(rt.db, rt.settings.own_table)
    mover.start()
    while not stop.is_set():
        try:
            if beat is None:
                beat = worker.begin(rt)
                worker.say_ready(rt.settings)
            keeper.tick()
        except UNREACHABLE:
            log.warning("database.unreachable", where="janitor")
        stop.wait(rt.settings.janitor)
    indexer.stop()
    mover.stop()
    if beat is not None:
        beat.stop()
    rt.close()


def expire(rt: Runtime) -> int:
    """Take back the tasks of workers that stopped beating: again, in halves, or dead. Gives how many."""
    with rt.db.single() as tx:
        tx.run("frozen_landings")
    hints: list[Hint] = []
    with rt.db.transaction() as tx:
        rows = tx.run("expired_tasks").fetchall()
        for row in rows:
            task = Task.from_row(row)
            hints += _take_back(tx, task, rt, row.last_error)
            log.warning("task.taken_back", task=task.ref, kind=task.kind, crashes=task.crashes + 1)
    rt.send(hints)
    return len(rows)


def _take_back(tx: Transaction, task: Task, rt: Runtime, noted: dict[str, Any] | None) -> list[Hint]:
    """One task that cannot be settled as it should is only queued again: it must not hold up the others."""
    verdict = _crashed(task, rt.settings.max_attempts, noted or {}, allowed=_allowed(tx, task, rt))
    try:
        with tx.psycopg.transaction():
            return put_back(tx, task, rt, verdict, crashed=True)
    except UNREACHABLE:
        raise
    except Exception as error:  # noqa: BLE001 - whatever it is, the other tasks must be taken back
        log.error("task.unsettled", task=task.ref, bee=task.bee_name, kind=type(error).__name__, trail=trail(error))
    bare = replace(verdict, retry=True, after=backoff(task.crashes + 1), bare=True)
    try:
        with tx.psycopg.transaction():
            return put_back(tx, task, rt, bare, crashed=True)
    except psycopg.Error as error:
        if is_away(error):
            raise
        log.error("task.unsettled", task=task.ref, bee=task.bee_name, kind=type(error).__name__, trail=trail(error))
    return []  # the next pass tries again


def _allowed(tx: Transaction, task: Task, rt: Runtime) -> int:
    """Attempts that the hive or the bee's own policy allows, whichever are more."""
    most = rt.settings.max_attempts
    if task.stage != "collect" or task.crashes or task.attempt < most:
        return most
    try:
        with tx.psycopg.transaction():
            return max(most, retry_of(pinned_config(tx, task.bee, task.config_version)[1], most).attempts)
    except UNREACHABLE:
        raise
    except Exception:  # noqa: BLE001 - of a bee that is gone or misread the hive's own number holds
        return most


def _crashed(task: Task, max_attempts: int, noted: Mapping[str, Any], *, allowed: int) -> Verdict:
    """`noted`: the task's last error. One of this very attempt is the cause of death, as the parent noted it down.

    Crashes and errors count together: a bee that fails in both ways has no more runs than one that fails in one. Until
    it has crashed, it has as many as its own policy allows (`allowed`).
    """
    error: dict[str, Any] = {
        "class": "WorkerLost",
        "code": "worker_lost",
        "message": "the worker process died or stopped answering",
        "place": "",
        "advice": "look for the out-of-memory killer, and in the worker's log for what was said last",
    }
    if noted.get("attempt") == task.attempt:
        error = {name: told for name, told in noted.items() if name not in ("attempt", "stalls")}
    spent = task.attempt >= (max_attempts if task.crashes else allowed)
    if stalls := noted.get("stalls"):
        error["stalls"] = stalls
        spent = spent or stalls >= MOST_STALLS
    again = task.crashes + 1 < max_attempts and not spent
    return Verdict(retry=again, after=0.0 if task.crashes == 0 else backoff(task.crashes), counts=True, error=error)
