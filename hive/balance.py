"""Load: what each queue has to do, what its workers manage, and what would be right.

A queue belongs to a type of bee and is worked by the pools that listen to it, so work does not move between queues.
What moves is work that sits with workers that do nothing: tasks in the hands of dead processes are taken back, and
hints that went out and lie in no queue are sent again. Both go to whoever is alive.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

from psycopg.rows import dict_row

from hive import celery, worker
from hive.janitor import expire, lost
from hive.ledger.hints import choose
from hive.runtime import Runtime

WINDOW = 300.0
"""Seconds that rates are measured over."""
PATIENCE = 60.0
"""Seconds in which what waits shall be done."""
SLOW = 5.0
"""Seconds after which a task that waits says that a queue is short of processes, where nothing else tells."""
PROCESSOR_BOUND = ("nectar", "nectar.embed")

_NOW = """
SELECT queue AS name, count(*) FILTER (WHERE state = 'queued')::int AS waiting,
       count(*) FILTER (WHERE state = 'running')::int AS running,
       extract(epoch FROM clock_timestamp() - min(available_at) FILTER (WHERE state = 'queued'))::float AS oldest_wait
  FROM hive.task WHERE state = 'running' OR (state = 'queued' AND available_at <= clock_timestamp()) GROUP BY queue
"""
_RATES = """
SELECT queue AS name, count(*) FILTER (WHERE created_at > since)::int AS arrived,
       count(*) FILTER (WHERE finished_at > since)::int AS done,
       avg(extract(epoch FROM finished_at - started_at)) FILTER (WHERE finished_at > since)::float AS task_seconds
  FROM hive.task, (SELECT clock_timestamp() - make_interval(secs => %s) AS since) w
 WHERE day >= (since AT TIME ZONE 'UTC')::date - 1 AND (created_at > since OR finished_at > since) GROUP BY queue
"""
_ALIVE = """
SELECT queue AS name, count(*)::int AS processes FROM hive.worker, unnest(queues) AS queue
 WHERE alive_until > clock_timestamp() GROUP BY queue
