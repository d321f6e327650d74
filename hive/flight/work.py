"""What a hint leads to: claim the task, run it, write down what became of it, hint the next one.

Celery tasks call `work`; so does the janitor when there is no broker. A hint may come ten times, late or for nothing:
the claim decides.
"""

from __future__ import annotations

import datetime as dt
import time
from contextlib import suppress
from typing import Any

import psycopg
import structlog
from psycopg.types.json import Jsonb

from bees.core import spans
from bees.core.resilience.retry import RetryPolicy
from hive import crash
from hive.config.shape import version_of
from hive.errors import LeaseHeld, StaleFence, Superseded, TooEarly, trail
from hive.flight.bees import OpenBee
from hive.flight.cancel import FlightClosed, stop
from hive.flight.close import close_if_done
from hive.flight.collect import collect
from hive.flight.pinned import pinned_config
from hive.flight.plan import plan, take_lease
from hive.flight.task import Left, Task
from hive.flight.together import read_together
from hive.flight.told import tell_started
from hive.flight.verdict import SHORTEST_WAIT, Verdict, backoff, describe, judge, refuses_credentials
from hive.ledger.db import UNREACHABLE, Transaction
from hive.ledger.hints import Hint, choose
from hive.limits.breaker import BreakerOpen, guarded
from hive.limits.policies import retry_of
from hive.runtime import Runtime
from hive.telemetry import traces

log = structlog.get_logger()

CRASHES_BEFORE_HALVING = 2
MOST_UNSETTLED = 3
"""Verdicts that could not be written, each simpler than the one before."""
LITTLE = 64 << 10
"""Bytes of a sealed batch that comes with the claim of its task, and not by a statement of its own."""
MOST_PARTS = 256
"""After so many parts of which none landed, a batch is set aside as it is, and not cut into single records."""


def work(day: dt.date, number: int, stage: str, rt: Runtime) -> bool:
    """Run one task if it may be claimed. False: there was nothing to do, and nothing happened."""
    crash.point(f"{stage}:before-claim")
    task = claim(day, number, rt, stage, full=stage == "collect" and rt.backlog.is_full())
    if task is None:
        return False
    rt.moved()
    rt.working.add(number)
    rt.begins()
    with traces.about(task):
        try:
            crash.point(f"{stage}:after-claim")
            left = run(task, rt)
        finally:
            rt.working.discard(number)
        if left.waiting:
            hint_next(rt, task.queue)
        if not left.open:
            close_if_done(rt.db, task.flight, task.day)
    crash.point(f"{stage}:before-ack")
    return True


def claim(day: dt.date, number: int, rt: Runtime, stage: str | None = None, *, full: bool = False) -> Task | None:
    """The right to run a task; None for a duplicate, stale or not yet allowed hint.

    `stage`: what the hint is for, None for whatever the task is. `full`: nothing may be read now.
    """
    limits = {"flight_bytes": rt.settings.pending_bytes_per_flight, "full": full, "little": LITTLE}
    with rt.db.single() as tx:
        try:
            row = tx.run("claim", day=day, id=number, owner=rt.owner, stage=stage, **limits).fetchone()
        except psycopg.errors.UndefinedTable:
            return None  # a hint of a day that was forgotten long ago
        if row is None:
            tx.run("defer", day=day, id=number)
            return None
    if row.starts is not None:
        tell_started(row.flight, row.bee_name, row.starts)
    return Task.from_row(row)


def find_room(task: Task, rt: Runtime) -> bool:
    """Take the source's slot and the stream's lease. Where none is left, the claim goes back and nothing counts."""
    if task.stage == "process" or (task.kind == "plan" and not task.source):
        return True
    with rt.db.transaction() as tx:
        task.hold(tx)
        if _source_slot(tx, task) and (task.kind == "plan" or take_lease(tx, task)):
            return True
        task.let_go(tx)
        tx.run("requeue", day=task.day, id=task.id, given_back=1, crashed=0, after=1.0, error=None)
    return False


def _source_slot(tx: Transaction, task: Task) -> bool:
    return not task.source or tx.run("take_source_slot", source=task.source, id=task.id).fetchone() is not None


