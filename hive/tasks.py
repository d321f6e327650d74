"""The Celery tasks, a few lines each: unwrap the message, call a plain function. And how a worker starts and ends."""

from __future__ import annotations

import contextlib
import functools
import mmap
import os
import threading
import time
from typing import Any

import structlog
from celery import current_task, signals
from celery.worker import state

from hive import deaf, watch, worker
from hive.celery import app, send
from hive.errors import trail
from hive.flight.warm import share, warm_up
from hive.flight.work import work
from hive.ledger.db import UNREACHABLE
from hive.ledger.hints import parse_ref
from hive.ledger.migrate import NewerSchema
from hive.logs import configure
from hive.runtime import Runtime, runtime
from hive.settings import NotRunning, one_thread, settings
from hive.telemetry import traces
from hive.vault.envelope import Unsealable
from hive.vault.key import KeyFileRefused, MissingHiveKey

one_thread()
log = structlog.get_logger()

_flag = mmap.mmap(-1, 1)
"""Shared with the children by the fork: set when the worker is told to stop, so that legs end after their batch."""
_queues: list[str] = []
"""What this worker listens to; found out by the parent, known to its children by the fork."""
_board = watch.Board()
"""Where the children tell the parent that they get on."""
_beats: dict[int, worker.Heartbeat] = {}


@app.task(name="bees.collect")
def collect(ref: str) -> None:
    """Fly a leg: read a bee's stream into sealed batches."""
    _work(ref, "collect")


@app.task(name="nectar.process")
def process(ref: str) -> None:
    """Scrub and land a part of a sealed batch."""
    _work(ref, "process")


def _work(ref: str, stage: str) -> None:
    try:
        with traces.carried(current_task.request.get(traces.HEADER)):
            work(*parse_ref(ref), stage, runtime(send))
    except UNREACHABLE:
        # Before the claim or after the work: what was left undone, the janitor does when the database is back.
        log.warning("database.unreachable", task=ref)


@signals.setup_logging.connect
def _logging(**_: Any) -> None:
    configure()


@signals.celeryd_after_setup.connect
def _parent_is_set_up(instance: Any = None, **_: Any) -> None:
    """Whatever a person must mend is said now, once, and not by each process of the pool."""
    _queues[:] = list(instance.app.amqp.queues.consume_from)
    try:
        with contextlib.suppress(*UNREACHABLE):
            worker.check(settings())
    except (NotRunning, MissingHiveKey, KeyFileRefused, NewerSchema, Unsealable) as error:
        raise SystemExit(f"worker: {error}") from None
    share(_queues)


@signals.worker_ready.connect
def _parent_works(**_: Any) -> None:
    watch.start(_board, settings())
    deaf.start(_board, settings(), _consumed, lambda: int(state.all_total_count[0]))
    worker.say_ready(settings())


def _consumed() -> list[str]:
    return [] if _flag[0] else list(app.amqp.queues.consume_from)


@signals.worker_process_init.connect
def _child_starts(**_: Any) -> None:
    """A process without a name in the ledger may not claim anything: this waits for a database that is away."""
    worker.return_memory()
    watch.die_first()
    while True:
        try:
            rt = runtime(send)
            _beats[os.getpid()] = worker.begin(rt, _queues)
            break
        except UNREACHABLE:
            log.warning("database.unreachable", where="worker")
            time.sleep(0.5)
        except Exception as error:  # noqa: BLE001 - Celery would only log it, and give the process work all the same
            log.error("worker.cannot_start", kind=type(error).__name__, trail=trail(error))
            time.sleep(1.0)
            os._exit(1)
    rt.begins = functools.partial(watch.tell, _board, rt)
    threading.Thread(target=_warm_up, args=(rt,), name="warm-up", daemon=True).start()
    threading.Thread(target=_watch_flag, args=(rt,), name="stop-watch", daemon=True).start()


@signals.worker_process_shutdown.connect
def _child_ends(**_: Any) -> None:
    beat = _beats.pop(os.getpid(), None)
    if beat is not None:
        beat.stop()
        runtime(send).close()
        traces.stop()


@signals.worker_shutting_down.connect
def _worker_stops(**_: Any) -> None:
    _flag[0] = 1


@signals.task_failure.connect
def _child_lost(sender: Any = None, **_: Any) -> None:  # noqa: ARG001
    """In the parent, when a child died: its leases end now. In a child nothing is dead, and nothing happens."""
    try:
        worker.bury_the_dead(runtime(send).db)
    except UNREACHABLE:
        return


def _warm_up(rt: Runtime) -> None:
    with contextlib.suppress(*UNREACHABLE):
        warm_up(rt, _queues)


def _watch_flag(rt: Runtime) -> None:
    while True:
        time.sleep(watch.LOOK)
        watch.tell(_board, rt)
        if _flag[0]:
            rt.stopping.set()