"""

Lengths = Callable[[], dict[str, int]]


@dataclass(frozen=True)
class Moved:
    """Numbers of tasks: taken back from dead workers, told to the broker for the first time, told once more."""

    taken_back: int
    hinted: int
    hinted_again: int

    @property
    def told(self) -> int:
        return self.hinted + self.hinted_again


@dataclass(frozen=True)
class QueueLoad:
    """One queue now and over the last `WINDOW` seconds.

    `oldest_wait` and `task_seconds` (mean time of a task) are seconds, None where nothing waits or nothing was done;
    `processes` are alive, `running` of them have a task; `needed` is how many the work takes, `proposed` how many there
    should be next.
    """

    name: str
    waiting: int
    running: int
    oldest_wait: float | None
    arrivals_per_minute: float
    services_per_minute: float
    task_seconds: float | None
    processes: int
    needed: float
    proposed: int


@dataclass(frozen=True)
class Pool:
    """One worker of Celery; `said` is its answer to the change, empty where nothing was asked of it.

    One that was started with `--autoscale` changes its size itself, up to what is proposed.
    """

    node: str
    queues: tuple[str, ...]
    processes: int
    proposed: int
    autoscaled: bool = False
    said: str = ""


@dataclass(frozen=True)
class LoadReport:
    moved: Moved
    queues: tuple[QueueLoad, ...]
    pools: tuple[Pool, ...]
    broker: bool
    """Whether the workers could be asked."""
    applied: bool

    def json(self) -> dict[str, Any]:
        return asdict(self)


def balance(rt: Runtime, *, apply: bool = False, lengths: Lengths | None = None) -> LoadReport:
    """Move what can be moved, measure, and propose; `apply` changes the pools."""
    moved = move(rt, lengths)
    queues = measure(rt)
    try:
        found = pools(queues)
    except (OSError, celery.app.connection_for_write().connection_errors):
        return LoadReport(moved, queues, (), broker=False, applied=False)
    if apply:
        found = tuple(resize(pool) for pool in found)
    return LoadReport(moved, queues, found, broker=True, applied=apply)


def move(rt: Runtime, lengths: Lengths | None = None) -> Moved:
    """Give the work of dead workers, and the hints that were lost, to those alive; then fill what room queues have."""
    worker.bury_the_dead(rt.db)
    taken = expire(rt)
    there = _lengths(lengths)
    room = rt.settings.hints_per_queue
    with rt.db.transaction() as tx:
        queues = [row.queue for row in tx.run("waiting_queues").fetchall()]
        first = [hint for queue in queues for hint in choose(tx, queue, room)]
        again = lost(tx, there, room) if there is not None else []
    rt.send([*first, *again])
    return Moved(taken, len(first), len(again))


def measure(rt: Runtime) -> tuple[QueueLoad, ...]:
    """Every queue that has work, had some lately, or has a process."""
    with rt.db.single() as tx:
        rows = tx.psycopg.cursor(row_factory=dict_row)
        found: dict[str, dict[str, Any]] = {}
        for query, values in ((_NOW, []), (_RATES, [WINDOW]), (_ALIVE, [])):
            for row in rows.execute(query, values).fetchall():
                found.setdefault(row["name"], {}).update(row)
    return tuple(_load(name, row) for name, row in sorted(found.items()))


def _load(name: str, row: dict[str, Any]) -> QueueLoad:
    waiting, running, processes = (row.get(key, 0) for key in ("waiting", "running", "processes"))
    arrived, seconds = row.get("arrived", 0), row.get("task_seconds")
    needed = demand(
        waiting=waiting, running=running, oldest_wait=row.get("oldest_wait"), arrivals=arrived / WINDOW,
        task_seconds=seconds, processes=processes,
    )  # fmt: skip
    if processes:
        proposed = propose(needed, running=running, processes=processes, most=most_processes(name))
    else:  # there is no pool to grow: a worker must be started
        proposed = 1 if waiting else 0
    per_minute = 60 / WINDOW
    return QueueLoad(
        name, waiting, running, row.get("oldest_wait"), arrived * per_minute, row.get("done", 0) * per_minute, seconds,
        processes, needed, proposed,
    )  # fmt: skip


def most_processes(queue: str) -> int:
    """The bound of a proposal: scrubbing takes a processor, reading mostly waits."""
    processors = os.cpu_count() or 1
    return max(2, processors) if queue in PROCESSOR_BOUND else max(4, 2 * processors)


def demand(
    *,
    waiting: int,
    running: int,
    oldest_wait: float | None,
    arrivals: float,
    task_seconds: float | None,
    processes: int,
) -> float:
    """How many processes the work of a queue takes.

    Enough to keep up (`arrivals` a second times `task_seconds`) and to do what waits within `PATIENCE` seconds. Where
    nothing was done lately: one more than there are if something waits for longer than `SLOW`, else as many as run.
    """
    if task_seconds is not None:
        return arrivals * task_seconds + waiting * task_seconds / PATIENCE
    return processes + 1.0 if waiting and (oldest_wait or 0.0) > SLOW else float(running)


def propose(needed: float, *, running: int, processes: int, most: int) -> int:
    """How many processes there should be: what is needed, at most doubled and at most halved in one step.

    Never less than one, or than run a task; never more than `most` unless there are more and half of them are.
    """
    least = max(1, min(running, processes), math.ceil(processes / 2))
    return max(least, min(math.ceil(needed - 1e-9), 2 * processes, most))


def pools(queues: tuple[QueueLoad, ...], *, timeout: float = 1.0) -> tuple[Pool, ...]:
    """The workers that answer, and the size each should have. Raises the transport's errors.

    What a queue needs is divided by the pools that listen to it, and added up over the queues of a pool.
    """
    inspect = celery.app.control.inspect(timeout=timeout)
    listen = {node: tuple(queue["name"] for queue in found) for node, found in (inspect.active_queues() or {}).items()}
    stats = inspect.stats() or {}
    needed = {load.name: load.needed for load in queues}
    found = []
    for node, names in sorted(listen.items()):
        about = stats.get(node, {})
        size = len(about.get("pool", {}).get("processes", ()))
        if not size:
            continue  # it ended meanwhile, or its pool is of a kind that cannot be resized
        share = sum(needed.get(name, 0.0) / sum(name in other for other in listen.values()) for name in names)
        most = max([most_processes(name) for name in names], default=1)
        proposed = propose(share, running=0, processes=size, most=most)
        found.append(Pool(node, names, size, proposed, autoscaled="autoscaler" in about))
    return tuple(found)


def resize(pool: Pool, *, timeout: float = 3.0) -> Pool:
    """Ask a worker for the processes that are proposed; a process that has a task in hand is never ended."""
    step = pool.proposed - pool.processes
    if step == 0:
        return pool
    control, whom = celery.app.control, {"destination": [pool.node], "reply": True, "timeout": timeout}
    if pool.autoscaled:
        answers = control.autoscale(max=pool.proposed, min=1, **whom)
    else:
        answers = (control.pool_grow if step > 0 else control.pool_shrink)(abs(step), **whom)
    said = [str(answer.get("ok") or answer.get("error")) for told in answers for answer in told.values()]
    return replace(pool, said=said[0] if said else "no answer")


def _lengths(lengths: Lengths | None) -> dict[str, int] | None:
    try:
        return (lengths or celery.queue_lengths)()
    except Exception:  # noqa: BLE001 - whatever the transport raises means: no broker, and nobody to tell
        return None
