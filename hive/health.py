"""Is a worker process well? Four questions to the ledger and the broker, as document 001 asks them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from hive.condition import QUIET
from hive.ledger.db import Database
from hive.metrics.figures import NEWEST, begin

MOST_MEMORY = 2 << 30
"""Bytes above which one process holds more than any batch should make it."""
MOST_DEAD = 0.5
"""Share of the tasks that ended in its hands above which a worker is not well..."""
FEWEST = 5
"""...once so many of them have ended."""
PATIENCE = 5.0

Answering = Callable[[str, int], bool]
"""Whether the pool that a process (host, pid) belongs to answers over the broker. Raises what the transport does."""


class UnknownWorker(LookupError):
    """No worker process of this name was heard of in the last minutes."""


@dataclass(frozen=True)
class HealthCheck:
    """One of the four. It is true where all is well, as `all(details)` asks."""

    name: str
    healthy: bool
    why: str

    def __bool__(self) -> bool:
        return self.healthy


@dataclass(frozen=True)
class HealthStatus:
    """`overall` is true where every check is; `last_checked` by this process's clock, in UTC."""

    overall: bool
    details: tuple[HealthCheck, ...]
    last_checked: dt.datetime

    def json(self) -> dict[str, Any]:
        return asdict(self)


class WorkerHealthMonitor:
    """Checks worker processes by their name in the ledger, as `hive status` shows it.

    answering    asks the broker, as the function of this name does. None: only the heartbeat tells of connections
    most_memory  bytes
    """

    def __init__(self, db: Database, answering: Answering | None = None, *, most_memory: int = MOST_MEMORY) -> None:
        self._db = db
        self._answering = answering
        self._most_memory = most_memory

    def check_worker_health(self, worker_id: str) -> HealthStatus:
        """Raises UnknownWorker, or UNREACHABLE where the ledger does not answer."""
        worker = None if "\0" in worker_id else self._figures(worker_id)  # which PostgreSQL holds in no text
        if worker is None:
            raise UnknownWorker(f"no worker process {worker_id!r} was heard of: `hive status` lists them")
        details = (
            self._check_heartbeat(worker),
            self._check_connection(worker),
            self._check_resource_usage(worker),
            self._check_error_rate(worker),
        )
        return HealthStatus(all(details), details, dt.datetime.now(dt.UTC))

    def _figures(self, worker_id: str) -> Any:
        with self._db.transaction() as tx:
            begin(tx, PATIENCE)
            return tx.run("worker_figures", newest=NEWEST, quiet=QUIET, worker=worker_id).fetchone()

    def _check_heartbeat(self, worker: Any) -> HealthCheck:
        return HealthCheck("heartbeat", _beats(worker), f"it was heard of {worker.age:.1f} s ago")

    def _check_connection(self, worker: Any) -> HealthCheck:
        """Its heartbeat came over its own connection to the ledger; the broker is asked whether its pool answers."""
        if not worker.queues or self._answering is None:
            return HealthCheck("connection", _beats(worker), "its heartbeat comes over its connection to the ledger")
        try:
            answers = self._answering(worker.host, worker.pid)
        except Exception as error:  # noqa: BLE001 - whatever the transport raises means: no broker just now
            return HealthCheck("connection", healthy=False, why=f"the broker does not answer ({type(error).__name__})")
        why = "its pool answers over the broker" if answers else "its pool does not answer over the broker"
        return HealthCheck("connection", _beats(worker) and answers, why)

    def _check_resource_usage(self, worker: Any) -> HealthCheck:
        why = f"it holds {worker.rss >> 20} MB of at most {self._most_memory >> 20} MB"
        return HealthCheck("resources", worker.rss <= self._most_memory, why)

    def _check_error_rate(self, worker: Any) -> HealthCheck:
        why = f"{worker.dead} of the {worker.ended} tasks that lately ended in its hands are dead"
        return HealthCheck("error_rate", not _fails(worker), why)


def answering(host: str, pid: int, *, timeout: float = 1.0) -> bool:
    """Whether a Celery worker on that host says within so many seconds that this process is of its pool."""
    from hive import celery

    told = celery.app.control.inspect(timeout=timeout).stats() or {}
    # `celery -n` may name a node after any host: where none bears the name of this one, the pid alone must do.
    nodes = [node for node in told if node.partition("@")[2] == host] or list(told)
    return any(pid in told[node].get("pool", {}).get("processes", ()) for node in nodes)


def is_healthy_worker(worker: Any, most_memory: int = MOST_MEMORY) -> bool:
    """What can be told of a row of `worker_figures` without asking the broker."""
    return _beats(worker) and worker.rss <= most_memory and not _fails(worker)


def _beats(worker: Any) -> bool:
    return bool(worker.alive)


def _fails(worker: Any) -> bool:
    return bool(worker.ended >= FEWEST and worker.dead > MOST_DEAD * worker.ended)
