"""The Celery tasks, a few lines each: unwrap the message, call a plain function. And how a worker starts and ends."""

from __future__ import annotations

import contextlib
import mmap
import os
import threading
from typing import Any

from celery import signals

from hive import worker
from hive.celery import app, send
from hive.flight.warm import warm_up
from hive.flight.work import work
from hive.ledger.db import UNREACHABLE
from hive.ledger.hints import parse_ref
from hive.logs import configure
from hive.runtime import Runtime, runtime
from hive.settings import one_thread, settings

one_thread()

_flag = mmap.mmap(-1, 1)
"""Shared with the children by the fork: set when the worker is told to stop, so that legs end after their batch."""
_queues: list[str] = []
"""What this worker listens to; found out by the parent, known to its children by the fork."""
_beats: dict[int, worker.Heartbeat] = {}


@app.task(name="bees.collect")
def collect(ref: str) -> None:
    """Fly a leg: read a bee's stream into sealed batches."""
    work(*parse_ref(ref), "collect", runtime(send))


@app.task(name="nectar.process")
def process(ref: str) -> None:
    """Scrub and land a part of a sealed batch."""
    work(*parse_ref(ref), "process", runtime(send))


@signals.setup_logging.connect
def _logging(**_: Any) -> None:
    configure()


@signals.celeryd_after_setup.connect
def _parent_is_set_up(instance: Any = None, **_: Any) -> None:
    _queues[:] = list(instance.app.amqp.queues.consume_from)


@signals.worker_ready.connect
def _parent_works(**_: Any) -> None:
    worker.say_ready(settings())


@signals.worker_process_init.connect
def _child_starts(**_: Any) -> None:
    worker.return_memory()
    rt = runtime(send)
    _beats[os.getpid()] = worker.begin(rt, _queues)
    threading.Thread(target=_warm_up, args=(rt,), name="warm-up", daemon=True).start()
    threading.Thread(target=_watch_flag, args=(rt.stopping,), name="stop-watch", daemon=True).start()


@signals.worker_process_shutdown.connect
def _child_ends(**_: Any) -> None:
    beat = _beats.pop(os.getpid(), None)
    if beat is not None:
        beat.stop()
        runtime(send).close()


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


def _watch_flag(stopping: threading.Event) -> None:
    while not stopping.wait(0.5):
        if _flag[0]:
            stopping.set()