def run(task: Task, rt: Runtime) -> Left:
    """Do a claimed task, whatever happens."""
    try:
        if not find_room(task, rt):
            return Left(waiting=True, open=True)
        return _do(task, rt)
    except StaleFence as error:
        log.warning("task.stale", task=task.ref, bee=task.bee_name, reason=error.code)
        # Only the stream may be lost and the task still be ours: it goes back, to begin where the stream stands now.
        return settle(task, rt, Verdict(retry=True, after=1.0, counts=False, error=describe(error)))
    except Superseded as error:
        log.info("flight.superseded", task=task.ref, bee=task.bee_name)
        return _end_reading(task, rt, error)
    except UNREACHABLE:
        log.warning("database.unreachable", task=task.ref, bee=task.bee_name)
        return settle(task, rt, Verdict(retry=True, after=1.0, counts=False, error={"code": "database_unreachable"}))
    except (LeaseHeld, TooEarly) as error:
        return settle(task, rt, Verdict(retry=True, after=1.0, counts=False, error=describe(error)))
    except BreakerOpen as error:
        wait = max(SHORTEST_WAIT, error.after or 0.0)
        told = describe(error)
        return settle(task, rt, Verdict(True, wait, counts=False, error=told, source=error.whole, whole=True))
    except Exception as error:  # noqa: BLE001 - whatever a task raises becomes a verdict in the ledger
        renewed = refuses_credentials(error) and _has_new_credentials(task, rt)
        most = rt.settings.max_attempts
        verdict = judge(error, attempt=task.attempt, max_attempts=most, renewed=renewed, policy=_policy(task, rt))
        _log(task, error, verdict)
        if task.stage == "collect":
            rt.bees.drop(task.bee, _version(task))
        return settle(task, rt, verdict)


def _end_reading(task: Task, rt: Runtime, error: Superseded) -> Left:
    """What this flight has sealed lands; the flight of the newer configuration reads the rest."""
    with suppress(FlightClosed):
        stop(rt, task.flight, {**describe(error), "advice": "nothing: the newer flight reads the stream anew"})
    return Left(waiting=True)


def _do(task: Task, rt: Runtime) -> Left:
    if task.kind == "process":
        from hive.flight.process import process  # here, so that those who only read carry no scrubber

        return process(task, rt)
    bee = bee_of(task, rt)
    if spans.wanted():
        traces.note({"connector.type": bee.connector, "connector.version": str(version_of(type(bee.bee)))})
        if bee.breaker is not None:
            traces.note({"circuit.state": bee.breaker.state})
    with guarded(bee.breaker):
        moment = bee.bee.one_moment()
        if moment is not None:
            return read_together(task, bee, rt, moment)
        if task.kind == "plan":
            mine, point = plan(task, bee, rt)
            return collect(mine, bee, rt, point)
        return collect(task, bee, rt)


def bee_of(task: Task, rt: Runtime) -> OpenBee:
    """The bee that a task is for, opened if it is not. Raises GiveUp for one that cannot be made."""
    bee = rt.bees.get(task.bee, _version(task), task.bee_name, task.tenant, lambda: _config(task, rt))
    if bee.bee.bee_type == "database":
        rt.pool.obey()
    return bee


def _policy(task: Task, rt: Runtime) -> RetryPolicy | None:
    """How the bee's own configuration wants its reading to be tried again."""
    bee = rt.bees.held(task.bee, _version(task)) if task.stage == "collect" else None
    return None if bee is None else retry_of(bee.config, rt.settings.max_attempts)


def _has_new_credentials(task: Task, rt: Runtime) -> bool:
    """Whether the ledger and the vault hold other ones than this process opened the bee with."""
    try:
        return rt.bees.is_outdated(task.bee, _version(task), task.bee_name, task.tenant, lambda: _config(task, rt))
    except UNREACHABLE:
        return True  # nobody can say: it is opened anew, and a second refusal is judged again
    except Exception:  # noqa: BLE001 - what cannot be made anew has nothing newer to offer; the refusal stands
        return False


def _version(task: Task) -> tuple[int, int]:
    """What decides how the bee is made: the flight's own configuration, and the newest for its credentials."""
    return task.config_version, task.newest_config


def _config(task: Task, rt: Runtime) -> tuple[str, dict[str, Any]]:
    with rt.db.single() as tx:
        return pinned_config(tx, task.bee, task.config_version)


def _log(task: Task, error: BaseException, verdict: Verdict) -> None:
    told = {k: v for k, v in verdict.error.items() if v}
    traces.failed(str(verdict.error.get("code")))
    about = {"task": task.ref, "bee": task.bee_name, "attempt": task.attempt, "retry": verdict.retry, **told}
    if verdict.error.get("code") == "internal":
        log.error("task.failed", kind=type(error).__name__, trail=trail(error), **about)
    elif verdict.source:
        log.info("source.waits", seconds=round(verdict.after, 1), **about)
    else:
        log.warning("connector.error" if task.stage == "collect" else "task.failed", **about)


def settle(task: Task, rt: Runtime, verdict: Verdict) -> Left:
    """Write a failure down. This waits while our database is out of reach: the attempt is given back after all.

    A verdict that cannot be carried out becomes a simpler one, and the simplest one a word of our own. Where that
    fails, too, the task is left as one that this worker does not know of, and its heartbeat gives it back.
    """
    unsettled = 0
    while True:
        rt.moved()
        try:
            hints = _settle(task, rt, verdict)
        except StaleFence:
            return Left(waiting=True)
        except UNREACHABLE:
            if rt.stopping.is_set():
                raise
            time.sleep(0.5)
        except Exception as error:  # noqa: BLE001 - a verdict that cannot be carried out must not leave the task running
            log.error("task.unsettled", task=task.ref, bee=task.bee_name, kind=type(error).__name__, trail=trail(error))
            unsettled += 1
            if unsettled == MOST_UNSETTLED:
                return Left(waiting=True, open=True)
            told = describe(error) if unsettled == 1 else {"code": "unsettled"}
            verdict = Verdict(retry=True, after=backoff(task.attempt), counts=True, error=told, bare=True)
        else:
            rt.send(hints)
            return Left(waiting=True)


def _settle(task: Task, rt: Runtime, verdict: Verdict) -> list[Hint]:
    with rt.db.transaction() as tx:
        task = task.hold(tx)
        if verdict.source:
            tx.run("note_retry_at", bee=task.bee, after=verdict.after, whole=verdict.whole)
        return put_back(tx, task, rt, verdict, crashed=False)


def put_back(tx: Transaction, task: Task, rt: Runtime, verdict: Verdict, *, crashed: bool) -> list[Hint]:
    """Apply a verdict to a task whose row is locked."""
    from hive.flight.aside import halve, set_aside

    rows = (task.row_to or 0) - (task.row_from or 0)
    again = task.crashes + crashed if crashed else task.attempt
    spent = again >= CRASHES_BEFORE_HALVING or not verdict.retry
    if task.stage == "process" and verdict.counts and spent and not verdict.bare:
        readable = verdict.error.get("code") not in ("unreadable_batch", "bad_transform")
        if readable and rows > 1 and not _hopeless(tx, task):
            return halve(tx, task, rt)
        if readable and crashed:
            set_aside(tx, task, rt, "killed_worker", None)
            return []
        if not verdict.retry or again >= rt.settings.max_attempts:
            set_aside(tx, task, rt, "dead_batch", verdict.error)
            return []
    task.let_go(tx)
    if verdict.retry:
        tx.run(
            "requeue", day=task.day, id=task.id, given_back=0 if verdict.counts else 1, crashed=int(crashed),
            after=verdict.after, error=Jsonb(verdict.error),
        )  # fmt: skip
    else:
        tx.run("give_up", day=task.day, id=task.id, error=Jsonb(verdict.error))
    return []


def _hopeless(tx: Transaction, task: Task) -> bool:
    row = tx.run("hopeless", day=task.day, batch=task.batch, parts=MOST_PARTS).fetchone()
    assert row is not None
    return bool(row.hopeless)


def hint_next(rt: Runtime, queue: str) -> None:
    """Fill the room that a finished task left in its queue."""
    with rt.db.transaction() as tx:
        hints = choose(tx, queue, rt.settings.hints_per_queue)
    rt.send(hints)
